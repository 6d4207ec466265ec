"""A panel that is made while something is otherwise than usual."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager


@contextlib.contextmanager
def made_anew(under: AbstractContextManager, reload: Callable[[], None]) -> Iterator[None]:
    """With a panel that was made under these circumstances; afterwards there is one that was made without.

    Args:
        reload: makes the panel anew.
    """
    try:
        with under:
            reload()
            yield
    finally:
        reload()
