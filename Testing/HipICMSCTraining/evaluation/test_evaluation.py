"""`hipicmsc evaluate`: which files it compares, in which convention, and what it reports."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.results.segmentation_file import write_segmentation as write_result
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.evaluation.label_classes import read_classes
from HipICMSCTrainingLib.evaluation.pairs import Pair, find_pairs
from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs

SPACING = (1.5, 1.0, 2.0)
OBLIQUE = (math.cos(0.3), -math.sin(0.3), 0, math.sin(0.3), math.cos(0.3), 0, 0, 0, 1)


def image(voxels: np.ndarray, direction=OBLIQUE, origin=(-31.7, 12.3456, -400.1)) -> sitk.Image:
    result = sitk.GetImageFromArray(voxels.astype(np.uint8))
    result.SetSpacing(SPACING)
    result.SetDirection(direction)
    result.SetOrigin(origin)
    return result


def four_labels() -> np.ndarray:
    """The engine's convention: right and left hip bone (1, 2), right and left femur (3, 4)."""
    voxels = np.zeros((12, 14, 40))
    voxels[6:11, 3:11, 3:13] = 1
    voxels[6:11, 3:11, 27:37] = 2
    voxels[1:5, 3:11, 3:13] = 3
    voxels[1:5, 3:11, 27:37] = 4
    return voxels


def two_classes() -> np.ndarray:
    """The same bones in the training data's convention."""
    return np.array([0, 1, 1, 2, 2])[four_labels().astype(int)]


def shifted_classes() -> np.ndarray:
    return np.roll(two_classes(), 1, axis=1)


def write(voxels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image(voxels), str(path))
    return path


def write_segmentation(voxels: np.ndarray, names: dict[int, str], path: Path) -> Path:
    """A .seg.nrrd as 3D Slicer writes it: one label map and its segments in the header."""
    segmentation = image(voxels)
    for number, (value, name) in enumerate(names.items()):
        segmentation.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        segmentation.SetMetaData(f"Segment{number}_Name", name)
        segmentation.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(segmentation, str(path))
    return path


def dice(evaluation, result="raw", bone="hip_bone", volume=0) -> float:
    return evaluation.volumes[volume].scores[result][bone].dice


def test_perfect_prediction_in_the_engines_convention(tmp_path):
    prediction = write(four_labels(), tmp_path / "a.nii.gz")
    truth = write(two_classes(), tmp_path / "a_label.nii.gz")
    evaluation = evaluate_pairs(find_pairs(prediction, truth))
    assert dice(evaluation, bone="hip_bone") == dice(evaluation, bone="femur") == 1
    assert evaluation.volumes[0].name == "a"


def test_label_values_decide_the_convention_of_a_plain_map():
    for voxels in (four_labels(), two_classes(), two_classes().astype(float)):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_classes(image(voxels), "it")), two_classes())
    only_hip_bone_and_femur = sitk.GetArrayFromImage(read_classes(image(two_classes()), "it"))
    assert set(np.unique(only_hip_bone_and_femur)) == {0, 1, 2}


def test_segment_names_decide_in_a_seg_nrrd(tmp_path):
    # Values as nobody would guess them: the names count.
    voxels = np.array([0, 7, 2, 1, 3])[four_labels().astype(int)]
    names = {
        1: "right proximal femur",
        2: "left hip bone (acetabulum)",
        3: "Left Femur",
        7: "right hip bone (acetabulum)",
    }
    file = write_segmentation(voxels, names, tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_classes(file, "it")), two_classes())


def test_a_seg_nrrd_without_names_has_the_engines_values(tmp_path):
    # Hip bones alone: a plain map with these values would say that the left one is a femur.
    hip_bones = four_labels() * (four_labels() <= 2)
    file = write(hip_bones, tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_classes(file, "it")), hip_bones > 0)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_hip_bones_alone_are_never_taken_for_hip_bone_and_femur(tmp_path, ending):
    """A result of ours says that it is one; of another map of these values nobody can know, however it is stored."""
    hip_bones = image(four_labels() * (four_labels() <= 2))
    result = tmp_path / f"a{ending}"
    for stored in (hip_bones, hip_bones[::-1]):
        write_result(sitk.Cast(stored, sitk.sitkUInt8), result, {"ModelId": "any"})
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(read_classes(result, "it")), sitk.GetArrayFromImage(stored) > 0
        )
        sitk.WriteImage(stored, str(result))
        with pytest.raises(HipError, match=r"either right and left hip bone or hip bone and femur") as caught:
            read_classes(result, "it")
        assert caught.value.kind == "ambiguous_labels"
    # As much as a bad model may call femur, to the left of a right hip bone.
    voxels = four_labels() * (four_labels() == 1)
    voxels[6:8, 3:8, 27:37] = 2
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_classes(write(voxels, result), "it")), voxels)


