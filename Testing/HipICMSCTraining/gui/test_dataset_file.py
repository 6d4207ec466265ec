"""A data set is put together in its file: every change is saved, incomplete rows say why, roles go by patient."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.cases_of_folders import suggest_roles
from HipICMSCTrainingLib.data.dataset import Case, LabelValues
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file
from HipICMSCTrainingLib.gui.panels.check_report import (
    arguments_of_check,
    fingerprint,
    read_report,
    report_path,
    write_report,
)
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile


def case(folder: Path, name: str, patient: str = "", role: str = "train", labelled: bool | None = None) -> Case:
    """A case whose files exist; a CT (its name says so) has a label map unless it is said otherwise."""
    modality = "CT" if name.startswith("ct") else "MR"
    labelled = modality == "CT" if labelled is None else labelled
    files = [folder / f"{name}.nrrd", folder / f"{name}_label.nrrd"]
    folder.mkdir(parents=True, exist_ok=True)
    for file in files[: 1 + labelled]:
        file.write_bytes(b"voxels")
    return Case(name, modality, role, patient or name, str(files[0]), str(files[1]) if labelled else None)


@pytest.fixture
def file(tmp_path) -> DatasetFile:
    """Without cases, and not yet on the disk."""
    return DatasetFile(tmp_path / "hips" / "dataset.json")


def test_a_new_data_set_is_made_with_its_first_case(file):
    assert file.cases == () and not file.path.parent.exists()
    row = case(file.path.parent, "ct-001")
    file.add([row])
    assert file.cases == (row,) == DatasetFile(file.path).cases


def test_a_data_set_whose_rows_are_complete_is_what_a_training_reads(file):
    folder = file.path.parent
    rows = [case(folder, f"{kind}-{i}", role=role) for kind in ("ct", "mri") for i, role in ((1, "train"), (2, "val"))]
    file.add(rows[:2])
    file.add(rows[2:])
    assert file.stops() == []
    assert dataset_from_file(file.path).cases == tuple(rows)
    moved = folder.rename(folder.with_name("moved"))
    assert Path(dataset_from_file(moved / "dataset.json").cases[0].image).parent == moved


def test_incomplete_rows_are_saved_and_say_what_they_lack(file):
    folder = file.path.parent
    without = case(folder, "ct-001", labelled=False)
    gone = case(folder, "ct-002")
    Path(gone.label).unlink()
    labelled_mri = case(folder, "mri-001", labelled=True)
    whole = case(folder, "mri-002")
    file.add([without, gone, labelled_mri, whole])
    again = DatasetFile(file.path)
    assert again.cases == (without, gone, labelled_mri, whole)
    stops = {stop.case: stop for stop in again.stops()}
    assert "no label map" in stops["ct-001"].sentence
    assert "not there any more" in stops["ct-002"].sentence and gone.label in stops["ct-002"].sentence
    assert "role test" in stops["mri-001"].fix
    assert "mri-002" not in stops
    assert stops[""].kind == "too_few_volumes", "both domains have none held out"


def test_rows_are_removed_and_changed_and_their_volumes_stay(file):
    from dataclasses import replace

    first, second = (case(file.path.parent, name) for name in ("ct-001", "ct-002"))
    second = replace(second, label_values=LabelValues((1, 2), (3, 4), True))
    file.add([first, second])
    file.change([first, replace(second, role="val", patient="p")])
    assert DatasetFile(file.path).cases == (first, replace(second, role="val", patient="p"))
    file.remove([first])
    assert [row.name for row in DatasetFile(file.path).cases] == ["ct-002"]
    assert Path(first.image).exists() and Path(first.label).exists()


def test_what_another_program_wrote_is_not_overwritten(file):
    first = case(file.path.parent, "ct-001")
    file.add([first])
    other = DatasetFile(file.path)
    other.add([case(file.path.parent, "mri-001")])
    with pytest.raises(HipError) as caught:
        file.remove([first])
    assert caught.value.kind == "changed_outside"
    assert [row.name for row in file.cases] == ["ct-001", "mri-001"], "it was not read again"
    file.remove([first])
    assert [row.name for row in DatasetFile(file.path).cases] == ["mri-001"]


def test_files_that_were_written_for_a_case_go_where_it_cannot_be_saved(file):
    DatasetFile(file.path).add([case(file.path.parent, "mri-001")])
    written = case(file.path.parent, "ct-001")
    with pytest.raises(HipError):
        file.add_written(written)
    assert not Path(written.image).exists() and not Path(written.label).exists()
    written = case(file.path.parent, "ct-001")
    file.add_written(written)
    assert DatasetFile(file.path).cases[-1] == written and Path(written.image).exists()


def test_a_file_named_from_where_one_is_has_its_cases_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = DatasetFile(Path("hips") / "dataset.json")
    assert file.path == tmp_path / "hips" / "dataset.json"


def test_a_damaged_file_is_refused_and_stays(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text('{"cases": [{"name": ')
    with pytest.raises(HipError) as caught:
        DatasetFile(path)
    assert caught.value.kind == "bad_dataset" and path.read_text() == '{"cases": [{"name": '


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HipError) as caught:
        DatasetFile(tmp_path / "file" / "new" / "dataset.json").add([])
    assert caught.value.kind == "no_folder"


def test_new_names_are_numbers_that_nothing_else_has(file):
    folder = file.path.parent
    assert (file.free_name("CT"), file.free_name("MR")) == ("ct-001", "mri-001")
    file.add([case(folder, "ct-001")])
    case(folder, "CT-002")  # the files of a case that was removed
    assert file.free_name("CT") == "ct-003" and file.free_name("CT", besides=["ct-003"]) == "ct-004"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("hip 7", "hip-7"), ("../a/b: c", "a-b-c"), ("Hüfte", "H-fte"), ("???", "ct-001"), ("a_label", "a_label"),
     ("ct", "ct"), ("scan.1", "scan.1")],
)  # fmt: skip
def test_a_wished_name_becomes_one_that_a_file_can_have(file, wanted, name):
    assert file.free_name("CT", wanted) == name


def test_a_wished_name_never_takes_the_files_of_another_case(file):
    folder = file.path.parent
    file.add([case(folder, "ct"), case(folder, "mri_label", labelled=False)])
    assert file.free_name("CT", "CT") == "CT-2"
    assert file.free_name("MR", "ct_label") == "ct_label-2", "it would be the label map of ct"
    assert file.free_name("MR", "mri") == "mri-2", "its label map would be mri_label"


def roles(cases) -> dict[str, set[str]]:
    by_patient: dict[str, set[str]] = {}
    for row in cases:
        by_patient.setdefault(row.patient, set()).add(row.role)
    return by_patient


def test_suggested_roles_hold_out_patients_of_each_domain(tmp_path):
    rows = [case(tmp_path, f"ct-{i}", patient=f"c{i // 2}") for i in range(40)]
    rows += [case(tmp_path, f"mri-{i}", patient=f"m{i}") for i in range(2)]
    suggested = suggest_roles(rows, 3)
    assert suggested == suggest_roles(rows, 3) and [row.name for row in suggested] == [row.name for row in rows]
    assert any(suggest_roles(rows, seed) != suggested for seed in range(4, 9)), "the seed changes nothing"
    by_patient = roles(suggested)
    assert all(len(of_patient) == 1 for of_patient in by_patient.values())
    assert sum(by_patient[f"c{i}"] == {"val"} for i in range(20)) == 3
    assert sum(by_patient[f"m{i}"] == {"val"} for i in range(2)) == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_patient_of_both_domains_has_one_role_and_both_domains_keep_some_to_train_on(tmp_path, seed):
    """Two patients with CT and MRI, one with CT alone: whoever is held out, both domains have both roles."""
    rows = [case(tmp_path, name, patient=name[-1]) for name in ("ct-a", "mri-a", "ct-b", "mri-b", "ct-c")]
    suggested = suggest_roles(rows, seed)
    assert all(len(of_patient) == 1 for of_patient in roles(suggested).values())
    for modality in ("CT", "MR"):
        assert {row.role for row in suggested if row.modality == modality} == {"train", "val"}


def test_what_is_for_measuring_stays_so_with_all_of_its_patient(tmp_path):
    measured = case(tmp_path, "mri-t", patient="t", labelled=True)
    rows = [measured, case(tmp_path, "ct-t", patient="t"), case(tmp_path, "ct-u", role="test")]
    rows += [case(tmp_path, f"{kind}-{i}") for kind in ("ct", "mri") for i in range(2)]
    suggested = suggest_roles(rows, 0)
    assert [row.role for row in suggested[:3]] == ["test"] * 3
    assert sorted(row.role for row in suggested[3:]) == ["train", "train", "val", "val"]


def test_a_single_patient_is_trained_on(tmp_path):
    rows = [case(tmp_path, "ct-1"), case(tmp_path, "mri-1")]
    assert [row.role for row in suggest_roles(rows, 0)] == ["train", "train"]
    assert suggest_roles([], 0) == []


def test_for_a_method_that_is_trained_on_labelled_mris_they_are_cases_like_others(file):
    folder = file.path.parent
    rows = [case(folder, f"{kind}-{i}", role="test", labelled=True) for kind in ("ct", "mri") for i in range(3)]
    assert [file.with_role(row, labelled_mri=True).role for row in rows] == ["train"] * 6
    assert [file.with_role(row, labelled_mri=False).role for row in rows] == ["train"] * 3 + ["test"] * 3
    rows = [file.with_role(row, labelled_mri=True) for row in rows] + [case(folder, "mri-9", "mri-0")]
    suggested = suggest_roles(rows, 0, labelled_mri=True)
    assert sorted(row.role for row in suggested[:3]) == sorted(row.role for row in suggested[3:6])
    assert {row.role for row in suggested} == {"train", "val"}
    assert [row.role for row in suggest_roles(rows, 0)[3:]] == ["test"] * 4, "with all of the patient"
    file.add(suggested)
    assert [(stop.kind, stop.case) for stop in file.stops(labelled_mri=True)] == [("mri_without_label", "mri-9")]
    refused = [(stop.kind, stop.case) for stop in file.stops()]
    assert refused == [("labelled_mri_in_training", f"mri-{i}") for i in range(3)]


# The report of a check.

REPORT = {
    "problems": [
        {"level": "stop", "kind": "no_hip", "case": "ct-001", "sentence": "No hip.", "fix": "Look."},
        {"level": "caution", "kind": "few_volumes", "case": "", "sentence": "Few.", "fix": "Add."},
    ],
    "cases": [{"name": "ct-001"}],
}


#: What a check was told of the settings.
CROPS = ["--preset", "paper"]


@pytest.fixture
def checked(file) -> DatasetFile:
    folder = file.path.parent
    file.add([case(folder, "ct-001"), case(folder, "mri-001")])
    write_report(file.path, fingerprint(file.path, file.cases), CROPS, REPORT)
    return file


def test_a_report_is_current_until_something_that_was_checked_changes(checked):
    assert report_path(checked.path).name == "dataset.check.json"
    report = read_report(checked.path, checked.cases, CROPS)
    assert report.is_current and [problem.kind for problem in report.problems] == ["no_hip", "few_volumes"]
    assert [problem.kind for problem in report.stops] == ["no_hip"]
    before = checked.cases
    checked.remove(before[1:])
    assert not read_report(checked.path, checked.cases, CROPS).is_current
    checked.add(before[1:])
    assert read_report(checked.path, checked.cases, CROPS).is_current, "all is as it was checked"
    Path(before[0].label).write_bytes(b"more voxels")
    assert not read_report(checked.path, checked.cases, CROPS).is_current
    Path(before[0].label).unlink()
    assert not read_report(checked.path, checked.cases, CROPS).is_current


def test_nothing_is_told_of_a_case_that_is_gone(checked):
    checked.remove(checked.cases[:1])
    assert [problem.kind for problem in read_report(checked.path, checked.cases, CROPS).problems] == ["few_volumes"]


def test_what_another_method_had_said_of_labels_is_not_told(checked):
    """A check for a method that adapts refused what the target model is trained on; all else holds for both."""
    refused = {"level": "stop", "kind": "labelled_mri_in_training", "case": "mri-001", "sentence": "No.", "fix": "Go."}
    kept = {**REPORT, "problems": [refused, *REPORT["problems"]]}
    write_report(checked.path, fingerprint(checked.path, checked.cases), CROPS, kept)
    report = read_report(checked.path, checked.cases, CROPS)
    assert report.is_current and [problem.kind for problem in report.problems] == ["no_hip", "few_volumes"]


def test_a_stop_about_the_crop_stops_no_training_that_reads_whole_slices(checked):
    report = read_report(checked.path, checked.cases, ["--preset", "slabs"])
    assert (report.stops, report.is_for_these_settings, report.is_current) == ((), False, True)
    assert [problem.kind for problem in report.problems] == ["few_volumes"]
    assert read_report(checked.path, checked.cases, CROPS).is_for_these_settings


def test_settings_that_say_what_is_read_of_a_volume_go_to_a_check():
    rest = ["--set", "learning_rate_segmentation=0.1", "--set", "seed=3", "--set", "crop_flip=1"]
    read = ["--preset", "slabs", "--start-from", "hip-mri", "--set", "crop.size=[1, 2, 3]", "--set", "reads=slabs"]
    assert arguments_of_check(["--method", "icmsc", *read[:4], *rest, *read[4:]]) == read


def test_the_fingerprint_names_no_file(checked):
    kept = json.loads(report_path(checked.path).read_text())
    assert len(kept["fingerprint"]) == 64 and str(checked.path.parent) not in json.dumps(kept)


@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"fingerprint": "", "report": {"problems": [{"level": "odd"}]}}'])
def test_a_damaged_report_is_no_report(checked, kept):
    report_path(checked.path).write_text(kept)
    assert read_report(checked.path, checked.cases, CROPS) is None


def test_without_a_check_there_is_no_report(file):
    assert read_report(file.path, file.cases, CROPS) is None
