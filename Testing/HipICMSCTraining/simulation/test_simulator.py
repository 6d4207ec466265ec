"""A simulated slab as a whole: a function of its seed, labels where the bones are, a mirror that mirrors."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation import simulator
from HipICMSCTrainingLib.simulation.pose import AXES, Pose, points_of
from HipICMSCTrainingLib.simulation.simulator import labels_of, section_of, simulated, straight_section

SETTINGS = SimulationSettings(patch=64)
SHAPE = SlabShape(slices=3, patch=64, pixel_mm=2.5)
STIFF = replace(SETTINGS, warp_mm=0.0, femur_deg=(0.0, 0.0, 0.0))
EVEN = torch.ones(1)


def slab(anatomy, seed: int, settings: SimulationSettings = SETTINGS) -> simulator.Slab:
    return simulated(anatomy, settings, SHAPE, np.random.default_rng(seed))


def through_the_head(anatomy, plane: str, mirrored: bool = False) -> Pose:
    centre = anatomy.femora[0].head.copy()
    if mirrored:
        centre[2] = anatomy.shape[2] - 1 - centre[2]
    return Pose(plane, AXES[plane], centre, 4.0, 1.0, mirrored)


def labels_in(anatomy, pose: Pose) -> torch.Tensor:
    return labels_of(straight_section(anatomy, pose, SHAPE), EVEN, SHAPE.slices)


def test_the_same_seed_gives_the_same_slab_and_another_one_another(anatomy):
    first, again, other = slab(anatomy, 1), slab(anatomy, 1), slab(anatomy, 2)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.image, other.image)


def test_a_slab_is_what_the_network_reads(anatomy):
    for seed in range(12):
        made = slab(anatomy, seed)
        assert (made.image.shape, made.image.dtype) == ((3, 64, 64), torch.float32)
        assert (made.labels.shape, made.labels.dtype) == ((64, 64), torch.uint8)
        assert torch.isfinite(made.image).all()
        assert made.image.min() >= -1
        assert made.image.max() <= 1
        assert set(made.labels.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("plane", AXES)
def test_where_nothing_is_warped_labels_are_those_of_the_ct(anatomy, plane):
    pose = through_the_head(anatomy, plane)
    points = points_of(pose, anatomy, SHAPE, SHAPE.patch)[1].numpy()
    index = tuple(np.clip(np.rint(points[..., axis]).astype(int), 0, anatomy.shape[axis] - 1) for axis in range(3))
    inside = np.all([(points[..., a] >= 0) & (points[..., a] <= anatomy.shape[a] - 1) for a in range(3)], axis=0)
    known = np.where(anatomy.femur[index] < 0, 2, np.where(anatomy.hip[index] < 0, 1, 0)) * inside
    found = labels_in(anatomy, pose).numpy()
    assert {1, 2} <= set(np.unique(found))
    # They may differ where the surface passes within half a voxel's diagonal.
    near = np.minimum(np.abs(anatomy.femur[index]), np.abs(anatomy.hip[index])) <= 8
    assert (found == known)[~near].all()
    assert near.mean() < 0.2


def test_a_stiff_patient_is_cut_as_the_ct_itself(anatomy):
    pose = through_the_head(anatomy, "coronal")
    straight = straight_section(anatomy, pose, SHAPE)
    drawn = section_of(anatomy, pose, STIFF, SHAPE, np.random.default_rng(0))
    for name in ("hip", "femur"):
        assert torch.allclose(getattr(straight, name), getattr(drawn, name), atol=0.01)


@pytest.mark.parametrize("plane", ["coronal", "axial"])
def test_a_mirrored_pose_shows_the_patient_in_a_mirror(anatomy, plane):
    plain, mirrored = (labels_in(anatomy, through_the_head(anatomy, plane, m)) for m in (False, True))
    assert (plain == 2).sum() > 50
    assert not torch.equal(plain, plain.flip(-1))
    assert (mirrored.flip(-1) != plain).float().mean() < 0.002


def test_in_a_mirror_sagittal_slices_follow_one_another_the_other_way(anatomy):
    shape = replace(SHAPE, slices=1)
    found = {}
    for mirrored in (False, True):
        pose = through_the_head(anatomy, "sagittal", mirrored)
        beside = replace(pose, centre=pose.centre + np.array([0, 0, 9.0]))
        found[mirrored] = [labels_of(straight_section(anatomy, p, shape), EVEN, 1) for p in (pose, beside)]
    assert torch.equal(found[False][0], found[True][0])
    assert not torch.equal(found[False][1], found[True][1])


def test_a_thick_slice_is_the_bone_that_fills_half_of_it(anatomy):
    # Across the top of the head, where the femur ends within the slice.
    head = anatomy.femora[0].head
    fine = replace(SHAPE, pixel_mm=1.0)

    def of_femur(height: float, thickness_mm: float) -> torch.Tensor:
        pose = Pose("axial", AXES["axial"], head + np.array([height, 0, 0]), 12.0, thickness_mm, False)
        section = straight_section(anatomy, pose, fine)
        section = replace(section, hip=torch.full_like(section.hip, 12.7))
        return labels_of(section, torch.full((pose.sub_slices,), 1 / pose.sub_slices), 3) == 2

    for height in (14.0, 18.0, 26.0):
        found = of_femur(height, 12.0)
        # Of eight parallel planes 1.5 mm apart four must lie in the ball, so the fourth decides.
        assert torch.equal(found, of_femur(height - 0.75, 1.0))
        assert bool(found.any()) == (height < 24)


def test_the_end_of_a_volume_repeats_its_outermost_slice_before_or_after(anatomy):
    before = after = 0
    settings = replace(SETTINGS, slice_mm=(6.0, 7.0), thin_fraction=0.0)
    for seed in range(150):
        image = simulated(anatomy, settings, SlabShape(3, 32, 5.0), np.random.default_rng(seed)).image
        before += torch.equal(image[0], image[1])
        after += torch.equal(image[2], image[1])
    assert 1 <= before <= 15
    assert 1 <= after <= 15


def test_at_the_end_of_a_volume_one_or_two_of_five_slices_are_not_there(anatomy):
    seen = set()
    settings = replace(SETTINGS, slice_mm=(6.0, 7.0), thin_fraction=0.0)
    for seed in range(150):
        image = simulated(anatomy, settings, SlabShape(5, 32, 5.0), np.random.default_rng(seed)).image
        alike = tuple(torch.equal(one, other) for one, other in itertools.pairwise(image))
        if image.amax() > -1:
            seen.add(alike)
    two, one, none = (True, True, False, False), (True, False, False, False), (False,) * 4
    # Never the middle slice itself, which is what is segmented.
    assert seen == {two, one, none, two[::-1], one[::-1]}


def test_field_of_view_ends_and_metal_have_no_labels(anatomy):
    """Black without any noise is beyond the field of view, and there no bone is asked for."""
    for seed in range(30):
        made = slab(anatomy, seed)
        black = (made.image == -1).all(0)
        if black.float().mean() > 0.05:
            assert (made.labels[black] > 0).float().mean() < 0.02
