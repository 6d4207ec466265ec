"""Where the network says how sure it is, pieces of a bone are what it is sure of, and the rest is what lies at them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.preprocessing.geometry import Grid
from painted_bones import (
    AXIAL,
    CORONAL,
    GRIDS,
    HEADS,
    LEFT_HEAD,
    RIGHT_HEAD,
    array,
    confidence_of,
    empty_image,
    hips,
    painted,
    points_of,
)


@pytest.mark.parametrize("name", GRIDS)
def test_a_stray_on_an_unsure_bridge_goes_and_the_unsure_rim_of_a_bone_stays(name):
    direction, spacing = GRIDS[name]
    bone, stray = (-60.0, 0.0, 40.0), (-60.0, 0.0, 100.0)
    bridge = [(1, (-60.0, 0.0, float(z)), 8.0) for z in range(69, 95, 4)]
    classes = painted(empty_image(direction, spacing), (1, bone, 25.0), (1, stray, 12.0), *bridge)
    confidence = confidence_of(classes, *((0.6, centre, radius) for _, centre, radius in bridge))
    # The outermost 4 mm of the bone, too.
    rim = confidence_of(classes, (0.6, bone, 25.0), (1.0, bone, 21.0))
    confidence = sitk.Minimum(confidence, rim)
    found = sitk.GetArrayFromImage(separate_sides(classes, HEADS, confidence).labels)
    from_bone, from_stray = (np.linalg.norm(points_of(classes) - np.float32(c), axis=-1) for c in (bone, stray))
    is_bone = sitk.GetArrayFromImage(classes) == 1
    assert (found[is_bone & (from_bone <= 25.0)] == 1).all()
    assert not found[from_stray <= 12.0].any()
    # As a label map, of which nobody says how sure it is, all hangs together.
    assert sitk.GetArrayFromImage(separate_sides(classes, HEADS).labels)[from_stray <= 12.0].all()


@pytest.mark.parametrize(("slice_mm", "shift_mm"), [(3.0, 0.0), (5.2, 4.0), (7.0, 0.0), (7.0, 4.0)])
def test_the_unsure_slice_at_the_end_of_a_bone_stays_however_thick_slices_are(slice_mm, shift_mm):
    """A network that hears its neighbours is half as sure of a bone's last slice; at 7 mm none of it was left."""
    classes = empty_image(CORONAL, (2.0, 2.0, slice_mm))
    confidence = np.ones(classes.GetSize()[::-1], np.float32)
    array, middle, end = sitk.GetArrayFromImage(classes), classes.GetSize()[2] // 2, classes.GetSize()[2] // 2 + 4
    for number in range(middle - 4, end + 1):
        first = 50 + round((number - middle) * shift_mm / 2)
        array[number, first : first + 30, 20:40] = 1
    confidence[end] = 0.6
    classes, confidence = (Grid.of(classes).image(voxels) for voxels in (array, confidence))
    found = sitk.GetArrayFromImage(separate_sides(classes, HEADS, confidence).labels)
    assert np.array_equal(found > 0, array > 0)


@pytest.mark.parametrize("farther_mm", [0.0, 6.0])
def test_a_bone_that_is_cut_into_pieces_stays_as_far_as_each_is_near_to_the_next(farther_mm):
    """As where the field of view cuts an axial MRI of one hip: ilium, acetabulum and ischium, with gaps of 10 mm, or
    the first of 16."""
    ilium, acetabulum, ischium = (
        (1, (85.0 + 0.48 * farther_mm, 0.0, 80.0 + 0.88 * farther_mm), 30.0),
        (1, (55.0, 0.0, 25.0), 23.0),
        (1, (45.0, 0.0, -25.0), 17.0),
    )
    belly, femur = (1, (15.0, -75.0, 80.0), 12.0), (2, (100.0, 0.0, 0.0), 22.0)
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), ilium, acetabulum, ischium, belly, femur)
    found = sitk.GetArrayFromImage(
        separate_sides(classes, FemoralHeads(None, LEFT_HEAD), confidence_of(classes)).labels
    )
    from_belly = np.linalg.norm(points_of(classes) - np.float32(belly[1]), axis=-1)
    of_hip = sitk.GetArrayFromImage(classes) == 1
    assert (found[of_hip & (from_belly > 12.0)] == 2).all()
    assert not found[from_belly <= 12.0].any()


@pytest.mark.parametrize("heads", [FemoralHeads(None, LEFT_HEAD), FemoralHeads(None, None)], ids=["head", "no head"])
def test_a_small_socket_is_the_hip_bone_and_a_larger_muscle_in_front_of_the_joint_is_none(heads):
    """As where a field of view ends behind the joint: little of the socket is in view, and a muscle was called bone."""
    joint = [(1, (76.0, 0.0, 8.0), 27.0), (2, LEFT_HEAD, 24.0), (2, (93.0, 0.0, -40.0), 22.0)]
    muscle = (1, (85.0, -76.0, 0.0), 22.0)
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *joint, muscle)
    socket = array(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *joint)) == 1
    assert socket.sum() < (array(classes) == 1).sum() / 2, "the muscle is not the larger one"
    labels = array(separate_sides(classes, heads, confidence=sitk.Cast(classes > 0, sitk.sitkFloat32)).labels)
    assert np.array_equal(np.isin(labels, (1, 2)), socket)


