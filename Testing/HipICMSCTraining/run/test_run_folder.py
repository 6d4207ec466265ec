"""A run's files: what its state is whatever happened to its process, and that nothing half-written misleads."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import pickle
import platform
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below
from HipICMSCTrainingLib.run.metrics import MetricsReader
from HipICMSCTrainingLib.run.status import STALLED_AFTER_SECONDS, Status, awake_seconds
from patience import PATIENCE
from torch import nn


@pytest.fixture
def run(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create({"method": "icmsc"})
    return folder


def status(state: str, phase: str = "stage 1", age: float = 0.0) -> Status:
    return Status(state, phase, "As it was.", 3, 12, 0.5, 4.5, os.getpid(), time.time() - age)


def train_and_wait(path: Path, ready) -> None:
    folder = RunFolder(path)
    with folder.locked():
        folder.write_status(status("running"))
        ready.set()
        time.sleep(60)


@pytest.fixture
def live_process(run):
    """A process that holds the run and says that it is running."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=train_and_wait, args=(run.path, ready))
    process.start()
    assert ready.wait(PATIENCE)
    yield process
    process.kill()
    process.join()


def test_a_live_run_is_running_and_a_killed_one_is_lost(run, live_process):
    assert run.in_use()
    assert run.status().state == "running"
    assert run.status().seconds_left == 4.5
    os.kill(live_process.pid, signal.SIGKILL)
    live_process.join()
    assert not run.in_use()
    lost = run.status()
    assert lost.state == "lost"
    assert "resume" in lost.sentence
    assert (lost.step, lost.seconds_left) == (3, None)


def test_a_second_process_is_refused_while_the_first_lives(run, live_process):
    with pytest.raises(HipError) as caught, run.locked():
        pass
    assert caught.value.kind == "run_in_use"
    os.kill(live_process.pid, signal.SIGKILL)
    live_process.join()
    with run.locked():
        assert run.in_use()
    assert not run.in_use()


