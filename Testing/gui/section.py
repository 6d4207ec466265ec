"""A section of a panel on the bench, by itself in a scene with one slice view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from waiting import wait

_WIDTH = 420


class Section:
    """What a user sees of the section and of the slice view beside it.

    Attributes:
        view: a coronal slice view of 100 × 100 pixels.
    """

    def __init__(self, application, scene, panel) -> None:
        self.application, self.scene, self.panel, self.ui = application, scene, panel, panel.ui
        self.view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Green")
        self.view.SetLayoutName("Green")
        self.view.SetOrientation("Coronal")
        self.view.SetDimensions(100, 100, 1)
        panel.widget.show()

    @property
    def middle(self) -> np.ndarray:
        """RAS of what the slice view shows in its middle."""
        import slicer

        return (slicer.util.arrayFromVTKMatrix(self.view.GetXYToRAS()) @ (50, 50, 0, 1))[:3]

    def wait(self, until) -> None:
        wait(self.application, until)

    def picture(self, path: Path) -> None:
        self.application.processEvents()
        picture_of(self.application, self.panel.widget, path, _WIDTH)

    def close(self) -> None:
        self.panel.close()
        self.panel.widget.deleteLater()


@contextmanager
def opened(bench, kind: type[Section]) -> Iterator[Section]:
    """A section in a scene that has nothing else, and afterwards an empty scene again."""
    app, application = bench
    app.scene.Clear()
    section = kind(application, app.scene)
    yield section
    section.close()
    app.scene.Clear()


def picture_of(application, widget, path: Path, width: int) -> None:
    """Render a section of this width as a PNG, as high as it needs."""
    from PySide6 import QtWidgets

    QtWidgets.QWidget.resize(widget, width, 10)
    height = QtWidgets.QWidget.layout(widget).totalHeightForWidth(width)
    QtWidgets.QWidget.resize(widget, width, height)
    application.processEvents()
    QtWidgets.QWidget.grab(widget).save(str(path))
