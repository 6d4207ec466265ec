"""Watches a run for alarms without reading its metrics twice. No torch, because Slicer's own process does it."""

from __future__ import annotations

from typing import Any

from HipICMSCTrainingLib.run.alarms import Alarm, alarms
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.metrics import MetricsReader
from HipICMSCTrainingLib.run.status import Status

#: Far more than what alarms call usual or recent.
_LINES_KEPT = 2000


class AlarmWatch:
    """The alarms of one run. Of a long run it keeps the latest lines, all scores, and the first line of each stage."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._reader = run, MetricsReader(run.metrics_file)
        self._lines: list[dict[str, Any]] = []
        self._known: tuple[str, str] | None = None
        self._alarms: tuple[Alarm, ...] = ()

    def look(self, status: Status) -> tuple[Alarm, ...]:
        """What is wrong by now; it is only thought over where there is something new.

        Raises:
            HipError: ``unreadable``, ``no_run`` or ``damaged_run``.
        """
        new = self._reader.new_lines()
        if self._reader.restarted:
            self._lines = []
        known = (status.state, status.kind)
        if new or self._reader.restarted or known != self._known:
            self._known = known
            self._lines += [line for line in new if isinstance(line.get("step"), int | float)]
            self._forget_old_lines()
            self._alarms = alarms(self._lines, status, RunMethod.of(self._run))
        return self._alarms

    def _forget_old_lines(self) -> None:
        lines, surplus = self._lines, len(self._lines) - _LINES_KEPT
        # Rarely, rather than with each line.
        if surplus < _LINES_KEPT:
            return
        firsts = {lines[i].get("stage"): i for i in reversed(range(len(lines)))}
        self._lines = [line for i, line in enumerate(lines) if i >= surplus or "scores" in line or i in firsts.values()]
