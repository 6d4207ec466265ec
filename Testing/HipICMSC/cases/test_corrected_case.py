"""A case folder comes back as it was written, wherever it lies, and says in a sentence what happened to it."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from corrected import MADE_BY, case_in, hips
from HipICMSCLib.cases.corrected_case import cases_in, read_case, sha256_of
from HipICMSCLib.cases.keep import keep_case
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import same_geometry


def refusal(folder: Path) -> str:
    with pytest.raises(HipError) as caught:
        read_case(folder)
    assert caught.value.kind == "bad_case"
    assert caught.value.sentence.endswith(".") and str(folder) in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("oblique", [False, True])
def test_voxels_and_their_place_come_back(tmp_path, oblique):
    image, original, labels = hips(oblique)
    keep_case(tmp_path / "cases", image, labels, MADE_BY, original, {"RightFemur"}, "a")
    case = read_case(tmp_path / "cases" / "case-001")
    for path, kept in ((case.image, image), (case.label, labels)):
        read = sitk.ReadImage(str(path))
        assert same_geometry(read, kept)
        assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(kept))
    assert sitk.ReadImage(str(case.label)).GetPixelID() == sitk.sitkUInt8
    assert (case.number, case.model, case.model_sha256) == (1, "balls", "ab" * 32)


def test_labels_whose_axes_are_stored_in_another_order_lie_on_the_same_voxels(tmp_path):
    image, original, labels = hips(oblique=True)
    turned = sitk.Flip(sitk.PermuteAxes(labels, (2, 0, 1)), (True, False, True), False)
    case = keep_case(tmp_path / "cases", image, turned, MADE_BY, original, set(), "a")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(case.label))), sitk.GetArrayFromImage(labels))


def test_what_was_done_to_each_bone_is_told_with_how_much(tmp_path):
    image, original, labels = hips()
    case = keep_case(tmp_path / "cases", image, labels, MADE_BY, original, {"RightFemur"}, "a")
    told = {segment.name: segment for segment in case.segments}
    assert {name: segment.state for name, segment in told.items()} == {
        "RightHipBone": "as_made", "LeftHipBone": "as_made", "RightFemur": "completed", "LeftFemur": "edited",
    }  # fmt: skip
    before, now = (sitk.GetArrayFromImage(each) == 4 for each in (original, labels))
    voxel_ml = np.prod(image.GetSpacing()) / 1000
    assert told["LeftFemur"].changed_ml == pytest.approx((before ^ now).sum() * voxel_ml, abs=1e-3)
    assert told["LeftFemur"].dice == pytest.approx(2 * (before & now).sum() / (before.sum() + now.sum()), abs=1e-5)
    assert (told["RightFemur"].changed_ml, told["RightFemur"].dice) == (0, 1)
    assert told["LeftHipBone"].dice == 1, "empty before and after"


def test_without_the_model_s_result_nothing_passes_for_unchanged(tmp_path):
    image, original, labels = hips()
    case = keep_case(tmp_path / "a", image, labels, {}, None, {"RightFemur"}, "a")
    assert [segment.state for segment in case.segments] == ["edited", "edited", "completed", "edited"]
    assert {(segment.changed_ml, segment.dice) for segment in case.segments} == {(None, None)}
    case = keep_case(tmp_path / "b", image, original, MADE_BY, original, (), "a", of_unknown_origin={"LeftFemur"})
    assert [segment.state for segment in case.segments] == ["as_made", "as_made", "as_made", "edited"]


def test_a_case_is_read_wherever_its_folder_was_moved_to(tmp_path):
    case = case_in(tmp_path / "cases")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(case.folder, tmp_path / "elsewhere")
    assert read_case(tmp_path / "elsewhere" / "case-001").segments == case.segments
    assert "moved" in refusal(case.folder)


def test_a_renamed_folder_is_told_from_the_case_that_its_name_says(tmp_path):
    case = case_in(tmp_path / "cases")
    copy = shutil.copytree(case.folder, case.folder.with_name("case-001 (copy)"))
    assert "call it case-001 again" in refusal(Path(copy))


@pytest.mark.parametrize("missing", ["mri.nii.gz", "label.nii.gz", "case.json"])
def test_a_folder_that_lacks_a_file_is_half_copied(tmp_path, missing):
    case = case_in(tmp_path / "cases")
    (case.folder / missing).unlink()
    assert missing in refusal(case.folder)
    assert cases_in(tmp_path / "cases") == [case.folder], "so that it is reported"


@pytest.mark.parametrize("name", ["mri.nii.gz", "label.nii.gz"])
def test_a_file_that_was_cut_off_or_changed_is_found(tmp_path, name):
    case = case_in(tmp_path / "cases")
    file = case.folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "half copied" in refusal(case.folder)
    voxels = bytearray(gzip.decompress(whole))
    voxels[-1] ^= 1
    file.write_bytes(gzip.compress(bytes(voxels)))
    assert "changed" in refusal(case.folder)


def test_a_label_on_another_grid_is_refused_even_where_it_is_vouched_for(tmp_path):
    case = case_in(tmp_path / "cases")
    label = sitk.ReadImage(str(case.label))
    label.SetOrigin([place + 2 for place in label.GetOrigin()])
    sitk.WriteImage(label, str(case.label))
    about = json.loads((case.folder / "case.json").read_text())
    about["files"]["label.nii.gz"] = sha256_of(case.label)
    (case.folder / "case.json").write_text(json.dumps(about))
    assert "does not lie on the voxels" in refusal(case.folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"case": "1"}, {"segments": []}, {"files": {}}, {"model": None},
        {"segments": [{"name": "RightFemur", "state": "perfect", "changed_ml": 0.0, "dice": 1.0}]},
    ],
)  # fmt: skip
def test_a_case_json_of_another_version_or_kind_is_refused(tmp_path, change):
    case = case_in(tmp_path / "cases")
    about = json.loads((case.folder / "case.json").read_text())
    (case.folder / "case.json").write_text(json.dumps(about | change))
    refusal(case.folder)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1', "[" * 5000, "\xff"])
def test_a_case_json_that_is_none_is_refused(tmp_path, text):
    case = case_in(tmp_path / "cases")
    (case.folder / "case.json").write_text(text, encoding="latin-1")
    refusal(case.folder)


def test_cases_are_listed_by_their_numbers_and_nothing_else_is(tmp_path):
    for name in ("case-010", "case-002", "case-1000", ".case-011", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "case-003").write_text("a file")
    assert [path.name for path in cases_in(tmp_path)] == ["case-002", "case-010", "case-1000"]
    with pytest.raises(HipError) as caught:
        cases_in(tmp_path / "gone")
    assert caught.value.kind == "no_folder"
