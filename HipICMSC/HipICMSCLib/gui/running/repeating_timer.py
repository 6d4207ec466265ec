"""The only clock of our modules: Qt's."""

from __future__ import annotations

from collections.abc import Callable


class RepeatingTimer:
    """Calls a function again and again in Slicer's main thread, between start and stop."""

    def __init__(self, milliseconds: int, function: Callable[[], None]) -> None:
        import qt

        self._timer = qt.QTimer()
        self._timer.setInterval(milliseconds)
        self._timer.connect("timeout()", function)

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()
