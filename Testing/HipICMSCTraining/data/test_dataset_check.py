"""A dataset's flaws are named, each once, with numbers and a fix; a clean dataset is not spoken ill of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.preprocessing.geometry import CropSettings, same_geometry
from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders
from HipICMSCTrainingLib.data.check import (
    DatasetReport,
    Problem,
    check_dataset,
    report_from_json,
    report_json,
    report_text,
)
from HipICMSCTrainingLib.data.check_case import check_case
from HipICMSCTrainingLib.data.dataset import Case, Dataset, LabelValues
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.phantom.dataset import Resolution, write_dataset
from scipy import ndimage
from tiny_training import child, command

CROP = CropSettings()
COARSE = Resolution(ct_mm=(4.0, 5.0, 4.0), mri_in_plane_mm=4.0, mri_slice_mm=6.0)
#: A seed whose femoral heads are all found at this resolution.
SEED = 2

Change = Callable[[sitk.Image], sitk.Image]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Dataset:
    """Two labelled CTs and two MRIs."""
    folder = tmp_path_factory.mktemp("check") / "phantoms"
    write_dataset(folder, subjects=2, seed=SEED, resolution=COARSE)
    return dataset_from_folders(folder / "ct", folder / "mri", seed=0)


@pytest.fixture(scope="module")
def heads(phantoms) -> dict[str, np.ndarray]:
    """Truth: the midpoint of the femoral head centres by case, LPS mm."""
    subjects = json.loads((Path(phantoms.cases[0].image).parents[1] / "subjects.json").read_text())["subjects"]
    return {name: np.mean([values["head_right"], values["head_left"]], axis=0) for name, values in subjects.items()}


def named(dataset: Dataset, name: str) -> Case:
    return next(case for case in dataset.cases if case.name == name)


def same(image: sitk.Image) -> sitk.Image:
    return image


def changed(case: Case, folder: Path, image: Change = same, label: Change = same, **changes) -> Case:
    """A copy of a case whose files are changed."""
    files = {}
    for key, change in (("image", image), ("label", label)):
        if getattr(case, key):
            files[key] = str(folder / f"{changes.get('name', case.name)}_{key}.nrrd")
            sitk.WriteImage(change(sitk.ReadImage(getattr(case, key))), files[key])
    return replace(case, **files | changes)


def on_grid_of(image: sitk.Image, voxels: np.ndarray) -> sitk.Image:
    new = sitk.GetImageFromArray(voxels)
    new.CopyInformation(image)
    return new


def voxelwise(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda image: on_grid_of(image, function(sitk.GetArrayFromImage(image)))


def cut(middle: np.ndarray, low: Iterable[float], high: Iterable[float]) -> Change:
    """Keep what lies within ``low`` … ``high`` mm of a point along the image's own axes, which are named in LPS."""

    def change(image: sitk.Image) -> sitk.Image:
        image = sitk.DICOMOrient(image, "LPS")
        index, spacing, size = (
            np.array(image.TransformPhysicalPointToContinuousIndex(middle.tolist())),
            np.array(image.GetSpacing()),
            np.array(image.GetSize()),
        )
        start = np.clip(np.rint(index + np.array(list(low)) / spacing), 0, size - 1).astype(int)
        stop = np.clip(np.rint(index + np.array(list(high)) / spacing), start + 1, size).astype(int)
        return image[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]

    return change


def found(case: Case, crop: CropSettings | None = CROP) -> list[tuple[str, str]]:
    problems = check_case(case, crop).problems
    assert_well_said(problems)
    return [(problem.level, problem.kind) for problem in problems]


def assert_well_said(problems: Iterable[Problem]) -> None:
    for problem in problems:
        assert problem.sentence.endswith(".")
        assert problem.fix.endswith(".")
        assert "\n" not in problem.sentence + problem.fix
        assert problem.case in problem.sentence


def kinds(report: DatasetReport) -> set[tuple[str, str]]:
    """Without what a handful of cases always has."""
    assert_well_said(report.problems)
    return {(problem.level, problem.kind) for problem in report.problems} - {
        ("stop", "too_few_volumes"),
        ("caution", "few_volumes"),
    }


def sentence_of(report: DatasetReport, kind: str) -> str:
    (problem,) = (problem for problem in report.problems if problem.kind == kind)
    return problem.sentence


# A clean dataset.


@pytest.fixture(scope="module")
def clean(phantoms) -> DatasetReport:
    return check_dataset(phantoms, CROP)


