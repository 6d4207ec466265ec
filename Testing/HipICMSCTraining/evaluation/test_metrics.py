"""The numbers of a score: hand-computed values, geometry, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCTrainingLib.evaluation.metrics import largest_components, score_mask, within_balls

# 30° about the head-foot axis, left-right flipped.
OBLIQUE_FLIPPED = (-math.cos(0.52), -math.sin(0.52), 0, -math.sin(0.52), math.cos(0.52), 0, 0, 0, 1)


def image(voxels: np.ndarray, spacing=(1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), origin=(0, 0, 0)):
    result = sitk.GetImageFromArray(voxels.astype(np.uint8))
    result.SetSpacing(spacing)
    result.SetDirection(direction)
    result.SetOrigin(origin)
    return result


def block(x: slice, y: slice, z: slice, size=(24, 20, 16)) -> np.ndarray:
    """An array (z, y, x) with ones in the box."""
    voxels = np.zeros(size[::-1])
    voxels[z, y, x] = 1
    return voxels


def brute_force_asd(first: np.ndarray, second: np.ndarray, spacing) -> float:
    """MedPy's pooled assd from its definition: every border voxel against every other."""

    def border(mask):
        padded = np.pad(mask.astype(bool), 1)
        points = []
        for p in np.argwhere(padded):
            neighbours = [tuple(p + step * np.eye(3, dtype=int)[axis]) for axis in range(3) for step in (-1, 1)]
            if not all(padded[n] for n in neighbours):
                points.append((p - 1) * np.asarray(spacing)[::-1])
        return np.array(points)

    a, b = border(first), border(second)
    between = np.linalg.norm(a[:, None] - b[None], axis=2)
    return float(np.concatenate([between.min(axis=1), between.min(axis=0)]).mean())


