"""Femoral heads of a segmentation: where they are and on which side, however the image is stored."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.heads_of_bones import heads_of_bones
from packages import rotation
from simple_patient import HEADS, simple_patient

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
STORED = {
    "even voxels": (np.eye(3), (2.0, 2.0, 2.0), 1.0),
    "coronal, 5 mm": (CORONAL, (1.5, 1.5, 5.0), 2.0),
    "coronal, oblique": (rotation(20) @ CORONAL, (1.5, 1.5, 4.0), 2.0),
    "axial from above, mirrored": (np.diag([-1.0, 1, -1]), (1.5, 1.5, 4.0), 2.0),
    "sagittal": (np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]), (1.5, 1.5, 4.0), 2.0),
}


def off(found: tuple[float, float, float], side: str) -> float:
    return float(np.linalg.norm(np.subtract(found, HEADS[side])))


@pytest.mark.parametrize("name", STORED)
def test_both_heads(name):
    direction, spacing, tolerance_mm = STORED[name]
    found = heads_of_bones(simple_patient(spacing, direction=direction).labels)
    assert off(found.right, "right") < tolerance_mm
    assert off(found.left, "left") < tolerance_mm


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("side", ["right", "left"])
def test_one_hip_has_its_side_by_where_its_bones_lie(name, side):
    direction, spacing, tolerance_mm = STORED[name]
    # The pelvis lies towards the middle of the body.
    labels = simple_patient(spacing, (side,), direction, ischium=True).labels
    found = heads_of_bones(labels)
    assert off(getattr(found, side), side) < tolerance_mm
    assert getattr(found, "left" if side == "right" else "right") is None


@pytest.mark.parametrize("side", ["right", "left"])
def test_muscle_beside_the_ilium_that_is_taken_for_it_does_not_change_the_side(side):
    """It lies above the head; what lies below tells the side."""
    labels = simple_patient((2.0, 2.0, 3.0), (side,), ischium=True).labels
    outwards = -1 if side == "right" else 1
    points = np.moveaxis(np.indices(labels.GetSize()), 0, -1) * labels.GetSpacing() + labels.GetOrigin()
    muscle = np.linalg.norm(points - np.add(HEADS[side], [outwards * 32, 0, 42]), axis=-1) < 28
    array = sitk.GetArrayFromImage(labels)
    array[muscle.T & (array == 0)] = 1
    shown = sitk.GetImageFromArray(array)
    shown.CopyInformation(labels)
    found = heads_of_bones(shown)
    assert (found.right is None, found.left is None) == (side == "left", side == "right")


def test_the_sides_hold_wherever_the_scanner_has_its_zero():
    labels = simple_patient((2.0, 2.0, 3.0)).labels
    shift = np.array([500.0, -300.0, 900.0])
    labels.SetOrigin((np.array(labels.GetOrigin()) + shift).tolist())
    found = heads_of_bones(labels)
    assert off(np.array(found.right) - shift, "right") < 1.5
    assert off(np.array(found.left) - shift, "left") < 1.5


def cleared(labels: sitk.Image, value: int) -> sitk.Image:
    array = sitk.GetArrayFromImage(labels)
    array[array == value] = 0
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels)
    return image


def test_where_no_joint_is_in_view_there_are_no_heads():
    labels = simple_patient((3.0, 3.0, 3.0)).labels
    for shown in (cleared(labels, 1), cleared(labels, 2), cleared(cleared(labels, 1), 2)):
        found = heads_of_bones(shown)
        assert (found.right, found.left) == (None, None)


def test_shafts_alone_are_no_heads():
    patient = simple_patient((2.0, 2.0, 3.0), ischium=True)
    below = patient.labels[:, :, : round((30 - 40 + 54) / 3)]  # from 40 mm below the heads downwards
    assert set(np.unique(sitk.GetArrayFromImage(below))) == {0, 1, 2}
    found = heads_of_bones(below)
    assert (found.right, found.left) == (None, None)


def test_crumbs_of_femur_are_no_heads():
    patient = simple_patient((2.0, 2.0, 2.0), ("right",), ischium=True)
    array = sitk.GetArrayFromImage(patient.labels)
    z, y, x = np.argwhere(array == 1)[1000]
    array[z : z + 6, y : y + 6, x : x + 6] = 2  # 1.7 ml within the hip bone
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(patient.labels)
    found = heads_of_bones(image)
    assert off(found.right, "right") < 1.5
    assert found.left is None


def test_heads_of_a_simulated_ct_have_their_midpoint_at_the_world_origin():
    file = SHARED_DATA / "ct_sim" / "ctsim05_label.nii.gz"
    if not file.exists():
        pytest.skip("shared/data with the simulated CTs is not here")
    found = heads_of_bones(sitk.ReadImage(str(file)))
    assert math.dist(np.mean([found.right, found.left], axis=0), (0, 0, 0)) < 2.0
    assert found.right[0] < -60 and found.left[0] > 60


def test_heads_of_a_thick_slice_mri_label_lie_where_a_reader_sees_them():
    file = SHARED_DATA / "mri_val" / "cptac_C3N-01003_t1cor_label.nii.gz"
    if not file.exists():
        pytest.skip("shared/data with the labelled MRIs is not here")
    found = heads_of_bones(sitk.ReadImage(str(file)))
    assert math.dist(found.right, (-102, -7, -1)) < 5.0  # read off coronal overlays
    assert math.dist(found.left, (76, -4, 6)) < 5.0
