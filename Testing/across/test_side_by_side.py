"""Several processes at once, two Slicers or two trainings, do not corrupt each other. Real processes, real files."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.worker.protocol import Finished, SegmentRequest
from HipICMSCLib.worker.run_times import RunTimes
from HipICMSCTrainingLib.data.slice_cache import CachedVolume, cached_volume
from HipICMSCTrainingLib.run.folder import RunFolder
from packages import write_threshold_package
from patience import PATIENCE
from tiny_training import TinyData, child, command, differences, tiny_settings


def together(program: str, arguments: list[list[object]], folder: Path) -> list[list[str]]:
    """Run a program several times at once; each begins when all are there. The lines that each printed.

    The program finds its arguments in ``sys.argv[1:]`` and waits in ``begin()``.
    """
    wait = f"""
import sys, time
from pathlib import Path
sys.path.append({str(Path(__file__).parents[1])!r})
ready = Path({str(folder)!r}, "ready-" + sys.argv.pop(1))
def begin():
    ready.touch()
    while not Path({str(folder)!r}, "start").exists():
        time.sleep(0.001)
"""
    children = [
        child([sys.executable, "-c", wait + program, str(number), *map(str, own)])
        for number, own in enumerate(arguments)
    ]
    limit = time.monotonic() + PATIENCE
    while len(list(folder.glob("ready-*"))) < len(children):
        assert time.monotonic() < limit and all(process.poll() is None for process in children)
        time.sleep(0.01)
    (folder / "start").touch()
    ended = [process.communicate(timeout=PATIENCE) for process in children]
    assert all(process.returncode == 0 for process in children), ended
    return [printed.splitlines() for printed, _ in ended]


# Models.

_MODELS = """
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import read_details
from HipICMSCLib.models.chosen import add_model, available_models, find_model, remove_model
begin()
for number in range(40):
    for source in map(Path, sys.argv[1:]):
        try:
            kept = add_model(source)
            print("kept", read_details(find_model(source.stem)).name)
            for model in available_models():
                read_details(model)
            if number % 2:
                remove_model(kept)
        except HipError as error:
            print("error", error.kind, error.sentence)
"""


@pytest.fixture
def packages(tmp_path, monkeypatch) -> dict[str, Path]:
    """A user who has nothing yet, and four packages: mine twice, not the same, and one of each colleague's own."""
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "home"))
    made = {}
    for colleague in ("anna", "ben"):
        (tmp_path / colleague).mkdir()
        for name in ("mine", colleague):
            path = tmp_path / colleague / f"{name}.hipmodel"
            made[f"{colleague}/{name}"] = write_threshold_package(path, name=f"{name} of {colleague}")
    return made


def test_two_slicers_add_use_and_remove_models(packages, tmp_path):
    """Each finds its own or the other's as a whole, or is told that there is none or another one any more."""
    paths = list(packages.values())
    lines = list(chain(*together(_MODELS, [paths[:2], paths[2:]], tmp_path)))
    allowed = {"same_name", "missing_file", "unknown_model", "unreadable"}
    errors = [line for line in lines if line.startswith("error")]
    assert {line.split()[1] for line in errors} <= allowed, errors
    assert {line for line in lines if line.startswith("kept")} <= {
        f"kept {name} of {colleague}" for colleague in ("anna", "ben") for name in ("mine", colleague)
    }
    left = list((tmp_path / "home" / "models").iterdir())
    assert all(path.read_bytes() in [source.read_bytes() for source in paths] for path in left)


def test_of_two_models_with_one_name_the_first_is_kept_and_the_second_refused(packages, tmp_path):
    program = """
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.chosen import add_model
begin()
try:
    print(add_model(Path(sys.argv[1])))
except HipError as error:
    print(error.kind)
"""
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        answers = together(program, [[packages["anna/mine"]], [packages["ben/mine"]]], folder)
        kept = tmp_path / "home" / "models" / "mine.hipmodel"
        assert sorted(answers) == sorted([[str(kept)], ["same_name"]])
        winner = ("anna", "ben")[answers.index([str(kept)])]
        assert kept.read_bytes() == packages[f"{winner}/mine"].read_bytes()
        assert os.listdir(kept.parent) == ["mine.hipmodel"]
        kept.unlink()


# What is remembered.


def test_times_that_two_workers_remember_at_once_are_never_lost_as_a_whole(tmp_path):
    program = """
from HipICMSCLib.worker.run_times import RunTimes
begin()
times = RunTimes(Path(sys.argv[1]))
for _ in range(100):
    times.record(sys.argv[2], "cpu", 10, 20.0)
    print(times.expected_seconds(sys.argv[2], "cpu", 10) in (None, 20.0))
"""
    path = tmp_path / "home" / "run-times.json"
    RunTimes(path).record("before", "cpu", 10, 30.0)
    answers = together(program, [[path, "a" * 64], [path, "b" * 64]], tmp_path)
    assert answers == [["True"] * 100] * 2
    assert RunTimes(path).expected_seconds("before", "cpu", 10) == pytest.approx(30.0)
    assert len(json.loads(path.read_text())["runs"]) > 20
    assert os.listdir(path.parent) == ["run-times.json"]