def test_a_file_system_without_locks_is_said_as_such(run, monkeypatch):
    """Not as another process, which nobody could stop; a resume of it changes nothing and fails."""
    import fcntl

    def unknown(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    (run.path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", unknown)
    for ask in (run.in_use, lambda: run.locked().__enter__()):
        with pytest.raises(HipError, match="knows no locks") as caught:
            ask()
        assert caught.value.kind == "no_locks"
    run.request("PAUSE")
    assert main(["resume", str(run.path)]) == 2
    assert run.requested("PAUSE")


@pytest.mark.parametrize(
    ("epochs", "steps"),
    [((0, 1, 1, 5), 500), ((0, 1, 1, 0), 1750), ((2, 1, 1, 5), 0), ((0, 2, 0, 0), 3500)],
    ids=["self-training", "the paper's", "simulation first", "stage 1 alone"],
)
def test_stage_1_ends_where_its_epochs_do(tmp_path, epochs, steps):
    names = ("simulation_epochs", "stage1_epochs", "stage2_epochs", "self_training_epochs")
    folder = RunFolder(tmp_path / "run")
    folder.create({"settings": dict(zip(names, epochs, strict=True))})
    assert folder.stage_1_steps(3500) == steps


def test_somebody_who_only_looks_does_not_keep_a_process_from_starting(run):
    looking = contextlib.ExitStack()
    looking.enter_context(run.locked())
    threading.Timer(0.15, looking.close).start()
    with run.locked():
        assert run.in_use()


def test_an_old_heartbeat_of_a_live_process_means_stalled(run):
    run.write_status(status("running", age=STALLED_AFTER_SECONDS + 60))
    with run.locked():
        assert run.status().state == "stalled"
        run.write_status(status("running", age=STALLED_AFTER_SECONDS - 60))
        assert run.status().state == "running"


def said_here(silent: float, date: float) -> Status:
    """What a process of this computer said ``silent`` seconds of its being awake ago, with a date of its own."""
    said = status("running", age=date)
    return Status(**asdict(said) | {"machine": platform.node(), "awake": awake_seconds() - silent})


@pytest.mark.parametrize("date", [0.0, -7 * 3600.0, 7 * 3600.0], ids=["as it is", "set back", "set forward or slept"])
def test_neither_a_changed_clock_nor_sleep_looks_like_a_process_that_hangs_nor_hides_one(run, date):
    with run.locked():
        run.write_status(said_here(silent=5.0, date=date))
        assert run.status().state == "running"
        run.write_status(said_here(silent=STALLED_AFTER_SECONDS + 60, date=date))
        assert run.status().state == "stalled"
        assert "11 minutes" in run.status().sentence
    assert run.status().state == "lost"


def test_the_time_awake_is_the_same_in_every_process():
    code = "from HipICMSCTrainingLib.run.status import awake_seconds; print(awake_seconds())"
    before = awake_seconds()
    other = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert before < other < awake_seconds()


def test_from_another_computer_the_date_must_do(run):
    with run.locked():
        elsewhere = {"machine": "another", "awake": awake_seconds()}
        run.write_status(Status(**asdict(status("running", age=STALLED_AFTER_SECONDS + 60)) | elsewhere))
        assert run.status().state == "stalled"
        run.write_status(Status(**asdict(status("running")) | elsewhere))
        assert run.status().state == "running"


@pytest.mark.parametrize(("state", "phase"), [("finished", "finished"), ("failed", "stopped"), ("paused", "stopped")])
def test_a_run_that_ended_stays_what_it_said_however_long_ago(run, state, phase):
    said = status(state, phase, age=10 * STALLED_AFTER_SECONDS)
    run.write_status(said)
    assert run.status() == said


def test_a_waiting_process_is_paused_while_it_lives_and_lost_when_it_is_gone(run):
    run.write_status(status("paused", "waiting", age=10 * STALLED_AFTER_SECONDS))
    with run.locked():
        assert run.status().state == "paused"
    assert run.status().state == "lost"


@pytest.mark.parametrize("content", [None, "", "{", '{"state": "running"}'])
def test_a_status_that_cannot_be_read_is_no_crash(run, content):
    if content is not None:
        (run.path / "status.json").write_text(content)
    assert run.status().state == "lost"


def test_folders_without_a_run(tmp_path, run):
    for call in (RunFolder(tmp_path / "nothing").status, RunFolder(tmp_path).description):
        with pytest.raises(HipError) as caught:
            call()
        assert caught.value.kind == "no_run"
    with pytest.raises(HipError) as caught:
        run.create({"method": "icmsc"})
    assert caught.value.kind == "run_exists"
    (run.path / "run.json").write_text("{ half")
    with pytest.raises(HipError) as caught:
        run.status()
    assert caught.value.kind == "damaged_run"


def test_a_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HipError):
        RunFolder(tmp_path / "file" / "run").create({})


# Metrics.


def test_a_last_line_that_was_cut_off_is_left_out_and_later_forgotten(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "losses": {"rec_s": 0.5}})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]
    run.forget_metrics_after(2)
    run.append_metrics({"step": 3})
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]
    assert "lo" not in (run.path / "metrics.jsonl").read_text().splitlines()[-1]


def test_a_run_without_metrics(run):
    assert run.metrics() == []


def test_a_line_that_a_power_failure_garbled_hides_no_other_and_stops_no_resume(run):
    run.append_metrics({"step": 1})
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(bytes(12) + b"\n17\n")
    run.append_metrics({"step": 2})
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.forget_metrics_after(2)
    assert [line["step"] for line in run.metrics()] == [1, 2]


def steps(reader: MetricsReader) -> list[int]:
    return [line["step"] for line in reader.new_lines()]


def test_a_reader_gets_each_line_once_as_they_come(run):
    reader = MetricsReader(run.metrics_file)
    assert (steps(reader), reader.restarted) == ([], False)
    for step in (1, 2):
        run.append_metrics({"step": step, "losses": {"rec_s": 0.5}})
    assert steps(reader) == [1, 2]
    assert steps(reader) == []
    run.append_metrics({"step": 3})
    assert steps(reader) == [3]
    assert not reader.restarted


