"""A labelled CT made ready: bones lie where they lay, what is no patient is gone, what the CT cuts is carried on."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.simulation.anatomy import (
    EXTENSION_MM,
    FINE_MM,
    GAS_HU,
    anatomy_of,
    carried_on,
    without_surroundings,
)
from simple_patient import (
    BODY,
    HEAD_RADIUS,
    HEADS,
    MUSCLE,
    PELVIS_RADIUS,
    SHAFT_OUTWARDS,
    SHAFT_RADIUS,
    SOCKET_RADIUS,
    simple_patient,
)


def lowest_point(ct: sitk.Image) -> np.ndarray:
    """LPS of the corner at the patient's feet, front and right, the beginning of an anatomy before its extension."""
    size = np.array(ct.GetSize()) - 1
    corners = [ct.TransformIndexToPhysicalPoint((size * c).tolist()) for c in np.ndindex(2, 2, 2)]
    return np.min(corners, axis=0)


def world_of(anatomy, ct: sitk.Image) -> list[np.ndarray]:
    """x, y, z of every voxel of an anatomy whose shaft was carried on."""
    x0, y0, z0 = lowest_point(ct)
    z, y, x = np.indices(anatomy.shape, sparse=True)
    # The lowest slice of the CT is the first that is repeated.
    return [x * FINE_MM + x0, y * FINE_MM + y0, (z - EXTENSION_MM / FINE_MM + 1) * FINE_MM + z0]


def test_distances_are_those_to_the_bones_surfaces(anatomy, patient):
    x, y, z = world_of(anatomy, patient.ct)
    cx, cy, cz = HEADS["right"]
    away = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
    found = anatomy.femur * 0.1
    # Above the centre nothing but the head is near; tenths of a millimetre end at 12.7.
    head = (z > cz + 5) & (np.abs(away - HEAD_RADIUS) < 8)
    off = found[head] - (away - HEAD_RADIUS)[head]
    assert abs(off.mean()) < 0.3
    assert np.abs(off).max() < 1.8  # a voxel of the CT is 2 mm
    shell = (z > cz + 12) & (away > SOCKET_RADIUS - 6) & (away < PELVIS_RADIUS + 6)
    known = np.maximum(SOCKET_RADIUS - away, away - PELVIS_RADIUS)[shell]
    assert abs((anatomy.hip[shell] * 0.1 - known).mean()) < 0.3
    assert anatomy.femur.min() == -127
    assert anatomy.femur.max() == 127


@pytest.mark.parametrize(
    ("direction", "spacing", "sides"),
    [
        (np.eye(3), (3.0, 3.0, 4.0), ("right", "left")),
        (np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]), (3.0, 2.5, 4.0), ("left",)),
    ],
    ids=["axial, both hips", "sagittal from the left, upside down"],
)
def test_femora_turn_about_their_heads_however_the_ct_is_stored(direction, spacing, sides):
    patient = simple_patient(spacing, sides, direction)
    anatomy = anatomy_of(patient.ct, patient.labels)
    x0, y0, z0 = lowest_point(patient.ct)
    raised = EXTENSION_MM - FINE_MM
    assert len(anatomy.femora) == len(sides)
    expected = [(HEADS[s][2] - z0 + raised, HEADS[s][1] - y0, HEADS[s][0] - x0) for s in sides]
    for head, femur in zip(expected, anatomy.femora, strict=True):
        assert np.linalg.norm(femur.head - head) < 1.0
        # Its own distances: inside the shaft near 0 below the other one.
        zc, yc, xc = (round(c / 4) for c in head)
        assert femur.distance[zc, yc, xc] < -15
    if len(sides) == 2:
        right, _ = anatomy.femora
        assert right.distance[zc, yc, xc] > 60  # the left head is no part of the right femur


def test_bone_voxels_lie_in_bone(anatomy):
    z, y, x = anatomy.bone_voxels.T
    assert len(anatomy.bone_voxels) > 1000
    assert ((anatomy.hip[z, y, x] < 0) | (anatomy.femur[z, y, x] < 0)).all()


def test_at_least_half_of_the_bone_voxels_lie_about_the_joint(anatomy):
    away = np.linalg.norm(anatomy.bone_voxels * FINE_MM - anatomy.femora[0].head, axis=1)
    assert (away < 50).mean() > 0.5


