"""The training module as a whole: its sections know of each other, and what the user chose comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
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
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    command = ["phantom", str(folder), "--subjects", "3", "--seed", "2026", "--coarse"]
    subprocess.run([sys.executable, "-m", "HipICMSCTrainingLib.cli", *command], check=True, capture_output=True)
    return folder / "dataset.json"


def described(panel) -> None:
    """Wait until it is known what can be chosen."""
    panel.wait(lambda: not panel.widget.panel.settings_panel.reason_against_taking())


def test_an_empty_panel_says_what_comes_first(panel, pictures):
    described(panel)
    assert not panel.ui.settingsStartButton.enabled
    assert "data set" in panel.ui.settingsStartButton.toolTip
    assert "Research use only" in panel.ui.researchLabel.text
    panel.picture(pictures / "training-empty.png")


def test_who_follows_the_numbers_starts_a_training_where_it_is_set_up_and_then_watches_it(panel):
    from PySide6 import QtWidgets

    def parts(widget) -> list:
        layout = QtWidgets.QWidget.layout(widget)
        return [layout.itemAt(index).widget() for index in range(layout.count())]

    sections = [section.text for section in parts(panel.ui.panelsFrame)]
    assert [text for text in sections if text[0].isdigit()] == ["1. Data", "2. Training", "3. Watch", "4. Finish"]
    assert parts(panel.ui.settingsCollapsibleButton)[-1] is panel.ui.settingsStartButton


def test_with_data_a_training_can_be_started(panel, synthetic_data):
    described(panel)
    panel.widget.panel.data_panel.set_dataset_file(synthetic_data)
    assert panel.ui.settingsStartButton.enabled, panel.ui.settingsStartButton.toolTip
    assert panel.logic.getParameterNode().datasetFile == synthetic_data


TARGET, ICMSC = "Target model", "ICMSC"


@pytest.fixture
def labelled_data(synthetic_data, tmp_path):
    """Makes a data set of the same volumes in which these MRIs have label maps; nobody is for testing."""

    def made(*labelled: str) -> Path:
        cases = json.loads(synthetic_data.read_text())["cases"]
        for case in cases:
            name = case["name"]
            case["image"] = str(synthetic_data.parent / case["image"])
            if case["modality"] == "CT":
                case["label"] = str(synthetic_data.parent / case["label"])
            elif name in labelled:
                case["label"] = str(synthetic_data.parent / "mri_truth" / f"{name}_label.nii.gz")
                assert Path(case["label"]).is_file()
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps({"cases": cases}))
        return path

    return made


def mris(synthetic_data: Path, role: str) -> list[str]:
    cases = json.loads(synthetic_data.read_text())["cases"]
    return [case["name"] for case in cases if case["modality"] == "MR" and case["role"] == role]


def pick(panel, title: str) -> None:
    """A method, by how its title begins."""
    box = panel.ui.settingsMethodComboBox
    titles = [box.itemText(index) for index in range(box.count)]
    (index,) = [index for index, text in enumerate(titles) if text.startswith(title)]
    box.currentIndex = index


def problems(panel) -> str:
    box = panel.ui.dataProblemsList
    return "\n".join(box.item(row).text() for row in range(box.count))


def command(*arguments: object) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "HipICMSCTrainingLib.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_labelled_mris_are_trained_on_only_by_a_method_that_learns_from_them(
    panel, labelled_data, synthetic_data, tmp_path, pictures
):
    """The panel says what the command says, and changes its mind with the method."""
    described(panel)
    ui, start = panel.ui, panel.ui.settingsStartButton
    everyone = mris(synthetic_data, "train") + mris(synthetic_data, "val")
    path = labelled_data(*everyone)
    panel.widget.panel.data_panel.set_dataset_file(path)
    assert not start.enabled and "may not see any label of an MRI" in start.toolTip
    assert not ui.dataMeasureButton.isHidden() and "Only measure with labelled MRIs" in problems(panel)
    refused = command("train", tmp_path / "run", "--dataset", path, "--method", "icmsc")
    assert refused.returncode == 2 and "may not see any label of an MRI" in refused.stderr
    panel.picture(pictures / "training-labelled-mri-refused.png")

    pick(panel, TARGET)
    assert start.enabled, start.toolTip
    assert ui.dataMeasureButton.isHidden() and problems(panel) == ""
    assert "learns from labelled MRIs" in ui.dataStateLabel.text
    assert "needs its label map" in ui.settingsMethodNoteLabel.text
    rows = range(ui.dataTable.rowCount)
    assert [ui.dataTable.item(row, 2).text() for row in rows] == ["present"] * 6
    assert all(ui.dataTable.cellWidget(row, 3).enabled for row in rows)

    panel.widget.panel.data_panel.set_dataset_file(labelled_data(*everyone[:2]))
    assert not start.enabled and f"{everyone[2]} has no label map, but the method is trained" in start.toolTip
    pick(panel, ICMSC)
    ui.dataMeasureButton.click()
    roles = {case["name"]: case["role"] for case in json.loads(path.read_text())["cases"]}
    assert [roles[name] for name in everyone[:2]] == ["test", "test"] and ui.dataMeasureButton.isHidden()
    assert not start.enabled and "Of the MRIs there are 1" in start.toolTip, "it would be the only one"


def test_with_some_mris_only_measured_a_method_that_adapts_can_start(panel, labelled_data, synthetic_data):
    described(panel)
    (first, _second), start = mris(synthetic_data, "train"), panel.ui.settingsStartButton
    panel.widget.panel.data_panel.set_dataset_file(labelled_data(first))
    assert not start.enabled
    panel.ui.dataMeasureButton.click()
    assert start.enabled, start.toolTip
    assert "Labelled MRIs are for measuring only" in panel.ui.dataStateLabel.text


def test_a_check_looks_at_the_labels_of_mris_as_at_those_of_cts(
    panel, labelled_data, synthetic_data, tmp_path, pictures
):
    """The check itself is for the chosen method; what it finds in the volumes holds for any other, too."""
    import SimpleITK as sitk

    described(panel)
    everyone = mris(synthetic_data, "train") + mris(synthetic_data, "val")
    path = labelled_data(*everyone)
    values = json.loads(path.read_text())
    wrong = next(case for case in values["cases"] if case["name"] == everyone[0])
    sitk.WriteImage(sitk.ReadImage(wrong["label"]) * 3, str(tmp_path / "other_values.nii.gz"))
    wrong["label"] = str(tmp_path / "other_values.nii.gz")
    path.write_text(json.dumps(values))
    panel.widget.panel.data_panel.set_dataset_file(path)
    pick(panel, TARGET)
    assert panel.ui.settingsStartButton.enabled, "nothing can be told without reading the volumes"
    panel.ui.dataCheckButton.click()
    panel.wait(lambda: panel.ui.dataCheckButton.text == "Check data")
    stops = [line for line in problems(panel).splitlines() if line.startswith("Stop")]
    assert len(stops) == 1 and everyone[0] in stops[0] and not panel.ui.settingsStartButton.enabled
    found = json.loads(path.with_suffix(".check.json").read_text())["report"]["problems"]
    assert [problem["kind"] for problem in found if problem["level"] == "stop"] == ["unknown_labels"]
    panel.picture(pictures / "training-target-model.png")
    pick(panel, ICMSC)
    assert "may not see any label" in problems(panel) and "out of date" not in panel.ui.dataCheckLabel.text


def test_one_thing_at_a_time_and_what_it_is_is_said_in_one_place(panel, synthetic_data):
    """Whatever was begun, the line says it as long as it goes on, and nothing else can be begun meanwhile."""
    described(panel)
    ui = panel.ui
    panel.widget.panel.data_panel.set_dataset_file(synthetic_data)
    pick_preset = ui.settingsPresetComboBox
    pick_preset.currentIndex = [pick_preset.itemText(i) for i in range(pick_preset.count)].index("smoke")
    assert ui.activityLabel.text == "Nothing is running."
    ui.dataCheckButton.click()
    assert ui.activityLabel.text.startswith("The check of the data is starting")
    assert not ui.settingsEstimateButton.enabled and ui.activityLabel.text in ui.settingsEstimateButton.toolTip
    assert not ui.sampleDataButton.enabled
    said = set()
    panel.wait(
        lambda: said.add((ui.activityLabel.text, ui.dataCheckLabel.text)) or ui.dataCheckButton.text == "Check data"
    )
    assert all(label == line for line, label in said if line.startswith("Checking"))
    assert ui.activityLabel.text == "Nothing is running." and "Last check" in ui.dataCheckLabel.text
    ui.settingsEstimateButton.click()
    assert "being estimated" in ui.activityLabel.text
    assert not ui.dataCheckButton.enabled and "being estimated" in ui.dataCheckButton.toolTip
    ui.settingsEstimateButton.click()
    panel.wait(lambda: ui.settingsEstimateButton.text != "Cancel")
    assert ui.activityLabel.text == "Nothing is running." and ui.dataCheckButton.enabled


def test_choices_are_saved_with_the_scene_and_come_back(panel, synthetic_data, tmp_path):
    """Another module is opened and this one again; a scene is closed, and an older choice is set from outside."""
    described(panel)
    node = panel.logic.getParameterNode()
    panel.widget.panel.data_panel.set_dataset_file(synthetic_data)
    panel.ui.settingsSeedSpinBox.value = 7
    panel.ui.atExitComboBox.currentText = "stop and save"
    choices = node.choices
    assert "7" in choices and node.atExit == "stop and save"
    panel.widget.exit()
    panel.widget.enter()
    assert panel.widget.panel.data_panel.dataset_file == synthetic_data
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
    assert panel.widget.panel.data_panel.dataset_file == made
    assert panel.ui.dataTable.rowCount == 6
    # The second time they are there.
    panel.widget.panel.data_panel.set_dataset_file(None)
    panel.ui.sampleDataButton.click()
    assert panel.widget.panel.data_panel.dataset_file == made


def test_a_file_that_is_no_data_set_stays_in_the_field_with_what_is_wrong(panel, synthetic_data, tmp_path):
    """Whatever else is changed then; with the data set before nobody wants to train."""
    panel.widget.panel.data_panel.set_dataset_file(synthetic_data)
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    panel.ui.dataPathEdit.currentPath = str(damaged)
    said = panel.ui.dataStateLabel.text
    assert "is not a dataset file" in said
    panel.logic.getParameterNode().atExit = "stop and save"
    assert panel.ui.dataPathEdit.currentPath == str(damaged) and panel.ui.dataStateLabel.text == said


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


def test_how_trainings_end_while_another_module_is_open_is_said_in_the_status_bar(
    open_panel, synthetic_data, tmp_path, monkeypatch
):
    import slicer
    from HipICMSCTrainingLib.gui.running import training_news, training_process

    said: list[str] = []
    monkeypatch.setattr(training_news, "_LOOK_MILLISECONDS", 100)
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))
    panel = open_panel("HipICMSCTraining")
    long = ["--preset", "smoke", "--set", "steps_per_epoch=2000"]
    killed, stopped = (panel.logic.start(tmp_path / name, synthetic_data, long) for name in ("killed", "stopped"))
    panel.wait(lambda: panel.logic.state(killed) == panel.logic.state(stopped) == "running")
    panel.widget.exit()
    training_process.stop(stopped)
    panel.wait(lambda: said)
    assert said == ["The training stopped has stopped; it can be resumed in HipICMSC Training."]
    os.kill(killed.status().pid, signal.SIGKILL)
    panel.wait(lambda: len(said) > 1)
    assert said[1:] == ["The training killed has failed; open HipICMSC Training to see why."]
    panel.widget.enter()
    panel.wait(lambda: not training_process.runs_started_here())
    assert len(said) == 2


def test_a_new_model_is_chosen_in_hipicmsc(module_manager):
    import slicer

    for module in ("HipICMSC", "HipICMSCTraining"):
        slicer_stand_ins.load_module(module)
        slicer.util.selectModule(module)
    slicer.util.getModuleLogic("HipICMSCTraining").useInHipICMSC("mine")
    assert slicer.util.getModuleLogic("HipICMSC").getParameterNode().model == "mine"
    slicer.util.selectModule("HipICMSC")
    assert slicer.util.getModuleWidget("HipICMSC").panel.model_panel.current() == "mine"


def test_what_comes_next_is_said_for_synthetic_data_that_are_there_already_and_until_it_has_come(panel, tmp_path):
    import qt
    from training_run import trained_run

    run = tmp_path / "runs" / "first"
    shutil.copytree(trained_run(), run)
    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(run.parent))
    (tmp_path / "synthetic-data").mkdir()
    (tmp_path / "synthetic-data" / "dataset.json").write_text('{"cases": []}')
    panel.ui.sampleDataButton.click()
    assert "Next: Check data" in panel.ui.sampleDataLabel.text and not panel.ui.sampleDataLabel.isHidden()
    panel.widget.panel.runs_panel.enter()
    panel.widget.panel.runs_panel.select(run)
    assert panel.ui.sampleDataLabel.isHidden()
