"""Trainings as processes of their own: paused, stopped, out of disk, and commands that a user got wrong."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from patience import PATIENCE
from tiny_training import TinyData, child, command, set_arguments


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Until it holds or the process has ended."""
    end = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "the child process is too slow"
        time.sleep(0.02)


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@pytest.fixture
def children() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts processes and leaves none behind."""
    started: list[subprocess.Popen] = []

    def start(*arguments: object, **options) -> subprocess.Popen:
        started.append(child(command(*arguments), **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def train_arguments(data: TinyData, run: Path, **changes) -> list[object]:
    data.lend_cache(run)
    return ["train", run, *data.arguments, *set_arguments(**changes)]


def test_a_live_run_is_paused_woken_and_stopped_and_lets_nobody_else_in(tiny_data, tmp_path, children, capsys):
    run = RunFolder(tmp_path / "run")
    process = children(*train_arguments(tiny_data, run.path, steps_per_epoch=100_000))
    arguments = str(run.path)

    def say(*words: str) -> tuple[int, str, str]:
        code = main([*words])
        out, err = capsys.readouterr()
        return code, out, err

    wait_until(lambda: run.in_use() and run.status().phase == "stage 1", process)
    code, out, _ = say("status", arguments)
    assert code == 0
    assert out.splitlines()[-1].startswith("running")

    train_again = ["train", arguments, *tiny_data.arguments]
    for words in (train_again, ["resume", arguments]):
        code, out, err = say(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("hipicmsc: ")

    assert say("pause", arguments)[0] == 0
    wait_until(lambda: run.status().state == "paused", process)
    assert say("status", arguments)[1].splitlines()[-1].startswith("paused")
    paused_at = run.checkpoints.last()["step"]
    time.sleep(0.5)
    assert run.status().step == paused_at

    code, out, _ = say("resume", arguments)
    assert (code, out) == (0, "The waiting process goes on.\n")
    wait_until(lambda: run.status().state == "running", process)
    assert run.status().pid == process.pid
    reported = len(run.metrics())
    wait_until(lambda: len(run.metrics()) > reported, process)

    assert say("stop", arguments)[0] == 0
    code, out, err = ended(process)
    assert code == 0, err
    assert out.startswith("paused: ")
    status = run.status()
    assert (status.state, status.phase) == ("paused", "stopped")
    assert run.checkpoints.last()["step"] == status.step > paused_at

    code, _, err = say("stop", arguments)
    assert (code, err) == (2, f"hipicmsc: No process is training in {run.path}.\n")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path | None]:
    """A file system of 16 MB, or None where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True
    )
    if not mounted or mounted.returncode:
        yield None
        return
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def small_files_only() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stays_good(
    tiny_data, tmp_path, small_disk, children, one_thread
):
    run = tiny_data.start((small_disk or tmp_path) / "run", steps_per_epoch=2, stage1_epochs=0, stage2_epochs=1)
    run.request("STOP")
    Trainer(run).train()
    before = run.checkpoints.last_file.read_bytes()
    if small_disk:
        free = shutil.disk_usage(small_disk).free
        (small_disk / "filler").write_bytes(bytes(free - 300_000))
        process = children("resume", run.path)
    else:
        process = children("resume", run.path, preexec_fn=small_files_only)
    code, _, err = ended(process)
    assert code == 2
    assert [line for line in err.splitlines() if not line.startswith("[")] == [
        f"hipicmsc: The disk of the folder {run.checkpoints.folder} is full; nothing was written. Make room there and "
        "try again. The checkpoint of step 0 is kept; resume starts there."
    ]
    assert run.checkpoints.last_file.read_bytes() == before
    assert run.checkpoints.last()["step"] == 0
    assert run.status().state == "failed"
    assert "full" in run.status().sentence
    if small_disk:
        (small_disk / "filler").unlink()
    assert Trainer(run).train().state == "finished"


