"""Time on the bench: Qt works until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable

from patience import PATIENCE


def wait(application, until: Callable[[], object], said: Callable[[], str] = lambda: "") -> None:
    """
    Args:
        until: ends the waiting once it is true.
        said: what to tell where it never was.
    """
    limit = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < limit, said()
        application.processEvents()
        time.sleep(0.01)
