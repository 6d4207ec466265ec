"""The data section alone, a place for its file, and what it asks the user."""

from __future__ import annotations

from pathlib import Path

import pytest
import slicer_stand_ins
from data_section import Bench


@pytest.fixture
def data(bench):
    """The section of a user who does this for the first time, in an empty scene."""
    app, application = bench
    app.scene.Clear()
    slicer_stand_ins.QSettings.values.clear()
    opened = Bench(app, application)
    yield opened
    opened.panel.close()
    app.scene.Clear()


@pytest.fixture
def dialogs(data) -> list[tuple[str, str]]:
    """What Slicer would have said since the test began."""
    import pythonqt

    pythonqt.DIALOGS.clear()
    return pythonqt.DIALOGS


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "hips" / "dataset.json"
