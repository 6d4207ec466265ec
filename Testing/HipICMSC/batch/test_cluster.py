"""`hipicmsc segment --dask` on a cluster of two worker processes of this machine, which are killed for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from HipICMSCTrainingLib.cli import main

distributed = pytest.importorskip("distributed")


class Killer(distributed.WorkerPlugin):
    """Lets SIGKILL end a worker when a volume of this name has been segmented and is about to be written, as often as
    there are files in a folder of marks."""

    name = "killer"

    def __init__(self, volume: str, marks: Path) -> None:
        self.volume, self.marks = volume, marks

    def setup(self, worker) -> None:
        from HipICMSCLib.batch import one_volume

        self.write, one_volume.write_segmentation = one_volume.write_segmentation, self.write_or_end

    def teardown(self, worker) -> None:
        from HipICMSCLib.batch import one_volume

        one_volume.write_segmentation = self.write

    def write_or_end(self, labels, path: Path, about) -> None:
        # It is written beside its place, as .0123abcd-b.seg.nrrd.
        is_meant = path.name.partition("-")[2].startswith(self.volume)
        for mark in [*self.marks.iterdir()] if is_meant else []:
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        self.write(labels, path, about)


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def kills(cluster, tmp_path):
    """A function: so many workers are to end while they segment ``b``."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with distributed.Client(cluster, set_as_default=False) as client:
        client.register_plugin(Killer("b", marks))
        yield lambda count: [(marks / str(number)).touch() for number in range(count)]
        client.unregister_worker_plugin("killer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Volumes of several sizes, and a damaged one."""
    folder = tmp_path_factory.mktemp("volumes")
    for number, name in enumerate("abc"):
        sitk.WriteImage(ball_image(spacing=(4.0, 4.0, 4.0 + number)), str(folder / f"{name}.nrrd"))
    (folder / "damaged.nrrd").write_text("no volume")
    return folder


def segment(folder: Path, out: Path, model: Path, *more: object) -> tuple[int, list[dict]]:
    """The exit code, and the rows of the summary without what no two calls have in common."""
    summary = out.with_name(f"{out.name}-{time.monotonic_ns()}.json")
    arguments = ["segment", folder, "-o", out, "--model", model, "--device", "cpu", "--summary", summary, *more]
    code = main([str(argument) for argument in arguments])
    rows = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else []
    return code, [{key: value for key, value in row.items() if key not in ("seconds", "date")} for row in rows]


def states(rows: list[dict]) -> list[str]:
    """Of a, b, c and the damaged one; the summary has the most doubtful first."""
    return [row["state"] for row in sorted(rows, key=lambda row: row["name"])]


def voxels(out: Path) -> dict[str, np.ndarray]:
    return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(out.glob("*.nrrd"))}


def test_a_killed_worker_costs_a_retry_and_no_result_and_a_second_call_does_what_is_left(
    cluster, kills, folder, ball_model, tmp_path, capfd
):
    kills(1)
    here, there = tmp_path / "here", tmp_path / "there"
    expected = segment(folder, here, ball_model)
    capfd.readouterr()
    found = segment(folder, there, ball_model, "--dask", cluster.scheduler_address)
    said = capfd.readouterr()
    assert found == expected and found[0] == 2
    assert states(found[1]) == ["done", "done", "done", "failed"]
    assert said.err.count("its worker ended; it is tried once more") == 1
    results = voxels(there)
    assert results.keys() == {"a.seg.nrrd", "b.seg.nrrd", "c.seg.nrrd"}
    assert all(np.array_equal(voxels(here)[name], labels) and labels.any() for name, labels in results.items())

    (there / "c.seg.nrrd").unlink()
    before = {path: path.stat().st_mtime_ns for path in there.iterdir()}
    code, rows = segment(folder, there, ball_model, "--dask", cluster.scheduler_address)
    assert (code, states(rows)) == (2, ["skipped", "skipped", "done", "failed"])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert voxels(there).keys() == results.keys()


@pytest.mark.slow
def test_a_volume_that_ends_two_workers_is_set_aside_with_its_reason(cluster, kills, folder, ball_model, tmp_path):
    kills(2)
    code, rows = segment(folder, tmp_path / "out", ball_model, "--dask", cluster.scheduler_address)
    assert (code, states(rows)) == (2, ["done", "failed", "done", "failed"])
    (failed,) = (row for row in rows if Path(row["name"]).stem == "b")
    assert failed["sentence"].startswith("2 workers ended while they segmented this volume, so it was set aside")
    assert voxels(tmp_path / "out").keys() == {"a.seg.nrrd", "c.seg.nrrd"}
    # Workers are there again, and it is not their fault.
    code, rows = segment(folder, tmp_path / "out", ball_model, "--dask", cluster.scheduler_address)
    assert states(rows) == ["skipped", "done", "skipped", "failed"]


@pytest.mark.slow
def test_each_worker_loads_the_model_once_and_measures_lie_beside(cluster, folder, ball_model, tmp_path):
    """With another quality, so that no other test has loaded it already."""
    report = tmp_path / "report.json"
    more = ["--quality", "high", "--morphometry", "--report", report, "--dask", cluster.scheduler_address]
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for number in range(6):
        (volumes / f"{number}.nrrd").write_bytes((folder / "a.nrrd").read_bytes())
    assert segment(volumes, tmp_path / "out", ball_model, *more)[0] == 0
    loaded = {about["seconds"]["loading the model"] for about in json.loads(report.read_text())}
    assert 1 <= len(loaded) <= 2
    assert len([*(tmp_path / "out").glob("*-morphometry.csv")]) == 6


def test_where_no_cluster_answers_it_is_said_within_seconds_and_nothing_is_written(
    folder, ball_model, tmp_path, capfd, monkeypatch
):
    from HipICMSCLib.batch import cluster

    monkeypatch.setattr(cluster, "CONNECTING_SECONDS", 1.0)
    with socket.socket() as silent:  # somebody listens, but says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for address in (f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:1", "nonsense://x", "no address"):
            started = time.monotonic()
            code, rows = segment(folder, tmp_path / "out", ball_model, "--dask", address)
            assert time.monotonic() - started < 20, address
            said = capfd.readouterr()
            assert (code, rows) == (2, [])
            assert said.err.startswith(f"hipicmsc: The dask cluster at {address} does not answer; "), said.err
            assert (said.err.count("\n"), said.out) == (1, "")
    assert [*(tmp_path / "out").iterdir()] == []


def test_without_dask_the_sentence_says_how_to_get_it(folder, ball_model, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert segment(folder, tmp_path / "out", ball_model, "--dask", "tcp://127.0.0.1:1") == (2, [])
    assert "pip install distributed" in capfd.readouterr().err
