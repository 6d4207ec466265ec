"""Which volumes take part in a training, in which role, and what is said where something is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from HipICMSCLib.errors import HipError
from HipICMSCTrainingLib.dataset import dataset_from_file, dataset_from_folders


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


def test_missing_folder(tmp_path):
    ct, _ = folders(tmp_path, labelled("a", "b"), [])
    assert kind_of(lambda: dataset_from_folders(ct, tmp_path / "nowhere", 0)) == "missing_folder"


def test_ct_without_label_is_named(tmp_path):
    ct, mri = folders(tmp_path, [*labelled("a", "b"), "lonely.nii.gz"], ["m.nii", "n.nii"])
    with pytest.raises(HipError, match=r"lonely\.nii\.gz") as caught:
        dataset_from_folders(ct, mri, 0)
    assert caught.value.kind == "ct_without_label"


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
def test_a_ct_and_an_mri_of_the_same_name_are_called_so_whatever_their_roles(tmp_path, seed):
    ct, mri = folders(tmp_path, labelled("p1", "p2"), ["p1.nii", "p3.nii"])
    with pytest.raises(HipError, match="Two cases are called p1"):
        dataset_from_folders(ct, mri, seed)


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
        (changed(0, role="test"), "bad_setting"),
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
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, kind):
    path = written(tmp_path, content)
    assert kind_of(lambda: dataset_from_file(path)) == kind


def test_a_file_that_is_not_there(tmp_path):
    assert kind_of(lambda: dataset_from_file(tmp_path / "dataset.json")) == "missing_file"
