"""Measured times come back as an expectation, and a file that is no use costs nothing but the expectation."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from HipICMSCLib.worker.run_times import RunTimes

MODEL, OTHER_MODEL = "a" * 64, "b" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "of the user" / "run-times.json"


def test_before_the_first_run_nothing_is_known(path):
    assert RunTimes(path).expected_seconds(MODEL, "cpu", 40) is None


def test_a_run_tells_the_time_of_a_longer_one_also_after_a_restart(path):
    RunTimes(path).record(MODEL, "cpu", 40, 20.0)
    assert RunTimes(path).expected_seconds(MODEL, "cpu", 60) == pytest.approx(30.0)


def test_an_outlier_does_not_matter(path):
    times = RunTimes(path)
    for seconds in (40.0, 41.0, 900.0, 39.0, 40.0):
        times.record(MODEL, "cpu", 40, seconds)
    assert times.expected_seconds(MODEL, "cpu", 40) == pytest.approx(40.0)


def test_models_and_devices_are_apart(path):
    times = RunTimes(path)
    times.record(MODEL, "cpu", 10, 100.0)
    times.record(MODEL, "NVIDIA H100", 10, 1.0)
    times.record(OTHER_MODEL, "cpu", 10, 30.0)
    assert times.expected_seconds(MODEL, "cpu", 10) == pytest.approx(100.0)
    assert times.expected_seconds(MODEL, "NVIDIA H100", 10) == pytest.approx(1.0)
    assert times.expected_seconds(OTHER_MODEL, "cpu", 10) == pytest.approx(30.0)
    assert times.expected_seconds(OTHER_MODEL, "NVIDIA H100", 10) is None


def test_only_the_last_twenty_runs_count_and_the_file_does_not_grow(path):
    """A faster computer, or a newer torch, is believed after twenty runs at most."""
    times = RunTimes(path)
    times.record(OTHER_MODEL, "cpu", 10, 7.0)
    for _ in range(30):
        times.record(MODEL, "cpu", 10, 50.0)
    size = path.stat().st_size
    for _ in range(20):
        times.record(MODEL, "cpu", 10, 5.0)
    assert times.expected_seconds(MODEL, "cpu", 10) == pytest.approx(5.0)
    assert path.stat().st_size <= size
    assert times.expected_seconds(OTHER_MODEL, "cpu", 10) == pytest.approx(7.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"runs": 3}',
        b'{"runs": [{"model": "x"}]}',
        b'{"runs": [{"model_sha256": "a", "device": "cpu", "slices": "many", "seconds": 1}]}',
    ],
)
def test_a_damaged_or_foreign_file_is_started_anew(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    times = RunTimes(path)
    assert times.expected_seconds(MODEL, "cpu", 10) is None
    times.record(MODEL, "cpu", 10, 5.0)
    assert times.expected_seconds(MODEL, "cpu", 10) == pytest.approx(5.0)


def test_impossible_numbers_in_the_file_are_left_out(path):
    runs = [
        {"model_sha256": MODEL, "device": "cpu", "slices": slices, "seconds": seconds}
        for slices, seconds in ((0, 5.0), (-3, 5.0), (10, float("nan")), (10, float("inf")), (10, -1.0), (10, 20.0))
    ]
    path.parent.mkdir()
    path.write_text(json.dumps({"runs": runs}))
    assert RunTimes(path).expected_seconds(MODEL, "cpu", 10) == pytest.approx(20.0)


def test_where_nothing_can_be_written_nothing_is_remembered_and_nothing_fails(tmp_path):
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    times = RunTimes(blocked / "run-times.json")
    times.record(MODEL, "cpu", 10, 5.0)
    assert times.expected_seconds(MODEL, "cpu", 10) is None


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="folders are not protected from this user")
def test_a_protected_folder_is_no_error(path):
    path.parent.mkdir()
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    RunTimes(path).record(MODEL, "cpu", 10, 5.0)
    assert not path.exists()


def test_the_file_says_nothing_but_model_device_slices_and_seconds(path):
    RunTimes(path).record(MODEL, "cpu", 10, 5.0)
    expected = {"runs": [{"model_sha256": MODEL, "device": "cpu", "slices": 10, "seconds": 5.0}]}
    assert json.loads(path.read_text()) == expected