def test_cube_shifted_by_one_anisotropic_voxel():
    # 2×2×2: every voxel is border; half of each cube lies on the other, the other half 1.25 mm beside it.
    truth = image(block(slice(4, 6), slice(4, 6), slice(4, 6)), (1.25, 1.0, 5.0))
    prediction = image(block(slice(5, 7), slice(4, 6), slice(4, 6)), (1.25, 1.0, 5.0))
    scores = score_mask(prediction, truth)
    assert scores.dice == pytest.approx(0.5)
    assert scores.asd_mm == pytest.approx(0.625)
    assert scores.hd95_mm == pytest.approx(1.25)
    assert scores.surface_dice_1mm == pytest.approx(0.5)
    assert scores.surface_dice_3mm == pytest.approx(1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_asd_of_a_one_voxel_shift_is_medpys_at_the_papers_spacing(axis):
    spacing = (1.25, 1.25, 1.0)
    truth = block(slice(3, 19), slice(3, 15), slice(3, 12))
    prediction = np.roll(truth, 1, axis=2 - axis)
    expected = brute_force_asd(prediction, truth, spacing)
    assert expected > 0
    assert score_mask(image(prediction, spacing), image(truth, spacing)).asd_mm == pytest.approx(expected)


def test_score_is_symmetric_and_direction_changes_nothing():
    rng = np.random.default_rng(1)
    truth = block(slice(3, 12), slice(5, 15), slice(2, 12))
    prediction = np.roll(truth, 2, axis=1) * (rng.random(truth.shape) < 0.9)
    spacing = (0.9, 1.3, 5.2)
    straight = score_mask(image(prediction, spacing), image(truth, spacing))
    assert score_mask(image(truth, spacing), image(prediction, spacing)) == straight
    turned = [image(voxels, spacing, OBLIQUE_FLIPPED, (-40, 7, 300)) for voxels in (prediction, truth)]
    assert score_mask(*turned) == straight


def test_asd_pools_both_surfaces_instead_of_averaging_two_means():
    # Truth: one voxel. Prediction: that voxel and one 4 mm away. Distances: 0 (truth), 0 and 4 (prediction).
    truth = image(block(slice(3, 4), slice(3, 4), slice(3, 4)), (2.0, 1.0, 1.0))
    both = block(slice(3, 4), slice(3, 4), slice(3, 4)) + block(slice(5, 6), slice(3, 4), slice(3, 4))
    assert score_mask(image(both, (2.0, 1.0, 1.0)), truth).asd_mm == pytest.approx(4 / 3)


def test_hd95_is_the_percentile_of_the_pooled_distances():
    # One stray of 20 border voxels, 10 mm off: pooled with the 19 zeros of the truth its percentile is 0; directed from
    # the prediction it would be 0.5.
    truth = block(slice(0, 19), slice(2, 3), slice(2, 3))
    prediction = truth + block(slice(0, 1), slice(12, 13), slice(2, 3))
    assert score_mask(image(prediction), image(truth)).hd95_mm == pytest.approx(0.0)


def test_voxels_at_the_image_edge_are_border():
    truth = np.ones((3, 3, 3))
    prediction = np.zeros((3, 3, 3))
    prediction[1, 1, 1] = 1
    to_centre = 6 * 1 + 12 * math.sqrt(2) + 8 * math.sqrt(3)
    assert score_mask(image(prediction), image(truth)).asd_mm == pytest.approx((1 + to_centre) / 27)


def test_surface_dice_counts_a_neighbour_at_exactly_the_tolerance():
    # 0.9999999 and 1.0000001: the same millimetre after a round through a file header.
    for spacing in (1.0 - 1e-7, 1.0 + 1e-7):
        truth = image(block(slice(4, 5), slice(4, 5), slice(4, 5)), (spacing,) * 3)
        prediction = image(block(slice(5, 6), slice(4, 5), slice(4, 5)), (spacing,) * 3)
        assert score_mask(prediction, truth).surface_dice_1mm == 1.0


def test_empty_prediction_scores_zero_and_has_no_distance():
    truth = image(block(slice(3, 9), slice(3, 9), slice(3, 9)))
    empty = image(np.zeros((16, 20, 24)))
    scores = score_mask(empty, truth)
    assert scores.dice == scores.surface_dice_1mm == scores.surface_dice_3mm == 0
    assert scores.asd_mm is None and scores.hd95_mm is None
    assert score_mask(empty, empty).dice is None


def test_what_does_not_count_changes_nothing():
    truth = block(slice(3, 9), slice(3, 9), slice(3, 9))
    stray = block(slice(14, 20), slice(3, 9), slice(3, 9))
    counted = image(1 - block(slice(13, 22), slice(0, 20), slice(0, 16)))
    assert score_mask(image(truth + stray), image(truth)).dice == pytest.approx(2 / 3)
    scores = score_mask(image(truth + stray), image(truth), counted)
    assert (scores.dice, scores.asd_mm, scores.hd95_mm, scores.surface_dice_1mm) == (1, 0, 0, 1)
    # Truth that does not count must not be missed either.
    scores = score_mask(image(truth), image(truth + stray), counted)
    assert (scores.dice, scores.asd_mm, scores.hd95_mm, scores.surface_dice_1mm) == (1, 0, 0, 1)
    # A prediction that lies wholly where nothing counts is an empty one.
    scores = score_mask(image(stray), image(truth), counted)
    assert scores.dice == 0 and scores.asd_mm is None


def test_the_edge_of_the_counted_region_is_no_surface():
    # Truth ends beyond the region, the prediction too but elsewhere: inside the region both surfaces agree.
    truth = block(slice(2, 16), slice(4, 14), slice(4, 12))
    prediction = block(slice(2, 22), slice(4, 14), slice(4, 12))
    region = image(block(slice(0, 10), slice(0, 20), slice(0, 16)))
    scores = score_mask(image(prediction), image(truth), region)
    assert (scores.dice, scores.asd_mm) == (1, 0)


def test_ball_holds_the_voxels_within_its_radius_on_an_oblique_anisotropic_grid():
    grid = image(np.zeros((12, 30, 40)), (0.9, 1.4, 5.2), OBLIQUE_FLIPPED, (20, -30, 100))
    centres = [grid.TransformContinuousIndexToPhysicalPoint(p) for p in ((10.3, 12.2, 4.4), (30.0, 20.0, 9.0))]
    inside = sitk.GetArrayFromImage(within_balls(grid, centres, 11.0))
    for index in [
        (10, 12, 4),
        (21, 12, 4),
        (10, 21, 4),
        (10, 12, 7),
        (30, 20, 11),
        (0, 0, 0),
        (18, 17, 5),
        (30, 12, 9),
    ]:
        point = grid.TransformIndexToPhysicalPoint(index)
        expected = min(math.dist(point, centre) for centre in centres) <= 11.0
        assert inside[index[::-1]] == expected
    volume_ml = 4 / 3 * math.pi * 1.1**3
    single = sitk.GetArrayFromImage(within_balls(grid, [grid.TransformIndexToPhysicalPoint((20, 15, 6))], 11.0)).sum()
    assert single * 0.9 * 1.4 * 5.2 / 1000 == pytest.approx(volume_ml, rel=0.05)


def test_largest_components_keep_both_sides_and_drop_strays():
    labels = np.zeros((16, 20, 40))
    labels[2:10, 2:10, 2:10] = HIP_BONE
    labels[2:8, 2:10, 28:34] = HIP_BONE
    labels[12:15, 2:10, 2:10] = FEMUR
    clean = labels.copy()
    labels[13, 15, 20] = HIP_BONE
    labels[1:3, 15:18, 30:32] = FEMUR  # a stray beside a single femur
    kept = largest_components(image(labels, (1, 1, 3), OBLIQUE_FLIPPED, (3, 4, 5)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), clean)
    assert kept.GetDirection() == pytest.approx(OBLIQUE_FLIPPED) and kept.GetOrigin() == (3, 4, 5)
