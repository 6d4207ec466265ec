"""Folders, corrected cases and other data sets as sources, roles, and files that change or go."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

import pytest
import slicer_stand_ins
from data_section import Bench, ct_image, dataset, mri_image, write_pair


def test_pairs_of_a_folder_are_taken_where_they_are(data, path, tmp_path, pictures):
    ui, folder = data.ui, tmp_path / "Jane Doe"
    for stem in ("a", "b"):
        write_pair(folder, stem, ct_image(1), (5, 7))
    write_pair(folder, "c", ct_image(1), None)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    assert ui.dataFolderAddButton.toolTip == ui.dataFolderNoteLabel.text == "Choose a folder."
    ui.dataFolderEdit.currentPath = str(folder)
    assert ui.dataFolderNoteLabel.text == "Volumes in this folder: 3, with label maps: 2."
    assert (ui.dataHipBoneValuesEdit.text, ui.dataFemurValuesEdit.text) == ("1", "2")
    ui.dataHipBoneValuesEdit.text, ui.dataFemurValuesEdit.text = "5", "x"
    assert "whole numbers" in ui.dataFolderAddButton.toolTip and not ui.dataFolderAddButton.enabled
    ui.dataFemurValuesEdit.text = "5"
    assert "label values of their own" in ui.dataFolderAddButton.toolTip
    ui.dataFemurValuesEdit.text = "7, 8"
    ui.dataOtherValuesCheckBox.click()
    data.picture(pictures / "data-from-folder.png")
    ui.dataFolderAddButton.click()
    assert [row[:3] for row in data.rows()] == [
        ["ct-001", "CT", "present"], ["ct-002", "CT", "present"], ["ct-003", "CT", "missing"],
    ]  # fmt: skip
    assert ui.dataTable.item(0, 0).toolTip() == f"ct-001\n{folder / 'a.nii.gz'}"
    assert "has no label map" in ui.dataTable.item(2, 2).toolTip()
    assert any(line.startswith("Stop: The CT ct-003 has no label map.") for line in data.problems())
    case = json.loads(path.read_text())["cases"][0]
    assert case["label_values"] == {"acetabulum": [5], "femur": [7, 8], "ignore_others": True}
    ui.dataFolderAddButton.click()
    assert len(data.rows()) == 3 and "Nothing was added" in ui.dataStateLabel.text
    data.picture(pictures / "data-incomplete.png")


def test_the_label_values_given_last_are_there_the_next_time_and_no_older_ones(data, path, tmp_path, bench):
    from HipICMSCTrainingLib.gui.scene.label_mapping import remembered_mapping

    ui = data.ui
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    for stem, hip_bone, femur in (("a", "1, 2", "3, 4"), ("b", "1", "2")):
        write_pair(tmp_path / stem, stem, ct_image(1))
        ui.dataFolderEdit.currentPath = str(tmp_path / stem)
        ui.dataHipBoneValuesEdit.text, ui.dataFemurValuesEdit.text = hip_bone, femur
        ui.dataFolderAddButton.click()
        again = Bench(*bench)
        assert (again.ui.dataHipBoneValuesEdit.text, again.ui.dataFemurValuesEdit.text) == (hip_bone, femur)
        again.panel.close()
    assert remembered_mapping() == {}, "what the values of files mean says nothing of label maps in the scene"


@pytest.mark.parametrize(
    "kept", ["", "{", "[1]", "1", '{"femur": [1]}', '{"femur": "2"}', '{"femur": [0]}', '{"hip": [1]}', ["1"], 7]
)
def test_of_damaged_label_values_the_usual_ones_are_left(data, bench, kept):
    slicer_stand_ins.QSettings.values["HipICMSCTraining/LastLabelValues"] = kept
    again = Bench(*bench)
    assert (again.ui.dataHipBoneValuesEdit.text, again.ui.dataFemurValuesEdit.text) == ("1", "2")
    again.panel.close()


def test_mris_of_a_folder_with_or_without_their_label_maps(data, path, tmp_path):
    ui, folder = data.ui, tmp_path / "mri"
    write_pair(folder, "a", mri_image(1))
    write_pair(folder, "b", mri_image(2), None)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderEdit.currentPath = str(folder)
    ui.dataFolderNamesComboBox.currentIndex = 1
    ui.dataFolderKindComboBox.currentIndex = 2
    assert "measuring only" in ui.dataFolderNoteLabel.text and data.shows(ui.dataHipBoneValuesEdit)
    ui.dataFolderAddButton.click()
    assert data.rows() == [["a", "MRI", "measuring only", "Test", "a"]]
    data.select(0)
    ui.dataRemoveButton.click()
    ui.dataFolderKindComboBox.currentIndex = 1
    assert not data.shows(ui.dataHipBoneValuesEdit)
    ui.dataFolderAddButton.click()
    assert [row[:4] for row in data.rows()] == [
        ["a", "MRI", "not needed", "Training"], ["b", "MRI", "not needed", "Training"],
    ]  # fmt: skip


def test_many_patients_of_a_slow_share_are_looked_through_and_slicer_goes_on(data, path, tmp_path, monkeypatch):
    from HipICMSCLib.common import volume_names

    looks, is_dicom = [], volume_names.is_dicom

    def slow(file: Path) -> bool:
        time.sleep(0.01)
        looks.append(file)
        return is_dicom(file)

    monkeypatch.setattr(volume_names, "is_dicom", slow)
    ui, folder = data.ui, tmp_path / "share"
    for number in range(60):
        study = folder / f"patient-{number:03d}" / "study"
        study.mkdir(parents=True)
        (study / "1 report.txt").write_text("A report.")
        for name in ("2", "3"):
            (study / name).write_bytes(bytes(128) + b"DICM")
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderKindComboBox.currentIndex = 1
    ui.dataFolderEdit.currentPath = str(folder)
    assert len(looks) < 60, "the first turn is a short one"
    assert ui.dataFolderNoteLabel.text == ui.dataFolderAddButton.toolTip
    assert ui.dataFolderNoteLabel.text == "The folder is being looked through; wait a moment."
    assert not ui.dataFolderAddButton.enabled
    data.wait(lambda: ui.dataFolderAddButton.enabled)
    assert ui.dataFolderNoteLabel.text == "Volumes in this folder: 60."
    assert len(looks) == 120, "of each patient two files"
    ui.dataFolderAddButton.click()
    assert len(data.rows()) == 60 and len(looks) == 120, "what is known is not looked for again"
    (folder / "patient-060").mkdir()
    (folder / "patient-060" / "1").write_bytes(bytes(128) + b"DICM")
    data.panel.refresh()
    data.wait(lambda: ui.dataFolderNoteLabel.text == "Volumes in this folder: 61.")


def test_who_names_the_folder_of_everything_is_told_to_choose_another_one(data, path, tmp_path, monkeypatch):
    from HipICMSCTrainingLib.gui.running import folder_look

    monkeypatch.setattr(folder_look, "_MOST_LOOKS", 100)
    ui = data.ui
    for number in range(200):
        (tmp_path / "usr" / f"share-{number}").mkdir(parents=True)
    write_pair(tmp_path / "few", "a", ct_image(1))
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderEdit.currentPath = str(tmp_path / "usr")
    data.wait(lambda: "looked through" not in ui.dataFolderNoteLabel.text)
    assert ui.dataFolderNoteLabel.text == (
        f"{tmp_path / 'usr'} holds too much to look through; choose the folder in which the volumes lie."
    )
    assert not ui.dataFolderAddButton.enabled
    ui.dataFolderEdit.currentPath = str(tmp_path / "few")
    assert ui.dataFolderNoteLabel.text == "Volumes in this folder: 1, with label maps: 1."


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("method", ["is_dir", "iterdir"])
def test_a_folder_that_may_not_be_read_is_said(data, path, tmp_path, monkeypatch, kind, method):
    ui, folder, usual = data.ui, tmp_path / "locked", getattr(Path, method)
    folder.mkdir()

    def refused(self: Path):
        if self == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return usual(self)

    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderKindComboBox.currentIndex = kind
    monkeypatch.setattr(Path, method, refused)
    ui.dataFolderEdit.currentPath = str(folder)
    assert f"The folder {folder} cannot be read" in ui.dataFolderNoteLabel.text
    assert "Permission denied" in ui.dataFolderNoteLabel.text and not ui.dataFolderAddButton.enabled
    monkeypatch.undo()
    data.panel.refresh()
    assert "cannot be read" not in ui.dataFolderNoteLabel.text, "its rights were changed"


def test_corrected_mris_come_as_case_folders(data, path, tmp_path, pictures):
    from corrected import case_in

    ui, folder = data.ui, tmp_path / "cases"
    case_in(folder)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderKindComboBox.currentIndex = 3
    ui.dataFolderEdit.currentPath = str(tmp_path)
    assert "holds no corrected case" in ui.dataFolderNoteLabel.text and not ui.dataFolderAddButton.enabled
    ui.dataFolderEdit.currentPath = str(folder)
    assert ui.dataFolderNoteLabel.text == "Corrected cases: 1."
    assert not data.shows(ui.dataHipBoneValuesEdit) and not data.shows(ui.dataFolderNamesComboBox)
    ui.dataFolderAddButton.click()
    assert data.rows() == [["case-001", "MRI", "corrected", "Training", "case-001"]]
    assert "corrected ones: 1 teach, 0 are held out" in ui.dataStateLabel.text
    assert not any("label map" in problem for problem in data.problems())
    entry = json.loads(path.read_text())["cases"][0]
    assert Path(entry["corrected"]).name == "case-001" and "image" not in entry
    data.picture(pictures / "data-corrected.png")
    # Who moves the folder is told which case it is.
    (folder / "case-001").rename(tmp_path / "elsewhere")
    data.panel.refresh()
    assert any("The case folder of case-001 is not there any more" in problem for problem in data.problems())


def test_another_data_set_is_added_with_its_roles(data, path, tmp_path):
    other = tmp_path / "other" / "dataset.json"
    other.parent.mkdir()
    dataset(other, ct1="val", mri1="train")
    path.parent.mkdir()
    dataset(path, ct1="train")
    data.panel.set_dataset_file(path)
    data.answer_file_dialog(data.ui.dataFileButton, other)
    assert [row[:4] for row in data.rows()] == [
        ["ct1", "CT", "present", "Training"], ["ct1-2", "CT", "present", "Validation"],
        ["mri1", "MRI", "not needed", "Training"],
    ]  # fmt: skip
    assert [row[4] for row in data.rows()] == ["ct1", "ct1-2", "mri1"], "patients of one name are two persons"
    assert not any("is in training and in validation" in line for line in data.problems())


def test_an_added_data_sets_patients_keep_their_cases_together_and_meet_nobody_here(data, path, tmp_path):
    """CT and MRI of a person stay one person's, and whose volume is here already is who is here."""
    other = tmp_path / "other" / "dataset.json"
    other.parent.mkdir()
    patients_of(dataset(other, ct1="train", mri1="train", mri2="val", ct3="train"), "p", "p", "p-2", "q")
    path.parent.mkdir()
    patients_of(dataset(path, ct1="train", ct2="train"), "p", "r")
    cases = json.loads(path.read_text())["cases"]
    cases[1] |= {
        key: str(other.parent / name) for key, name in (("image", "ct3.nii.gz"), ("label", "ct3_label.nii.gz"))
    }
    path.write_text(json.dumps({"cases": cases}))
    data.panel.set_dataset_file(path)
    data.answer_file_dialog(data.ui.dataFileButton, other)
    assert [[row[0], row[4]] for row in data.rows()] == [
        ["ct1", "p"], ["ct2", "r"], ["ct1-2", "p-3"], ["mri1", "p-3"], ["mri2", "p-2"],
    ]  # fmt: skip
    # Who adds what came to it later adds it to the same persons.
    patients_of(dataset(other, ct1="train", mri1="train", mri2="val", mri4="train"), "p", "p", "p-2", "p")
    data.answer_file_dialog(data.ui.dataFileButton, other)
    assert [row[4] for row in data.rows()][-1] == "p-3"


