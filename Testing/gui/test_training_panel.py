"""The training module as a whole: its sections know of each other, and what the user chose comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import slicer_stand_ins


@pytest.fixture
def panel(open_panel):
    import qt

    yield open_panel("HipICMSCTraining")
    qt.QSettings.values.clear()


@pytest.fixture(scope="module")
def synthetic_data(tmp_path_factory) -> Path:
    """The data set that "Try it on synthetic data" makes."""
    import subprocess

    folder = tmp_path_factory.mktemp("data") / "synthetic"
    command = ["phantom", str(folder), "--subjects", "3", "--seed", "2026", "--coarse"]
    subprocess.run([sys.executable, "-m", "HipICMSCTrainingLib.cli", *command], check=True, capture_output=True)
    return folder / "dataset.json"


def described(panel) -> None:
    """Wait until it is known what can be chosen."""
    panel.wait(lambda: not panel.widget.settingsPanel.reason_against_taking())


def test_an_empty_panel_says_what_comes_first(panel, pictures):
    described(panel)
    assert not panel.ui.runsStartButton.enabled
    assert "data set" in panel.ui.runsStartButton.toolTip
    assert "Research use only" in panel.ui.researchLabel.text
    panel.picture(pictures / "training-empty.png")


def test_with_data_a_training_can_be_started(panel, synthetic_data):
    described(panel)
    panel.widget.dataPanel.set_dataset_file(synthetic_data)
    assert panel.ui.runsStartButton.enabled, panel.ui.runsStartButton.toolTip
    assert panel.logic.getParameterNode().datasetFile == synthetic_data


def test_choices_are_saved_with_the_scene_and_come_back(panel, synthetic_data, tmp_path):
    """Another module is opened and this one again; a scene is closed, and an older choice is set from outside."""
    described(panel)
    node = panel.logic.getParameterNode()
    panel.widget.dataPanel.set_dataset_file(synthetic_data)
    panel.ui.settingsSeedSpinBox.value = 7
    panel.ui.atExitComboBox.currentText = "stop and save"
    choices = node.choices
    assert "7" in choices and node.atExit == "stop and save"
    panel.widget.exit()
    panel.widget.enter()
    assert panel.widget.dataPanel.dataset_file == synthetic_data
    assert panel.ui.settingsSeedSpinBox.value == 7

    node.parameterNode.GetScene().Clear()
    panel.widget.enter()
    assert panel.ui.settingsSeedSpinBox.value == 0 and panel.ui.atExitComboBox.currentText == "keep running"
    panel.logic.getParameterNode().choices = choices
    assert panel.ui.settingsSeedSpinBox.value == 7


def test_synthetic_data_are_made_on_demand_and_chosen(panel, tmp_path, monkeypatch):
    import qt

    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(tmp_path / "runs"))
    panel.ui.sampleDataButton.click()
    assert not panel.ui.sampleDataButton.enabled
    panel.wait(lambda: panel.ui.sampleDataButton.enabled)
    made = tmp_path / "synthetic-data" / "dataset.json"
    assert panel.widget.dataPanel.dataset_file == made
    assert panel.ui.dataTable.rowCount == 6
    # The second time they are there.
    panel.widget.dataPanel.set_dataset_file(None)
    panel.ui.sampleDataButton.click()
    assert panel.widget.dataPanel.dataset_file == made


def test_closing_slicer_stops_trainings_only_if_the_user_wants_it(panel, synthetic_data, tmp_path):
    import qt

    runs = tmp_path / "runs"
    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(runs))
    long = ["--preset", "smoke", "--set", "steps_per_epoch=2000"]
    run = panel.logic.start(runs / "long", synthetic_data, long)
    panel.wait(lambda: panel.logic.state(run) == "running")
    (quit_slicer,) = slicer_stand_ins.APP_SIGNALS["aboutToQuit()"]
    quit_slicer()
    assert panel.logic.state(run) == "running" and not run.requested("STOP")
    panel.logic.getParameterNode().atExit = "stop and save"
    quit_slicer()
    panel.wait(lambda: panel.logic.state(run) == "stopped")


def test_a_new_model_is_chosen_in_hipicmsc(module_manager):
    import slicer

    for module in ("HipICMSC", "HipICMSCTraining"):
        slicer_stand_ins.load_module(module)
        slicer.util.selectModule(module)
    slicer.util.getModuleLogic("HipICMSCTraining").useInHipICMSC("mine")
    assert slicer.util.getModuleLogic("HipICMSC").getParameterNode().model == "mine"
    slicer.util.selectModule("HipICMSC")
    assert slicer.util.getModuleWidget("HipICMSC").modelPanel.current() == "mine"
