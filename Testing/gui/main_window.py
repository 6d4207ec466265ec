"""Slicer's main window as far as it bears on a module's panel: a dock with a scroll area, beside the views.

In Slicer the least width of the panel becomes that of the scroll area, so of the dock, so of the window: a panel that
asks for more with each layout pass makes the window grow without end. This window does the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pythonqt
from PySide6 import QtCore, QtGui, QtWidgets

#: What a panel has of a screen of 1,366 × 768 with Slicer's menu, tool bars, help, Data Probe and status bar around it.
LAPTOP = (1366, 768)
DESKTOP = (1900, 1150)
#: What a user leaves to the panel.
PANEL_WIDTH = 400
_ABOVE, _HELP, _DATA_PROBE, _STATUS = 100, 30, 160, 28
#: A screen no window can be wider than; one that wants more is cut here.
_WIDEST = 16000


class MainWindow:
    """Holds one panel until :meth:`close`.

    Attributes:
        widget: what ``slicer.util.mainWindow()`` is in Slicer.
    """

    def __init__(self, application: QtWidgets.QApplication, panel: QtWidgets.QWidget, size: tuple[int, int]) -> None:
        """
        Args:
            panel: the module's widget; it is given back by :meth:`close`.
            size: of the screen, pixels.
        """
        self._application, self._panel = application, panel
        self.widget = pythonqt.QT["QMainWindow"]()
        views = QtWidgets.QLabel()
        views.setMinimumSize(200, 100)
        views.setStyleSheet("background: black")
        self.widget.setCentralWidget(views)
        self._area = QtWidgets.QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        content = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        # Slicer's module panel takes the margins of the module's own layout away.
        QtWidgets.QWidget.layout(panel).setContentsMargins(0, 0, 0, 0)
        column.addWidget(panel)
        QtWidgets.QWidget.show(panel)
        self._area.setWidget(content)
        self._follower = _MinimumWidth(self._area)
        side = QtWidgets.QWidget()
        parts = QtWidgets.QVBoxLayout(side)
        parts.setContentsMargins(0, 0, 0, 0)
        parts.setSpacing(0)
        for part in (_strip("Help & Acknowledgement", _HELP), self._area, _strip("Data Probe", _DATA_PROBE)):
            parts.addWidget(part)
        dock = QtWidgets.QDockWidget("Module Panel")
        dock.setTitleBarWidget(QtWidgets.QWidget())
        dock.setWidget(side)
        self.widget.addDockWidget(QtCore.Qt.LeftDockWidgetArea, dock)
        self.widget.setMenuWidget(_strip("File  Edit  View  Help", _ABOVE))
        status = QtWidgets.QStatusBar()
        status.setFixedHeight(_STATUS)
        self.widget.setStatusBar(status)
        self.widget.setMaximumWidth(_WIDEST)
        self.widget.resize(*size)
        self.widget.resizeDocks([dock], [PANEL_WIDTH], QtCore.Qt.Horizontal)
        self.widget.show()
        self.pass_time()

    @property
    def width(self) -> int:
        """Of the window, pixels."""
        return self.widget.width

    @property
    def panel_width(self) -> int:
        """What the panel takes of it, with its scroll bar."""
        return self._area.width()

    def pass_time(self, seconds: float = 0.3) -> None:
        """Let layout passes, timers and what they bring about happen."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self._application.processEvents()
            time.sleep(0.01)

    def settle(self, unsettled: Callable[[], object], seconds: float = 10.0) -> None:
        """Let layout passes happen until nothing is unsettled any more, on a slow machine for longer."""
        limit = time.monotonic() + seconds
        self.pass_time(0.1)
        while unsettled() and time.monotonic() < limit:
            self.pass_time(0.1)

    def is_in_view(self, widget: QtWidgets.QWidget) -> bool:
        """Whether all of a widget can be seen without scrolling."""
        if not QtWidgets.QWidget.isVisible(widget):
            return False
        size = QtWidgets.QWidget.size(widget)
        corner = QtWidgets.QWidget.mapTo(widget, self._area.viewport(), QtCore.QPoint(0, 0))
        return self._area.viewport().rect().contains(QtCore.QRect(corner, size))

    def shows_top_of(self, widget: QtWidgets.QWidget) -> bool:
        """Whether the heading of a section can be seen without scrolling."""
        corner = QtWidgets.QWidget.mapTo(widget, self._area.viewport(), QtCore.QPoint(0, 0))
        return QtWidgets.QWidget.isVisible(widget) and self._area.viewport().rect().contains(corner)

    def scroll_to(self, widget: QtWidgets.QWidget) -> None:
        self.pass_time()
        self._area.ensureWidgetVisible(widget)

    def picture(self, path: Path) -> None:
        """What a user sees."""
        self.pass_time()
        self.widget.grab().save(str(path))

    def close(self) -> None:
        self._follower.end()
        QtWidgets.QWidget.hide(self._panel)
        QtWidgets.QWidget.setParent(self._panel, None)
        self.widget.close()
        self.widget.deleteLater()
        self._application.processEvents()


class _MinimumWidth(QtCore.QObject):
    """Keeps the scroll area as wide as its content must be, as Slicer's module panel does."""

    def __init__(self, area: QtWidgets.QScrollArea) -> None:
        super().__init__()
        self._area = area
        area.widget().installEventFilter(self)

    def end(self) -> None:
        self._area.widget().removeEventFilter(self)

    def eventFilter(self, watched, event) -> bool:
        if event.type() in (QtCore.QEvent.LayoutRequest, QtCore.QEvent.Resize):
            beside = self._area.verticalScrollBar().sizeHint().width() + 2 * self._area.frameWidth()
            self._area.setMinimumWidth(watched.minimumSizeHint().width() + beside)
        return False


def _strip(text: str, height: int) -> QtWidgets.QLabel:
    label = QtWidgets.QLabel(f"  {text}")
    label.setFixedHeight(height)
    label.setAutoFillBackground(True)
    return label


def dark_palette() -> QtGui.QPalette:
    """The colours of Slicer's dark style."""
    palette, role = QtGui.QPalette(), QtGui.QPalette
    light, ground, base = QtGui.QColor(225, 225, 225), QtGui.QColor(53, 53, 53), QtGui.QColor(35, 35, 35)
    for of in (role.Window, role.Button, role.AlternateBase):
        palette.setColor(of, ground)
    palette.setColor(role.Base, base)
    for of in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText):
        palette.setColor(of, light)
    palette.setColor(role.ToolTipBase, base)
    palette.setColor(role.Highlight, QtGui.QColor(42, 130, 218))
    palette.setColor(role.HighlightedText, QtGui.QColor(0, 0, 0))
    palette.setColor(role.PlaceholderText, QtGui.QColor(140, 140, 140))
    for of in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(role.Disabled, of, QtGui.QColor(127, 127, 127))
    return palette
