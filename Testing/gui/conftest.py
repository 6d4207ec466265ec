"""The bench: the real panels on PySide6, off-screen, with Slicer's real MRML behind them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install '.[test]')")
pytest.importorskip("trame_slicer.core", reason="slicer-core is not installed (pip install '.[slicer]')")


class Panel:
    """A module's widget as Slicer opens it."""

    def __init__(self, module, name: str, application) -> None:
        import pythonqt
        from PySide6 import QtWidgets

        self._application = application
        self.frame = pythonqt.qMRMLWidget()
        self.frame.isEntered = True
        QtWidgets.QVBoxLayout(self.frame)
        # In Slicer the layout of a module's widget is reached by a method, too.
        self.frame.layout = lambda: QtWidgets.QWidget.layout(self.frame)
        self.module = module
        self.widget = getattr(module, f"{name}Widget")(self.frame)
        self.widget.setup()
        self.widget.enter()
        self.ui, self.logic = self.widget.ui, self.widget.logic

    def wait(self, until: Callable[[], bool], seconds: float = 300) -> None:
        """Let Qt work until something is so."""
        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit
            self._application.processEvents()
            time.sleep(0.01)

    def picture(self, path: Path) -> None:
        """Render the panel as a PNG of a width that is usual in Slicer."""
        from PySide6 import QtWidgets

        QtWidgets.QWidget.resize(self.frame, 420, 340)
        QtWidgets.QWidget.grab(self.frame).save(str(path))

    def close(self) -> None:
        self.widget.cleanup()
        for selector in vars(self.ui).values():
            if hasattr(selector, "setMRMLScene"):
                selector.setMRMLScene(None)


@pytest.fixture(scope="session")
def bench():
    """(app, application): Slicer's scene and Qt's event loop."""
    import pythonqt
    import slicer_stand_ins
    from PySide6.QtWidgets import QApplication
    from trame_slicer.core import SlicerApp

    application = QApplication([])
    app = SlicerApp()
    slicer_stand_ins.install(app)
    pythonqt.install()
    return app, application


@pytest.fixture
def open_panel(bench):
    """Opens a module in an empty scene."""
    import slicer_stand_ins

    app, application = bench
    opened = []

    def open_module(name: str) -> Panel:
        opened.append(Panel(slicer_stand_ins.load_module(name), name, application))
        return opened[-1]

    app.scene.Clear()
    yield open_module
    for panel in opened:
        panel.close()
    app.scene.Clear()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Where the tests leave pictures of the panels for whoever wants to look: PANEL_PICTURES, or nowhere for long."""
    folder = Path(os.environ.get("PANEL_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
