"""Whatever ends a training leaves a state, a sentence and the last good checkpoint; once the cause is gone, it resumes
and ends in the very weights of a training that nothing interrupted."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.slice_cache import cache_file
from HipICMSCTrainingLib.gui.running import training_process
from HipICMSCTrainingLib.run import watchers
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.run.trainer import Trainer
from killed_training import CHECKPOINT, METRICS, PREVIEW, Moment, losses_at_the_end, random_moments, train_and_kill
from tiny_training import SLAB_ASSIGNMENTS, at_step, set_arguments, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")

needs_inotify = pytest.mark.skipif(sys.platform != "linux", reason="inotify tells when a file is begun")


@pytest.fixture
def talkative(monkeypatch):
    """The run reports after every step, so that something can happen to it at a certain one."""
    monkeypatch.setattr(watchers, "HEARTBEAT_SECONDS", 0.0)


@pytest.fixture
def run(tiny_data, tmp_path) -> RunFolder:
    return tiny_data.start(tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    _mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Permissions do not bind root, a mount does."""
    folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    if os.geteuid() != 0:
        for path in folders:
            path.chmod(0o500)
        yield
        for path in folders:
            path.chmod(0o700)
        return
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,bind,ro", str(folder))
    yield
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, *arguments], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount anything")


def ended_by_itself(run: RunFolder, report: Callable = lambda status: None) -> HipError:
    with pytest.raises(HipError) as caught:
        Trainer(run, report).train()
    assert not run.in_use()
    return caught.value


def assert_resumes_to_the_same_end(run: RunFolder, unbroken: RunFolder) -> None:
    assert Trainer(run).train().state == "finished"
    assert losses_at_the_end(run, unbroken) == []


# Killed. Testing/benchmarks/training_kills.py does the same a hundred times.


@needs_inotify
def test_killed_while_it_writes_nothing_is_lost(tiny_data, finished_run, tmp_path):
    run = RunFolder(tmp_path / "run")
    tiny_data.lend_cache(run.path)
    start = ["train", run.path, *tiny_data.arguments, *set_arguments(checkpoint_minutes=0.0)]
    moments = [Moment(0.0003, CHECKPOINT, 3), Moment(0.0003, PREVIEW), Moment(0.0003, METRICS, 2)]
    outcome = train_and_kill(run, start, moments, finished_run)
    assert outcome.losses == []
    assert len(outcome.where) == 3


@needs_inotify
@pytest.mark.slow
def test_killed_in_each_of_the_four_stages_on_slabs_nothing_is_lost(slab_data, finished_slab_run, tmp_path):
    run = RunFolder(tmp_path / "run")
    slab_data.lend_cache(run.path)
    start = ["train", run.path, *slab_data.arguments, *set_arguments(SLAB_ASSIGNMENTS, checkpoint_minutes=0.0)]
    # A checkpoint is written after each step, and each stage has four.
    moments = [Moment(0.0003, CHECKPOINT, 3), *[Moment(0.0003, CHECKPOINT, 4)] * 3]
    outcome = train_and_kill(run, start, moments, finished_slab_run)
    assert outcome.losses == []
    assert len(outcome.where) == 4


@needs_inotify
@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost(tiny_data, finished_run, tmp_path):
    run, seed = RunFolder(tmp_path / "run"), time.time_ns()
    start = ["train", run.path, *tiny_data.arguments, *set_arguments(checkpoint_minutes=0.0)]
    outcome = train_and_kill(run, start, islice(random_moments(random.Random(seed), 8.0), 20), finished_run)
    assert outcome.losses == [], seed


# A disk without room, or that takes nothing any more.


def test_without_a_byte_left_on_the_disk_it_still_says_why_it_ended(tiny_data, finished_run, small_disk, talkative):
    run = tiny_data.start(small_disk / "run")
    filler = small_disk / "filler"

    def fill() -> None:
        with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    error = ended_by_itself(run, at_step(6, fill))
    status = run.status()
    assert (error.kind, status.state, status.kind, status.step) == ("disk_full", "failed", "disk_full", 7)
    assert status.sentence == (
        f"The disk of the folder {run.path} is full; nothing was written. Make room there and try again. "
        "The checkpoint of step 4 is kept; resume starts there."
    )
    assert (run.checkpoints.last()["step"], training_process.state_of(run)) == (4, "failed")
    filler.unlink()
    assert_resumes_to_the_same_end(run, finished_run)


