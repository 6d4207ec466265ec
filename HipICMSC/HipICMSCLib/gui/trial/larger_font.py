"""A larger font for all of Slicer, as on a screen of high density or for somebody who sees less well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import qt

#: Of the usual size.
TIMES = 1.5


@contextlib.contextmanager
def larger_font() -> Iterator[None]:
    """For a while, as Slicer's settings do it."""
    before, larger = qt.QApplication.font(), qt.QApplication.font()
    larger.setPointSizeF(TIMES * before.pointSizeF())
    qt.QApplication.setFont(larger)
    try:
        yield
    finally:
        qt.QApplication.setFont(before)
