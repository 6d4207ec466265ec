"""The section "Runs", with real trainings: started, watched, paused, stopped and resumed by clicks, and re-attached."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from training_panels import TrainingPanels, tiny_choices
from training_run import trained_run


@pytest.fixture(autouse=True)
def own_processes() -> Iterator[None]:
    """No training outlives its test."""
    from HipICMSCLib.gui.setup.child_process import end_tree
    from HipICMSCTrainingLib.gui.running import training_process

    yield
    for process in training_process._processes.values():
        end_tree(process.process)
    training_process._processes.clear()


@pytest.fixture
def folder(bench, tmp_path) -> Iterator[Path]:
    """Where this user's runs are."""
    import qt

    path = tmp_path / "runs"
    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(path))
    yield path
    qt.QSettings().remove("HipICMSCTraining/RunsFolder")


@pytest.fixture
def open_panels(bench, folder):
    opened = []

    def open_(**options) -> TrainingPanels:
        opened.append(TrainingPanels(bench[1], **options))
        return opened[-1]

    yield open_
    for panels in opened:
        panels.close()


@pytest.fixture
def panels(open_panels) -> TrainingPanels:
    return open_panels()


def write_run(path: Path, created: str = "2026-01-02T03:04:05Z", **status) -> None:
    """By hand, as another version might have left it."""
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"method": "icmsc", "created": created}))
    usual = dict(state="running", phase="stage 1", sentence="", step=30, total_steps=120, seconds_per_step=1.0)
    usual |= dict(seconds_left=90.0, pid=1, heartbeat=time.time())
    (path / "status.json").write_text(json.dumps(usual | status))


