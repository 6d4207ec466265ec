"""Small pieces of work, one a tick of Qt's clock, so that Slicer goes on drawing and answering in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer

_MILLISECONDS = 10


class Ticks:
    """A queue of steps; each should take less time than a person notices."""

    def __init__(self) -> None:
        self._steps: deque[Callable[[], None]] = deque()
        self._timer = RepeatingTimer(_MILLISECONDS, self._next)

    @property
    def waiting(self) -> bool:
        """Whether there are steps still to be done."""
        return bool(self._steps)

    def add(self, *steps: Callable[[], None]) -> None:
        """Do these after what waits already; none of them before this returns."""
        self._steps.extend(steps)
        self._timer.start()

    def clear(self) -> None:
        """Forget what waits."""
        self._steps.clear()
        self._timer.stop()

    def _next(self) -> None:
        if self._steps:
            self._steps.popleft()()
        if not self._steps:
            self._timer.stop()