def test_a_folder_that_becomes_read_only_is_said_to_be_so(run, finished_run, talkative):
    closed = contextlib.ExitStack()
    error = ended_by_itself(run, at_step(6, lambda: closed.enter_context(read_only(run.path))))
    with closed:
        assert error.kind == "read_only"
        assert error.sentence.endswith("The checkpoint of step 4 is kept; resume starts there.")
        status = run.status()
        assert (status.state, training_process.state_of(run)) == ("lost", "lost")
        assert "may not be written to" in status.sentence
        assert run.checkpoints.last()["step"] == 4
        # Nor is it resumed, woken or asked for anything, all of which would have to be written down.
        for name in ("resume", "stop"):
            assert main([name, str(run.path)]) == 2
        with pytest.raises(HipError):
            training_process.resume(run)
    assert_resumes_to_the_same_end(run, finished_run)


# Files that went away.


def test_data_cache_and_pictures_that_went_away_are_missed_by_name_and_can_come_back(run, tiny_data, finished_run):
    run.request("STOP")
    Trainer(run).train()
    before = run.checkpoints.last_file.read_bytes()
    for case in tiny_data.dataset.of("MR", "train"):
        cache_file(case, tiny_settings(), run.cache).unlink()
    shutil.rmtree(run.previews)
    data, elsewhere = tiny_data.folder / "mri", tiny_data.folder / "elsewhere"
    data.rename(elsewhere)
    try:
        error, status = ended_by_itself(run), run.status()
    finally:
        elsewhere.rename(data)
    assert (error.kind, status.state, status.kind) == ("missing_file", "failed", "missing_file")
    assert status.sentence.startswith("Case mri00: there is no file mri00.nii.gz any more")
    assert run.checkpoints.last_file.read_bytes() == before
    assert_resumes_to_the_same_end(run, finished_run)


# Clocks.


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_clock_that_is_set_while_it_trains_disturbs_nobody(run, finished_run, talkative, monkeypatch, hours):
    right, states = time.time, []

    def report(status: Status) -> None:
        states.append(run.status().state)
        if status.step == 5:
            monkeypatch.setattr(time, "time", lambda: right() + 3600 * hours)

    assert Trainer(run, report).train().state == "finished"
    assert set(states) == {"running", "finished"}
    assert losses_at_the_end(run, finished_run) == []


def test_a_run_that_seems_to_be_of_the_future_is_resumed(run, finished_run, capsys):
    run.request("STOP")
    Trainer(run).train()
    tomorrow = time.time() + 24 * 3600
    run.write_status(Status(**asdict(run.status()) | {"state": "running", "heartbeat": tomorrow}))
    for path in run.path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    assert run.status().state == "lost"
    assert main(["status", str(run.path)]) == 0
    assert "last sign of life 0 s ago" in capsys.readouterr().out
    assert_resumes_to_the_same_end(run, finished_run)
    assert run.status().heartbeat < tomorrow


# Numbers that are none.


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(tiny_data, finished_run, tmp_path, talkative):
    run = tiny_data.start(tmp_path / "run", checkpoint_minutes=0.0)

    def spoil() -> None:
        """As a fault of a graphics card may do: the losses of the next step are fine, its weights are not."""
        for state in trainer.method.optimizers["F"].state.values():
            state["exp_avg_sq"].fill_(-1.0)

    trainer = Trainer(run, at_step(6, spoil))
    with pytest.raises(HipError):
        trainer.train()
    status = run.status()
    assert (status.state, status.kind, status.step) == ("failed", "not_finite_loss", 7)
    assert status.sentence == (
        "The weights of F_s are no longer numbers at step 7; duplicate the run with lower learning rates or, if "
        "precision is bf16, with fp32. The checkpoint of step 6 is kept; resume starts there."
    )
    assert run.checkpoints.last()["step"] == 6
    assert_resumes_to_the_same_end(run, finished_run)
