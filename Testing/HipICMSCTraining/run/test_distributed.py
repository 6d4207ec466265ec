"""Several processes under torchrun train as one: two gloo processes on the CPU."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.package import read_package
from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from tiny_training import child, set_arguments

#: Of a step that gives no number.
SPOILED = 5
#: Seconds in which all processes have ended once one was killed.
SOON = 60


def torchrun(*arguments: object, processes: int = 2) -> subprocess.Popen:
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return child([sys.executable, *many, *map(str, arguments)])


def process_of(torchrun: subprocess.Popen, rank: int) -> int:
    """The process of a rank by its id."""
    children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
    (found,) = (pid for pid in children if f"\0RANK={rank}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes())
    return int(found)


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


def test_self_training_under_torchrun_learns_from_what_the_first_process_read(slab_data, tmp_path):
    only = dict.fromkeys(("simulation_epochs", "stage1_epochs", "stage2_epochs"), 0)
    run = slab_data.start(tmp_path / "run", **only, self_training_epochs=1, steps_per_epoch=2)
    finish(torchrun("-m", "HipICMSCTrainingLib.cli", "resume", run.path))
    assert (run.status().state, run.status().step) == ("finished", 2)
    assert run.checkpoints.lessons_file.exists()


def test_a_loss_that_is_no_number_in_one_process_ends_both_with_the_sentence_of_one(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run")
    process = torchrun(__file__, run.path)
    _, err = process.communicate(timeout=600)
    sentence = (
        "The loss rec_t is no longer a number at step 6; duplicate the run with lower learning rates or, if precision "
        "is bf16, with fp32."
    )
    assert process.returncode != 0
    status = run.status()
    assert (status.state, status.kind, status.step) == ("failed", "not_finite_loss", 6)
    assert status.sentence == f"{sentence} The checkpoint of step 4 is kept; resume starts there."
    assert (tmp_path / "said.txt").read_text(encoding="utf-8") == sentence, err[-3000:]


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which process is which")
@pytest.mark.parametrize(("killed", "processes"), [(1, 1), (0, 3)])
def test_a_killed_process_ends_the_others_with_a_sentence_and_any_number_of_processes_goes_on(
    tiny_data, tmp_path, killed, processes
):
    # Epochs as long as the data make them: half as many steps for two processes as for one.
    run = tiny_data.start(tmp_path / "run", steps_per_epoch=None, checkpoint_minutes=0.0)
    resume = ["-m", "HipICMSCTrainingLib.cli", "resume", run.path]
    process = torchrun(*resume)
    while not run.checkpoints.last_file.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process_of(process, killed), signal.SIGKILL)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode != 0
    said = [line for line in err.splitlines() if line.startswith("hipicmsc: ")]
    assert len(said) == 1
    assert "Another process of this training ended" in said[0]
    assert "trainer.py" not in err  # the only traceback is torchrun's own
    status, step = run.status(), run.checkpoints.last()["step"]
    if killed:
        assert (status.state, status.kind) == ("failed", "process_lost")
        assert f"The checkpoint of step {step} is kept" in status.sentence
    assert not run.in_use()
    steps = status.total_steps
    assert 0 < step < steps
    finish(torchrun(*resume, processes=processes))
    assert (run.status().state, run.status().step, run.status().total_steps) == ("finished", steps, steps)


def train_with_a_loss_that_is_no_number(path: str) -> None:
    """What each of two processes does: the second spoils a loss. What it says is kept beside the run."""
    torch.set_num_threads(1)
    train_step, rank = Icmsc.train_step, os.environ["RANK"]

    def spoiled(self, batch, moment, random):
        losses = train_step(self, batch, moment, random)
        return losses | {"rec_t": math.nan} if moment.step == SPOILED and rank == "1" else losses

    Icmsc.train_step = spoiled
    try:
        Trainer(RunFolder(Path(path))).train()
    except HipError as error:
        if rank == "1":
            Path(path).with_name("said.txt").write_text(error.sentence, encoding="utf-8")
        raise


if __name__ == "__main__":
    train_with_a_loss_that_is_no_number(sys.argv[1])
