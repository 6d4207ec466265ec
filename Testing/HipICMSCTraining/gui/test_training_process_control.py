"""Trainings as Slicer starts them outlive whoever started them; anybody may pause, resume and stop them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.setup.child_process import end_tree
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.gui.running import training_process
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import Status
from patience import PATIENCE
from tiny_training import set_arguments

PARENT = """
import sys, time
from pathlib import Path
from HipICMSCTrainingLib.gui.running import training_process
training_process.start(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
print("started", flush=True)
time.sleep(600)
"""
ENDLESS = {"steps_per_epoch": 100_000}


@pytest.fixture
def dataset(tiny_data, tmp_path, monkeypatch) -> Path:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    write_dataset_file(tiny_data.dataset, tmp_path / "dataset.json")
    return tmp_path / "dataset.json"


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    for process in training_process._processes.values():
        end_tree(process.process)
    training_process._processes.clear()


def wait(until: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < limit
        time.sleep(0.02)


def arguments(**changes) -> list[str]:
    return ["--method", "icmsc", "--preset", "smoke", *set_arguments(**changes)]


def step_of(run: RunFolder) -> int:
    return run.status().step if training_process.is_run(run.path) else 0


def kind_of(action: Callable[[], object]) -> str:
    with pytest.raises(HipError) as caught:
        action()
    return caught.value.kind


def test_a_training_outlives_a_killed_parent_and_is_controlled_by_another_process(tiny_data, dataset, tmp_path):
    run = RunFolder(tmp_path / "runs" / "first")
    tiny_data.lend_cache(run.path)
    command = [sys.executable, "-c", PARENT, str(run.path), str(dataset), *arguments(**ENDLESS)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with parent:
        assert parent.stdout.readline() == "started\n"
        os.killpg(parent.pid, signal.SIGKILL)
    wait(lambda: step_of(run) > 0)
    assert training_process.state_of(run) == "running"
    assert training_process.runs_started_here() == []

    training_process.pause(run)
    wait(lambda: training_process.state_of(run) == "paused")
    paused_at = step_of(run)
    assert kind_of(lambda: training_process.start(run.path, dataset, arguments())) == "folder_in_use"
    training_process.resume(run)
    wait(lambda: step_of(run) > paused_at)

    training_process.stop_all([run])
    # A process that said its last word needs a moment to end.
    wait(lambda: training_process.state_of(run) == "stopped" and not run.in_use())
    assert step_of(run) > paused_at
    assert kind_of(lambda: training_process.stop(run)) == "not_running"
    assert kind_of(lambda: training_process.pause(run)) == "not_running"


def test_a_stopped_training_is_resumed_to_its_end(tiny_data, dataset, tmp_path):
    path = tmp_path / "runs" / "first"
    tiny_data.lend_cache(path)
    run = training_process.start(path, dataset, arguments(steps_per_epoch=20))
    training_process.stop(run)
    wait(lambda: training_process.state_of(run) == "stopped" and not run.in_use())

    training_process.resume(run)
    assert training_process.state_of(run) == "starting"
    assert kind_of(lambda: training_process.resume(run)) == "run_in_use"
    states = ["starting"]
    assert [found.path for found in training_process.runs_started_here()] == [path]
    wait(lambda: states.append(training_process.state_of(run)) or states[-1] == "finished")
    assert [state for before, state in pairwise(states) if state != before] == ["running", "finished"]
    assert step_of(run) == 60 and training_process.failures() == []
    assert kind_of(lambda: training_process.resume(run)) == "finished"


def test_a_second_start_in_the_same_folder_is_refused_while_the_first_is_not_heard_of_yet(tiny_data, dataset, tmp_path):
    path = tmp_path / "runs" / "one"
    tiny_data.lend_cache(path)
    run = training_process.start(path, dataset, arguments(**ENDLESS))
    assert training_process.state_of(run) == "starting" and not training_process.is_run(path)
    with pytest.raises(HipError) as caught:
        training_process.start(path, dataset, arguments())
    assert caught.value.kind == "folder_in_use" and "one" in caught.value.sentence
    assert [found.path for found in training_process.runs_started_here()] == [path]
    assert training_process.free_name(path.parent, "one") == "one-2"
    # Whoever stops it meanwhile need not wait for it.
    training_process.stop(run)
    wait(lambda: training_process.state_of(run) == "stopped")
    assert step_of(run) == 0 and training_process.failures() == []


def test_of_two_processes_that_start_in_one_folder_one_trains(tiny_data, dataset, tmp_path):
    """Two Slicers, or Slicer and a terminal."""
    path = tmp_path / "runs" / "one"
    tiny_data.lend_cache(path)
    command = [sys.executable, "-c", PARENT, str(path), str(dataset), *arguments(steps_per_epoch=1)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with other:
        run = training_process.start(path, dataset, arguments(steps_per_epoch=1))
        other.stdout.readline()
        wait(lambda: training_process.state_of(run) == "finished")
        os.killpg(other.pid, signal.SIGKILL)
    wait(lambda: "finished: " in run.log.read_text())
    log = run.log.read_text()
    assert log.count("finished: Trained to the end.") == 1 and log.count("hipicmsc: ") == 1


def test_a_start_that_fails_says_why_once_and_its_name_can_be_used_again(tiny_data, dataset, tmp_path):
    path = tmp_path / "runs" / "one"
    tiny_data.lend_cache(path)
    training_process.start(path, tmp_path / "nowhere.json", arguments())
    told: list = []
    wait(lambda: told.extend(training_process.failures()) or told)
    ((run, error),) = told
    assert (run.path, error.kind) == (path, "command_failed")
    assert error.sentence == f"There is no file {tmp_path / 'nowhere.json'}."
    assert training_process.failures() == [] and not training_process.is_run(path)
    assert training_process.free_name(path.parent, "one") == "one"
    run = training_process.start(path, dataset, arguments(steps_per_epoch=1))
    wait(lambda: training_process.state_of(run) == "finished")


def test_a_process_that_is_killed_is_told_and_its_run_is_lost(tiny_data, dataset, tmp_path):
    tiny_data.lend_cache(tmp_path / "runs" / "one")
    run = training_process.start(tmp_path / "runs" / "one", dataset, arguments(**ENDLESS))
    wait(lambda: training_process.state_of(run) == "running")
    os.kill(run.status().pid, signal.SIGKILL)
    told: list = []
    wait(lambda: told.extend(training_process.failures()) or told)
    assert told[0][1].kind == "command_died" and "memory" in told[0][1].sentence
    assert training_process.state_of(run) == "lost"


def test_a_resume_that_is_stopped_before_it_works_leaves_the_run_as_it_was(dataset, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({"method": "icmsc"})
    stopped = Status("paused", "stopped", "Stopped on request.", 3, 12, 0.5, None, 1, time.time())
    run.write_status(stopped)
    training_process.resume(run)
    training_process.stop(run)
    assert training_process.state_of(run) == "stopped" and run.status() == stopped
    assert training_process.failures() == [] and not run.requested("STOP")


def test_folders_that_are_no_place_for_a_new_run(tmp_path):
    (tmp_path / "patients").mkdir()
    (tmp_path / "patients" / "scan.nrrd").touch()
    (tmp_path / "file").touch()
    assert "other files" in training_process.reason_against_folder(tmp_path / "patients")
    assert "no folder" in training_process.reason_against_folder(tmp_path / "file")
    assert training_process.reason_against_folder(tmp_path / "new") == ""
    assert training_process.free_name(tmp_path, "patients") == "patients-2"
    assert training_process.free_name(tmp_path / "file", "one") == "one"
    assert kind_of(lambda: training_process.start(tmp_path / "file" / "one", tmp_path, [])) == "folder_in_use"


def test_a_folder_that_cannot_be_read_as_a_run_is_said_to_be_so(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({})
    (run.path / "run.json").write_text("{")
    assert training_process.state_of(run) == "unreadable"
