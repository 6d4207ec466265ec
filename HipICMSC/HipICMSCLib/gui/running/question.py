"""A question to the worker, which answers with a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.worker.protocol import Event, Failed, Finished, Request


class Question:
    """One question under way.

    Attributes:
        ended: whether one of the two was called.
    """

    def __init__(
        self,
        worker: WorkerClient,
        request: Request,
        on_report: Callable[[dict[str, Any]], None],
        on_error: Callable[[HipError], None],
    ) -> None:
        """
        Args:
            on_report, on_error: one of the two is called once.
        """
        self.ended = False
        self._on_report, self._on_error = on_report, on_error
        try:
            worker.send(request, self._on_event)
        except HipError as error:
            self._fail(error)

    def abandon(self) -> None:
        """The process is gone; nothing happens if this was answered."""
        if not self.ended:
            self._fail(HipError("cancelled", "The process beside Slicer was ended before it answered."))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._fail(HipError(event.kind, event.sentence, event.detail))
        elif isinstance(event, Finished):
            self.ended = True
            self._on_report(event.report)

    def _fail(self, error: HipError) -> None:
        self.ended = True
        self._on_error(error)
