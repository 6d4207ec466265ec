"""The femoral heads are found wherever the patient lies in the image, and never where there are none."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads, head_at
from HipICMSCLib.common.errors import HipError

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
RIGHT, LEFT = np.array([-86.0, 4.0, -12.0]), np.array([89.0, -3.0, -8.0])
RADIUS = 23.0


@functools.cache
def scene(
    heads: bool = True,
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0),
    low: tuple[int, int, int] = (-200, -130, -120),
    high: tuple[int, int, int] = (200, 130, 110),
    origin_shift: float = 0.0,
) -> sitk.Image:
    """A body like a T1 image: two bright heads with necks and shafts in sockets, a bladder, sacrum, fat, noise, LPS."""
    size = [int((b - a) / s) for a, b, s in zip(low, high, spacing, strict=True)]
    axes = [a + s * np.arange(n) for a, s, n in zip(low, spacing, size, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    point = np.stack([x, y, z], axis=-1)

    def ellipsoid(centre, radii):
        return (((point - centre) / radii) ** 2).sum(axis=-1) < 1

    def rod(start, end, radius):
        along = np.asarray(end, float) - start
        part = np.clip((point - start) @ along / (along @ along), 0, 1)
        return np.linalg.norm(point - start - part[..., None] * along, axis=-1) < radius

    values = np.where((x / 185) ** 2 + (y / 115) ** 2 < 1, 700.0, 0.0)  # fat
    values[(x / 165) ** 2 + (y / 95) ** 2 < 1] = 300  # muscle
    values[ellipsoid((5, -25, -20), (38, 30, 28))] = 120  # bladder
    values[ellipsoid((0, 65, 60), (45, 22, 50))] = 560  # sacrum
    for side, head in ((-1, RIGHT), (1, LEFT)) if heads else ():
        trochanter = head + np.array([side * 60, 5, -45])
        iliac_end = head + np.array([-side * 12, 10, 90])
        values[rod(head, iliac_end, 30) & (y < head[1] + 28)] = 560  # hip bone
        values[ellipsoid(head, (RADIUS + 4,) * 3)] = 40  # cartilage and cortex
        values[rod(head, trochanter, 15)] = 40
        values[rod(trochanter, trochanter - [0, 0, 150], 18)] = 40
        values[rod(head, trochanter, 12)] = 560
        values[rod(trochanter, trochanter - [0, 0, 150], 12)] = 560
        values[ellipsoid(head, (RADIUS,) * 3)] = 600
    values += np.random.default_rng(7).normal(0, 20, values.shape)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((low[0] + origin_shift, float(low[1]), float(low[2])))
    return image


def turned(image: sitk.Image, axis: tuple[float, float, float], degrees: float) -> tuple[sitk.Image, sitk.Transform]:
    """The patient turned about the world's origin without resampling, and the turn."""
    turn = sitk.VersorTransform(axis, float(np.deg2rad(degrees)))
    result = sitk.Image(image)
    result.SetOrigin(turn.TransformPoint(image.GetOrigin()))
    rotation = np.array(turn.GetMatrix()).reshape(3, 3)
    result.SetDirection((rotation @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    return result, turn


def assert_found(heads: FemoralHeads, right, left, within: float) -> None:
    for found, truth in ((heads.right, right), (heads.left, left)):
        if truth is None:
            assert found is None
        else:
            assert found is not None
            assert np.linalg.norm(np.subtract(found, truth)) < within


def assert_no_hip(image: sitk.Image) -> None:
    with pytest.raises(HipError) as raised:
        find_femoral_heads(image)
    assert raised.value.kind == "no_hip"
    assert raised.value.sentence.endswith(".")


def test_midpoint_is_between_two_heads_or_the_only_one():
    assert FemoralHeads((-90.0, 2.0, 0.0), (80.0, 0.0, 4.0)).midpoint().tolist() == [-5, 1, 2]
    assert FemoralHeads(None, (80.0, 0.0, 4.0)).midpoint().tolist() == [80, 0, 4]


def test_both_heads_of_a_pelvis():
    assert_found(find_femoral_heads(scene()), RIGHT, LEFT, within=3)


def test_thick_coronal_slices():
    assert_found(find_femoral_heads(scene(spacing=(1.5, 5.2, 1.5))), RIGHT, LEFT, within=4)


def test_dark_marrow_as_under_fat_suppression():
    inverted = sitk.ShiftScale(scene(), shift=-1000, scale=-1)
    assert_found(find_femoral_heads(inverted), RIGHT, LEFT, within=3)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "ASL"])
