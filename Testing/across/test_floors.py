"""`make lint` is red as soon as a room imports from a floor above it, and names who did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = {"HipICMSC": "HipICMSCLib", "HipICMSCTraining": "HipICMSCTrainingLib"}


@pytest.fixture
def house(tmp_path) -> Path:
    """A copy of both libraries, to be built wrongly."""
    for module, library in LIBRARIES.items():
        shutil.copytree(
            ROOT / module / library, tmp_path / library, ignore=lambda folder, names: set(names) & {"__pycache__"}
        )
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            *("--config", ROOT / "pyproject.toml", "--no-cache", "--no-logo"),
        ],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
    )


def test_the_house_stands(house):
    done = lint(house)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("room", "upward"),
    [
        ("HipICMSCLib/common/files.py", "HipICMSCLib.reading.volume"),
        ("HipICMSCLib/preprocessing/crop.py", "HipICMSCLib.networks.slab_unet"),
        ("HipICMSCLib/engine.py", "HipICMSCTrainingLib.settings.training"),
        ("HipICMSCLib/worker/upward.py", "slicer"),
        ("HipICMSCTrainingLib/data/batches.py", "HipICMSCTrainingLib.run.trainer"),
        ("HipICMSCTrainingLib/gui/scene/upward.py", "HipICMSCTrainingLib.gui.panels.panel"),
    ],
)
def test_no_room_imports_upward(house, room, upward):
    with (house / room).open("a") as source:
        source.write(f"\nimport {upward}\n")
    done = lint(house)
    assert done.returncode == 1
    importer = room.removesuffix(".py").replace("/", ".")
    assert f"{importer} ->" in done.stdout and upward in done.stdout, done.stdout


def test_a_new_room_needs_a_floor(house):
    room = house / "HipICMSCLib" / "attic"
    room.mkdir()
    (room / "__init__.py").write_text('"""A room that nobody planned."""\n')
    done = lint(house)
    assert done.returncode == 1
    assert "attic" in done.stdout
