"""Which volumes take part in a training, in which role, and what is said where something is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import dicom_series
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders, suggest_roles
from HipICMSCTrainingLib.data.dataset import Case, Dataset, LabelValues
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file, unchecked_dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.data.dataset_problems import dataset_problems
from HipICMSCTrainingLib.data.slice_cache import read_case
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.trainer import Trainer
from tiny_training import TinyData


def folders(base: Path, ct: Iterable[str], mri: Iterable[str]) -> tuple[Path, Path]:
    """Only names matter here, so the files are empty."""
    for name, files in (("ct", ct), ("mri", mri)):
        (base / name).mkdir(parents=True)
        for file in files:
            (base / name / file).touch()
    return base / "ct", base / "mri"


def labelled(*names: str) -> list[str]:
    return [file for name in names for file in (f"{name}.nii.gz", f"{name}_label.nii.gz")]


def kind_of(call) -> str:
    with pytest.raises(HipError) as caught:
        call()
    assert caught.value.sentence.endswith(".")
    assert "\n" not in caught.value.sentence
    return caught.value.kind


def test_folders_become_cases_with_absolute_paths(tmp_path):
    ct, mri = folders(
        tmp_path,
        [*labelled("a", "b"), "c.nrrd", "c_label.mha", "notes.txt", ".hidden.nii"],
        ["m.nii", "n.nrrd", "n_label.nrrd", "n_ignore.nrrd"],
    )
    dataset = dataset_from_folders(ct, mri, seed=0)
    assert sorted(case.name for case in dataset.cases) == ["a", "b", "c", "m", "n"]
    by_name = {case.name: case for case in dataset.cases}
    assert by_name["c"].label == str((ct / "c_label.mha").resolve())
    assert by_name["a"].image == str((ct / "a.nii.gz").resolve())
    assert by_name["n"].label is None  # labels of an MRI are no part of a training
    assert {case.modality for case in dataset.cases if case.label} == {"CT"}


def test_the_split_holds_out_some_patients_of_each_domain_and_depends_on_the_seed_alone(tmp_path):
    ct, mri = folders(tmp_path, labelled(*(f"ct{n:02d}" for n in range(20))), [f"mr{n:02d}.nii.gz" for n in range(14)])
    first, again, other = (dataset_from_folders(ct, mri, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert (len(first.of("CT", "val")), len(first.of("CT", "train"))) == (3, 17)
    assert (len(first.of("MR", "val")), len(first.of("MR", "train"))) == (2, 12)


def test_who_is_held_out_is_the_same_from_folders_and_in_the_panel(tmp_path):
    """There is one rule, so that a data set that was put together by hand is split as the command splits it."""
    ct, mri = folders(tmp_path, labelled(*(f"ct{n:02d}" for n in range(9))), [f"mr{n:02d}.nii.gz" for n in range(7)])
    for seed in range(3):
        cases = dataset_from_folders(ct, mri, seed).cases
        assert suggest_roles([replace(case, role="train") for case in cases], seed) == list(cases)


def test_a_folder_of_dicom_is_an_image_and_its_label_map_lies_beside_it(tmp_path):
    ct, mri = folders(tmp_path, labelled("a"), ["m.nii", "n.nii"])
    voxels = np.random.default_rng(0).integers(0, 900, (14, 60, 64)).astype(np.int16)
    (ct / "b.old").mkdir()
    dicom_series(ct / "b.old" / "inner", voxels)
    (ct / "b.old_label.nii.gz").touch()
    dicom_series(mri / "o", voxels)
    (mri / "notes").mkdir()
    by_name = {case.name: case for case in dataset_from_folders(ct, mri, seed=0).cases}
    assert sorted(by_name) == ["a", "b.old", "m", "n", "o"]
    assert by_name["b.old"].label == str((ct / "b.old_label.nii.gz").resolve())
    image, labels = read_case(by_name["o"])
    assert (sitk.GetArrayFromImage(image) == voxels).all() and labels is None
    # Of files that lie about nobody knows whose they are.
    with pytest.raises(HipError, match=r"DICOM files lie in .*inner itself; give those of each patient a folder"):
        dataset_from_folders(ct / "b.old" / "inner", mri, seed=0)


def test_missing_folder(tmp_path):
    ct, _ = folders(tmp_path, labelled("a", "b"), [])
    assert kind_of(lambda: dataset_from_folders(ct, tmp_path / "nowhere", 0)) == "missing_folder"


def test_ct_without_label_is_named(tmp_path):
    ct, mri = folders(tmp_path, [*labelled("a", "b"), "lonely.nii.gz"], ["m.nii", "n.nii"])
    with pytest.raises(HipError, match=r"The CT lonely .*X_label beside X") as caught:
        dataset_from_folders(ct, mri, 0)
    assert caught.value.kind == "ct_without_label"


def test_labelled_mris_for_measuring_come_from_a_folder_of_their_own(tmp_path):
    ct, mri = folders(tmp_path, labelled("a", "b"), ["m.nii", "n.nii"])
    test = tmp_path / "test"
    test.mkdir()
    for file in [*labelled("t", "u"), "t_ignore.nii.gz"]:
        (test / file).touch()
    dataset = dataset_from_folders(ct, mri, 0, test_mri=test)
    assert [(c.name, c.label) for c in dataset.of("MR", "test")] == [
        (name, str((test / f"{name}_label.nii.gz").resolve())) for name in ("t", "u")
    ]
    assert dataset.in_training() == list(dataset_from_folders(ct, mri, 0).cases)


def test_test_cases_do_not_count_as_something_to_train_on(tmp_path):
    ct, mri = folders(tmp_path, labelled("a", "b"), ["n.nii"])
    test = tmp_path / "test"
    test.mkdir()
    for file in labelled("t", "u"):
        (test / file).touch()
    with pytest.raises(HipError, match="MRIs there are 1 in training and validation") as caught:
        dataset_from_folders(ct, mri, 0, test_mri=test)
    assert caught.value.kind == "too_few_volumes"


@pytest.mark.parametrize(("cts", "mris"), [(2, 1), (2, 0), (1, 2), (0, 2)])
def test_fewer_than_two_volumes_of_a_domain_are_too_few(tmp_path, cts, mris):
    ct, mri = folders(tmp_path, labelled(*(f"c{n}" for n in range(cts))), [f"m{n}.nii" for n in range(mris)])
    with pytest.raises(HipError, match="MRIs" if mris < 2 else "CTs") as caught:
        dataset_from_folders(ct, mri, 0)
    assert caught.value.kind == "too_few_volumes"


def test_two_and_two_are_enough(tmp_path):
    ct, mri = folders(tmp_path, labelled("a", "b"), ["m.nii", "n.nii"])
    dataset = dataset_from_folders(ct, mri, 0)
    assert [len(dataset.of(m, r)) for m in ("CT", "MR") for r in ("train", "val")] == [1, 1, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_a_ct_and_an_mri_of_the_same_name_are_of_one_patient_and_told_apart(tmp_path, seed):
    ct, mri = folders(tmp_path, labelled("p1", "p2", "p4"), ["p1.nii", "p2.nrrd", "p3.nii"])
    cases = {case.name: case for case in dataset_from_folders(ct, mri, seed).cases}
    assert set(cases) == {"p1-CT", "p1-MR", "p2-CT", "p2-MR", "p3", "p4"}
    for name in ("p1", "p2"):
        one, other = cases[f"{name}-CT"], cases[f"{name}-MR"]
        assert (one.patient, one.role) == (other.patient, other.role) == (name, one.role)
        assert Path(one.image).parent.name == "ct" and Path(other.image).parent.name == "mri"


@pytest.mark.parametrize("twins", [("a.nii", "a.nii.gz"), ("a_label.nii", "a_label.nii.gz"), ("a.nrrd", "a.mha")])
def test_of_two_files_of_one_name_neither_is_taken_without_a_word(tmp_path, twins):
    ct, mri = folders(tmp_path, [*{"a.nii", "a_label.nii"} - set(twins), *twins, *labelled("b")], ["m.nii", "n.nii"])
    if twins[0] == "a.nrrd":
        (ct / "a.nii").unlink()
    with pytest.raises(HipError) as raised:
        dataset_from_folders(ct, mri, 0)
    assert all(name in raised.value.sentence for name in twins)


@pytest.mark.parametrize(
    "label", ["a_label.nii.gz", "a-label.nrrd", "a_label.seg.nrrd", "a-label.seg.nrrd", "a.seg.nrrd", "A.nrrd"]
)
def test_a_label_map_is_found_by_the_names_that_slicer_gives(tmp_path, label):
    ct, mri = folders(tmp_path, ["a.nrrd", label, *labelled("b")], ["m.nii", "n.nii"])
    if label == "A.nrrd":  # another image
        assert kind_of(lambda: dataset_from_folders(ct, mri, 0)) == "ct_without_label"
        return
    cases = dataset_from_folders(ct, mri, 0).cases
    assert {case.name: Path(case.label).name for case in cases if case.label} == {"a": label, "b": "b_label.nii.gz"}


# dataset.json


def case(name: str, modality: str, role: str, **changes) -> dict:
    values = {"name": name, "modality": modality, "role": role, "patient": name, "image": f"{name}.nii"}
    if modality == "CT":
        values["label"] = f"{name}_label.nii"
    return values | changes


def good_cases() -> list[dict]:
    return [case("c1", "CT", "train"), case("c2", "CT", "val"), case("m1", "MR", "train"), case("m2", "MR", "val")]


def written(folder: Path, content: object) -> Path:
    for entry in good_cases():
        for key in ("image", "label"):
            if key in entry:
                (folder / entry[key]).touch()
    path = folder / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_file_names_cases_relative_to_itself(tmp_path):
    dataset = dataset_from_file(written(tmp_path, {"cases": good_cases()}))
    assert [(c.name, c.role) for c in dataset.cases] == [("c1", "train"), ("c2", "val"), ("m1", "train"), ("m2", "val")]
    assert dataset.cases[0].label == str((tmp_path / "c1_label.nii").resolve())


def changed(place: int, **changes) -> dict:
    cases = good_cases()
    cases[place] |= changes
    return {"cases": cases}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("not JSON {", "bad_dataset"),
        ("[1, 2]", "bad_dataset"),
        ("{}", "bad_dataset"),
        ({"cases": 5}, "bad_dataset"),
        ({"cases": [{"name": "c1"}]}, "bad_dataset"),
        ({"cases": ["c1.nii"]}, "bad_setting"),
        (changed(0, colour="red"), "bad_setting"),
        (changed(0, role="testing"), "bad_setting"),
        (changed(2, label="c1_label.nii"), "labelled_mri_in_training"),
        (changed(2, label="c1_label.nii", role="val"), "labelled_mri_in_training"),
        (changed(0, label_values={"acetabulum": [1.5]}), "bad_setting"),
        (changed(0, label_values={"acetabulum": []}), "bad_label_values"),
        (changed(0, label_values={"acetabulum": [2]}), "bad_label_values"),
        (changed(0, label_values={"femur": [0]}), "bad_label_values"),
        ({"cases": good_cases(), "label_values": {"femur": [1]}}, "bad_label_values"),
        (changed(0, modality="PET"), "bad_setting"),
        (changed(0, image=5), "bad_setting"),
        (changed(0, label=None), "ct_without_label"),
        (changed(0, image="gone.nii"), "missing_file"),
        (changed(0, label="gone.nii"), "missing_file"),
        (changed(3, patient="m1"), "patient_in_two_roles"),
        (changed(2, name="c1"), "bad_dataset"),
        (changed(2, name="../m1"), "bad_dataset"),
        (changed(3, role="train"), "too_few_volumes"),
        (changed(0, role="val"), "too_few_volumes"),
        (changed(0, role="test"), "too_few_volumes"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, kind):
    path = written(tmp_path, content)
    assert kind_of(lambda: dataset_from_file(path)) == kind


# Labelled MRIs to train on, for a method that adapts nothing.


def with_labels_of_mri() -> list[dict]:
    return [entry | {"label": "c1_label.nii"} if entry["modality"] == "MR" else entry for entry in good_cases()]


def test_a_method_that_learns_from_labelled_mris_is_given_them(tmp_path):
    path = written(tmp_path, {"cases": with_labels_of_mri()})
    dataset = dataset_from_file(path, labelled_mri=True)
    assert all(case.label for case in dataset.cases)
    assert kind_of(lambda: dataset_from_file(path)) == "labelled_mri_in_training"


@pytest.mark.parametrize("place", [2, 3])
def test_it_needs_labels_on_all_of_them(tmp_path, place):
    cases = with_labels_of_mri()
    del cases[place]["label"]
    path = written(tmp_path, {"cases": cases})
    with pytest.raises(HipError, match=f"The MRI {cases[place]['name']} has no label map") as caught:
        dataset_from_file(path, labelled_mri=True)
    assert caught.value.kind == "mri_without_label"


def test_labels_beside_the_mris_of_a_folder_are_read_for_such_a_method_alone(tmp_path):
    ct, mri = folders(tmp_path, labelled("a", "b"), labelled("m", "n"))
    assert [case.label for case in dataset_from_folders(ct, mri, 0).cases if case.modality == "MR"] == [None, None]
    read = dataset_from_folders(ct, mri, 0, labelled_mri=True)
    assert {case.label for case in read.cases if case.modality == "MR"} == {
        str((mri / f"{name}_label.nii.gz").resolve()) for name in "mn"
    }
    assert dataset_problems(read)
    assert not dataset_problems(read, labelled_mri=True)


def test_a_file_that_is_not_there(tmp_path):
    assert kind_of(lambda: dataset_from_file(tmp_path / "dataset.json")) == "missing_file"


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    path = written(
        tmp_path, {"cases": [*good_cases(), case("c3", "CT", "train", image="c1.nii", label=None, patient="m2")]}
    )
    with pytest.raises(HipError, match=r"patient m2 is in training and in validation\..*The CT c3 has no label map\."):
        dataset_from_file(path)


def test_without_checks_a_file_is_read_whatever_is_wrong_with_its_cases(tmp_path):
    path = written(tmp_path, changed(3, patient="m1", image="gone.nii"))
    dataset = unchecked_dataset_from_file(path)
    assert len(dataset.cases) == 4
    assert [(problem.level, problem.kind) for problem in dataset_problems(dataset)] == [
        ("stop", "patient_in_two_roles")
    ]


def test_without_checks_folders_are_read_whatever_they_lack(tmp_path):
    ct, mri = folders(tmp_path, ["lonely.nii.gz"], [])
    dataset = dataset_from_folders(ct, mri, 0, check=False)
    assert [(c.name, c.label) for c in dataset.cases] == [("lonely", None)]
    assert {problem.kind for problem in dataset_problems(dataset)} == {"ct_without_label", "too_few_volumes"}
    assert all(problem.fix.endswith(".") and problem.sentence.endswith(".") for problem in dataset_problems(dataset))


# What the values of a label map mean.


def test_label_values_hold_for_all_cases_or_for_one(tmp_path):
    cases = good_cases()
    cases[1]["label_values"] = {"acetabulum": [7], "femur": [8, 9]}
    path = written(tmp_path, {"cases": cases, "label_values": {"femur": [3, 4], "ignore_others": True}})
    first, second = dataset_from_file(path).of("CT", "train") + dataset_from_file(path).of("CT", "val")
    assert first.label_values == LabelValues((1,), (3, 4), True)
    assert second.label_values == LabelValues((7,), (8, 9), False)


def test_without_label_values_1_is_hip_bone_and_2_femur(tmp_path):
    for found in dataset_from_file(written(tmp_path, {"cases": good_cases()})).cases:
        assert found.label_values == LabelValues((1,), (2,), False)


# Writing.


def test_a_dataset_that_is_written_is_read_again_and_can_be_moved_with_its_files(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "ct").mkdir(parents=True)
    elsewhere.mkdir()
    here = [home / "ct" / "c1.nii", home / "ct" / "c1_label.nii", home / "c2.nii", home / "c2_label.nii"]
    away = [elsewhere / f"{name}.nii" for name in ("m1", "m2", "t", "t_label")]
    for file in (*here, *away):
        file.touch()
    values = LabelValues((25, 26), (75, 76), ignore_others=True)
    dataset = Dataset(
        (
            Case("c1", "CT", "train", "p1", str(here[0]), str(here[1]), values),
            Case("c2", "CT", "val", "p2", str(here[2]), str(here[3])),
            Case("m1", "MR", "train", "p3", str(away[0])),
            Case("m2", "MR", "val", "p4", str(away[1])),
            Case("t", "MR", "test", "p5", str(away[2]), str(away[3])),
        )
    )
    path = home / "dataset.json"
    write_dataset_file(dataset, path)
    assert dataset_from_file(path) == dataset
    assert str(tmp_path / "home") not in path.read_text(encoding="utf-8")
    moved = dataset_from_file(home.rename(tmp_path / "moved") / "dataset.json")
    assert moved.cases[0].image == str(tmp_path / "moved" / "ct" / "c1.nii")
    assert moved.cases[2:] == dataset.cases[2:]


# Runs.


def test_a_run_from_before_label_values_and_test_cases_can_still_be_read(tiny_data: TinyData, tmp_path):
    run = tiny_data.start(tmp_path / "run")
    description = run.description()
    for entry in description["dataset"]["cases"]:
        del entry["label_values"]
    (run.path / "run.json").write_text(json.dumps(description), encoding="utf-8")
    assert RunDescription.read(run).dataset == tiny_data.dataset


def test_a_training_never_opens_a_test_case(tiny_data: TinyData, tmp_path):
    gone = Case("t", "MR", "test", "p", str(tmp_path / "gone.nii"), str(tmp_path / "gone_label.nii"))
    data = TinyData(tiny_data.folder, tiny_data.cache, Dataset((*tiny_data.dataset.cases, gone)))
    run = data.start(tmp_path / "run", steps_per_epoch=1, stage2_epochs=1)
    assert Trainer(run).train().state == "finished"
