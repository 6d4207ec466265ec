"""The data section: from volumes of the scene to a checked data set by clicks, and what it says on the way."""

from __future__ import annotations

import subprocess
import sys

import pytest
import SimpleITK as sitk
import slicer_stand_ins
from data_section import Bench, ball_classes, ct_image, dataset, fill_scene, write_pair


def test_an_empty_section_says_what_comes_first(data, path, pictures):
    ui = data.ui
    assert "Choose the dataset.json" in data.panel.blocking_sentence() == ui.dataStateLabel.text
    assert data.panel.dataset_file is None
    for name in ("Scene", "Folder", "File", "Remove", "Roles", "Check"):
        button = getattr(ui, f"data{name}Button")
        assert not button.enabled and button.toolTip == data.panel.blocking_sentence()
    assert ui.dataNewButton.enabled
    data.picture(pictures / "data-empty.png")
    data.panel.set_dataset_file(path)
    assert data.panel.dataset_file == path and "no volumes yet" in data.panel.blocking_sentence()
    assert ui.dataSceneButton.enabled and "Show the volumes" in ui.dataSceneButton.toolTip
    assert ui.dataRolesButton.toolTip == "The data set has no volumes yet."
    assert not path.parent.exists(), "looking made a folder"


def test_from_the_scene_to_a_checked_data_set_by_clicks(data, path, pictures, dialogs):
    from HipICMSCTrainingLib.data.dataset_file import dataset_from_file

    ui = data.ui
    fill_scene(data.scene)
    path.parent.mkdir()
    data.answer_file_dialog(ui.dataNewButton, path.parent)
    assert ui.dataPathEdit.currentPath == str(path) and data.panel.dataset_file == path
    ui.dataSceneButton.click()
    assert data.scene_rows() == [
        ["Doe^Jane 1 CT", "CT", "drawn 1"], ["Doe^Jane 2 CT", "CT", "drawn 2"],
        ["Doe^John 1 MRI", "MRI", "nothing"], ["Doe^John 2 MRI", "MRI", "nothing"],
    ]  # fmt: skip
    assert len(data.ticked()) == 4 and data.shows(ui.dataMappingTable)
    hip, femur = "hip bone (acetabulum)", "femur"
    assert data.meanings() == {
        "hip_left": hip, "hip_right": hip, "femur_left": femur, "femur_right": femur, "sacrum": "leave out",
    }  # fmt: skip
    data.picture(pictures / "data-from-scene.png")
    ui.dataSceneAddButton.click()
    assert dialogs == [] and data.ticked() == []
    assert data.rows() == [
        ["ct-001", "CT", "present", "Training", "ct-001"], ["ct-002", "CT", "present", "Training", "ct-002"],
        ["mri-001", "MRI", "not needed", "Training", "mri-001"],
        ["mri-002", "MRI", "not needed", "Training", "mri-002"],
    ]  # fmt: skip
    assert "Volumes added: 4." in ui.dataStateLabel.text
    assert "none to hold out" in data.panel.blocking_sentence()
    assert "Suggest roles" in data.panel.blocking_sentence()
    assert b"Doe" not in b"".join(file.read_bytes() for file in path.parent.iterdir())

    ui.dataRolesButton.click()
    assert sorted(row[3] for row in data.rows()) == ["Training", "Training", "Validation", "Validation"]
    assert data.panel.blocking_sentence() == "" and "can start" in ui.dataStateLabel.text
    read = dataset_from_file(path)
    for case in read.cases[:2]:
        labels = sitk.ReadImage(case.label)
        assert (sitk.GetArrayFromImage(labels) == ball_classes(labels)).all()

    ui.dataSceneButton.click()
    assert "not been checked" in ui.dataCheckLabel.text
    ui.dataCheckButton.click()
    assert ui.dataCheckButton.text == "Cancel check"
    seen = set()
    data.wait(lambda: seen.add(ui.dataCheckLabel.text) or ui.dataCheckButton.text == "Check data")
    assert {"Checking the data: ct-001 …", "Checking the data: mri-002 …"} <= seen and dialogs == []
    assert "Last check: " in ui.dataCheckLabel.text
    assert any("come from 2 patients only" in line and line.startswith("Caution: ") for line in data.problems())
    assert (path.parent / "dataset.check.json").is_file()
    data.picture(pictures / "data-checked.png")


def test_all_is_as_it_was_when_slicer_is_started_again(data, path, bench):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    again = Bench(bench[0], bench[1])
    again.panel.set_dataset_file(path)
    assert again.rows() == data.rows() and len(again.rows()) == 4
    assert again.problems() == data.problems() != []
    assert again.ui.dataCheckLabel.text == data.ui.dataCheckLabel.text
    assert "out of date" not in again.ui.dataCheckLabel.text
    again.role(1, "Test")
    assert "out of date" in again.ui.dataCheckLabel.text
    data.panel.refresh()
    assert data.rows() == again.rows(), "the module was entered again"
    again.panel.close()


