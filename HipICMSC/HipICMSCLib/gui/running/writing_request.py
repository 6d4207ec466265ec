"""A request to the worker to write something for the user, with files of its own in a private folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.segmentation_job import private_folder
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.worker.protocol import Event, ExportRequest, Failed, Finished, KeepCaseRequest


class WritingRequest:
    """One request under way."""

    def __init__(
        self,
        worker: WorkerClient,
        made_in: Callable[[Path], ExportRequest | KeepCaseRequest],
        on_end: Callable[[Finished | HipError], None],
    ) -> None:
        """
        Args:
            made_in: writes the request's files into a folder, and returns the request.
            on_end: called once, when the folder is gone.

        Raises:
            HipError: as ``made_in`` and `WorkerClient.send`.
        """
        self._on_end = on_end
        self._ended = False
        self._folder = private_folder()
        try:
            worker.send(made_in(self._folder), self._on_event)
        except BaseException:
            self._forget_files()
            raise

    def abandon(self) -> None:
        """The process is gone; nothing happens if this request was answered."""
        if not self._ended:
            self._end(HipError("cancelled", "The process beside Slicer was ended before the file was written."))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._end(HipError(event.kind, event.sentence, event.detail))
        elif isinstance(event, Finished):
            self._end(event)

    def _end(self, outcome: Finished | HipError) -> None:
        self._ended = True
        self._forget_files()
        self._on_end(outcome)

    def _forget_files(self) -> None:
        """They hold patient data."""
        shutil.rmtree(self._folder, ignore_errors=True)
