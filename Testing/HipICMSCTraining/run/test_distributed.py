"""Several processes under torchrun train as one: two gloo processes on the CPU."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import torch
from HipICMSCLib.models.package import read_package
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from tiny_training import child, set_arguments


def torchrun(*arguments: object) -> subprocess.Popen:
    return child(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, arguments)]
    )


def finish(process: subprocess.Popen) -> str:
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, err[-3000:]
    return out


def test_a_training_under_torchrun_finishes_and_exports(tiny_data, tmp_path):
    run = RunFolder(tmp_path / "run")
    tiny_data.lend_cache(run.path)
    cli = ["-m", "HipICMSCTrainingLib.cli"]
    out = finish(torchrun(*cli, "train", run.path, *tiny_data.arguments, *set_arguments(steps_per_epoch=2)))
    assert "finished: Trained to the end." in out
    status = run.status()
    assert (status.state, status.step) == ("finished", 6)
    assert [line["step"] for line in run.metrics() if "scores" in line] == [2, 2, 4, 4, 6, 6]
    file = tmp_path / "m.hipmodel"
    export_package(run, file)
    assert read_package(file).network()(torch.zeros(1, 1, 24, 32)).shape == (1, 3, 24, 32)


@pytest.mark.slow
def test_a_training_under_torchrun_stops_on_request_and_is_resumed(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run", steps_per_epoch=40)
    resume = ["-m", "HipICMSCTrainingLib.cli", "resume", run.path]
    process = torchrun(*resume)
    while not run.metrics():
        assert process.poll() is None
        time.sleep(0.05)
    run.request("STOP")
    assert "paused: " in finish(process)
    assert (run.status().state, run.checkpoints.last()["step"]) == ("paused", run.status().step)
    finish(torchrun(*resume))
    assert (run.status().state, run.checkpoints.last()["step"]) == ("finished", 120)


@pytest.mark.slow
def test_a_schedulers_time_limit_under_torchrun_saves_the_training(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run", steps_per_epoch=100_000)
    process = torchrun("-m", "HipICMSCTrainingLib.cli", "resume", run.path)
    while not run.metrics():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to torchrun alone, which tells its processes
    process.communicate(timeout=600)
    status = run.status()
    assert (status.state, status.phase) == ("paused", "stopped")
    assert run.checkpoints.last()["step"] == status.step > 0
    assert not run.in_use()