def test_a_segment_of_another_structure_is_refused_by_name(tmp_path):
    file = write_segmentation(two_classes(), {1: "Left hip bone", 2: "Sacrum"}, tmp_path / "a.seg.nrrd")
    with pytest.raises(HipError, match=r"'Sacrum' of .*a\.seg\.nrrd") as caught:
        read_classes(file, str(file))
    assert caught.value.kind == "unknown_label"


def test_overlapping_segments_are_refused(tmp_path):
    layers = image(two_classes())
    file = tmp_path / "a.seg.nrrd"
    sitk.WriteImage(sitk.Compose(layers, layers), str(file))
    as_itk_writes = file.read_bytes()
    # 3D Slicer calls the first axis of overlapping segments a list.
    for content in (as_itk_writes, as_itk_writes.replace(b"kinds: vector", b"kinds: list")):
        file.write_bytes(content)
        with pytest.raises(HipError) as caught:
            read_classes(file, str(file))
        assert caught.value.kind == "overlapping_segments"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (image(two_classes() * 3), "unknown_label"),  # 6 is nobody's
        (sitk.Cast(image(two_classes()), sitk.sitkFloat32) * 0.5, "unknown_label"),
        (sitk.Cast(image(two_classes()), sitk.sitkInt16) - 1000, "unknown_label"),  # a CT in place of its labels
        (image(two_classes())[:, :, 3], "unreadable"),
    ],
)
def test_what_is_no_label_map_is_refused(source, kind):
    with pytest.raises(HipError, match="the truth") as caught:
        read_classes(source, "the truth")
    assert caught.value.kind == kind


def test_damaged_file_is_named(tmp_path):
    file = tmp_path / "broken.nrrd"
    file.write_bytes(b"NRRD0004\ntype: unsigned char\n")
    with pytest.raises(HipError, match=r"broken\.nrrd") as caught:
        evaluate_pairs(find_pairs(file, file))
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("change", ["spacing", "origin", "direction", "size"])
def test_geometry_mismatch_names_both_files(tmp_path, change):
    other = image(two_classes())
    if change == "spacing":
        other.SetSpacing((1.5, 1.0, 2.01))
    elif change == "origin":
        other.SetOrigin(np.add(other.GetOrigin(), (0.05, 0, 0)))
    elif change == "direction":
        other.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    else:
        other = other[:, :-1, :]
    sitk.WriteImage(other, str(tmp_path / "p.nrrd"))
    truth = write(two_classes(), tmp_path / "t.nrrd")
    with pytest.raises(HipError, match=r"p\.nrrd does not lie on the voxels of .*t\.nrrd: it ") as caught:
        evaluate_pairs(find_pairs(tmp_path / "p.nrrd", truth))
    assert caught.value.kind == "geometry_mismatch"


def test_folders_are_paired_by_name_and_images_beside_labels_are_left_alone(tmp_path):
    for name, suffix in (("a", "_seg.nii.gz"), ("b", ".seg.nrrd"), ("c.1", "_segmentation.nrrd"), ("d", "_pred.mha")):
        write(four_labels(), tmp_path / "p" / f"{name}{suffix}")
        write(two_classes(), tmp_path / "t" / f"{name}_label.nii.gz")
        write(np.full((12, 14, 40), 90), tmp_path / "t" / f"{name}.nii.gz")
    (tmp_path / "p" / "report.json").write_text("{}")
    write(four_labels(), tmp_path / "p" / ".a1b2-half-written.nrrd")
    pairs = find_pairs(tmp_path / "p", tmp_path / "t")
    assert [pair.name for pair in pairs] == ["a", "b", "c.1", "d"]
    assert [pair.prediction.name for pair in pairs] == [
        "a_seg.nii.gz",
        "b.seg.nrrd",
        "c.1_segmentation.nrrd",
        "d_pred.mha",
    ]
    assert {pair.truth.name for pair in pairs} == {f"{name}_label.nii.gz" for name in ("a", "b", "c.1", "d")}
    assert all(dice(evaluate_pairs([pair])) == 1 for pair in pairs)