def test_a_line_that_is_just_being_written_waits(run):
    reader = MetricsReader(run.metrics_file)
    run.append_metrics({"step": 1})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step"')
        file.flush()
        assert steps(reader) == [1]
        assert steps(reader) == []
        file.write(": 2}\n")
    assert steps(reader) == [2]
    assert not reader.restarted


@pytest.mark.parametrize("grown", [0, 1, 5])
def test_a_reader_starts_over_when_a_resume_dropped_lines_however_far_it_has_grown_since(run, grown):
    reader = MetricsReader(run.metrics_file)
    for step in range(1, 5):
        run.append_metrics({"step": step, "seconds": 0.25})
    assert steps(reader) == [1, 2, 3, 4]
    run.forget_metrics_after(2)
    for step in range(3, 3 + grown):
        run.append_metrics({"step": step, "seconds": 0.75})
    assert steps(reader) == list(range(1, 3 + grown))
    assert reader.restarted
    run.append_metrics({"step": 100})
    assert steps(reader) == [100]
    assert not reader.restarted


def test_a_resume_that_drops_nothing_disturbs_no_reader(run):
    reader = MetricsReader(run.metrics_file)
    for step in (1, 2):
        run.append_metrics({"step": step, "seconds": 0.1 + 0.2})
    assert steps(reader) == [1, 2]
    run.forget_metrics_after(2)
    run.append_metrics({"step": 3})
    assert (steps(reader), reader.restarted) == ([3], False)


def test_a_reader_of_metrics_that_were_removed(run):
    reader = MetricsReader(run.metrics_file)
    run.append_metrics({"step": 1})
    assert steps(reader) == [1]
    (run.path / "metrics.jsonl").unlink()
    assert (steps(reader), reader.restarted) == ([], True)
    assert (steps(reader), reader.restarted) == ([], False)


def test_metrics_of_a_real_run_hold_stage_and_learning_rates(finished_run):
    lines = MetricsReader(finished_run.metrics_file).new_lines()
    assert lines == finished_run.metrics()
    (losses,) = [line for line in lines if "losses" in line]
    assert losses["stage"] == 2
    assert set(losses["learning_rates"]) == {"G", "F", "D"}
    assert 0 < losses["learning_rates"]["G"] < 2e-4
    assert [line["stage"] for line in lines if "scores" in line] == [1, 1, 2, 2, 2, 2]


# Everything else that is looked at.


def test_previews_come_in_the_order_of_steps(run, finished_run):
    assert run.previews_of() == []
    for name in ("step_0000200.png", "step_0001000.png", "step_0000030.png", ".0123abcd-step_0000001.png", "notes.txt"):
        (run.previews / name).touch()
    assert [path.name for path in run.previews_of()] == ["step_0000030.png", "step_0000200.png", "step_0001000.png"]
    assert len(finished_run.previews_of()) == 3


def test_the_end_of_a_log(run):
    assert run.tail_of_log() == []
    run.log.write_bytes(b"x" * 300_000 + "".join(f"\nline {n} µm" for n in range(30)).encode() + b"\xff\n")
    assert run.tail_of_log(3) == ["line 27 µm", "line 28 µm", "line 29 µm\ufffd"]
    assert len(run.tail_of_log()) == 20


def test_the_runs_below_a_folder_the_newest_first(tmp_path):
    assert runs_below(tmp_path / "nothing yet") == []
    for age, name in enumerate(("b", "a", ".hidden", "c")):
        RunFolder(tmp_path / name).create({"method": "icmsc"})
        made = time.time() - 100 * age
        os.utime(tmp_path / name / "run.json", (made, made))
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "c" / "run.json").write_text("{ half")  # it is there, and its state says that it is damaged
    os.utime(tmp_path / "c" / "run.json", (1.0, 1.0))
    assert [run.path.name for run in runs_below(tmp_path)] == ["b", "a", "c"]
    with pytest.raises(HipError) as caught:
        runs_below(tmp_path / "file")
    assert caught.value.kind == "unreadable"


