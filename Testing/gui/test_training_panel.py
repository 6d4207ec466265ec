"""The training panel: it starts and stops a process that is not its own, and otherwise only reads the run folder."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def panel(open_panel):
    return open_panel("HipICMSCTraining")


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """A CT folder and an MRI folder without volumes, and a place for a run."""
    paths = {name: tmp_path / name for name in ("ct", "mri", "run")}
    paths["ct"].mkdir()
    paths["mri"].mkdir()
    return paths


def choose(panel, folders: dict[str, Path]) -> None:
    panel.ui.ctFolderEdit.currentPath = str(folders["ct"])
    panel.ui.mriFolderEdit.currentPath = str(folders["mri"])
    panel.ui.runFolderEdit.currentPath = str(folders["run"])


def test_the_buttons_say_what_is_missing(panel, folders, pictures):
    start, stop = panel.ui.startButton, panel.ui.stopButton
    assert (start.enabled, start.toolTip) == (False, "Choose a run folder first.")
    panel.picture(pictures / "training-empty.png")
    panel.ui.runFolderEdit.currentPath = str(folders["run"])
    assert (start.enabled, start.toolTip) == (False, "Choose the folder of the labelled CTs.")
    panel.ui.ctFolderEdit.currentPath = str(folders["ct"])
    assert (start.enabled, start.toolTip) == (False, "Choose the folder of the MRIs.")
    panel.ui.mriFolderEdit.currentPath = str(folders["mri"])
    assert (start.enabled, start.text, panel.ui.stateLabel.text) == (True, "Start", "Ready to start.")
    assert (stop.enabled, stop.toolTip) == (False, "No training is running in this folder.")


def test_a_choice_in_the_panel_is_saved_with_the_scene_and_back(panel, folders):
    node = panel.logic.getParameterNode()
    choose(panel, folders)
    assert (node.ctFolder, node.mriFolder, node.runFolder) == (folders["ct"], folders["mri"], folders["run"])
    panel.ui.presetComboBox.currentIndex = 2
    assert node.preset == "smoke"
    node.preset = "paper"
    assert panel.ui.presetComboBox.currentText == "paper"


def test_the_presets_are_those_of_the_library(panel):
    program = "from HipICMSCTrainingLib.training_settings import PRESETS; print(*PRESETS)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == panel.module.PRESETS


def test_a_training_that_cannot_start_says_why(panel, folders):
    """Nothing is in the folders; the command's own sentence is shown."""
    choose(panel, folders)
    panel.ui.startButton.click()
    assert not panel.ui.startButton.enabled and "starting" in panel.ui.startButton.toolTip
    panel.wait(lambda: panel.ui.startButton.enabled)
    assert panel.ui.stateLabel.text.startswith("hipicmsc: ")
    assert panel.ui.stateLabel.text == (folders["run"] / "train.log").read_text().splitlines()[-1]


def write_run(folder: Path, **changes) -> None:
    from HipICMSCTrainingLib.run_folder import RunFolder, Status

    run = RunFolder(folder)
    run.create({"method": "icmsc"})
    usual = dict(state="running", phase="stage 1", sentence="", step=30, total_steps=120)
    usual |= dict(seconds_per_step=1.0, seconds_left=90.0, pid=1, heartbeat=time.time())
    run.write_status(Status(**usual | changes))


@pytest.mark.parametrize(
    ("state", "can_resume", "shown"),
    [
        ("running", True, "lost: step 30 of 120. The process ended without a word"),
        ("paused", True, "paused: step 30 of 120. Because."),
        ("failed", True, "failed: step 30 of 120. Because."),
        ("finished", False, "finished: step 30 of 120. Because."),
    ],
)
def test_a_run_that_nobody_works_on_can_be_resumed_unless_it_is_finished(panel, folders, state, can_resume, shown):
    write_run(folders["run"], state=state, sentence="Because.")
    choose(panel, folders)
    assert panel.ui.stateLabel.text.startswith(shown)
    assert panel.ui.progressBar.value == 25
    assert panel.ui.startButton.text == "Resume" and panel.ui.startButton.enabled == can_resume
    assert not panel.ui.stopButton.enabled


def test_a_live_run_is_followed_and_can_only_be_stopped(panel, folders, pictures):
    """Another process holds the run; the panel notices its progress by itself and asks it to stop."""
    write_run(folders["run"])
    program = (
        "import sys; from pathlib import Path; from HipICMSCTrainingLib.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked():\n    print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(folders["run"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        choose(panel, folders)
        assert panel.ui.stateLabel.text == "running: step 30 of 120."
        assert not panel.ui.startButton.enabled and "being trained" in panel.ui.startButton.toolTip
        assert panel.ui.stopButton.enabled
        panel.picture(pictures / "training-running.png")
        write_status_step(folders["run"], 60)
        panel.wait(lambda: panel.ui.progressBar.value == 50)
        panel.ui.stopButton.click()
        assert (folders["run"] / "STOP").exists()
        assert not panel.ui.stopButton.enabled and "about to stop" in panel.ui.stopButton.toolTip
        holder.communicate("\n")


def write_status_step(folder: Path, step: int) -> None:
    from dataclasses import replace

    from HipICMSCTrainingLib.run_folder import RunFolder

    run = RunFolder(folder)
    run.write_status(replace(run.status(), step=step))


def test_the_training_process_outlives_the_one_that_started_it(folders, tmp_path):
    """Started as the module does, by a process that ends at once."""
    from HipICMSCLib.gui import child_process

    mark = tmp_path / "mark"
    late = f"import time, pathlib; time.sleep(1); print('said'); pathlib.Path({str(mark)!r}).touch()"
    program = (
        "from pathlib import Path; from HipICMSCLib.gui.child_process import start_detached\n"
        f"start_detached(['-c', {late!r}], [Path({str(Path(child_process.__file__).parents[2])!r})], "
        f"Path({str(tmp_path / 'log')!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert not mark.exists()
    limit = time.monotonic() + 30
    while not mark.exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert (tmp_path / "log").read_text() == "said\n"