def test_segmentations_as_slicer_saves_them_are_truths_beside_their_images_and_may_be_cropped(tmp_path):
    names = {1: "Right hip bone", 2: "Left hip bone", 3: "Right femur", 4: "Left femur"}
    (tmp_path / "t").mkdir()
    (tmp_path / "p").mkdir()
    write_segmentation(four_labels(), names, tmp_path / "t" / "a.seg.nrrd")
    write_segmentation(four_labels(), names, tmp_path / "t" / "b-segmentation.seg.nrrd")
    whole = sitk.ReadImage(str(tmp_path / "t" / "a.seg.nrrd"))
    cropped = whole[3:37, 3:11, 1:11]
    for key in whole.GetMetaDataKeys():
        cropped.SetMetaData(key, whole.GetMetaData(key))
    sitk.WriteImage(cropped, str(tmp_path / "t" / "a.seg.nrrd"))
    sitk.WriteImage(cropped, str(tmp_path / "p" / "b.seg.nrrd"))
    write(four_labels(), tmp_path / "p" / "a.nii.gz")
    for name in ("a", "b"):
        write(np.full((12, 14, 40), 90), tmp_path / "t" / f"{name}.nii.gz")
    pairs = find_pairs(tmp_path / "p", tmp_path / "t")
    assert [pair.truth.name for pair in pairs] == ["a.seg.nrrd", "b-segmentation.seg.nrrd"]
    assert [dice(evaluate_pairs([pair])) for pair in pairs] == [1, 1]


def test_volumes_without_partner_are_named(tmp_path):
    for name in ("a", "b"):
        write(two_classes(), tmp_path / "t" / f"{name}_label.nii.gz")
    for name in ("a", "x"):
        write(two_classes(), tmp_path / "p" / f"{name}.nii.gz")
    with pytest.raises(HipError, match=r"no partner: b_label\.nii\.gz, x\.nii\.gz") as caught:
        find_pairs(tmp_path / "p", tmp_path / "t")
    assert caught.value.kind == "unmatched"


def test_two_predictions_of_one_volume_are_not_chosen_between(tmp_path):
    write(two_classes(), tmp_path / "t" / "a_label.nii.gz")
    for ending in (".nii.gz", "_seg.nrrd"):
        write(two_classes(), tmp_path / "p" / f"a{ending}")
    with pytest.raises(HipError, match=r"a\.nii\.gz and .*a_seg\.nrrd are both for the volume a"):
        find_pairs(tmp_path / "p", tmp_path / "t")


def test_missing_empty_and_mixed_arguments(tmp_path):
    file = write(two_classes(), tmp_path / "t" / "a.nii.gz")
    (tmp_path / "empty").mkdir()
    for prediction, kind in (
        (tmp_path / "no", "missing_file"),
        (file, "unmatched"),
        (tmp_path / "empty", "missing_file"),
    ):
        with pytest.raises(HipError) as caught:
            find_pairs(prediction, tmp_path / "t")
        assert caught.value.kind == kind


def test_ignore_mask_beside_the_truth_is_used_and_said(tmp_path):
    prediction = two_classes()
    prediction[6:11, 3:11, 17:23] = 1  # a pubis that the truth's reader did not label
    ignored = np.zeros(prediction.shape)
    ignored[:, :, 15:25] = 1
    write(prediction, tmp_path / "p" / "a.nii.gz")
    write(two_classes(), tmp_path / "t" / "a_label.nii.gz")
    without = evaluate_pairs(find_pairs(tmp_path / "p", tmp_path / "t")).table()
    assert "| 100.00 " not in without.split("| a ")[1].splitlines()[0] and "ignore mask" not in without
    write(ignored, tmp_path / "t" / "a_ignore.nrrd")
    evaluation = evaluate_pairs(find_pairs(tmp_path / "p", tmp_path / "t"))
    assert dice(evaluation) == 1 and evaluation.volumes[0].scores["raw"]["hip_bone"].asd_mm == 0
    assert "voxels of an ignore mask were left out in: a." in evaluation.table()


