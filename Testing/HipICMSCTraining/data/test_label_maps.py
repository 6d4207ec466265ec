"""Label maps as other programs store them lie on their image all the same; others are refused in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.dataset import Case
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