def test_a_stop_that_a_check_found_blocks_until_it_is_checked_again(data, path, pictures, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    wrong = ct_image(0)
    write_pair(path.parent, "ct1", wrong)
    sitk.WriteImage(sitk.Image(wrong.GetSize(), sitk.sitkUInt8), str(path.parent / "ct1_label.nii.gz"))
    data.panel.set_dataset_file(path)
    assert data.panel.blocking_sentence() == "", "a check that was not made blocks nothing"
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert dialogs == [], "stops are a result, no failure"
    assert data.problems()[0].startswith("Stop: ") and "ct1" in data.problems()[0]
    assert data.panel.blocking_sentence() == data.problems()[0].removeprefix("Stop: ")
    data.ui.dataProblemsList.setCurrentRow(0)
    assert {item.row() for item in data.ui.dataTable.selectedItems()} == {0}
    data.picture(pictures / "data-stops.png")

    write_pair(path.parent, "ct1", wrong)
    data.panel.refresh()
    assert "check the data again" in data.panel.blocking_sentence()
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert not any("ct1" in line and line.startswith("Stop") for line in data.problems())


def test_a_stop_of_the_list_of_cases_is_gone_as_soon_as_it_is_mended(data, path, dialogs):
    """No volume has to be read again for it."""
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="train", mri1="train", mri2="val")
    for number, name in enumerate(("ct1", "ct2")):
        write_pair(path.parent, name, ct_image(number))
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert "hold out" in data.panel.blocking_sentence()
    data.ui.dataRolesButton.click()
    assert "hold out" not in data.panel.blocking_sentence()
    assert not any("hold out" in line for line in data.problems())


def test_a_field_that_was_emptied_names_no_data(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    assert data.panel.dataset_file == path
    data.ui.dataPathEdit.currentPath = ""
    assert data.panel.dataset_file is None and "Choose the dataset.json" in data.panel.blocking_sentence()


def test_what_is_wrong_with_a_case_goes_with_the_case(data, path):
    from HipICMSCTrainingLib.gui.panels.check_report import write_report

    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", ct3="train", mri1="train", mri2="val")
    stop = {"level": "stop", "kind": "no_hip", "case": "ct3", "sentence": "ct3 shows no hip.", "fix": "Leave it out."}
    write_report(path, "", [], {"problems": [stop]})
    data.panel.set_dataset_file(path)
    assert "ct3 shows no hip." in data.panel.blocking_sentence()
    data.select(2)
    data.ui.dataRemoveButton.click()
    assert data.panel.blocking_sentence() == "" and data.problems() == []


def test_a_check_can_be_cancelled(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    assert data.ui.dataCheckButton.enabled and data.shows(data.ui.dataCheckProgressBar)
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert dialogs == [] and "not been checked" in data.ui.dataCheckLabel.text
    assert not (path.parent / "dataset.check.json").exists()


def test_a_check_that_fails_is_told(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", mri1="train")
    data.panel.set_dataset_file(path)
    path.unlink()
    data.ui.dataCheckButton.click()
    data.wait(lambda: dialogs)
    assert "There is no file" in dialogs[0][1]


def test_a_check_ends_with_the_section(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    process = data.panel._check._command._process
    data.panel.close()
    assert process.poll() is not None


@pytest.mark.parametrize("typed", ["notes.txt", "dataset", "hips/dataset.json"])
def test_a_path_that_cannot_be_a_data_set_is_refused(data, typed):
    data.ui.dataPathEdit.currentPath = typed
    assert data.panel.dataset_file is None and "ends in .json" in data.panel.blocking_sentence()


def test_every_control_can_be_reached_and_says_what_it_does(data):
    names = [name for name in vars(data.ui) if name.endswith(("Button", "Edit", "ComboBox", "CheckBox", "Table"))]
    assert len(names) > 20
    assert all(name.startswith("data") for name in names), "names are unique over all sections"
    for name in names:
        if name != "dataCollapsibleButton":
            assert getattr(data.ui, name).toolTip, name


def test_the_section_loads_without_the_libraries_of_the_network():
    """Slicer's own process imports it, so that it may import nothing that is not in Slicer."""
    code = """
import sys
for name in ("torch", "skimage", "safetensors"):
    sys.modules[name] = None
sys.path[:0] = sys.argv[1:]
from types import ModuleType
for name in ("slicer", "slicer.i18n", "slicer.util", "qt"):
    sys.modules[name] = ModuleType(name)
sys.modules["slicer.i18n"].tr = str
sys.modules["slicer.util"].VTKObservationMixin = object
import HipICMSCTrainingLib.gui.panels.data_panel
"""
    paths = [str(slicer_stand_ins.module_file(name).parent) for name in ("HipICMSC", "HipICMSCTraining")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
