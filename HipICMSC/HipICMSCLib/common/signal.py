"""A signal in pure Python, because PythonQt has none to offer to Python classes."""

from __future__ import annotations

from collections.abc import Callable


class Signal:
    """Calls every connected function, in the order of their connection."""

    def __init__(self) -> None:
        self._receivers: list[Callable] = []

    def connect(self, receiver: Callable) -> None:
        self._receivers.append(receiver)

    def emit(self, *values: object) -> None:
        for receiver in tuple(self._receivers):
            receiver(*values)
