"""Hips and labels that are not the usual ones: cut pelves, oblique grids, heads off the socket's middle, odd sizes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, segment_of
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.acetabular_version import cranial_level
from HipICMSCLib.measures.bone import bone_of
from HipICMSCLib.measures.frame import Frame, image_frame, tilted
from HipICMSCLib.measures.head import find_head
from HipICMSCLib.measures.hip import Edits
from HipICMSCLib.measures.labels import _checked, find_sides
from HipICMSCLib.measures.morphometry import Morphometry, find_hips, measure
from HipICMSCLib.measures.side import mirrored
from HipICMSCLib.measures.skeleton import MovedPoints, follow, skeleton_of
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, truth

#: About a right hip.
BOX = Sampling(low=(-150, -60, -150), high=(-30, 60, 50))
_FEMUR, _HIP = (segment_of(bone, "right").value for bone in (FEMUR, HIP_BONE))


def rows_of(result: Morphometry, side: str = "right") -> dict:
    return {row.definition.id: row for row in result.rows if row.side == side}


def off_centre(shapes: HipShapes, off: tuple[float, float, float]) -> sitk.Image:
    """A right hip whose femur lies so far off its socket's middle (lateral, anterior, superior; mm)."""
    box = replace(BOX, low=(-150, -60, -60))
    image = hip_labels({"right": shapes}, box, (HIP_BONE,))
    moved = hip_labels({"right": shapes}, replace(box, shift=mirrored(np.array(off), "right")), (FEMUR,))
    return sitk.Maximum(image, sitk.Mask(moved, image == 0))


@pytest.fixture(scope="module")
def pelvis() -> sitk.Image:
    """Both hip bones, with a rod for each ischium, so that a cut one still is as long as a pelvis."""
    shapes = HipShapes(pelvis=True)
    image = hip_labels(
        {"right": shapes, "left": shapes}, Sampling(low=(-150, -70, -85), high=(150, 70, 145), spacing=(1.5, 1.5, 1.5))
    )
    labels = sitk.GetArrayFromImage(image)
    x, y, z = _axes(image)
    for middle, value in ((-75, _HIP), (75, segment_of(HIP_BONE, "left").value)):
        ischium = (np.hypot(x - middle, y - 15) < 8) & (z < -28) & (z > -75)
        labels[ischium & (labels == 0)] = value
    return _image(labels, image)


def _axes(image: sitk.Image) -> tuple[np.ndarray, ...]:
    """x, y and z of the voxels, as arrays that together have the shape of the labels'."""
    x, y, z = (
        o + s * np.arange(n) for o, s, n in zip(image.GetOrigin(), image.GetSpacing(), image.GetSize(), strict=True)
    )
    return x, y[:, None], z[:, None, None]