def patients_of(path: Path, *patients: str) -> Path:
    """Give the cases of a dataset.json their patients."""
    cases = json.loads(path.read_text())["cases"]
    named = [case | {"patient": patient} for case, patient in zip(cases, patients, strict=True)]
    path.write_text(json.dumps({"cases": named}))
    return path


def test_roles_go_by_patient(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    changes = data.changes
    data.ui.dataTable.item(2, 4).setText("ct1")
    assert [row[4] for row in data.rows()] == ["ct1", "ct2", "ct1", "mri2"] and data.changes == changes + 1
    data.role(0, "Validation")
    assert [row[3] for row in data.rows()] == ["Validation", "Validation", "Validation", "Validation"]
    assert "none to train on" in data.panel.blocking_sentence()
    data.ui.dataTable.item(0, 4).setText(" ")
    assert data.rows()[0][4] == "ct1", "a case without a patient is a patient of its own"
    data.ui.dataTable.item(2, 4).setText("mri2")
    data.role(0, "Training")
    data.ui.dataTable.item(0, 4).setText("ct2")
    assert [row[3] for row in data.rows()] == ["Validation"] * 4, "it takes the role that its patient has"


def test_rows_are_removed_and_their_files_stay(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    assert data.ui.dataRemoveButton.toolTip == "Select rows of the table first."
    data.select(1)
    assert data.ui.dataRemoveButton.enabled
    data.ui.dataRemoveButton.click()
    assert [row[0] for row in data.rows()] == ["ct1", "mri1", "mri2"]
    assert [case["name"] for case in json.loads(path.read_text())["cases"]] == ["ct1", "mri1", "mri2"]
    assert (path.parent / "ct2.nii.gz").is_file()


def test_a_file_that_is_gone_is_seen(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    (path.parent / "ct1_label.nii.gz").unlink()
    (path.parent / "mri1.nii.gz").unlink()
    data.panel.set_dataset_file(path)
    assert [row[2] for row in data.rows()] == ["file missing", "present", "volume missing", "not needed"]
    assert "is not there any more" in data.panel.blocking_sentence()


def test_a_file_that_another_program_changed_is_read_again_and_said(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    dataset(path, ct1="train", mri1="train")
    data.role(0, "Validation")
    ((kind, text),) = dialogs
    assert kind == "errorDisplay" and "Another program" in text
    assert [row[:4] for row in data.rows()] == [
        ["ct1", "CT", "present", "Training"], ["mri1", "MRI", "not needed", "Training"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", '{"cases": [{"colour": "red"}]}'])
def test_a_damaged_file_is_said_and_left_alone(data, path, text):
    path.parent.mkdir()
    path.write_text(text)
    data.panel.set_dataset_file(path)
    assert data.panel.dataset_file is None and data.panel.blocking_sentence() == data.ui.dataStateLabel.text != ""
    assert not data.ui.dataFolderButton.enabled and path.read_text() == text
    dataset(path, ct1="train")
    data.panel.refresh()
    assert data.panel.dataset_file == path and len(data.rows()) == 1, "it was repaired meanwhile"


def test_an_existing_data_set_is_not_replaced_by_a_new_one(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train")
    data.answer_file_dialog(data.ui.dataNewButton, path.parent)
    assert len(data.rows()) == 1 and "has a data set already" in data.ui.dataStateLabel.text
