"""The bench: the real panels on PySide6, off-screen, with Slicer's real MRML behind them."""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import wait

if TYPE_CHECKING:
    from main_window import MainWindow

os.environ["QT_QPA_PLATFORM"] = "offscreen"
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install '.[test]')")
pytest.importorskip("trame_slicer.core", reason="slicer-core is not installed (pip install '.[slicer]')")

PANEL_WIDTH = 460


class Panel:
    """A module's widget as Slicer opens it."""

    def __init__(self, module, name: str, application) -> None:
        import pythonqt
        from PySide6 import QtWidgets

        self._application = application
        self.frame = pythonqt.qMRMLWidget()
        self.frame.isEntered = False
        QtWidgets.QVBoxLayout(self.frame)
        # In Slicer the layout of a module's widget is reached by a method, too.
        self.frame.layout = lambda: QtWidgets.QWidget.layout(self.frame)
        self.name = name
        self._make(module)
        self.frame.isEntered = True
        self.widget.enter()

    def _make(self, module) -> None:
        import slicer

        self.module = module
        self.widget = getattr(module, f"{self.name}Widget")(self.frame)
        self.widget.setup()
        # Also what the sections of a panel hold, each of which knows only its own.
        self.ui, self.logic = slicer.util.childWidgetVariables(self.frame), self.widget.logic

    def reload(self) -> None:
        """As Slicer does: first the module's file, then the end of the old widget, then a new one in its place."""
        import slicer_stand_ins
        from PySide6 import QtWidgets

        module = slicer_stand_ins.load_module(self.name)
        layout = QtWidgets.QWidget.layout(self.frame)
        while layout.count():
            QtWidgets.QWidget.hide(layout.takeAt(0).widget())
        self.close()
        self._make(module)

    def wait(self, until: Callable[[], bool]) -> None:
        """Let Qt work until something is so."""
        wait(self._application, until)

    @contextmanager
    def held_at(self, share: float) -> Iterator[None]:
        """Let a segmentation go on until so much is done, and hear of no more as long as this lasts: a quick worker is
        done before anybody looks."""
        ear = self.logic.service._worker._ear
        held = ear.next_event = _Held(ear.next_event, share)
        try:
            self.wait(lambda: held.is_held)
            yield
        finally:
            del ear.next_event

    def card_text(self) -> str:
        """What the pre-flight card says."""
        from PySide6 import QtWidgets

        return " ".join(label.text for label in self.widget.panel.card.widget.findChildren(QtWidgets.QLabel))

    def picture(self, path: Path) -> None:
        """Render the panel as a PNG of a width that is usual in Slicer, as high as it needs."""
        from PySide6 import QtCore, QtWidgets

        # As in Slicer, where the panel lies in a scroll area: labels that wrap get the height that their width needs.
        before = QtWidgets.QWidget.parentWidget(self.frame)
        area = QtWidgets.QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.frame)
        area.resize(PANEL_WIDTH, 4000)
        area.show()
        for _ in range(20):
            self._application.processEvents()
            time.sleep(0.01)
        used = QtWidgets.QWidget.layout(self.frame).heightForWidth(self.frame.width)
        QtWidgets.QWidget.grab(self.frame, QtCore.QRect(0, 0, PANEL_WIDTH, used)).save(str(path))
        area.takeWidget()
        if before is not None:
            QtWidgets.QWidget.layout(before).addWidget(self.frame)
            QtWidgets.QWidget.show(self.frame)

    def window(self, size: tuple[int, int] = (1366, 768)) -> MainWindow:
        """Slicer's main window with the panel in it, on a screen of this size."""
        from main_window import MainWindow

        return MainWindow(self._application, self.frame, size)

    @contextmanager
    def in_window(self, size: tuple[int, int]) -> Iterator[MainWindow]:
        """Show the panel in Slicer's main window for a while."""
        window = self.window(size)
        try:
            yield window
        finally:
            window.close()

    def close(self) -> None:
        self.widget.cleanup()
        for selector in vars(self.ui).values():
            if hasattr(selector, "setMRMLScene"):
                selector.setMRMLScene(None)


class _Held:
    """Hands on what a worker said up to a share of its work."""

    def __init__(self, next_event, share: float) -> None:
        self._next, self._share = next_event, share
        self.is_held = False

    def __call__(self):
        from HipICMSCLib.worker.protocol import Progress

        if self.is_held:
            raise queue.Empty
        event = self._next()
        self.is_held = isinstance(event, Progress) and event.share >= self._share
        return event