def ball_in_socket() -> np.ndarray:
    """One hip (2 mm voxels below): a femoral head of 20 mm in a half shell, and an ilium far above it."""
    z, y, x = np.indices((70, 40, 40))
    radius = 2 * np.sqrt((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2)
    voxels = np.zeros(radius.shape)
    voxels[(radius > 23) & (radius < 31) & (z > 18)] = 1
    voxels[30:68, 16:24, 16:24] = 1
    voxels[radius <= 20] = 2
    return voxels


def hip_image(voxels: np.ndarray) -> sitk.Image:
    result = image(voxels)
    result.SetSpacing((2.0, 2.0, 2.0))
    return result


def test_roi_leaves_out_hip_bone_far_from_the_head_but_no_femur():
    truth = ball_in_socket()
    no_ilium = truth.copy()
    no_ilium[48:] = 0  # from 56 mm above the head centre on
    no_ilium[0:2, 0:6, 0:6] = 2  # and a false femur in a corner, 50 mm and more away
    pairs = [Pair("a", hip_image(no_ilium), hip_image(truth))]
    whole, near = evaluate_pairs(pairs), evaluate_pairs(pairs, roi_mm=50.0)
    assert dice(whole) < 0.95
    assert dice(near) == 1 and near.volumes[0].scores["raw"]["hip_bone"].asd_mm == 0
    assert dice(near, bone="femur") == dice(whole, bone="femur") < 1
    (head,) = near.volumes[0].head_centres_lps_mm
    assert math.dist(head, hip_image(truth).TransformIndexToPhysicalPoint((20, 20, 20))) < 1.5
    assert "hip bone (50 mm)" in near.table() and "hip bone (50 mm)" not in whole.table()


def test_ignore_mask_counts_inside_the_roi_and_its_format_may_round_the_geometry(tmp_path):
    truth, ignored = ball_in_socket(), np.zeros((70, 40, 40))
    prediction = truth.copy()
    prediction[4:9, 16:24, 16:24] = 1  # below the head, 24 mm from its centre
    ignored[2:11, 14:26, 14:26] = 1
    for voxels, name in ((prediction, "p/a.mha"), (truth, "t/a.nrrd"), (ignored, "t/a_ignore.nii.gz")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        sitk.WriteImage(hip_image(voxels), str(tmp_path / name))
    origins = [sitk.ReadImage(str(tmp_path / name)).GetOrigin() for name in ("t/a.nrrd", "t/a_ignore.nii.gz")]
    assert origins[0] != origins[1]  # NIfTI stores single precision
    (pair,) = find_pairs(tmp_path / "p", tmp_path / "t")
    assert dice(evaluate_pairs([pair], roi_mm=50.0)) == 1
    assert dice(evaluate_pairs([Pair("a", pair.prediction, pair.truth)], roi_mm=50.0)) < 1


def test_roi_needs_a_femoral_head_in_the_truth_and_a_radius():
    pairs = [Pair("a", image(two_classes() == 1), image(two_classes() == 1))]
    for radius, kind in ((50.0, "no_femoral_head"), (0.0, "bad_setting"), (math.nan, "bad_setting")):
        with pytest.raises(HipError) as caught:
            evaluate_pairs(pairs, roi_mm=radius)
        assert caught.value.kind == kind


def test_result_without_strays_stands_beside_the_raw_one():
    stray = two_classes()
    stray[5:7, 12:14, 19:21] = 2
    evaluation = evaluate_pairs([Pair("a", image(stray), image(two_classes()))])
    assert dice(evaluation, "raw", "femur") == pytest.approx(2 * 640 / (640 + 648))
    assert dice(evaluation, "largest_components", "femur") == 1


def command(prediction: Path, truth: Path, output: Path) -> int:
    return main(["evaluate", "--prediction", str(prediction), "--truth", str(truth), "--output", str(output)])


def test_json_has_numbers_mean_deviation_and_missing(tmp_path, capsys):
    predictions = {"a": two_classes(), "b": shifted_classes(), "c": two_classes() * (two_classes() == 2)}
    for name, voxels in predictions.items():
        write(voxels, tmp_path / "p" / f"{name}.nii.gz")
        write(two_classes(), tmp_path / "t" / f"{name}_label.nii.gz")
    assert command(tmp_path / "p", tmp_path / "t", tmp_path / "scores.json") == 0
    table = capsys.readouterr().out
    report = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))

    # Shifted by one of 8 rows: 7/8 overlap. Volume c has no hip bone: its only femur values are 2, two classes.
    per_volume = [volume["scores"]["raw"]["hip_bone"] for volume in report["volumes"]]
    assert [scores["dice"] for scores in per_volume] == pytest.approx([1, 7 / 8, 0])
    assert per_volume[2]["asd_mm"] is None
    summary = report["summary"]["raw"]["hip_bone"]
    assert summary["dice"]["mean"] == pytest.approx((1 + 7 / 8 + 0) / 3)
    assert summary["dice"]["sd"] == pytest.approx(statistics.stdev([1, 7 / 8, 0]))
    assert (summary["asd_mm"]["volumes"], summary["asd_mm"]["missing"]) == (2, 1)
    assert summary["asd_mm"]["mean"] == pytest.approx(per_volume[1]["asd_mm"] / 2)
    assert set(report["definitions"]) == {"dice", "asd_mm", "hd95_mm", "surface_dice_1mm", "surface_dice_3mm"}
    assert report["volumes"][1]["sources"]["truth"].endswith("b_label.nii.gz")

    mean_row = next(line for line in table.splitlines() if line.startswith("| mean ± SD | hip bone"))
    assert "62.50 ± 54.49" in mean_row and "(1 missing)" in mean_row
    assert "| c         | hip bone | 0.00" in table and "MedPy" in table


def test_a_report_that_cannot_be_written_is_said(tmp_path, capsys):
    file = write(two_classes(), tmp_path / "a.nrrd")
    assert command(file, file, tmp_path / "nowhere" / "scores.json") == 2
    assert "nowhere does not exist" in capsys.readouterr().err
