"""A segmentation or a measuring under way: a job and the worker's words become progress and exactly one outcome."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.measuring_job import MeasuringJob
from HipICMSCLib.gui.running.segmentation_job import FileJob, NodeJob
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.worker.protocol import Event, Failed, Finished, Progress, Warned

Job = NodeJob | FileJob | MeasuringJob


@dataclass(frozen=True)
class Outcome:
    """What a job that succeeded gave.

    Attributes:
        node: the vtkMRMLSegmentationNode, or None where the result is a file.
        report: see report.py.
    """

    node: Any
    report: dict[str, Any]


@dataclass(frozen=True)
class Listener:
    """Who is told what; ``ended`` exactly once.

    Attributes:
        progressed: with a stage's name and the share of the whole that is done.
        warned: with a sentence about the result.
        about_to_change: with a segmentation that has segments, just before some of them are replaced.
    """

    ended: Callable[[Outcome | HipError], None]
    progressed: Callable[[str, float], None] = lambda stage, share: None
    warned: Callable[[str], None] = lambda sentence: None
    about_to_change: Callable[[Any], None] = lambda segmentation_node: None


class SegmentationTask:
    """Runs a job in the worker; whoever polls the worker also calls :meth:`check_input`."""

    def __init__(self, worker: WorkerClient, job: Job, listener: Listener) -> None:
        """
        Raises:
            HipError: as `WorkerClient.send`; the job is closed then.
        """
        self.cancelling = False
        self._worker, self._job, self._listener = worker, job, listener
        self._cause = HipError("cancelled", job.cancelled_sentence)
        try:
            self._conversation = worker.send(job.request, self._on_event)
        except HipError:
            job.close()
            raise

    def cancel(self) -> None:
        """Ask to stop; the outcome, within about a second, is the error ``cancelled``."""
        self.cancelling = True
        self._worker.cancel(self._conversation)

    def check_input(self) -> None:
        """Stop where a node that is needed for the result left the scene: the outcome is ``input_gone``."""
        if self._job.input_gone and not self.cancelling:
            self._cause = HipError("input_gone", self._job.gone_sentence)
            self.cancel()

    def abandon(self) -> None:
        """End it at once, when the worker is gone anyway."""
        self._end(self._cause)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._listener.progressed(event.stage, event.share)
        elif isinstance(event, Warned):
            self._listener.warned(event.sentence)
        elif isinstance(event, Failed):
            self._end(self._cause if self.cancelling else HipError(event.kind, event.sentence, event.detail))
        elif isinstance(event, Finished):
            self.check_input()
            self._end(self._cause if self.cancelling else self._finished(event.report))

    def _finished(self, report: dict[str, Any]) -> Outcome | HipError:
        try:
            if self._job.changed_node is not None:
                self._listener.about_to_change(self._job.changed_node)
            return Outcome(self._job.finish(report), report)
        except HipError as error:
            return error
        except Exception as error:  # not even a mistake of ours may leave the module busy for ever
            sentence = f"The result could not be brought into Slicer ({type(error).__name__}); the details say more."
            return HipError("unexpected", sentence, traceback.format_exc())

    def _end(self, outcome: Outcome | HipError) -> None:
        self._job.close()
        self._listener.ended(outcome)