def test_a_clean_dataset_has_no_stop_and_is_only_said_to_be_small(clean):
    assert [(problem.level, problem.kind) for problem in clean.problems] == [("caution", "few_volumes")] * 2
    assert "CTs in training and validation come from 2 patients" in clean.problems[0].sentence


def test_the_table_says_what_the_volumes_are(clean, phantoms):
    rows = {row.name: row for row in clean.cases}
    ct, mri = rows["ct00"], rows["mri00"]
    image, labels = (sitk.ReadImage(path) for path in (named(phantoms, "ct00").image, named(phantoms, "ct00").label))
    assert ct.size == image.GetSize()
    assert ct.spacing_mm == pytest.approx((4.0, 5.0, 4.0))
    assert mri.spacing_mm == pytest.approx(
        (4.0, 6.0, 4.0)
    )  # left-right, front-back, head-foot, though stored otherwise
    assert sitk.ReadImage(named(phantoms, "mri00").image).GetSpacing() == pytest.approx((4.0, 4.0, 6.0))
    assert (mri.orientation, ct.obliquity_deg) == ("coronal", 0)
    assert 0 < mri.obliquity_deg < 10
    assert ct.intensity_range == (sitk.GetArrayViewFromImage(image).min(), sitk.GetArrayViewFromImage(image).max())
    assert ct.heads == mri.heads == ("right", "left")
    voxels = sitk.GetArrayViewFromImage(labels)
    assert ct.acetabulum_ml == pytest.approx((voxels == 1).sum() * 0.08)
    assert ct.femur_ml == pytest.approx((voxels == 2).sum() * 0.08)
    assert mri.femur_ml is None
    assert 0.5 < mri.covered_share <= 1
    assert (ct.role, ct.patient, ct.modality) == (named(phantoms, "ct00").role, "ct00", "CT")


def test_the_report_survives_json_and_its_text_holds_everything(clean):
    assert report_from_json(json.loads(json.dumps(report_json(clean)))) == clean
    text = report_text(clean)
    for problem in clean.problems:
        assert problem.sentence in text
        assert problem.fix in text
    assert all(row.name in text for row in clean.cases)
    assert text.endswith("4 cases: 0 stops, 2 cautions.")


# Files.


def test_a_file_that_is_no_image_does_not_keep_the_others_from_being_checked(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    cases = (
        Case("broken", "CT", "train", "p1", str(tmp_path / "broken.nii.gz"), str(tmp_path / "gone.nii")),
        Case("gone", "MR", "train", "p2", str(tmp_path / "gone.nii")),
        Case("again", "MR", "val", "p2", str(tmp_path / "gone.nii")),
    )
    report = check_dataset(Dataset(cases), CROP)
    assert kinds(report) == {("stop", "unreadable"), ("stop", "missing_file"), ("stop", "patient_in_two_roles")}
    assert {problem.case for problem in report.problems if problem.kind == "missing_file"} == {"gone", "again"}
    assert [row.spacing_mm for row in report.cases] == [None, None, None]
    assert report_from_json(report_json(report)) == report


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda image: image[:, :, :6], "too_small"),
        (voxelwise(np.zeros_like), "constant"),
        (voxelwise(lambda voxels: np.where(voxels > 300, np.nan, voxels).astype(np.float32)), "not_finite"),
    ],
)
def test_volumes_that_cannot_be_used(phantoms, tmp_path, change, kind):
    assert found(changed(named(phantoms, "mri00"), tmp_path, change)) == [("stop", kind)]


# Labels.


def moved(labels: sitk.Image) -> sitk.Image:
    labels.SetOrigin([position + 2 for position in labels.GetOrigin()])
    return labels


def hollow(voxels: np.ndarray) -> np.ndarray:
    """Only the outermost voxels of the femur."""
    femur = voxels == 2
    return np.where(femur & ndimage.binary_erosion(femur), 0, voxels).astype(np.uint8)


