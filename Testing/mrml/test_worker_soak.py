"""A short version of Testing/benchmarks/worker_soak.py: one worker for many segmentations holds no more at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import slicer_stand_ins

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what a process holds as Linux tells it")
def test_eighty_segmentations_leave_neither_memory_nor_files(slicer_app, tmp_path):
    """The bound is below what would be left if each segmentation forgot to let go of its volume and result."""
    import worker_soak

    slicer_stand_ins.install(slicer_app)
    readings, came_of = worker_soak.soak(slicer_app, 80, seed=1, folder=tmp_path)
    grown = worker_soak.growth(readings)
    assert len({reading.worker_pid for reading in readings}) == 1
    assert came_of["segmented"] == 80 and came_of["cancelled"] and came_of["damaged_model"] and came_of["no_hip"]
    assert grown["worker_mib"] < 7 and grown["client_mib"] < 7, grown
    assert grown["worker_files"] == grown["client_files"] == grown["client_threads"] == 0, grown
    assert grown["temporary_files"] == 0, grown