def _image(labels: np.ndarray, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(like)
    return image


def test_a_pelvis_whose_label_ends_below_the_iliac_spines_has_no_pelvic_plane(pelvis):
    """Its foremost points were where the label ended: the plane was tilted by 7, 13 and 20 degrees."""
    assert find_hips(pelvis).frame.name == "APP"
    labels = sitk.GetArrayFromImage(pelvis)
    z = _axes(pelvis)[2]
    for top in (105, 80, 70, 60):
        cut = np.where((z > top) & np.isin(labels, (1, 2)), 0, labels).astype(np.uint8)
        hips = find_hips(_image(cut, pelvis))
        assert hips.frame.name == "BIHEAD"
        assert "above its iliac spine" in hips.frame_notes[0]


def test_on_an_oblique_grid_no_part_of_the_head_is_left_out():
    femur = hip_labels({"right": HipShapes(shaft_below=250.0)}, replace(BOX, low=(-150, -60, -255)), (FEMUR,))
    for axis in ("x", "y"):
        for degrees in (-25.0, 25.0):
            head = find_head(bone_of(_turned_grid(femur, axis, degrees), _FEMUR, "right"))
            assert head.radius == pytest.approx(24.0, abs=0.15)
            assert np.linalg.norm(head.centre - (88, 0, 0)) < 0.15
            assert head.cover > 0.7


def _turned_grid(image: sitk.Image, axis: str, degrees: float) -> sitk.Image:
    """The same labels on a grid turned about an axis of the patient."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(np.radians(degrees) if name == axis else 0.0 for name in "xyz"))
    directions = np.array(turn.GetMatrix()).reshape(3, 3)
    last = np.array(image.GetSize()) - 1
    corners = [image.TransformIndexToPhysicalPoint((last * c).tolist()) for c in np.ndindex(2, 2, 2)]
    low, high = (np.array(corners) @ directions).min(axis=0), (np.array(corners) @ directions).max(axis=0)
    grid = sitk.Image([int(n) for n in np.ceil(high - low) + 1], sitk.sitkUInt8)
    grid.SetDirection(directions.ravel())
    grid.SetOrigin(directions @ low)
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor)


@pytest.mark.parametrize("off", [(1.5, 0, 0), (2.5, 0, 0), (2.0, 0, -2.0), (0, 0, 2.5)])
def test_the_acetabular_index_does_not_depend_on_where_the_head_lies_in_its_socket(off):
    """With the roof's medial end at the lateral end's distance it was up to 3.6 degrees too much."""
    shapes = HipShapes(fossa_step=45.0, depth=-4.0)
    rows = rows_of(measure(off_centre(shapes, off), repeats=0))
    assert rows["AI"].value == pytest.approx(truth(shapes)["AI"], abs=1.2)


@pytest.mark.parametrize("off", [(0, 0, -2.5), (0, 0, 2.5)])
def test_the_cranial_level_lies_below_the_sockets_apex_wherever_the_head_lies(off):
    """It was told from the mean gap, up to 2 mm too high or too low."""
    shapes = HipShapes()
    hip = find_hips(off_centre(shapes, off)).hip("right")
    assert cranial_level(hip.rim, hip.axes[2]) + off[2] == pytest.approx(shapes.socket_radius - 5.0, abs=0.3)


@pytest.mark.parametrize(("radius", "neck"), [(36.0, 18.0), (38.0, 23.0)])
def test_a_head_too_large_for_any_adult_is_refused_by_its_size(radius, neck):
    """Another sphere was found, at the neck's other end, and the sides said to be swapped."""
    box = replace(BOX, low=(-165, -65, -165), spacing=(1.5, 1.5, 1.5))
    labels = hip_labels({"right": HipShapes(head_radius=radius, neck_radius=neck)}, box, (FEMUR,))
    with pytest.raises(HipError, match=f"radius of {radius:.0f}") as refused:
        find_head(bone_of(labels, _FEMUR, "right"))
    assert refused.value.kind == "head_size"


def test_a_head_lateral_of_its_neck_is_said_to_be_that_with_both_causes():
    labels = hip_labels({"left": HipShapes()}, replace(BOX, low=(30, -60, -150), high=(150, 60, 50)), (FEMUR,))
    sides = find_sides(sitk.Cast(labels > 0, sitk.sitkUInt8) * _FEMUR)
    error = sides["right"].refusal
    assert error.kind == "side_mismatch"
    for words in ("lateral of its neck", "swapped", "or the sphere that was found is not the head's"):
        assert words in error.sentence


def test_heads_of_different_size_are_measured_with_a_caution_on_both_sides():
    """A coxa magna or a resurfaced head is one person's, too."""
    box = Sampling(low=(-150, -60, -70), high=(150, 60, 55), spacing=(1.6, 1.6, 1.6))
    hips = {"right": HipShapes(head_radius=29.0, neck_radius=18.0), "left": HipShapes()}
    result = measure(hip_labels(hips, box), repeats=0)
    for side, radius in (("right", 29.0), ("left", 24.0)):
        rows = rows_of(result, side)
        assert rows["HeadRadius"].value == pytest.approx(radius, abs=0.2)
        for name in ("HeadRadius", "LCEA"):
            assert any("29.0 mm on the right, 24.0 mm on the left" in c for c in rows[name].cautions)


@pytest.fixture(scope="module")
def eccentric() -> Morphometry:
    return measure(off_centre(HipShapes(depth=-2.0), (0, 1.5, -1.5)), repeats=0)


def test_a_joint_space_says_how_it_depends_on_the_frame(eccentric):
    """The sector turns with the pelvis's frame, so that moved landmarks make it out of date."""
    hip = eccentric.hips.hip("right")
    axes = mirrored(tilted(hip.axes, 20), "right")
    followed = follow(skeleton_of(hip), MovedPoints(), Frame("USER", axes, {}))
    for name in ("JointSpaceUpper", "JointSpaceAnterior", "JointSpaceLeast"):
        row = rows_of(eccentric)[name]
        assert row.frame == "IMAGE" and abs(row.tilt_slope) > 0.001
        assert name in followed.outdated


def test_a_sphere_set_by_hand_has_its_own_distances_from_the_head(eccentric):
    """They were the found sphere's, and the radius had an interval of no width."""
    found = rows_of(eccentric)
    labels = off_centre(HipShapes(depth=-2.0), (0, 1.5, -1.5))
    centre = eccentric.hips.hip("right").head.centre
    edits = Edits(head_centre=centre + np.array([1.5, 0, 0]))
    rows = rows_of(measure(labels, repeats=5, edits={"right": edits}))
    # By 1.5 mm times the cosine of the angle to that move.
    assert rows["Sphericity"].value == pytest.approx(1.5 / np.sqrt(3), abs=0.2)
    assert rows["SphericityP95"].value > found["SphericityP95"].value + 0.5
    assert rows["Sphericity"].status == "edited"
    assert np.isnan(rows["HeadRadius"].low) and np.isnan(rows["HeadRadius"].high)
    assert rows["LCEA"].low < rows["LCEA"].high
    moved = MovedPoints(head_centre=tuple(mirrored(edits.head_centre, "right")))
    followed = follow(skeleton_of(eccentric.hips.hip("right")), moved, image_frame())
    assert {"Sphericity", "SphericityP95", "HeadAxisRatio"} <= followed.outdated


def test_a_whole_hip_bone_of_fine_voxels_needs_no_copies_of_itself():
    """Its voxels' indices alone took a gigabyte."""
    labels = hip_labels({"right": HipShapes()}, replace(BOX, spacing=(1.5, 1.5, 1.5)))
    femur, bone = (bone_of(labels, value, "right") for value in (_FEMUR, _HIP))
    # A quarter of the voxels that a whole hip bone has at 0.5 mm.
    large = replace(bone, mask=np.pad(bone.mask, [(0, 0), (0, 0), (0, 4000)]))
    tracemalloc.start()
    _checked("right", femur, large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * large.mask.nbytes