def halved(voxels: np.ndarray) -> np.ndarray:
    """Only the patient's right side is labelled."""
    voxels[:, :, voxels.shape[2] // 2 :] = 0
    return voxels


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (moved, [("stop", "geometry_mismatch")], "does not lie on the same voxels"),
        (voxelwise(lambda voxels: voxels * 5), [("stop", "unknown_labels")], "5, 10"),
        (voxelwise(lambda voxels: np.minimum(voxels, 1)), [("stop", "empty_labels")], "femur"),
        (
            voxelwise(lambda voxels: np.array([0, 2, 1], np.uint8)[voxels]),
            [("stop", "classes_swapped")] * 2,
            "hip bone",
        ),
        (voxelwise(lambda voxels: np.roll(voxels, 16, 1)), [("stop", "labels_far_from_heads")] * 2, "mm from it"),
        (voxelwise(halved), [("stop", "labels_far_from_heads")], "left femoral head"),
        (voxelwise(hollow), [("caution", "femur_not_solid")] * 2, "0% of the middle"),
    ],
)
def test_labels_that_would_teach_something_wrong(phantoms, tmp_path, change, expected, words):
    case = changed(named(phantoms, "ct00"), tmp_path, label=change)
    assert found(case) == expected
    assert any(words in problem.sentence for problem in check_case(case, CROP).problems)


def test_labels_are_judged_by_the_rules_for_results(phantoms, tmp_path, heads):
    """Of the hip bone only what is within 35 mm of the heads: a rim of some millilitres."""

    def rim(labels: sitk.Image) -> sitk.Image:
        voxels = sitk.GetArrayFromImage(labels)
        points = np.argwhere(voxels == 1)
        world = points[:, ::-1] * np.array(labels.GetSpacing()) + np.array(labels.GetOrigin())
        offset = world - heads["ct00"]
        offset[:, 0] = np.abs(offset[:, 0]) - 88
        voxels[tuple(points[np.linalg.norm(offset, axis=1) > 35].T)] = 0
        return on_grid_of(labels, voxels)

    case = changed(named(phantoms, "ct00"), tmp_path, label=rim)
    assert set(found(case)) == {("caution", "volume_implausible")}
    assert "hip bone has" in check_case(case, CROP).problems[0].sentence


def test_labels_with_values_of_their_own_are_fine_once_it_is_said_what_they_mean(phantoms, tmp_path):
    case = changed(
        named(phantoms, "ct00"), tmp_path, label=voxelwise(lambda voxels: np.array([0, 77, 75], np.uint8)[voxels])
    )
    assert found(replace(case, label_values=LabelValues((77, 78), (75, 76)))) == []


def test_a_test_case_needs_labels_to_be_measured(phantoms):
    assert found(replace(named(phantoms, "mri00"), role="test")) == [("caution", "test_without_label")]


# Modality.


def as_mri(voxels: np.ndarray) -> np.ndarray:
    return np.abs(voxels + 200).astype(np.int16)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (voxelwise(lambda voxels: voxels + 1024), ("stop", "no_hounsfield_units")),
        (voxelwise(as_mri), ("stop", "no_hounsfield_units")),
        (voxelwise(lambda voxels: np.clip(voxels, -100, 400)), ("caution", "doubtful_hounsfield_units")),
    ],
)
def test_a_ct_without_hounsfield_units(phantoms, tmp_path, change, expected):
    case = changed(named(phantoms, "ct00"), tmp_path, change)
    assert expected in found(case)
    assert {kind for _, kind in found(case)} == {expected[1]}


def test_a_ct_among_the_mris(phantoms):
    case = replace(named(phantoms, "ct00"), modality="MR", label=None)
    assert found(case) == [("stop", "ct_given")]


def test_a_label_map_among_the_mris(phantoms):
    ct = named(phantoms, "ct00")
    assert found(replace(ct, modality="MR", image=ct.label, label=None)) == [("stop", "labels_given")]


# Field of view.


def test_a_volume_without_hips(tmp_path):
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(200, 10, (20, 20, 20)).astype(np.float32))
    noise.SetSpacing((6.0, 6.0, 6.0))
    sitk.WriteImage(noise, str(tmp_path / "noise.nrrd"))
    assert found(Case("noise", "MR", "train", "p", str(tmp_path / "noise.nrrd"))) == [("stop", "no_hip")]


def test_a_training_on_whole_slices_needs_no_heads_and_no_crop(phantoms, tmp_path, heads):
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(200, 10, (20, 20, 20)).astype(np.float32))
    noise.SetSpacing((6.0, 6.0, 6.0))
    sitk.WriteImage(noise, str(tmp_path / "noise.nrrd"))
    assert found(Case("noise", "MR", "train", "p", str(tmp_path / "noise.nrrd")), None) == [("caution", "no_hip")]
    one_hip = changed(named(phantoms, "mri00"), tmp_path, cut(heads["mri00"], (10, -300, -300), (300, 300, 300)))
    assert found(one_hip, None) == []
    elsewhere = changed(named(phantoms, "ct00"), tmp_path, label=voxelwise(lambda voxels: np.roll(voxels, 16, 1)))
    assert found(elsewhere, None) == [("caution", "labels_far_from_heads")] * 2
    report = check_dataset(phantoms, None)
    assert kinds(report) == set()
    assert "crop" not in " ".join(problem.sentence for problem in report.problems)