def test_the_neck_tells_the_side_of_a_head_that_the_user_points_at(orientation):
    image = sitk.DICOMOrient(scene(), orientation)
    for centre in (RIGHT, LEFT):
        point = tuple((centre + np.array([2.0, -2.0, 2.0])).tolist())
        heads = head_at(image, point)
        assert heads == (FemoralHeads(point, None) if centre is RIGHT else FemoralHeads(None, point))


@pytest.mark.parametrize("orientation", ["RAS", "ASL"])
def test_storage_orientation_does_not_matter(orientation):
    image = scene()
    heads, stored = find_femoral_heads(image), find_femoral_heads(sitk.DICOMOrient(image, orientation))
    assert_found(stored, heads.right, heads.left, within=1)


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_a_patient_who_lies_askew(axis):
    image, turn = turned(scene(), axis, 20)
    assert_found(find_femoral_heads(image), turn.TransformPoint(RIGHT), turn.TransformPoint(LEFT), within=4)


def test_one_hip_is_named_by_its_anatomy_not_by_its_coordinates():
    right_half = scene(low=(-190, -90, -110), high=(-20, 90, 90), origin_shift=250)
    assert_found(find_femoral_heads(right_half), np.add(RIGHT, (250, 0, 0)), None, within=4)
    left_half = scene(low=(20, -90, -110), high=(190, 90, 90), origin_shift=-250)
    assert_found(find_femoral_heads(left_half), None, np.add(LEFT, (-250, 0, 0)), within=4)


def test_a_pelvis_without_heads_has_no_hip_though_its_bladder_is_round():
    assert_no_hip(scene(heads=False))


def test_noise_has_no_hip():
    image = sitk.GetImageFromArray(np.random.default_rng(0).uniform(0, 1, (70, 60, 100)).astype(np.float32))
    image.SetSpacing((3.0, 3.0, 3.0))
    assert_no_hip(image)


def test_a_constant_image_has_no_hip():
    image = sitk.Image([60, 60, 60], sitk.sitkInt16) + 100
    image.SetSpacing((3.0, 3.0, 3.0))
    assert_no_hip(image)


def test_a_single_slice_has_no_hip():
    assert_no_hip(scene()[:, 43:44, :])


def real(name: str) -> sitk.Image:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real volume {name} is not beside the repository")
    return sitk.ReadImage(str(path))


# Truth: spheres fitted to the parts of the femur labels that face the hip bone (median residual 0.4 to 1.2 mm).
REAL_HEADS = [
    ("ct_real/ctc0003.nii.gz", (-94.3, -168.2, -453.2), (87.4, -160.2, -452.2)),
    ("ct_sim/ctsim05.nii.gz", (-85.7, -9.4, -4.9), (85.3, 10.5, 6.6)),
    ("mri_val/cptac_C3N-01003_t1cor.nii.gz", (-101.6, -7.4, -1.3), (76.4, -4.4, 6.8)),
]


@pytest.mark.parametrize(("name", "right", "left"), REAL_HEADS)
def test_heads_of_real_volumes(name, right, left):
    assert_found(find_femoral_heads(real(name)), right, left, within=5)


def test_real_mri_with_inverted_contrast():
    name, right, left = REAL_HEADS[2]
    inverted = sitk.ShiftScale(sitk.Cast(real(name), sitk.sitkFloat32), shift=-3000, scale=-1)
    assert_found(find_femoral_heads(inverted), right, left, within=5)


def test_a_real_abdomen_above_the_hips_has_no_hip():
    image = real("ct_real/ctc0003.nii.gz")
    assert_no_hip(image[:, :, 126:])  # from 45 mm above the heads, the iliac wings in view