@pytest.fixture
def holders() -> Iterator:
    """Lets other processes hold runs, as trainings do."""
    started = []
    program = (
        "import sys; from pathlib import Path; from HipICMSCTrainingLib.run.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked():\n    print('held', flush=True); input()"
    )

    def hold(path: Path) -> None:
        command = [sys.executable, "-c", program, str(path)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"

    yield hold
    for process in started:
        process.communicate("\n")


def click_row(panels: TrainingPanels, name: str) -> None:
    table = panels.ui("runsTable")
    table.selectRow([row[0] for row in panels.rows()].index(name))


def buttons(panels: TrainingPanels) -> dict[str, tuple[bool, str]]:
    names = ("Pause", "Stop", "Duplicate", "ShowFolder")
    found = {name: panels.ui(f"runs{name}Button") for name in names}
    return {name: (button.enabled, button.toolTip) for name, button in found.items()}


def test_without_runs_everything_says_why_it_is_off(panels, folder, pictures):
    assert panels.rows() == [] and not folder.exists(), "looking made no folder"
    assert panels.ui("runsNoteLabel").text == "There are no runs in this folder yet."
    for enabled, reason in buttons(panels).values():
        assert (enabled, reason) == (False, "Select a run first.")
    panels.described()
    assert panels.ui("settingsStartButton").toolTip == "Choose the data first."
    panels.picture(panels.settings, panels.runs, path=pictures / "runs-empty.png")


STATES = [
    # name, status, held by a process, requests, state, pause button, can be pressed, stop
    ("gone", {}, False, (), "Lost", "&Resume", True, False),
    ("hanging", {"heartbeat": 1.0}, True, (), "Stalled", "Pa&use", False, True),
    ("well", {}, True, (), "Running", "Pa&use", True, True),
    ("soon waiting", {}, True, ("PAUSE",), "Pausing", "&Resume", True, True),
    ("waiting", {"state": "paused", "phase": "waiting"}, True, ("PAUSE",), "Paused", "&Resume", True, True),
    ("soon over", {}, True, ("STOP",), "Stopping", "Pa&use", False, False),
    ("saved", {"state": "paused", "phase": "stopped"}, False, (), "Stopped", "&Resume", True, False),
    ("broken", {"state": "failed", "sentence": "The disk is full."}, False, (), "Failed", "&Resume", True, False),
    ("done", {"state": "finished", "step": 120}, False, (), "Finished", "&Resume", False, False),
]


def test_every_state_is_told_in_words_with_what_can_be_done(panels, folder, holders, pictures):
    for number, (name, status, held, requests, *_expected) in enumerate(STATES):
        write_run(folder / name, **status)
        # The order of the list is that of run.json.
        os.utime(folder / name / "run.json", (1e9 - number, 1e9 - number))
        for request in requests:
            (folder / name / request).touch()
        if held:
            holders(folder / name)
    (folder / "no run").mkdir()
    panels.runs.refresh()
    assert [row[:2] for row in panels.rows()] == [[name, state] for name, _, _, _, state, *_ in STATES]
    for name, _status, _held, _requests, state, text, can_press, can_stop in STATES:
        click_row(panels, name)
        assert panels.attached[-1] == folder / name
        assert panels.ui("runsNoteLabel").text.startswith(f"{name}: {state}.")
        assert panels.ui("runsPauseButton").text == text
        found = buttons(panels)
        assert (found["Pause"][0], found["Stop"][0]) == (can_press, can_stop), name
        assert all(reason.endswith(".") for _enabled, reason in found.values())
    click_row(panels, "gone")
    assert "killed, or the machine restarted" in panels.ui("runsNoteLabel").text
    click_row(panels, "hanging")
    assert "No sign of life for" in panels.ui("runsNoteLabel").text and "stop it first" in buttons(panels)["Pause"][1]
    click_row(panels, "done")
    assert "duplicate it" in buttons(panels)["Pause"][1]
    well = next(row for row in panels.rows() if row[0] == "well")
    assert well[2:4] == ["30 / 120", "1 min 30 s"] and re.fullmatch(r"0[123] Jan \d\d:04", well[4])
    place = [row[0] for row in panels.rows()].index("well")
    tip = panels.ui("runsTable").item(place, 0).toolTip()
    assert tip.startswith("well\n") and "Method: icmsc\nStarted: 2026-01-0" in tip
    click_row(panels, "broken")
    assert panels.ui("runsNoteLabel").text == "broken: Failed. The disk is full."
    panels.picture(panels.runs, path=pictures / "runs-states.png")


def test_a_damaged_run_is_listed_and_said_to_be_damaged(panels, folder):
    write_run(folder / "one")
    (folder / "one" / "run.json").write_text("{")
    panels.runs.refresh()
    click_row(panels, "one")
    assert panels.states() == {"one": "Unreadable"} and "cannot be read" in panels.ui("runsNoteLabel").text
    assert [enabled for enabled, _reason in buttons(panels).values()] == [False, False, False, True]


def test_the_list_follows_the_folder_only_while_the_module_is_shown(panels, folder):
    write_run(folder / "one")
    panels.runs.enter()
    assert panels.states() == {"one": "Lost"}
    click_row(panels, "one")
    write_run(folder / "two")
    panels.wait(lambda: "two" in panels.states())
    assert panels.runs.selected.path == folder / "one", "the selection moved"
    panels.runs.exit()
    write_run(folder / "three")
    limit = time.monotonic() + 2.5
    panels.wait(lambda: time.monotonic() > limit)
    assert "three" not in panels.states()
    panels.runs.enter()
    assert len(panels.states()) == 3
    shutil.rmtree(folder / "one")
    panels.wait(lambda: "one" not in panels.states())
    assert panels.attached == [folder / "one", None], "each change is told once, also that a run is gone"


def test_a_run_is_attached_to_wherever_it_is(panels, folder, tmp_path):
    write_run(folder / "one")
    write_run(tmp_path / "elsewhere" / "two")
    panels.open_scene(folder / "one")
    assert panels.attached == [folder / "one"] and panels.ui("runsTable").selectedItems()[0].text() == "one"
    panels.open_scene(tmp_path / "elsewhere" / "two")
    assert panels.attached[-1] == tmp_path / "elsewhere" / "two"
    assert panels.ui("runsFolderEdit").currentPath == str(tmp_path / "elsewhere")
    panels.open_scene(None)
    assert panels.attached[-1] is None and panels.ui("runsTable").selectedItems() == []
    panels.open_scene(tmp_path / "gone")
    assert panels.attached[-1] is None and panels.runs.selected is None


def test_a_run_of_somebody_elses_scene_is_watched_and_new_ones_begin_where_they_always_did(panels, folder, tmp_path):
    from HipICMSCTrainingLib.gui.panels.runs_panel import runs_folder

    write_run(folder / "mine")
    write_run(tmp_path / "share" / "theirs")
    panels.open_scene(tmp_path / "share" / "theirs")
    assert panels.attached == [tmp_path / "share" / "theirs"]
    assert runs_folder() == folder
    panels.open_scene(None)
    assert list(panels.states()) == ["mine"] and panels.ui("runsFolderEdit").currentPath == str(folder)


def test_the_folder_of_the_runs_is_remembered_on_this_computer(panels, open_panels, folder, tmp_path):
    from HipICMSCTrainingLib.gui.panels.runs_panel import runs_folder

    write_run(tmp_path / "other" / "run")
    panels.ui("runsFolderEdit").currentPath = str(tmp_path / "other")
    assert list(panels.states()) == ["run"] and runs_folder() == tmp_path / "other"
    assert open_panels().ui("runsFolderEdit").currentPath == str(tmp_path / "other")
    panels.ui("runsFolderEdit").currentPath = str(tmp_path / "other" / "run" / "run.json")
    assert panels.rows() == []
    panels.ui("runsFolderEdit").currentPath = ""
    assert runs_folder().name == "runs" and runs_folder() != folder


def test_the_folder_of_a_run_is_shown(panels, folder):
    import pythonqt

    write_run(folder / "one")
    panels.runs.refresh()
    click_row(panels, "one")
    panels.ui("runsShowFolderButton").click()
    assert pythonqt.QDesktopServices.opened[-1] == str(folder / "one")


def test_a_training_is_started_watched_paused_stopped_and_resumed_to_its_end_by_clicks(
    open_panels, folder, tmp_path, pictures, monkeypatch
):
    # Many threads are slow on such small slices.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    first = open_panels().described()
    tiny = tiny_choices(tmp_path, first.settings.description, steps_per_epoch=150)
    first.dataset, first.text = tiny.dataset, tiny.text
    first.settings.show()
    first.ui("settingsNameEdit").text = "mine"
    shutil.copytree(tiny.cache, folder / "mine" / "cache")
    first.runs.enter()
    first.ui("settingsStartButton").click()
    assert first.states() == {"mine": "Starting"} and first.attached == []
    assert first.runs.selected.path == folder / "mine"
    assert "libraries" in first.ui("runsNoteLabel").text and buttons(first)["Pause"][0] is False
    assert first.ui("settingsNameEdit").text == "", "the next run gets another name"
    first.ui("settingsNameEdit").text = "mine"
    start = first.ui("settingsStartButton")
    assert (start.enabled, start.toolTip) == (False, "The training mine is starting already.")
    first.picture(first.settings, first.runs, path=pictures / "runs-starting.png")
    first.wait(lambda: first.states()["mine"] == "Running")
    assert first.attached == [folder / "mine"]
    assert (start.enabled, start.toolTip) == (False, "There is a run mine already; choose another name.")
    first.close()

    second = open_panels(dataset=tiny.dataset, text=tiny.text).described()
    second.open_scene(folder / "mine")
    second.runs.enter()
    assert second.attached == [folder / "mine"] and second.states() == {"mine": "Running"}
    pause, stop = second.ui("runsPauseButton"), second.ui("runsStopButton")
    pause.click()
    second.wait(lambda: second.states()["mine"] == "Paused")
    waits_at = second.rows()[0][2]
    assert pause.text == "&Resume" and second.ui("runsNoteLabel").text.startswith("mine: Paused. ")
    second.picture(second.runs, path=pictures / "runs-paused.png")
    pause.click()
    second.wait(lambda: second.rows()[0][2] != waits_at)
    assert second.states()["mine"] == "Running" and pause.text == "Pa&use"
    stop.click()
    second.wait(lambda: second.states()["mine"] == "Stopped")
    assert pause.text == "&Resume" and stop.toolTip == "No training is running in this folder."
    pause.click()
    assert second.states()["mine"] == "Starting"
    second.wait(lambda: second.states()["mine"] == "Finished")
    assert second.rows()[0][2] == "450 / 450" and second.attached == [folder / "mine"]
    assert (folder / "mine" / "checkpoints" / "last.pt").is_file()


def test_a_training_that_cannot_start_says_why_and_leaves_no_run(open_panels, folder, tmp_path):
    panels = open_panels(dataset=tmp_path / "nowhere.json").described()
    write_run(folder / "old")
    panels.runs.enter()
    click_row(panels, "old")
    panels.ui("settingsStartButton").click()
    assert panels.states() == {"icmsc-cpu-small": "Starting", "old": "Lost"}
    panels.ui("settingsSeedSpinBox").value = 1
    assert panels.runs.selected.path == folder / "icmsc-cpu-small", "what starts stays selected"
    panels.wait(lambda: len(panels.rows()) == 1)
    note = panels.ui("runsNoteLabel")
    assert note.text == f"The training icmsc-cpu-small ended: There is no file {tmp_path / 'nowhere.json'}."
    assert "Exit code 2" in note.toolTip and panels.attached == [folder / "old", None]
    assert panels.ui("settingsNameEdit").placeholderText == "icmsc-cpu-small"
    assert panels.ui("settingsStartButton").enabled


def test_a_run_is_duplicated_with_its_method_settings_and_data(open_panels, folder, tmp_path):
    """One that was made from folders in a terminal; its cases become a file."""
    from HipICMSCLib.common.settings import from_json
    from HipICMSCTrainingLib.data.dataset import Dataset
    from HipICMSCTrainingLib.data.dataset_file import dataset_from_file

    run = trained_run()
    shutil.copytree(run, folder / "first", ignore=shutil.ignore_patterns("cache", "checkpoints"))
    panels = open_panels()
    click_row(panels, "first")
    if panels.settings.reason_against_taking():
        assert buttons(panels)["Duplicate"] == (False, "The settings are still being read; wait a moment.")
    panels.described()
    panels.ui("runsDuplicateButton").click()
    assert panels.ui("runsNoteLabel").text.startswith("first: Finished.")
    described = json.loads((run / "run.json").read_text())
    assert dataset_from_file(panels.dataset) == from_json(Dataset, described["dataset"])
    assert panels.dataset == folder / "first.dataset.json"
    assert panels.ui("settingsNameEdit").text == "first-2"
    assert panels.ui("settingsPresetComboBox").currentText == "smoke"
    assert panels.ui("setting_segmenter_dilations").text == "1, 2" and panels.ui("setting_image_pool").value == 2
    assert panels.ui("settingsStartButton").enabled
    assert sorted(path.name for path in folder.iterdir()) == ["first", "first.dataset.json"]
    # Once more, after the user changed that file: it stays as it is.
    kept = json.loads(panels.dataset.read_text())
    panels.dataset.write_text(json.dumps({"cases": kept["cases"][:3]}))
    panels.ui("runsDuplicateButton").click()
    assert panels.dataset == folder / "first-2.dataset.json"
    assert len(json.loads((folder / "first.dataset.json").read_text())["cases"]) == 3


def test_a_run_that_was_started_here_is_duplicated_onto_the_very_file_of_its_data(open_panels, folder, tmp_path):
    panels = open_panels().described()
    tiny = tiny_choices(tmp_path, panels.settings.description)
    shutil.copytree(trained_run(), folder / "first", ignore=shutil.ignore_patterns("cache", "checkpoints"))
    file = folder / "first" / "run.json"
    described = json.loads(file.read_text())
    described["command"] = ["train", "somewhere", "--dataset", str(tiny.dataset), "--method", "icmsc"]
    file.write_text(json.dumps(described))
    panels.open_scene(folder / "first")
    panels.ui("runsDuplicateButton").click()
    assert panels.dataset == tiny.dataset
    assert replace(panels.settings._choices, run_name="").to_text() == tiny.text


def test_a_run_whose_data_are_not_named_is_not_half_duplicated(open_panels, folder, tmp_path):
    panels = open_panels(dataset=tmp_path / "mine.json").described()
    write_run(folder / "one")
    panels.runs.refresh()
    click_row(panels, "one")
    panels.ui("runsDuplicateButton").click()
    assert panels.ui("runsNoteLabel").text == "The settings of this run cannot be read."
    assert panels.dataset == tmp_path / "mine.json" and panels.text == ""
