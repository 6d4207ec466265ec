"""Whether what a panel shows has the room that it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import qt
import slicer

#: Whose parts are looked at, too; what is inside any other widget is Qt's or Slicer's own affair.
_CONTAINERS = {"QWidget", "QFrame", "QGroupBox", "QStackedWidget", "ctkCollapsibleButton", "qMRMLWidget"}
#: The least lines of a box of text.
_LINES = 3


def shown(panel) -> Iterator:
    """All of ours that is in sight, or would be if one scrolled there.

    Args:
        panel: a widget of ours.
    """
    for child in panel.children():
        # A layout is none, and no widget that Qt has made for itself.
        if getattr(child, "visible", False):
            yield child
            if type(child).__name__ in _CONTAINERS:
                yield from shown(child)


def after_layouts(found: Callable[[], list[str]], seconds: float = 10) -> list[str]:
    """What is found once layouts have had their time; as soon as it is nothing, that."""
    limit = time.monotonic() + seconds
    while (names := found()) and time.monotonic() < limit:
        slicer.app.processEvents()
    return names


def cut(panel) -> list[str]:
    """Names of what is seen but has less room than its text needs or covers something beside it, and of lists whose
    rows are lower than a line."""
    texts = (qt.QLabel, qt.QPushButton, qt.QToolButton, qt.QCheckBox, qt.QRadioButton, qt.QLineEdit, qt.QComboBox)
    boxes = (qt.QPlainTextEdit, qt.QTextBrowser)
    found = []
    for widget in shown(panel):
        name, line = widget.name or type(widget).__name__, widget.fontMetrics().height()
        if isinstance(widget, texts):
            least, size = widget.minimumSizeHint, widget.size
            height = least.height()
            if isinstance(widget, qt.QLabel) and widget.wordWrap:
                height = widget.heightForWidth(size.width())
            found += [name] if size.width() < least.width() or size.height() < height else []
        if isinstance(widget, qt.QTableWidget) and widget.rowCount:
            found += [name] if widget.rowHeight(0) < line else []
        if isinstance(widget, boxes):
            found += [name] if widget.size.height() < _LINES * line else []
    return found + overlapping(panel)


def overlapping(panel) -> list[str]:
    """Names of neighbours of which one covers a part of the other."""
    neighbours: dict = {}
    for widget in shown(panel):
        parent = widget.parent()
        if parent.layout() is not None:
            neighbours.setdefault(parent, []).append(widget)
    return [
        f"{one.name} {other.name}"
        for widgets in neighbours.values()
        for number, one in enumerate(widgets)
        for other in widgets[:number]
        if one.geometry.intersects(other.geometry)
    ]


def wider_than(panel, width: int) -> list[str]:
    """Names, with their least widths, of what cannot be made as narrow as this, in pixels. Slicer's own widgets are not
    ours to judge."""
    found = []
    for widget in shown(panel):
        least, kind = widget.minimumSizeHint.width(), type(widget).__name__
        if least > width and kind not in _CONTAINERS and not kind.startswith("qMRML"):
            found.append(f"{widget.name or kind} {least}")
    return found


def fixed_heights(panel) -> dict[str, int]:
    """Heights, in pixels, of what may become neither higher nor lower, by its name."""
    return {w.name: w.minimumHeight for w in shown(panel) if w.name and w.minimumHeight == w.maximumHeight}


def open_sections(panel) -> None:
    """Also those within others."""
    closed = [w for w in shown(panel) if type(w).__name__ == "ctkCollapsibleButton" and w.collapsed]
    for section in closed:
        section.collapsed = False
    if closed:
        open_sections(panel)


def blurred_icons(folder: Path) -> list[str]:
    """Names of pictures in a folder of icons that a screen with two pixels for one shows blurred."""
    needed = 2 * qt.QApplication.style().pixelMetric(qt.QStyle.PM_LargeIconSize)
    return [path.name for path in folder.glob("*.png") if qt.QPixmap(str(path)).height() < needed]