def test_a_users_mistake_is_exit_code_2_and_a_single_sentence(tmp_path, children):
    process = children("train", tmp_path / "run", "--ct", tmp_path / "ct", "--mri", tmp_path / "mri")
    assert ended(process) == (2, "", f"hipicmsc: There is no folder {tmp_path / 'ct'}.\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--ct and --mri"),
        (["--dataset", "nowhere.json"], "nowhere.json"),
        (["--preset", "huge"], "paper, cpu-small, slabs, corrections, smoke"),
        (["--method", "magic"], "icmsc"),
        (["--set", "colour=1"], "colour"),
        (["--set", "batch_size"], "NAME=VALUE"),
        (["--set", "batch_size=two"], "batch_size"),
        (["--set", "imsc_weight=heavy"], "imsc_weight"),
        (["--set", "segmenter.depth=3"], "depth"),
    ],
)
def test_training_commands_that_cannot_be_meant(tmp_path, capsys, arguments, words):
    assert main(["train", str(tmp_path / "run"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["status", "resume", "pause", "stop"])
def test_commands_on_a_folder_without_a_run(tmp_path, capsys, name):
    assert main([name, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"hipicmsc: {tmp_path} holds no run.\n"


def test_a_device_that_is_not_there_fails_the_run_in_a_sentence(tiny_data, tmp_path, capsys):
    path = tmp_path / "run"
    assert main([*map(str, train_arguments(tiny_data, path, device="warp"))]) == 2
    assert "warp" in capsys.readouterr().err.splitlines()[-1]
    assert main(["status", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("failed. There is no device warp")


def test_a_training_of_a_user_ends_finished_and_its_status_says_so(finished_run, capsys):
    assert main(["status", str(finished_run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "finished. Trained to the end."
    assert lines[-2].startswith("step 12 of 12, phase finished")
    assert [line.split(",")[0] for line in lines[:2]] == ["step 12", "step 12"]
    assert os.path.exists(finished_run.checkpoints.selected_file)


def test_a_time_limit_saves_the_step_at_hand_and_resume_goes_on_from_it(tiny_data, tmp_path, children):
    run = RunFolder(tmp_path / "run")
    process = children(*train_arguments(tiny_data, run.path, steps_per_epoch=100_000))
    wait_until(lambda: run.in_use() and run.status().step > 2, process)
    process.send_signal(signal.SIGTERM)
    code, _, error = ended(process)
    assert code == 0, error
    status = run.status()
    assert (status.state, status.phase) == ("paused", "stopped")
    assert run.checkpoints.last()["step"] == status.step > 2


def test_a_time_limit_while_volumes_are_read_leaves_a_run_that_resumes(tiny_data, tmp_path, children):
    run = RunFolder(tmp_path / "run")
    process = children("train", run.path, *tiny_data.arguments, *set_arguments(steps_per_epoch=1))
    wait_until(lambda: run.in_use() and run.status().phase == "preparing", process)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130
    assert run.status().state == "paused" and "resume" in run.status().sentence
    resumed = children("resume", run.path)
    wait_until(lambda: run.status().step > 0, resumed)
    assert resumed.poll() is None or resumed.returncode == 0


def test_a_run_moves_with_its_data_and_takes_no_other_images(tiny_data, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(tiny_data.folder, moved)
    run = RunFolder(tmp_path / "run")
    assert main([str(word) for word in train_arguments(tiny_data, run.path, steps_per_epoch=1)]) == 0
    before = (run.path / "run.json").read_text()
    mris = sorted((moved / "mri").iterdir())
    names = [path.read_bytes() for path in mris]
    noisy = sitk.ReadImage(str(mris[0])) + 1
    sitk.WriteImage(sitk.AdditiveGaussianNoise(noisy, 50.0), str(mris[0]))
    data = ["--ct", str(moved / "ct"), "--mri", str(moved / "mri")]
    capsys.readouterr()
    assert main(["resume", str(run.path), *data]) == 2
    assert (run.path / "run.json").read_text() == before
    for path, content in zip(mris, names, strict=True):
        path.write_bytes(content)
    # What the networks read of them may be gone, or be made otherwise by a later version; a format may be another.
    shutil.rmtree(run.cache)
    sitk.WriteImage(sitk.ReadImage(str(mris[1])), str(mris[1].with_name("mri01.nrrd")))
    mris[1].unlink()
    assert main(["resume", str(run.path), *data]) == 0
    assert str(moved) in (run.path / "run.json").read_text()
    assert str(tiny_data.folder) not in (run.path / "run.json").read_text().split('"command"')[0]
