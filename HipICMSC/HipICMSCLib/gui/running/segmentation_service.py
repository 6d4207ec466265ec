"""Everything that the worker process is asked to do: one segmentation and one measuring at a time, and looks at volumes
beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.running.case_keeping import OnKept, keep_as_case
from HipICMSCLib.gui.running.dicom_export import OnExported, export_dicom
from HipICMSCLib.gui.running.measuring_job import MeasuringJob
from HipICMSCLib.gui.running.preflight_check import ImageLook, OnFindings, PreflightCheck
from HipICMSCLib.gui.running.question import Question
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.running.segmentation_job import FileJob, NodeJob, remove_leftovers
from HipICMSCLib.gui.running.segmentation_task import Listener, Outcome, SegmentationTask
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.running.writing_request import WritingRequest
from HipICMSCLib.gui.setup.installation import python_interpreter
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.worker.protocol import Request, SelfTestRequest, Series, SeriesRequest

_POLL_MILLISECONDS = 100


class SegmentationService:
    """Owns the worker. A timer looks after it as long as it has something to do.

    Attributes:
        did_not_load: signal of `WorkerClient`.
    """

    def __init__(self) -> None:
        self._worker = WorkerClient(python=python_interpreter)
        self.did_not_load = self._worker.did_not_load
        self._task: SegmentationTask | None = None
        self._measuring: SegmentationTask | None = None
        self._check: PreflightCheck | None = None
        self._export: WritingRequest | None = None
        self._keeping: WritingRequest | None = None
        self._questions: list[Question] = []
        self._look = ImageLook()
        self._timer: RepeatingTimer | None = None
        remove_leftovers()

    @property
    def busy(self) -> bool:
        """Whether a segmentation is under way."""
        return self._task is not None

    @property
    def cancelling(self) -> bool:
        """Whether the running segmentation was asked to stop."""
        return self.busy and self._task.cancelling

    def check_free(self) -> None:
        """
        Raises:
            HipError: ``busy`` while a segmentation is under way.
        """
        if self.busy:
            raise HipError("busy", _("Another segmentation is still running; wait for it or cancel it."))

    def start(self, job: NodeJob | FileJob, listener: Listener) -> None:
        """Segment; nothing is told before this returns.

        Raises:
            HipError: ``busy``, or if it cannot be started.
        """

        def end(outcome: Outcome | HipError) -> None:
            self._task = None
            listener.ended(outcome)

        self.check_free()
        self._task = SegmentationTask(self._worker, job, replace(listener, ended=end))

    def start_one_of_many(
        self,
        job: NodeJob | FileJob,
        on_progress: Callable[[float], None],
        on_end: Callable[[dict[str, Any] | HipError], None],
    ) -> None:
        """Segment without waiting.

        Args:
            on_progress: called with the share that is done.
            on_end: called once, with the report or a HipError.

        Raises:
            HipError: as :meth:`start`.
        """

        def end(outcome: Outcome | HipError) -> None:
            on_end(outcome if isinstance(outcome, HipError) else outcome.report)

        self.start(job, Listener(ended=end, progressed=lambda stage, share: on_progress(share)))
        self.watch()

    def wait(self, job: NodeJob | FileJob, listener: Listener) -> Outcome | HipError:
        """Segment while Slicer goes on drawing.

        Raises:
            HipError: as :meth:`start`.
        """
        outcomes = []

        def end(outcome: Outcome | HipError) -> None:
            outcomes.append(outcome)
            listener.ended(outcome)

        self.start(job, replace(listener, ended=end))
        while not outcomes:
            self.poll()
            slicer.app.processEvents()
            time.sleep(_POLL_MILLISECONDS / 1000)
        return outcomes[0]

    def cancel(self) -> None:
        """Ask the running segmentation to stop; its outcome says when it did, within about a second."""
        if self.busy:
            self._task.cancel()

    @property
    def measuring(self) -> bool:
        """Whether hips are being measured."""
        return self._measuring is not None

    def measure(self, job: MeasuringJob, listener: Listener) -> None:
        """Measure hips without waiting.

        Raises:
            HipError: ``busy`` while others are being measured, or if it cannot be started.
        """

        def end(outcome: Outcome | HipError) -> None:
            self._measuring = None
            listener.ended(outcome)

        if self.measuring:
            job.close()
            raise HipError("busy", _("Other hips are still being measured; wait for them or cancel that."))
        self._measuring = SegmentationTask(self._worker, job, replace(listener, ended=end))
        self.watch()

    def cancel_measuring(self) -> None:
        """Ask the measuring to stop, as :meth:`cancel` does."""
        if self.measuring:
            self._measuring.cancel()

    def preflight(
        self, volume_node, model: str, device: str, heads_node, on_findings: OnFindings, insist: bool = False
    ) -> None:
        """Look a volume over; ``on_findings`` gets what is known so far and whether more is to come.

        Args:
            insist: look on also where the volume is judged to be no MRI.
        """
        self.forget_preflight()
        self._check = PreflightCheck(
            self._worker, self._look, volume_node, model, device, heads_node, on_findings, insist
        )
        self.watch()

    def forget_preflight(self) -> None:
        """Nobody wants to know any more what :meth:`preflight` finds."""
        if self._check is not None:
            self._check.give_up()
            self._check = None

    def export(self, segmentation_node, output: Path, on_end: OnExported) -> None:
        """Write a result as a DICOM segmentation; ``on_end`` is called once.

        Raises:
            HipError: as :func:`export_dicom`.
        """
        self._export = export_dicom(self._worker, segmentation_node, output, on_end)
        self.watch()

    def keep_case(self, segmentation_node, cases: Path, overwrite: bool, on_end: OnKept) -> None:
        """Keep a corrected result as a case in the folder ``cases``; ``on_end`` is called once.

        Raises:
            HipError: as :func:`keep_as_case`.
        """
        self._keeping = keep_as_case(self._worker, segmentation_node, cases, overwrite, on_end)
        self.watch()

    def list_series(
        self, folder: Path, on_listed: Callable[[tuple[Series, ...]], None], on_error: Callable[[HipError], None]
    ) -> None:
        """Say which volumes a DICOM folder holds; one of the two is called once."""

        def take(report: dict[str, Any]) -> None:
            on_listed(tuple(from_json(Series, values) for values in report["series"]))

        self._ask(SeriesRequest(str(folder)), take, on_error)

    def self_test(
        self, model: str, device: str, on_report: Callable[[dict[str, Any]], None], on_error: Callable[[HipError], None]
    ) -> None:
        """Let the worker compute something small; one of the two is called once."""

        try:
            request = SelfTestRequest(str(find_model(model)), device)
        except HipError as error:
            on_error(error)
        else:
            self._ask(request, on_report, on_error)

    def _ask(
        self, request: Request, on_report: Callable[[dict[str, Any]], None], on_error: Callable[[HipError], None]
    ) -> None:
        questions = [question for question in self._questions if not question.ended]
        self._questions = [*questions, Question(self._worker, request, on_report, on_error)]
        self.watch()

    def poll(self) -> None:
        """Hand on what the worker said."""
        for task in (self._task, self._measuring):
            if task is not None:
                task.check_input()
        self._worker.poll()
        if not self._worker.busy:
            self._stop_watching()

    def watch(self) -> None:
        """Poll by a timer from now on, as long as there is something to do."""
        if self._timer is None and self._worker.busy:
            self._timer = RepeatingTimer(_POLL_MILLISECONDS, self.poll)
            self._timer.start()

    def close(self) -> None:
        """Give up whatever runs and end the process; the next request starts a new one."""
        self.forget_preflight()
        self._worker.close()
        # Before anybody is told: who hears of the end may ask for the next thing.
        self._stop_watching()
        for under_way in (self._export, self._keeping, *self._questions, self._task, self._measuring):
            if under_way is not None:
                under_way.abandon()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
