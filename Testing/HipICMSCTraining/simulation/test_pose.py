"""Where slabs lie: in the planes, thicknesses and directions in which acquired slices reach the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from HipICMSCLib.preprocessing.slabs import ORIENTATIONS
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation.pose import (
    AIMED_AT_BONE,
    AXES,
    Pose,
    draw_pose,
    draw_pose_in,
    points_of,
    rotation,
)

#: (z, y, x) of the letters with which SimpleITK names directions: towards the head, the back, the left.
TOWARDS = {"S": (1, 0, 0), "I": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "L": (0, 0, 1), "R": (0, 0, -1)}
STILL = SimulationSettings(pose_deg=0.0, size_sd=0.0)
SHAPE = SlabShape(slices=3, patch=32, pixel_mm=2.0)


def pose(plane: str = "coronal", **changes) -> Pose:
    return replace(Pose(plane, AXES[plane], np.array([100.0, 90.0, 120.0]), 5.0, 4.0, False), **changes)


@pytest.mark.parametrize("plane", AXES)
def test_simulated_slices_are_turned_as_preprocessing_turns_acquired_ones(plane):
    columns, rows, slices = (TOWARDS[letter] for letter in ORIENTATIONS[plane])
    assert AXES[plane].tolist() == [list(slices), list(rows), list(columns)]


@pytest.mark.parametrize("plane", AXES)
def test_points_lie_a_pixel_and_a_step_apart_about_the_centre(anatomy, plane):
    points = points_of(pose(plane, thickness_mm=1.5), anatomy, SHAPE, SHAPE.patch).numpy()
    assert points.shape == (3, 32, 32, 3)
    slices, rows, columns = AXES[plane]
    assert np.allclose(np.diff(points, axis=0), 5.0 * slices, atol=1e-4)
    assert np.allclose(np.diff(points, axis=1), 2.0 * rows, atol=1e-4)
    assert np.allclose(np.diff(points, axis=2), 2.0 * columns, atol=1e-4)
    assert np.allclose(points.mean((0, 1, 2)), (100, 90, 120), atol=1e-3)


def test_a_thick_slice_is_an_average_over_its_thickness_and_leaves_a_gap(anatomy):
    thick = pose("axial", step_mm=6.0, thickness_mm=4.8)
    assert thick.sub_slices == 3
    depth = points_of(thick, anatomy, SHAPE, 2).numpy()[:, 0, 0, 0]
    # Middles of thirds of 4.8 mm, about middles that lie 6 mm apart.
    assert np.allclose(depth - 100, [-7.6, -6, -4.4, -1.6, 0, 1.6, 4.4, 6, 7.6], atol=1e-4)


def test_sub_slices_lie_no_further_apart_than_they_are_thick():
    for thickness in np.linspace(0.3, 7, 40):
        assert thickness / pose(thickness_mm=thickness).sub_slices <= 1.6


def test_a_mirror_changes_left_and_right_and_nothing_else(anatomy):
    plain, mirrored = (points_of(pose(mirrored=m), anatomy, SHAPE, 5).numpy() for m in (False, True))
    assert np.allclose(plain[..., :2], mirrored[..., :2])
    assert np.allclose(plain[..., 2] + mirrored[..., 2], anatomy.shape[2] - 1, atol=1e-4)


def test_a_rotation_is_one():
    for degrees in ((30, 0, 0), (10, -20, 70), (180, 5, 45)):
        turn = rotation(np.array(degrees, float))
        assert np.allclose(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
    about_first = rotation(np.array([30.0, 0, 0]))
    assert np.allclose(about_first[0], (1, 0, 0))
    assert np.trace(about_first) == pytest.approx(1 + 2 * np.cos(np.pi / 6))


def test_a_slab_in_the_mirror_is_aimed_at_bone_too_of_a_patient_beside_the_ct_s_middle(anatomy):
    """There is a right hip alone, so that its mirror image lies where the CT has none."""
    settings = replace(STILL, plane_coronal=0.0, plane_axial=0.0, plane_sagittal=1.0, plane_oblique=0.0)
    has_bone = ((anatomy.hip < 0) | (anatomy.femur < 0)).any((0, 1))
    found = {False: [], True: []}
    for seed in range(800):
        drawn = draw_pose(anatomy, settings, np.random.default_rng(seed))
        across = round(float(points_of(drawn, anatomy, replace(SHAPE, slices=1), 2)[..., 2].mean()))
        found[drawn.mirrored].append(0 <= across < len(has_bone) and has_bone[across])
    plain, mirrored = np.mean(found[False]), np.mean(found[True])
    assert plain > AIMED_AT_BONE
    assert mirrored == pytest.approx(plain, abs=0.07)


def test_planes_come_as_often_as_their_shares(anatomy):
    settings = replace(STILL, plane_coronal=3.0, plane_axial=1.0, plane_sagittal=0.0, plane_oblique=0.0)
    drawn = [draw_pose(anatomy, settings, np.random.default_rng(seed)) for seed in range(400)]
    planes = [one.plane for one in drawn]
    assert planes.count("coronal") == pytest.approx(300, abs=35)
    assert set(planes) == {"coronal", "axial"}
    assert all(np.allclose(one.axes, AXES[one.plane]) for one in drawn)
    assert 0.4 < np.mean([one.mirrored for one in drawn]) < 0.6


@pytest.mark.parametrize("slice_mm", [(0.8, 7.0), (2.0, 7.0), (0.8, 1.2), (3.0, 3.0)])
def test_slices_are_as_thick_as_the_settings_say(anatomy, slice_mm):
    settings = replace(STILL, slice_mm=slice_mm)
    for seed in range(150):
        one = draw_pose(anatomy, settings, np.random.default_rng(seed))
        assert slice_mm[0] <= one.step_mm <= slice_mm[1]
        assert one.step_mm / 1.35 <= one.thickness_mm <= one.step_mm


def test_no_thickness_is_left_out(anatomy):
    steps = [draw_pose(anatomy, STILL, np.random.default_rng(seed)).step_mm for seed in range(400)]
    thin, thick = STILL.slice_mm
    assert np.histogram(steps, np.arange(thin, thick + 0.2, 0.2))[0].min() > 0


def test_a_pose_in_a_given_plane_has_its_plane_and_step(anatomy):
    for plane in AXES:
        one = draw_pose_in(plane, 4.5, anatomy, STILL, np.random.default_rng(0))
        assert (one.plane, one.step_mm) == (plane, 4.5)
        assert np.allclose(one.axes, AXES[plane])


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_slabs_show_a_patient_up_to_the_skin(anatomy, plane):
    """A whole MRI has slices of nothing but buttock, belly or skin, in which F_t must know that there is no bone."""
    along = int(np.abs(AXES[plane][0]).argmax())
    of_bone = np.argwhere((anatomy.hip < 0) | (anatomy.femur < 0))[:, along]
    poses = [draw_pose_in(plane, 3.0, anatomy, STILL, np.random.default_rng(seed)) for seed in range(500)]
    # In the mirror a slab that was drawn in the anatomy may lie beside it.
    middles = np.array([one.centre[along] for one in poses if not one.mirrored])
    empty = (middles < of_bone.min() - 3) | (middles > of_bone.max() + 3)
    assert middles[empty].min() < 0.08 * anatomy.shape[along]
    assert middles[empty].max() > 0.92 * anatomy.shape[along]
    assert 0.02 < empty.mean() < 0.4


def test_most_slabs_pass_through_a_bone(anatomy):
    hits = 0
    for seed in range(100):
        one = draw_pose(anatomy, STILL, np.random.default_rng(seed))
        z, y, x = np.rint(points_of(one, anatomy, SlabShape(1, 64, 4.0), 64).numpy()[0].reshape(-1, 3)).astype(int).T
        inside = np.all([(i >= 0) & (i < n) for i, n in zip((z, y, x), anatomy.shape, strict=True)], axis=0)
        index = z[inside], y[inside], x[inside]
        hits += bool(((anatomy.hip[index] < 0) | (anatomy.femur[index] < 0)).any())
    assert hits >= 70
