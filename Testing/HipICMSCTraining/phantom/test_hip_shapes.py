"""The phantom's truth, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, head_centre, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, femur, hip_bone, truth


def test_angles_of_the_socket():
    # A hemisphere of inclination 50 and version 18: tan(LCEA) = cot(50) / cos(18).
    assert truth(HipShapes())["LCEA"] == pytest.approx(41.42, abs=0.02)
    assert truth(HipShapes(depth=-6.0))["LCEA"] == pytest.approx(28.68, abs=0.02)
    for level in ("VersionCentral", "VersionCranial", "RimVersion"):
        assert truth(HipShapes(depth=-6.0))[level] == pytest.approx(18.0, abs=0.02)
    # The rim's highest point lies 22.7 mm above the centre, below the cranial level of 23 mm.
    assert np.isnan(truth(HipShapes(depth=-2.0))["VersionCranial"])
    # A cap of the sphere of radius 28 cut at depth -6: (1 - 6/28) / 2 of it.
    assert truth(HipShapes(depth=-6.0))["Coverage"] == pytest.approx(100 * (1 - 6 / 28) / 2, abs=0.05)


def test_alpha_is_where_the_neck_leaves_the_sphere_by_the_tolerance():
    values = truth(HipShapes(cam_radius=20.0))
    assert values["Alpha_1200"] == pytest.approx(np.degrees(np.arcsin(15 / 25.5)))
    assert values["Alpha_0130"] == pytest.approx(51.66, abs=0.01)


def test_twist_makes_cranial_and_central_version_differ():
    values = truth(HipShapes(depth=-8.0, twist=8.0))
    assert abs(values["VersionCranial"] - values["VersionCentral"]) > 1.0


def test_signed_distances_are_where_the_surfaces_are():
    shapes = HipShapes(fossa_step=45.0)
    assert femur(np.array([[0, 0, 24.0]], np.float32), shapes)[0] == pytest.approx(0, abs=1e-4)
    assert femur((shapes.neck * 30 + shapes.clock[1] * 15)[None].astype(np.float32), shapes)[0] == pytest.approx(
        0, abs=1e-4
    )
    up = np.array([[-0.1, 0, 0.995]], np.float32)
    assert hip_bone(up * 27, shapes)[0] > 0 > hip_bone(up * 30, shapes)[0]
    fossa = shapes.fossa_axis[None].astype(np.float32)
    assert hip_bone(fossa * 31, shapes)[0] > 0 > hip_bone(fossa * 34, shapes)[0]


def test_a_voxel_is_bone_where_half_of_it_is():
    sampling = Sampling(spacing=(0.9, 5.0, 0.9), low=(-120, -40, -40), high=(-60, 40, 30))
    labels = hip_labels({"right": HipShapes()}, sampling)
    head = sitk.GetArrayFromImage(labels) == 3
    z, y, x = np.indices(head.shape)
    points = np.stack([x, y, z], -1) * labels.GetSpacing() + labels.GetOrigin() - head_centre("right", sampling)
    # Above the neck only the head is there, so its voxels fill half a ball of 24 mm.
    upper = head & (points[..., 2] > 0)
    assert upper.sum() * np.prod(labels.GetSpacing()) == pytest.approx(2 / 3 * np.pi * 24**3, rel=0.02)