def test_classes_that_two_slicers_remember_at_once_are_never_lost_as_a_whole(tmp_path, monkeypatch):
    """In Qt's own settings file."""
    pytest.importorskip("PySide6.QtCore")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    program = """
from types import SimpleNamespace
from PySide6.QtCore import QCoreApplication, QSettings
QCoreApplication.setOrganizationName("tests")
QSettings.setDefaultFormat(QSettings.IniFormat)
sys.modules["qt"] = SimpleNamespace(QSettings=QSettings)
from HipICMSCTrainingLib.gui.scene.label_mapping import remember_mapping, remembered_mapping
begin()
for number in range(15):
    remember_mapping({f"{sys.argv[1]} {number}": "femur"})
    print("before" in remembered_mapping())
print(sorted(remembered_mapping()))
"""
    (tmp_path / "first").mkdir()
    together(program.replace('f"{sys.argv[1]} {number}"', '"before"'), [["x"]], tmp_path / "first")
    answers = together(program, [["anna"], ["ben"]], tmp_path)
    assert all(lines[:-1] == ["True"] * 15 for lines in answers)


# Workers.


def test_two_workers_side_by_side_find_what_each_finds_alone(ball_model, tmp_path, monkeypatch):
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    heads = (ball_hips.RIGHT_CENTRE, ball_hips.LEFT_CENTRE)
    volumes = [tmp_path / "a.nrrd", tmp_path / "b.nrrd"]
    for volume, spacing in zip(volumes, ((3.0, 3.0, 4.0), (4.0, 3.5, 3.0)), strict=True):
        sitk.WriteImage(ball_hips.ball_image(spacing=spacing), str(volume))
    clients, told = [WorkerClient(), WorkerClient()], []

    def segment(client: WorkerClient, volume: Path, when: str) -> Path:
        output = tmp_path / when / volume.name
        output.parent.mkdir(exist_ok=True)
        cancel = str(tmp_path / "cancel")
        request = SegmentRequest(str(volume), str(output), str(ball_model), cancel, "", "cpu", heads)
        client.send(request, lambda event: told.append(event) if not client.busy else None)
        return output

    def wait() -> None:
        limit = time.monotonic() + PATIENCE
        while any(client.busy for client in clients):
            assert time.monotonic() < limit
            for client in clients:
                client.poll()
            time.sleep(0.02)

    beside = [segment(client, volume, "beside") for client, volume in zip(clients, volumes, strict=True)]
    wait()
    alone = []
    for volume in volumes:
        alone.append(segment(clients[0], volume, "alone"))
        wait()
    for client in clients:
        client.close()
    assert [type(event) for event in told] == [Finished] * 4
    for one, other in zip(beside, alone, strict=True):
        assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (one, other)))
    assert len({event.report["femoral_heads_lps_mm"]["right"][0] for event in told}) == 1
    assert json.loads((tmp_path / "home" / "run-times.json").read_text())["runs"]


# Trainings.


def test_two_trainings_that_begin_in_one_folder_are_one_training(tmp_path):
    """The one that was later is told so, and what is written down is what the other trains."""
    program = """
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.run.folder import RunFolder
begin()
for number in range(50):
    try:
        RunFolder(Path(sys.argv[1], str(number))).create({"settings": {"seed": int(sys.argv[2])}})
        print("begun")
    except HipError as error:
        print(error.kind, error.sentence)
"""
    answers = together(program, [[tmp_path / "runs", 1], [tmp_path / "runs", 2]], tmp_path)
    for number, both in enumerate(zip(*answers, strict=True)):
        (refused,) = [answer for answer in both if answer != "begun"]
        assert refused.startswith("run_exists") and refused.endswith("resume it or choose another folder.")
        run = RunFolder(tmp_path / "runs" / str(number))
        assert run.description()["settings"]["seed"] == both.index("begun") + 1
        assert list(run.path.glob(".*")) == []


def same(first: CachedVolume, second: CachedVolume) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_two_trainings_that_fill_one_cache_read_what_each_would_read_alone(tiny_data: TinyData, tmp_path):
    case = next(case for case in tiny_data.dataset.cases if case.modality == "MR")
    program = """
import hashlib, json
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCLib.common.settings import from_json
from tiny_training import tiny_settings
case = from_json(Case, json.loads(sys.argv[2]))
begin()
for number in range(2):
    volume = cached_volume(case, tiny_settings(), Path(sys.argv[1], str(number)))
    print(hashlib.sha256(b"".join(volume[name].tobytes() for name in sorted(volume))).hexdigest())
"""
    cache = tmp_path / "cache"
    answers = together(program, [[cache, json.dumps(asdict(case))]] * 2, tmp_path)
    assert answers[0] == answers[1] and len(set(answers[0])) == 1
    alone = cached_volume(case, tiny_settings(), tiny_data.cache)
    for number in range(2):
        assert same(cached_volume(case, tiny_settings(), cache / str(number)), alone)
        assert len(os.listdir(cache / str(number))) == 1


@pytest.mark.slow
def test_two_trainings_on_one_dataset_end_with_the_weights_of_one_alone(tiny_data: TinyData, finished_run, tmp_path):
    runs = [tiny_data.start(tmp_path / name) for name in ("first", "second")]
    children = [child(command("resume", run.path)) for run in runs]
    for process in children:
        printed = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, printed
    for run in runs:
        assert differences(run.checkpoints.last()["networks"], finished_run.checkpoints.last()["networks"]) == []


def test_a_second_training_in_a_folder_is_one_sentence_and_disturbs_nothing(tiny_data: TinyData, tmp_path):
    run = tiny_data.start(tmp_path / "run")
    with run.locked():
        before = (run.path / "run.json").read_bytes()
        second = child(command("resume", run.path))
        _, complaint = second.communicate(timeout=PATIENCE)
    assert second.returncode != 0 and "is being trained already" in complaint and "Traceback" not in complaint
    assert (run.path / "run.json").read_bytes() == before and not (run.path / "status.json").exists()