def test_a_volume_of_one_hip(phantoms, tmp_path, heads):
    case = changed(named(phantoms, "mri00"), tmp_path, cut(heads["mri00"], (10, -300, -300), (300, 300, 300)))
    assert found(case) == [("caution", "one_hip")]
    assert check_case(case, CROP).summary.heads == ("left",)


def test_a_volume_that_ends_at_the_joint(phantoms, tmp_path, heads):
    case = changed(named(phantoms, "mri00"), tmp_path, cut(heads["mri00"], (-300, -300, -300), (300, 18, 300)))
    assert found(case) == [("caution", "joint_cut")] * 2


@pytest.mark.parametrize(("columns", "level"), [(120, "stop"), (170, "caution")])
def test_a_crop_that_is_too_narrow_for_the_hips(phantoms, columns, level):
    assert found(named(phantoms, "mri00"), replace(CROP, size=(columns, 160, 240))) == [(level, "hip_outside_crop")] * 2


def test_thick_slices(phantoms, tmp_path):
    def thicker(image: sitk.Image) -> sitk.Image:
        return sitk.Resample(
            image, (*image.GetSize()[:2], image.GetSize()[2] * 6 // 7), sitk.Transform(), sitk.sitkLinear,
            image.GetOrigin(), (*image.GetSpacing()[:2], 7.0), image.GetDirection(),
        )  # fmt: skip

    case = changed(named(phantoms, "mri00"), tmp_path, thicker)
    assert found(case) == [("caution", "thick_slices")]
    assert "coronal slices of mri00 lie 7.0 mm apart" in check_case(case, CROP).problems[0].sentence


def test_a_volume_that_shows_little_of_the_crop(phantoms, tmp_path, heads):
    flat = cut(heads["mri00"], (-300, -300, -40), (300, 300, 40))
    report = check_dataset(Dataset((changed(named(phantoms, "mri00"), tmp_path, flat),)), CROP)
    assert kinds(report) == {("caution", "small_field_of_view")}
    share = report.cases[0].covered_share
    assert share == pytest.approx(80 / 240, abs=0.05)
    assert f"covers {share:.0%}" in sentence_of(report, "small_field_of_view")


def test_a_bone_that_the_image_cuts_at_its_side(phantoms, tmp_path, heads):
    narrow = cut(heads["ct00"], (-300, -300, -300), (144, 300, 300))
    report = check_dataset(Dataset((changed(named(phantoms, "ct00"), tmp_path, narrow, narrow),)), CROP)
    assert kinds(report) == {("caution", "bone_cut")}
    assert "proximal femur is cut" in sentence_of(report, "bone_cut")
    assert "1 of 1 labelled volumes: ct00 (left)." in sentence_of(report, "bone_cut")


# Cases among themselves.


@pytest.mark.parametrize(("role", "level"), [("train", "caution"), ("val", "stop")])
def test_the_same_voxels_under_two_names(phantoms, tmp_path, role, level):
    """Whatever the format, the number type and the order of the axes."""
    original = replace(named(phantoms, "mri00"), role="train")
    twin = changed(
        original, tmp_path, lambda image: sitk.DICOMOrient(sitk.Cast(image, sitk.sitkFloat64), "RAS"),
        name="twin", patient="twin", role=role,
    )  # fmt: skip
    assert not same_geometry(sitk.ReadImage(original.image), sitk.ReadImage(twin.image))
    report = check_dataset(Dataset((original, twin)), CROP)
    assert kinds(report) == {(level, "duplicate")}
    assert "mri00 and twin hold exactly the same voxels" in sentence_of(report, "duplicate")


def test_one_volume_as_ct_and_as_mri(phantoms):
    ct = named(phantoms, "ct00")
    report = check_dataset(Dataset((ct, replace(ct, name="m", modality="MR", label=None))), CROP)
    assert kinds(report) == {("stop", "duplicate"), ("stop", "ct_given")}
    assert "as CT and as MRI" in sentence_of(report, "duplicate")


def test_a_volume_with_other_voxels_than_the_rest(phantoms, tmp_path):
    def finer(image: sitk.Image) -> sitk.Image:
        columns, *others = image.GetSize()
        spacing = (1.6, *image.GetSpacing()[1:])
        return sitk.Resample(
            image, (columns * 5 // 2, *others), sitk.Transform(), sitk.sitkLinear,
            image.GetOrigin(), spacing, image.GetDirection(),
        )  # fmt: skip

    mris = phantoms.of("MR", "train") + phantoms.of("MR", "val")
    odd = changed(named(phantoms, "mri00"), tmp_path, finer, name="odd", patient="odd")
    report = check_dataset(Dataset((*mris, odd)), CROP)
    assert kinds(report) == {("caution", "spacing_outlier")}
    expected = "odd are unlike those of most of the 3 MRIs: 1.60 mm left-right (median 4.00 mm)"
    assert expected in sentence_of(report, "spacing_outlier")


def test_mris_that_show_another_part_of_the_pelvis_than_the_cts(phantoms, tmp_path, heads):
    short = changed(named(phantoms, "mri00"), tmp_path, cut(heads["mri00"], (-300, -45, -300), (300, 45, 300)))
    report = check_dataset(Dataset((named(phantoms, "ct00"), short)), CROP)
    assert ("caution", "different_anatomy") in kinds(report)
    assert kinds(report) <= {("caution", "different_anatomy"), ("caution", "small_field_of_view")}


def test_mris_with_and_without_fat_suppression(phantoms, tmp_path):
    write_dataset(tmp_path / "dark", subjects=1, seed=SEED, resolution=COARSE, fat_suppressed=True)
    dark = Case("dark", "MR", "train", "dark", str(tmp_path / "dark" / "mri" / "mri00.nii.gz"))
    report = check_dataset(Dataset((named(phantoms, "mri01"), dark)), CROP)
    assert kinds(report) == {("caution", "mixed_contrasts")}
    assert "bright in 1 (mri01) and dark, as with fat suppression, in 1 (dark)" in sentence_of(
        report, "mixed_contrasts"
    )


# On the way.


def test_progress_names_each_case(tmp_path):
    cases = tuple(Case(f"m{n}", "MR", "train", f"m{n}", str(tmp_path / "gone.nii")) for n in range(4))
    said: list[tuple[str, float]] = []
    check_dataset(Dataset(cases), CROP, lambda *words: said.append(words))
    assert said == [("m0", 0.0), ("m1", 0.25), ("m2", 0.5), ("m3", 0.75), ("", 1.0)]


def test_it_needs_neither_torch_nor_what_else_slicer_lacks():
    names = "'torch', 'skimage', 'safetensors', 'matplotlib', 'PIL'"
    code = f"import sys, HipICMSCTrainingLib.data.check; sys.exit(', '.join({{{names}}} & set(sys.modules)) or 0)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


# The command.


def test_the_command_reports_as_it_goes_and_ends_with_0_where_nothing_stops(phantoms, clean, tmp_path):
    write_dataset_file(phantoms, tmp_path / "dataset.json")
    process = child(
        command("check", "--dataset", tmp_path / "dataset.json", "--progress", "--json", tmp_path / "report.json")
    )
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    names = [case.name for case in phantoms.cases]
    assert lines[:-1] == [
        {"progress": share, "case": name} for share, name in zip((0, 0.25, 0.5, 0.75, 1), [*names, ""], strict=True)
    ]
    assert lines[-1] == {"report": json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))}
    assert report_from_json(lines[-1]["report"]) == clean


def test_the_command_ends_with_2_where_something_stops_and_says_all_of_it(tmp_path):
    for folder, files in (("ct", ("a.nii", "a_label.nii", "b.nii")), ("mri", ("m.nii", "n.nii"))):
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).write_bytes(b"no image")
    process = child(command("check", "--ct", tmp_path / "ct", "--mri", tmp_path / "mri"))
    out, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert "STOP  The CT b has no label map." in out
    assert out.count("cannot be read as an image") == 4
    assert "Traceback" not in err


def test_the_command_measures_by_the_crop_of_the_training(phantoms, tmp_path):
    write_dataset_file(Dataset((named(phantoms, "mri00"),)), tmp_path / "dataset.json")
    settings = ["--preset", "smoke", "--set", "crop.spacing_mm=[1,1,1]", "--set", "crop.size=[100,80,120]"]
    process = child(command("check", "--dataset", tmp_path / "dataset.json", *settings))
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert out.count("outside the crop that the networks read") == 2