def test_slicer_needs_no_torch_to_watch(finished_run):
    code = f"""
import sys
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below
from HipICMSCTrainingLib.run.metrics import MetricsReader
run = RunFolder({str(finished_run.path)!r})
run.status(), run.tail_of_log(), run.previews_of()
MetricsReader(run.metrics_file).new_lines()
runs_below(run.path.parent)
print([name for name in ("torch", "skimage", "safetensors") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Requests.


def test_requests_are_made_and_taken_back(run):
    assert not run.requested("STOP")
    run.request("STOP")
    assert run.requested("STOP")
    assert not run.requested("PAUSE")
    run.withdraw("STOP")
    run.withdraw("STOP")
    assert not run.requested("STOP")


# Checkpoints.

STATE = {
    "step": 7,
    "best_score": float("-inf"),
    "networks": {"F": {"w": torch.arange(6.0).view(2, 3)}},
    "extra": {"s": []},
}


def test_a_checkpoint_comes_back_as_it_was(run):
    assert run.checkpoints.last() is None
    run.checkpoints.save(STATE)
    read = run.checkpoints.last()
    assert torch.equal(read["networks"]["F"]["w"], STATE["networks"]["F"]["w"])
    assert {name: read[name] for name in ("step", "best_score", "extra")} == {
        name: STATE[name] for name in ("step", "best_score", "extra")
    }


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(run):
    class Unsaveable:
        def __reduce__(self):
            raise OSError(28, "No space left on device")

    run.checkpoints.save(STATE)
    with pytest.raises(HipError) as caught:
        run.checkpoints.save(STATE | {"step": Unsaveable()})
    assert caught.value.kind == "disk_full"
    assert run.checkpoints.last()["step"] == 7
    assert [path.name for path in run.checkpoints.folder.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_checkpoint_that_was_cut_off_is_called_damaged(run, share):
    run.checkpoints.save(STATE)
    path = run.checkpoints.last_file
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(HipError, match="damaged") as caught:
        run.checkpoints.last()
    assert caught.value.kind == "damaged_checkpoint"


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, protocol=2))])
def test_code_in_place_of_a_checkpoint_is_not_run(run, tmp_path, save):
    target = tmp_path / "owned"
    save({"step": 1, "networks": Bomb(target)}, run.checkpoints.last_file)
    with pytest.raises(HipError) as caught:
        run.checkpoints.last()
    assert caught.value.kind == "damaged_checkpoint"
    assert not target.exists()


def test_selected_weights_come_back_by_network(run):
    assert run.checkpoints.selected() is None
    torch.manual_seed(0)
    networks = {"F_t": nn.Conv2d(1, 2, 3), "G_ts": nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))}
    run.checkpoints.save_selected(networks, {"step": 5, "weights": "average", "scores": {"selection": 0.25}})
    read = run.checkpoints.selected()
    assert read.keys() == networks.keys()
    for name, network in networks.items():
        assert all(torch.equal(value, read[name][key]) for key, value in network.state_dict().items())
    assert json.loads((run.checkpoints.folder / "selected.json").read_text())["scores"] == {"selection": 0.25}
    # Killed before the file for people was written, the run still knows of which weights it speaks.
    (run.checkpoints.folder / "selected.json").write_text('{"step": 3}')
    assert run.checkpoints.selection() == {"step": 5, "weights": "average", "scores": {"selection": 0.25}}


def test_what_a_killed_process_was_writing_is_removed_by_the_next(run):
    run.checkpoints.save(STATE)
    half = run.checkpoints.folder / ".0123abcd-last.pt"
    half.write_bytes(b"half")
    assert not run.in_use()
    assert half.exists()  # who only looks changes nothing
    with run.locked():
        assert not half.exists()
        assert run.checkpoints.last()["step"] == 7


def test_status_json_holds_what_was_said(run):
    said = status("finished", "finished")
    run.write_status(said)
    assert json.loads((run.path / "status.json").read_text()) == asdict(said)
