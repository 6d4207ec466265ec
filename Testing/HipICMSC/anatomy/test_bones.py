"""The bones a user gets: sides are the patient's, strays are gone, nothing of a bone is lost, doubts are said."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from painted_bones import (
    AXIAL,
    CORONAL,
    GRIDS,
    HEADS,
    LEFT_HEAD,
    RIGHT_HEAD,
    array,
    empty_image,
    hips,
    painted,
    points_of,
    rotation,
)


def kinds(result) -> list[str]:
    return [notice.kind for notice in result.notices]


@pytest.mark.parametrize("grid", GRIDS)
def test_sides_are_the_patients_whatever_the_orientation(grid):
    classes = painted(empty_image(*GRIDS[grid]), *hips())
    result = separate_sides(classes, HEADS)
    is_right = points_of(classes)[..., 0] < 0
    expected = np.select(
        [array(classes) == 1, array(classes) == 2], [np.where(is_right, 1, 2), np.where(is_right, 3, 4)]
    )
    assert np.array_equal(array(result.labels), expected)
    for geometry in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(result.labels, geometry)() == getattr(classes, geometry)()
    assert result.notices == ()


def test_the_raw_result_is_left_alone():
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), (1, (0.0, 80.0, -100.0), 6.0))
    before = array(classes)
    result = separate_sides(classes, HEADS)
    assert np.array_equal(array(classes), before)
    assert (array(result.labels) > 0).sum() < (before > 0).sum()


def test_hip_bones_that_touch_at_the_symphysis_are_parted_in_the_tilted_midplane():
    # The patient lies turned by 20 degrees: the plane x = 0 would cut off a piece of each pubis.
    turn = rotation(20)[:, :3]
    right, left = (tuple(turn @ np.array(p)) for p in (RIGHT_HEAD, LEFT_HEAD))
    rami = [(1, tuple(turn @ np.array((x, -60.0, -10.0))), 14.0) for x in range(-70, 71, 10)]
    bones = [(v, tuple(turn @ np.array(c)), r) for v, c, r in hips()]
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *rami, *bones)
    labels = array(separate_sides(classes, FemoralHeads(right, left)).labels)
    across = points_of(classes) @ turn[:, 0]
    assert (across[labels == 1] <= 0).all() and (across[labels == 2] >= 0).all()
    assert ((labels > 0) == (array(classes) > 0)).all()


def test_a_bone_that_leans_over_the_midline_stays_whole():
    lean = (1, (0.0, -60.0, -10.0), 10.0)  # only the right pubis reaches the midline, and 10 mm beyond
    bridge = [(1, (float(x), -60.0 + 0.3 * (x + 85), -10.0), 14.0) for x in range(-80, 0, 10)]
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), lean, *bridge, *hips())
    labels = array(separate_sides(classes, HEADS).labels)
    beyond = (array(classes) == 1) & (points_of(classes)[..., 0] > 1) & (points_of(classes)[..., 1] < -45)
    assert beyond.sum() > 30
    assert (labels[beyond] == 1).all()


def test_strays_go_and_detached_parts_of_a_bone_stay():
    pubis = (1, (-40.0, -60.0, -20.0), 10.0)  # 4 ml, apart from the socket, as when the ramus is faint
    speck = (1, (-85.0, -45.0, -20.0), 4.0)  # 0.3 ml beside the bone
    far_away = (1, (-60.0, 120.0, -120.0), 14.0)  # 11 ml, where no hip bone can be
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), pubis, speck, far_away)
    result = array(separate_sides(classes, HEADS).labels)

    def value_at(point):
        return int(result[classes.TransformPhysicalPointToIndex(point)[::-1]])

    assert array(classes)[classes.TransformPhysicalPointToIndex(speck[1])[::-1]] == 1
    assert (value_at(pubis[1]), value_at(speck[1]), value_at(far_away[1])) == (1, 0, 0)


def test_a_stray_at_the_thigh_is_no_femur_but_what_the_image_cuts_off_is():
    # 5 ml of fat in the thigh, 25 mm beside the shaft; and some at the border of the image, beyond which bones meet.
    stray, at_border = (2, (-130.0, 55.0, -60.0), 10.6), (2, (-150.0, 0.0, -40.0), 14.0)
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), stray, at_border)
    result = array(separate_sides(classes, HEADS).labels)

    def value_at(point):
        return int(result[classes.TransformPhysicalPointToIndex(point)[::-1]])

    assert array(classes)[classes.TransformPhysicalPointToIndex(stray[1])[::-1]] == 2
    assert (value_at(stray[1]), value_at((-146.0, 0.0, -40.0))) == (0, 3)


@pytest.mark.parametrize(("head", "values"), [(RIGHT_HEAD, {0, 1, 3}), (LEFT_HEAD, {0, 2, 4})])
def test_a_narrow_image_without_a_known_head_shows_the_side_on_which_its_femur_lies(head, values):
    # The image reaches from beside the femur to the pubis of the same side; its middle lies within the bones.
    image = empty_image(AXIAL, (3.0, 3.0, 3.0), extent_mm=150)
    image.SetOrigin(np.array(image.GetOrigin()) + np.array([head[0] * 0.75, 0, 0]))
    femur, medial = (2, (head[0] * 1.1, 0.0, -40.0), 22.0), (1, (head[0] * 0.4, -20.0, -30.0), 24.0)
    result = separate_sides(painted(image, femur, medial), FemoralHeads(None, None))
    assert set(np.unique(array(result.labels))) == values


def test_a_tilt_does_not_make_an_image_of_one_hip_wide_enough_for_two():
    """240 mm wide; the box about its corners, turned by 15 degrees, is 294 mm wide."""
    angle = np.radians(15)
    turned = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    image = empty_image(turned @ CORONAL, (3.0, 3.0, 4.0), extent_mm=240)
    # Its middle lies within the femur, as in an image about one hip.
    image.SetOrigin(np.array(image.GetOrigin()) + np.array([LEFT_HEAD[0] * 1.1, 0, -20.0]))
    result = separate_sides(painted(image, *hips((LEFT_HEAD[0],))), FemoralHeads(None, None))
    assert set(np.unique(array(result.labels))) == {0, 2, 4}


@pytest.mark.parametrize("side", [-1, 1])
def test_below_the_head_the_ischium_is_of_the_femurs_side_and_the_other_pubis_is_not(side):
    # Femur from 25 mm below the head's centre on, ischium and rami, and the pubis beyond the middle.
    image = empty_image(AXIAL, (3.0, 3.0, 3.0), extent_mm=200)
    image.SetOrigin(np.array(image.GetOrigin()) + np.array([side * 60.0, 0, 0]))
    shaft = [(2, (side * (130.0 - 0.2 * down), 0.0, -float(down)), 16.0) for down in range(30, 90, 8)]
    ischium, ramus = (1, (side * 58.0, 25.0, -45.0), 16.0), (1, (side * 22.0, -15.0, -50.0), 9.0)
    other_pubis = (1, (-side * 16.0, -30.0, -40.0), 9.0)
    result = separate_sides(painted(image, *shaft, ischium, ramus, other_pubis), FemoralHeads(None, None))
    labels = array(result.labels)

    def value_at(point):
        return int(labels[image.TransformPhysicalPointToIndex(point)[::-1]])

    own, other = ((1, 3), 2) if side < 0 else ((2, 4), 1)
    assert (value_at(ischium[1]), value_at(ramus[1]), value_at(shaft[3][1])) == (own[0], own[0], own[1])
    assert value_at(other_pubis[1]) == other


def test_a_larger_mistake_far_from_the_head_does_not_take_the_place_of_the_bone():
    mistake = (2, (-60.0, 110.0, 110.0), 36.0)  # twice the femur's volume, 150 mm from the head
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), mistake)
    labels = array(separate_sides(classes, HEADS).labels)
    assert labels[classes.TransformPhysicalPointToIndex(RIGHT_HEAD)[::-1]] == 3
    assert labels[classes.TransformPhysicalPointToIndex(mistake[1])[::-1]] == 0


def test_a_thin_oblique_bone_in_thick_slices_stays_whole():
    # A 2.4 mm plate at 45 degrees to 5.2 mm slices: its pieces in neighbouring slices share no voxel edge or corner.
    image = empty_image(CORONAL, (0.9, 0.9, 5.2), extent_mm=240)
    points = points_of(image)
    across = (points[..., 0] + 85 - points[..., 1]) / np.sqrt(2)
    plate = (np.abs(across) < 1.2) & (np.abs(points[..., 2] - 30) < 6) & (np.abs(points[..., 1]) < 50)
    classes = sitk.GetImageFromArray(plate.astype(np.uint8))
    classes.CopyInformation(image)
    components = sitk.ConnectedComponent(classes, True)
    volumes = [(array(components) == i).sum() * 0.9 * 0.9 * 5.2 / 1000 for i in range(1, array(components).max() + 1)]
    assert len(volumes) > 10 and max(volumes) < 1  # so the volume rule alone would remove it
    assert np.array_equal(array(separate_sides(classes, HEADS).labels) == 1, plate)


def test_cavities_are_filled_and_openings_are_not():
    cavity, foramen = (0, (-85.0, 0.0, 45.0), 6.0), (-85.0, -60.0, -20.0)
    ring = [(1, (-85.0 + 30 * np.cos(a), -60.0, -20.0 + 30 * np.sin(a)), 8.0) for a in np.linspace(0, 6.28, 30)]
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), cavity, *ring)
    labels = array(separate_sides(classes, HEADS).labels)
    assert labels[classes.TransformPhysicalPointToIndex(cavity[1])[::-1]] == 1
    assert labels[classes.TransformPhysicalPointToIndex(foramen)[::-1]] == 0


def test_filling_takes_no_voxel_of_the_other_bone():
    # A femur head that the socket encloses all around is no cavity.
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), (2, (-85.0, 0.0, 30.0), 12.0))
    labels = array(separate_sides(classes, HEADS).labels)
    assert (labels[array(classes) == 2] != 1).all()


def test_a_small_hole_in_one_thick_slice_is_filled_a_wide_one_is_not():
    image = empty_image(CORONAL, (1.0, 1.0, 5.2))
    classes = painted(image, *hips())
    raw = array(classes)
    x, y, z = classes.TransformPhysicalPointToIndex((-85.0, 0.0, 45.0))
    raw[z : z + 60, y - 3 : y + 3, x - 3 : x + 3] = 0  # 36 mm2, a tunnel through all slices to the front
    x2, y2, z2 = classes.TransformPhysicalPointToIndex((85.0, 0.0, 40.0))
    raw[z2 : z2 + 60, y2 - 7 : y2 + 7, x2 - 7 : x2 + 7] = 0  # 196 mm2
    holed = sitk.GetImageFromArray(raw)
    holed.CopyInformation(image)
    labels = array(separate_sides(holed, HEADS).labels)
    assert labels[z, y, x] == 1
    assert labels[z2, y2, x2] == 0


def test_nothing_found():
    result = separate_sides(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), (2, (0.0, 0.0, 0.0), 4.0)), HEADS)
    assert kinds(result) == ["nothing_found"]
    assert not array(result.labels).any()
    assert kinds(separate_sides(empty_image(AXIAL, (3.0, 3.0, 3.0)), HEADS)) == ["nothing_found"]


def test_one_hip_with_the_other_sides_pubis_in_view():
    # The other pubis belongs to the left although only the right head is known.
    pubis = (1, (25.0, -60.0, -20.0), 12.0)
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips((-85.0,)), pubis)
    result = separate_sides(classes, FemoralHeads(RIGHT_HEAD, None))
    assert kinds(result) == ["one_hip"]
    assert "right hip" in result.notices[0].sentence
    assert result.volumes_ml[2] == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.1)
    assert result.volumes_ml[4] == 0


def test_a_left_hip_alone_is_left():
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips((85.0,)))
    result = separate_sides(classes, FemoralHeads(None, LEFT_HEAD))
    assert set(np.unique(array(result.labels))) == {0, 2, 4}
    assert kinds(result) == ["one_hip"]


@pytest.mark.parametrize("beside", [0.0, -25.0], ids=["above it", "on its outer side"])
def test_hip_bone_that_does_not_lie_towards_the_middle_tells_no_side(beside):
    """Of an image that cuts the joint, muscle may be taken for the ilium."""
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), (1, (-85.0 + beside, 0.0, 30.0), 30.0), *hips((-85.0,))[1:])
    assert "sides_uncertain" in kinds(separate_sides(classes, FemoralHeads(RIGHT_HEAD, None)))


def test_unknown_heads_are_said():
    classes = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips())
    result = separate_sides(classes, FemoralHeads(None, None))
    assert kinds(result) == ["sides_uncertain"]
    assert set(np.unique(array(result.labels))) == {0, 1, 2, 3, 4}


def test_a_missing_bone_is_named():
    balls = [ball for ball in hips() if not (ball[0] == 2 and ball[1][0] > 0)]
    result = separate_sides(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *balls), HEADS)
    assert kinds(result) == ["bone_missing"]
    assert "left proximal femur" in result.notices[0].sentence


def crop(image: sitk.Image, x: float, y: float, z: float) -> sitk.Image:
    """Keep what lies above the LPS corner (x, y, z)."""
    start = [max(0, i) for i in image.TransformPhysicalPointToIndex((x, y, z))]
    return image[start[0] :, start[1] :, start[2] :]


def test_a_joint_at_the_image_border_is_said_and_a_shaft_leaving_below_is_not():
    whole = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips())
    assert kinds(separate_sides(crop(whole, -149, -149, -50), HEADS)) == []
    result = separate_sides(crop(whole, -105, -149, -149), HEADS)
    assert kinds(result) == ["joint_cut"]
    assert "right hip joint" in result.notices[0].sentence


@pytest.mark.parametrize(
    ("turned", "place"), [((1, 1, 1), "at the top"), ((1, 1, -1), "at the top")], ids=["upwards", "downwards"]
)
def test_a_hip_bone_that_the_field_of_view_cuts_is_said_with_the_place(turned, place):
    """Above the joint, whichever way the slices are numbered; a shaft that leaves below is not said."""
    whole = painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *hips(), (1, (85.0, 0.0, 60.0), 28.0))
    top = whole.TransformPhysicalPointToIndex((0.0, 0.0, 70.0))[2]
    ends = sitk.Flip(whole[:, :, :top], [axis < 0 for axis in turned])
    result = separate_sides(ends, HEADS)
    assert kinds(result) == ["bone_cut"]
    assert result.notices[0].sentence.startswith(f"The left hip bone is cut by the border of the image {place};")


def test_implausible_volumes_are_said_with_their_numbers():
    balls = [*hips((85.0,)), (1, (-85.0, 0.0, 20.0), 20.0), (2, (-85.0, 0.0, 0.0), 14.0)]
    result = separate_sides(painted(empty_image(AXIAL, (3.0, 3.0, 3.0)), *balls), HEADS)
    assert kinds(result) == ["volume_implausible", "volume_implausible", "sides_differ", "sides_differ"]
    assert f"{result.volumes_ml[3]:.0f} ml" in result.notices[1].sentence


def test_a_tight_crop_about_a_joint_may_hold_less_bone():
    # 100 mm about one hip: the ball of 60 mm about its head is partly outside, so less than 60 ml is no surprise.
    small = [(1, (-73.0, 0.0, 20.0), 26.0), (2, (-85.0, 0.0, 0.0), 20.0)]
    image = empty_image(AXIAL, (3.0, 3.0, 3.0))
    classes = painted(image, *small)
    lower = image.TransformPhysicalPointToIndex((-117.0, -32.0, -32.0))
    tight = classes[lower[0] : lower[0] + 32, lower[1] : lower[1] + 32, lower[2] : lower[2] + 40]
    heads = FemoralHeads(RIGHT_HEAD, None)
    assert kinds(separate_sides(classes, heads)) == ["volume_implausible", "one_hip"]
    assert "volume_implausible" not in kinds(separate_sides(tight, heads))


def test_it_is_fast_on_a_noisy_full_size_result():
    rng = np.random.default_rng(0)
    raw = np.zeros((40, 384, 384), np.uint8)
    noise = sitk.GetArrayFromImage(
        sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(size=raw.shape)), 3.0)
    )
    raw[noise > 0.02] = 1
    raw[noise > 0.04] = 2
    classes = sitk.GetImageFromArray(raw)
    classes.SetSpacing((0.9, 0.9, 5.2))
    heads = FemoralHeads((90.0, 170.0, 100.0), (260.0, 170.0, 100.0))
    start = time.process_time()
    separate_sides(classes, heads)
    assert time.process_time() - start < 6  # a bound against blow-up; the benchmark measures


DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "mri_val"


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("cptac_C3N-01003", FemoralHeads((-104.0, -7.0, 0.0), (78.0, -5.0, 7.0))),
        ("cptac_C3N-02632", FemoralHeads((-117.0, -11.0, -81.0), (63.0, -8.0, -91.0))),
    ],
)
def test_a_readers_contours_on_real_mri_lose_nothing(name, heads):
    path = DATA / f"{name}_t1cor_label.nii.gz"
    if not path.exists():
        pytest.skip("the shared data are not here")
    truth = sitk.ReadImage(str(path))
    result = separate_sides(truth, heads)
    classes = np.array([0, 1, 1, 2, 2])[array(result.labels)]
    assert (classes[array(truth) > 0] == array(truth)[array(truth) > 0]).all()
    assert kinds(result) == []
    right, left = result.volumes_ml[1], result.volumes_ml[2]
    assert 0.9 < right / left < 1.1
