"""`hipicmsc case` as a user calls it, in processes of their own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from commands import run, run_all
from corrected import MADE_BY, hips
from HipICMSCLib.cases.corrected_case import read_case
from HipICMSCLib.results.segmentation_file import write_segmentation


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A folder with an MRI, the model's result and a corrected label map of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    image, original, labels = hips()
    sitk.WriteImage(image, str(tmp_path / "Doe_Jane.nrrd"))
    write_segmentation(original, tmp_path / "made.seg.nrrd", MADE_BY)
    sitk.WriteImage(labels, str(tmp_path / "corrected.nii.gz"))
    return tmp_path


def test_a_correction_is_kept_listed_and_replaced_only_when_asked(files):
    mri, corrected, cases = files / "Doe_Jane.nrrd", files / "corrected.nii.gz", files / "cases"
    add = ["case", "add", mri, corrected, "--to", cases, "--original", files / "made.seg.nrrd"]
    added, again, listed, replaced, listed_again = run_all(
        [[*add, "--completed", "right proximal femur"], add, ["case", "list", cases],
         [*add, "--completed", "all", "--overwrite"], ["case", "list", cases]]
    )  # fmt: skip
    assert (added.code, added.error) == (0, "")
    assert "Case 1 is in" in added.output and "right proximal femur completed" in added.output
    assert "left proximal femur edited, not completed" in added.output and "ml changed" in added.output
    assert (again.code, again.output) == (2, "") and "kept already, as case 1" in again.error
    assert "replace that case with --overwrite." in again.error
    assert listed.code == 0 and "case-001: " in listed.output and "1 of 1 cases are whole." in listed.output
    assert replaced.code == 0 and "Case 2 is in" in replaced.output
    assert "case-001" not in listed_again.output and "case-002: " in listed_again.output
    assert {segment.state for segment in read_case(cases / "case-002").segments} == {"completed"}
    with open(files / "home" / "HipICMSC" / "cases.csv", encoding="utf-8", newline="") as file:
        assert [(row["case"], Path(row["source"]).name) for row in csv.DictReader(file)] == [
            ("case-001", "Doe_Jane.nrrd"), ("case-002", "Doe_Jane.nrrd"),
        ]  # fmt: skip


def test_what_is_wrong_with_a_case_is_said_and_the_others_are_listed(files):
    cases = files / "cases"
    add = ["case", "add", files / "Doe_Jane.nrrd", files / "made.seg.nrrd", "--to", cases]
    assert run(*add).code == 0
    (cases / "case-002").mkdir()
    answer = run("case", "list", cases)
    assert answer.code == 2 and "case-002: " in answer.error and "no whole case" in answer.error
    assert "case-001: right hip bone as the model drew it" in answer.output
    assert "1 of 2 cases are whole." in answer.output


def test_a_correction_that_teaches_nothing_is_kept_with_a_note(files):
    answer = run("case", "add", files / "Doe_Jane.nrrd", files / "made.seg.nrrd", "--to", files / "cases")
    assert answer.code == 0 and "Note: No bone is marked as completed" in answer.output
    about = json.loads((files / "cases" / "case-001" / "case.json").read_text())
    assert {segment["state"] for segment in about["segments"]} == {"as_made"}
    assert about["model"] == {"name": "balls", "sha256": MADE_BY["ModelSha256"]}


def test_mistakes_are_said_in_a_sentence_and_leave_nothing(files):
    mri, corrected, cases = files / "Doe_Jane.nrrd", files / "corrected.nii.gz", files / "cases"
    other = sitk.ReadImage(str(corrected))
    other.SetSpacing((2.0, 3.0, 4.0))
    sitk.WriteImage(other, str(files / "other.nii.gz"))
    to = ["--to", cases]
    answers = run_all(
        [["case", "add", mri, corrected, *to, "--completed", "pelvis"],
         ["case", "add", files / "gone.nii.gz", corrected, *to],
         ["case", "add", mri, files / "gone.seg.nrrd", *to],
         ["case", "add", mri, files / "other.nii.gz", *to],
         ["case", "add", mri, mri, *to],
         ["case", "add", mri, corrected, "--to", files],
         ["case", "list", cases]]
    )  # fmt: skip
    assert [answer.code for answer in answers] == [2] * 7
    for answer, words in zip(
        answers,
        ["There is no segment pelvis", "There is no file", "There is no file", "voxels of 2 × 3 × 4 mm",
         "has other values than", "holds your own list", "There is no folder"],
        strict=True,
    ):  # fmt: skip
        assert words in answer.error and answer.error.count("\n") == 1, answer.error
    assert not cases.exists()
