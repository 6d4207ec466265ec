"""Slicer's own runtime without the desktop, one for the whole test process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def slicer_app():
    """The scene and logics of Slicer (``scene``, ``io_manager``, …), with `slicer.util` working on them."""
    core = pytest.importorskip("trame_slicer.core", reason="slicer-core is not installed (pip install '.[slicer]')")
    import slicer

    app = core.SlicerApp()
    slicer.mrmlScene = app.scene
    slicer.modules = SimpleNamespace(
        volumes=SimpleNamespace(logic=lambda: app.volumes_logic),
        segmentations=SimpleNamespace(logic=lambda: app.segmentations_logic),
    )
    return app