def test_a_socket_in_two_parts_that_lie_far_from_each_other_is_kept_whole():
    """Where a field of view ends behind the joint, the roof and the lower end of a socket may be all that is sure."""
    roof, lower_end = (1, (85.0, 0.0, 34.0), 16.0), (1, (60.0, 10.0, -20.0), 16.0)
    femur = [(2, LEFT_HEAD, 24.0), (2, (98.0, 0.0, -45.0), 22.0)]
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), roof, lower_end, *femur)
    found = array(separate_sides(classes, FemoralHeads(None, LEFT_HEAD), confidence_of(classes)).labels)
    assert np.array_equal(found == 2, array(classes) == 1)


def test_muscle_behind_the_trochanter_is_no_part_of_the_socket():
    """It lies at the femur as a socket does, but not medial of the head and not above it."""
    joint = [(1, (57.0, 0.0, 8.0), 14.0), (2, LEFT_HEAD, 24.0), (2, (98.0, 0.0, -45.0), 22.0)]
    muscle = (1, (122.0, 28.0, -45.0), 18.0)
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), muscle, *joint)
    socket = array(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *joint)) == 1
    found = array(separate_sides(classes, FemoralHeads(None, LEFT_HEAD), confidence_of(classes)).labels)
    assert np.array_equal(found == 2, socket)


@pytest.mark.parametrize("x_of_head", [-85.0, 85.0])
def test_vessels_in_front_of_the_head_are_no_hip_bone_and_a_pubis_apart_from_the_socket_is(x_of_head):
    """Neither lies at the socket, and the network is sure of both."""
    outwards = np.sign(x_of_head)
    joint = hips((x_of_head,))
    pubis, spine = (1, (38.0 * outwards, -48.0, -8.0), 12.0), (1, (x_of_head, -45.0, 40.0), 12.0)
    vessels = [(1, (x_of_head - 14 * outwards, -64.0, z), 8.0) for z in (-16.0, -8.0, 0.0, 8.0)]
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *joint, pubis, spine, *vessels)
    bone = array(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *joint, pubis, spine)) == 1
    head = (x_of_head, 0.0, 0.0)
    heads = FemoralHeads(head, None) if outwards < 0 else FemoralHeads(None, head)
    found = array(separate_sides(classes, heads, confidence_of(classes)).labels)
    assert np.array_equal(np.isin(found, (1, 2)), bone)


@pytest.mark.parametrize("x_of_head", [-85.0, 85.0])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_muscle_beside_the_shaft_is_no_femur_and_what_goes_on_below_a_gap_in_it_is(grid, x_of_head):
    """The network is sure of both, and the muscle lies as near to the shaft as the gap is wide."""
    joint = [*hips((x_of_head,)), *((2, (x_of_head * 1.1, 0.0, z), 16.0) for z in (-60.0, -75.0))]
    below = (2, (x_of_head * 1.1, 0.0, -118.0), 16.0)
    muscle = [(2, (x_of_head * 0.85, 45.0, z), 12.0) for z in (-52.0, -60.0, -68.0)]
    classes = painted(empty_image(*GRIDS[grid]), *joint, below, *muscle)
    femur = array(painted(empty_image(*GRIDS[grid]), *joint, below)) == 2
    head = (x_of_head, 0.0, 0.0)
    heads = FemoralHeads(head, None) if x_of_head < 0 else FemoralHeads(None, head)
    found = array(separate_sides(classes, heads, confidence_of(classes)).labels)
    assert np.array_equal(np.isin(found, (3, 4)), femur)


def test_unsure_voxels_between_two_sure_sides_go_to_the_nearer_one():
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), (1, (-20.0, 0.0, 40.0), 22.0), (1, (20.0, 0.0, 40.0), 22.0))
    confidence = confidence_of(classes, (0.6, (0.0, 0.0, 40.0), 5.0))
    found = sitk.GetArrayFromImage(separate_sides(classes, HEADS, confidence).labels)
    x = points_of(classes)[..., 0]
    is_bone = sitk.GetArrayFromImage(classes) == 1
    assert (found[is_bone & (x < 0)] == 1).all()
    assert (found[is_bone & (x > 0)] == 2).all()


def test_where_the_network_is_sure_of_nothing_its_bones_are_kept_as_they_are():
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), (1, (-60.0, 0.0, 40.0), 25.0), (2, RIGHT_HEAD, 20.0))
    unsure = confidence_of(classes, (0.5, (0.0, 0.0, 0.0), 400.0))
    as_label_map = sitk.GetArrayFromImage(separate_sides(classes, HEADS).labels)
    assert np.array_equal(sitk.GetArrayFromImage(separate_sides(classes, HEADS, unsure).labels), as_label_map)