def test_table_and_the_air_about_the_patient_are_air(anatomy, patient):
    x, y, _ = world_of(anatomy, patient.ct)
    outside = np.broadcast_to((x / BODY[0]) ** 2 + (y / BODY[1]) ** 2 > 1.2, anatomy.shape)
    assert (anatomy.hu[outside] == -1000).all()
    inside = np.broadcast_to((x / BODY[0]) ** 2 + (y / BODY[1]) ** 2 < 0.7, anatomy.shape)
    assert (anatomy.hu[inside] != -1000).all()


def test_gas_is_known_in_every_slice_even_in_the_outermost():
    hu = np.full((12, 60, 60), -1000, np.int16)
    y, x = np.indices((60, 60)) - 30
    hu[:, np.hypot(y, x) < 25] = MUSCLE
    gas = np.broadcast_to(np.hypot(y, x - 4) < 6, hu.shape)
    hu[gas] = -990
    clean = sitk.GetArrayFromImage(without_surroundings(sitk.GetImageFromArray(hu)))
    assert (clean[gas] == GAS_HU).all()
    assert (clean[:, np.hypot(y, x) > 29] == -1000).all()
    assert (clean[~gas] != GAS_HU).all()


def slanting(slope: float, depth: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A shaft that goes ``slope`` columns to the right with each slice downwards, and an ischium beside it."""
    z, y, x = np.indices((depth, 50, 120)).astype(float)
    femur = np.hypot(y - 25, x - 60 + slope * z) - 11.0
    hip = np.hypot(y - 25, x - 95) - 9.0
    hu = np.where((femur < 0) | (hip < 0), 600.0, MUSCLE)
    return hu, hip, femur


def test_a_shaft_goes_on_in_its_own_direction():
    hu, hip, femur = carried_on(*slanting(0.2))
    added = round(EXTENSION_MM / FINE_MM) - 1
    assert hu.shape == hip.shape == femur.shape == (30 + added, 50, 120)
    for below in (10, 50, 100):
        y, x = np.argwhere(femur[added - below] < 0).mean(0)
        assert (y, x) == (pytest.approx(25, abs=0.5), pytest.approx(60 + 0.2 * below, abs=1.5))
        assert (femur[added - below] < 0).sum() == pytest.approx(np.pi * 11**2, rel=0.05)
    assert (femur[added + 1 :] == slanting(0.2)[2][1:]).all()


def test_an_ischium_comes_to_an_end_and_is_muscle_below_it():
    hu, hip, _ = carried_on(*slanting(0.0))
    added = round(EXTENSION_MM / FINE_MM) - 1
    areas = [(hip[added - below] < 0).sum() for below in range(25)]
    assert areas == sorted(areas, reverse=True)
    # Half a millimetre narrower on each side with every millimetre.
    for below in (0, 4, 9):
        y, x = np.indices((50, 120))
        assert areas[below] == (np.hypot(y - 25, x - 95) < 9 - 0.5 * (below + 1)).sum()
    assert areas[-1] == 0
    assert (hu[: added - 25][:, 16:35, 86:105] == MUSCLE).all()


def test_without_a_shaft_nothing_is_added():
    hu, hip, femur = slanting(0.0)
    femur[:3] = 30.0
    for before, after in zip((hu, hip, femur), carried_on(hu, hip, femur), strict=True):
        assert after is before


def test_the_shaft_of_a_ct_reaches_far_below_it(anatomy, patient):
    x, y, z = (np.broadcast_to(axis, anatomy.shape) for axis in world_of(anatomy, patient.ct))
    lowest = lowest_point(patient.ct)[2]
    below = z < lowest - 5
    assert below.any()
    cx, cy, _ = HEADS["right"]
    near = np.hypot(x - (cx - SHAFT_OUTWARDS), y - cy)
    assert (anatomy.femur[below & (near < SHAFT_RADIUS - 3)] < 0).all()
    assert (anatomy.femur[below & (near > SHAFT_RADIUS + 3)] > 0).all()
    # Where the ischium has ended, too, nothing else is as bright as bone.
    assert anatomy.hu[(z < lowest - 40) & (near > SHAFT_RADIUS + 4)].max() <= MUSCLE
