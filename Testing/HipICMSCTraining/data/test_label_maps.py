"""Label maps as other programs store them lie on their image all the same; others are refused in numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.dataset import Case, LabelValues
from HipICMSCTrainingLib.data.label_maps import read_labels

CLASSES = np.random.default_rng(0).integers(0, 3, (20, 24, 28)).astype(np.uint8)


def image(voxels: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing((2.5, 3.0, 3.5))
    made.SetOrigin((-40.0, 10.0, 5.0))
    return made


def read(tmp_path, labels: sitk.Image) -> np.ndarray:
    path = tmp_path / "X_label.nrrd"
    sitk.WriteImage(labels, str(path))
    case = Case("X", "CT", "train", "X", str(tmp_path / "X.nrrd"), str(path))
    return sitk.GetArrayFromImage(read_labels(case, image(CLASSES.astype(np.int16) * 100)))


def moved(by: float) -> sitk.Image:
    labels = image(CLASSES)
    labels.SetOrigin((-40.0 + by, 10.0, 5.0))
    return labels


@pytest.mark.parametrize(
    "labels",
    [
        moved(0.02),
        sitk.Flip(image(CLASSES), (True, False, True), False),
        sitk.PermuteAxes(image(CLASSES), (2, 0, 1)),
        sitk.DICOMOrient(image(CLASSES), "RAS"),
        image(CLASSES.astype(np.float32) * 0.998),
    ],
    ids=["a hundredth of a voxel apart", "flipped", "permuted", "RAS", "0.996"],
)
def test_the_same_voxels_stored_otherwise_are_the_same_labels(tmp_path, labels):
    assert np.array_equal(read(tmp_path, labels), CLASSES)


def as_slicer_saves(tmp_path, segments: dict[str, tuple[int, int, np.ndarray]]) -> Case:
    """A segmentation of segments by name, each with its layer and value there."""
    layers = np.zeros((*CLASSES.shape, 1 + max(layer for layer, _, _ in segments.values())), np.uint8)
    for layer, value, mask in segments.values():
        layers[..., layer][mask] = value
    made = sitk.GetImageFromArray(layers if layers.shape[-1] > 1 else layers[..., 0], isVector=layers.shape[-1] > 1)
    made.CopyInformation(image(CLASSES))
    for number, (name, (layer, value, _)) in enumerate(segments.items()):
        for key, text in (("ID", f"Segment_{number}"), ("Name", name), ("Layer", layer), ("LabelValue", value)):
            made.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(made, str(tmp_path / "X.seg.nrrd"), useCompression=True)
    return Case("X", "CT", "train", "X", str(tmp_path / "X.nrrd"), str(tmp_path / "X.seg.nrrd"))


def test_segments_are_known_by_name_in_whichever_layer_and_value_slicer_put_them(tmp_path):
    halves = np.arange(28) < 14
    one_layer = {
        "Left femur": (0, 1, (CLASSES == 2) & halves), "Acetabulum": (0, 2, CLASSES == 1),
        "right proximal Femur": (0, 3, (CLASSES == 2) & ~halves),
    }  # fmt: skip
    two_layers = {name: (int(name[0] == "A"), 7, mask) for name, (_, _, mask) in one_layer.items()}
    for segments in (one_layer, two_layers):
        case = as_slicer_saves(tmp_path, segments)
        assert np.array_equal(sitk.GetArrayFromImage(read_labels(case, image(CLASSES))), CLASSES)


@pytest.mark.parametrize(
    "other", ["femoral_artery_left", "Femoral cartilage", "hip_implant_left", "hip joint capsule", "sacrum"]
)
def test_what_only_shares_a_word_with_a_bone_is_never_taken_for_one(tmp_path, other):
    other_half = (CLASSES == 2) & (np.arange(28) < 14)
    segments = {
        "hip_left": (0, 1, CLASSES == 1), "femur_left": (0, 2, (CLASSES == 2) & ~other_half), other: (0, 3, other_half),
    }  # fmt: skip
    case = as_slicer_saves(tmp_path, segments)
    with pytest.raises(HipError, match=f"The segment '{other}' of X is neither a hip bone nor a femur"):
        read_labels(case, image(CLASSES))
    bones = sitk.GetArrayFromImage(
        read_labels(replace(case, label_values=LabelValues(ignore_others=True)), image(CLASSES))
    )
    assert np.array_equal(bones, np.where(other_half, 0, CLASSES))


@pytest.mark.parametrize("name", ["pelvis", "ilium", "os coxae dexter", "HemiPelvis"])
def test_a_hip_bone_has_many_names(tmp_path, name):
    case = as_slicer_saves(tmp_path, {name: (0, 1, CLASSES == 1), "thigh bone": (0, 2, CLASSES == 2)})
    assert np.array_equal(sitk.GetArrayFromImage(read_labels(case, image(CLASSES))), CLASSES)


def test_a_segmentation_that_slicer_cropped_to_its_segments_has_background_beyond(tmp_path):
    """A label map in another format may be of another image, and is refused still."""
    within = np.zeros_like(CLASSES)
    within[2:-2, 1:-2, 3:-1] = CLASSES[2:-2, 1:-2, 3:-1]
    segments = {"hip bone": (0, 1, within == 1), "Femur": (0, 2, within == 2)}
    case = as_slicer_saves(tmp_path, segments)
    whole = sitk.ReadImage(case.label)
    cropped = whole[3:-1, 1:-2, 2:-2]
    for key in whole.GetMetaDataKeys():
        cropped.SetMetaData(key, whole.GetMetaData(key))
    sitk.WriteImage(cropped, case.label)
    assert np.array_equal(sitk.GetArrayFromImage(read_labels(case, image(CLASSES))), within)
    other = tmp_path / "X_label.nrrd"
    sitk.WriteImage(cropped, str(other))
    with pytest.raises(HipError, match="resample it"):
        read_labels(replace(case, label=str(other)), image(CLASSES))


def test_a_segment_of_another_structure_is_named_or_left_aside_and_bones_may_not_overlap(tmp_path):
    segments = {"hip bone": (0, 1, CLASSES == 1), "Femur": (0, 2, CLASSES == 2), "Muscle": (1, 1, CLASSES < 2)}
    case = as_slicer_saves(tmp_path, segments)
    with pytest.raises(HipError, match="'Muscle' of X is neither"):
        read_labels(case, image(CLASSES))
    lenient = replace(case, label_values=LabelValues(ignore_others=True))
    assert np.array_equal(sitk.GetArrayFromImage(read_labels(lenient, image(CLASSES))), CLASSES)
    del segments["Muscle"]
    case = as_slicer_saves(tmp_path, segments | {"Femoral head": (1, 3, CLASSES == 1)})
    with pytest.raises(HipError, match="overlap") as raised:
        read_labels(case, image(CLASSES))
    assert raised.value.kind == "overlapping_segments"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (moved(0.2), "lies 0.2 mm apart"),
        (image(CLASSES[:-1]), "has 28 × 24 × 19 voxels where there are 28 × 24 × 20"),
    ],
)
def test_another_grid_is_refused_with_what_differs(tmp_path, labels, words):
    with pytest.raises(HipError) as raised:
        read(tmp_path, labels)
    assert raised.value.kind == "geometry_mismatch" and words in raised.value.sentence


def test_a_value_farther_from_a_whole_number_is_unknown(tmp_path):
    with pytest.raises(HipError) as raised:
        read(tmp_path, image(CLASSES.astype(np.float32) * 0.98))
    assert raised.value.kind == "unknown_labels"