class ModuleManager:
    """Opens each module once; one of them is the selected one."""

    def __init__(self, open_panel: Callable[[str], Panel]) -> None:
        self._open_panel = open_panel
        self._opened: dict[str, Panel] = {}
        self._selected = ""
        #: Slicer's main window with the selected module in it.
        self.window: MainWindow | None = None

    def selectModule(self, name: str) -> None:
        if name == self._selected:
            return
        if self._selected:
            before = self._opened[self._selected]
            before.widget.exit()
            before.frame.isEntered = False
        self.close_window()
        if name in self._opened:
            self._opened[name].frame.isEntered = True
            self._opened[name].widget.enter()
        else:
            self._opened[name] = self._open_panel(name)
        self._selected = name
        self.window = self._opened[name].window()

    def close_window(self) -> None:
        if self.window is not None:
            self.window.close()
            self.window = None

    def reloadScriptedModule(self, name: str) -> None:
        self._opened[name].reload()

    def mainWindow(self):
        return self.window and self.window.widget

    def getModuleWidget(self, name: str):
        return self._made(name).widget

    def getModuleLogic(self, name: str):
        return self._made(name).logic

    def _made(self, name: str) -> Panel:
        """A panel that nobody opened yet is made, but not shown."""
        if name not in self._opened:
            self._opened[name] = self._open_panel(name)
            self._opened[name].widget.exit()
            self._opened[name].frame.isEntered = False
        return self._opened[name]


@pytest.fixture(scope="session")
def bench():
    """(app, application): Slicer's scene and Qt's event loop."""
    import pythonqt
    import slicer
    import slicer_stand_ins
    from PySide6.QtWidgets import QApplication
    from trame_slicer.core import SlicerApp

    application = QApplication([])
    app = SlicerApp()
    slicer_stand_ins.install(app)
    pythonqt.install()
    slicer.app.processEvents = application.processEvents
    return app, application


@pytest.fixture(params=["light", "dark"])
def style(request, bench):
    """Slicer's own two styles."""
    from main_window import dark_palette

    application = bench[1]
    before = application.palette(), application.style().objectName()
    application.setStyle("Fusion")
    if request.param == "dark":
        application.setPalette(dark_palette())
    yield request.param
    application.setStyle(before[1])
    application.setPalette(before[0])


@pytest.fixture
def own_worker() -> None:
    """A test that asks for this has panels that start and end workers of their own."""


@pytest.fixture
def open_panel(bench, monkeypatch, request):
    """Opens a module in an empty scene."""
    import slicer_stand_ins
    import warm_workers

    app, application = bench
    opened = []
    if "own_worker" not in request.fixturenames:
        warm_workers.hand_on(monkeypatch)

    def open_module(name: str) -> Panel:
        opened.append(Panel(slicer_stand_ins.load_module(name), name, application))
        return opened[-1]

    app.scene.Clear()
    yield open_module
    for panel in opened:
        panel.close()
    app.scene.Clear()


@pytest.fixture
def panel(open_panel, ball_model, monkeypatch):
    """HipICMSC's panel with the ball model as the only one that ships, which is chosen."""
    from HipICMSCLib.models import chosen

    monkeypatch.setattr(chosen, "_SHIPPED", (ball_model.parent,))
    panel = open_panel("HipICMSC")
    panel.logic.getParameterNode().model = "balls"
    return panel


@pytest.fixture
def status_bar(monkeypatch) -> list[str]:
    """What Slicer's status bar was told."""
    import slicer

    said: list[str] = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))
    return said


@pytest.fixture
def module_manager(open_panel, monkeypatch):
    """Lets ``slicer.util`` select, reload and find modules with their panels and logics, as in Slicer's main window."""
    import slicer

    manager = ModuleManager(open_panel)
    for name in ("selectModule", "getModuleWidget", "getModuleLogic", "mainWindow", "reloadScriptedModule"):
        monkeypatch.setattr(slicer.util, name, getattr(manager, name), raising=False)
    libraries = {name: module for name, module in sys.modules.items() if name.startswith("HipICMSC")}
    yield manager
    manager.close_window()
    # The other tests go on with the modules that they know, whatever was reloaded.
    sys.modules.update(libraries)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Where the tests leave pictures of the panels for whoever wants to look: PANEL_PICTURES, or nowhere for long."""
    folder = Path(os.environ.get("PANEL_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
