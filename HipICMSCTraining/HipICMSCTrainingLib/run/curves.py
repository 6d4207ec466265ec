"""The curves of a run: its metrics by column, as many points as a chart can show, read as they are written. No torch,
because Slicer's own process shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.metrics import MetricsReader

Chart = Literal["losses", "scores", "learning_rates"]
CHARTS: tuple[Chart, ...] = ("losses", "scores", "learning_rates")
#: More points than a view has pixels tell nothing more.
MOST_POINTS = 2000


class CurveTable:
    """Rows of numbers by step. Of many rows it keeps every 2nd, 4th, 8th … and always the last one."""

    def __init__(self) -> None:
        self._columns: dict[str, None] = {}
        self._kept: list[dict[str, float]] = []
        self._last: dict[str, float] = {}
        self._every, self._count = 1, 0

    def add(self, step: float, values: Mapping[str, Any]) -> None:
        """Values of the next step, or more of them of the same step; what is no number is left out."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        self._columns |= dict.fromkeys(numbers)
        if self._last.get("step") == step:
            self._last |= numbers
            return
        self._last = {"step": float(step)} | numbers
        if self._count % self._every == 0:
            self._kept.append(self._last)
        self._count += 1
        # One place is left for the last row.
        if len(self._kept) == MOST_POINTS:
            self._kept = self._kept[::2]
            self._every *= 2

    def columns(self) -> dict[str, np.ndarray]:
        """``step`` and one column a name, of equal length, float64; NaN where a row has no such value."""
        rows = self._kept if self._kept and self._kept[-1] is self._last else [*self._kept, self._last]
        names = ["step", *self._columns]
        if not self._last:
            return {name: np.zeros(0) for name in names}
        return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}


class RunCurves:
    """Everything of one run that can be drawn.

    Attributes:
        tables: by chart. A score's column says which weights it is of: ``agreement (average)``.
    """

    def __init__(self, run: RunFolder) -> None:
        self._reader = MetricsReader(run.metrics_file)
        self._forget()

    def update(self) -> bool:
        """Read what was written since the last time; whether that changed anything.

        Raises:
            HipError: ``unreadable``.
        """
        lines = self._reader.new_lines()
        if self._reader.restarted:
            self._forget()
        for line in lines:
            self._take(line)
        return bool(lines) or self._reader.restarted

    def _forget(self) -> None:
        self.tables: dict[Chart, CurveTable] = {chart: CurveTable() for chart in CHARTS}

    def _take(self, line: Mapping[str, Any]) -> None:
        step = line.get("step")
        if not isinstance(step, int | float):
            return
        for chart in CHARTS:
            values = line.get(chart)
            if isinstance(values, Mapping):
                if chart == "scores":
                    values = {f"{name} ({line.get('weights')})": value for name, value in values.items()}
                self.tables[chart].add(step, values)
