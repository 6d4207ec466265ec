"""The numbers of a score: hand-computed values, geometry, and what is left out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCTrainingLib.evaluation.metrics import femoral_head_centres, largest_components, score_mask, within_balls

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
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


def hip_labels(spacing, direction, centres, head_radius=23.0) -> sitk.Image:
    """Hips of simple shapes: ball, neck, trochanter and shaft; a socket over the upper inner half; a pubis apart."""
    size = [math.ceil(extent / s) for extent, s in zip((300, 160, 190), spacing, strict=True)]
    empty = image(np.zeros(size[::-1]), spacing, direction)
    middle = empty.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size])
    empty.SetOrigin([-c for c in middle])
    index = np.indices(size[::-1])[::-1].reshape(3, -1).T
    points = index @ (np.reshape(direction, (3, 3)) * spacing).T + empty.GetOrigin()
    labels = np.zeros(len(points))
    for centre in np.asarray(centres):
        outward = np.array([np.sign(centre[0]), 0, 0])
        up = np.array([0.0, 0, 1])
        offset = points - centre
        radius = np.linalg.norm(offset, axis=1)
        above = offset @ (0.7 * up - 0.7 * outward)
        labels[(radius > head_radius + 3.5) & (radius < head_radius + 12) & (above > -2)] = HIP_BONE
        for start, end, thickness in (
            (0 * up, 45 * outward - 30 * up, 13.0),  # neck
            (50 * outward - 15 * up, 45 * outward - 90 * up, 15.0),  # trochanter and shaft
        ):
            along = np.clip((offset - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
            labels[np.linalg.norm(offset - start - along[:, None] * (end - start), axis=1) < thickness] = FEMUR
        labels[radius < head_radius] = FEMUR
        # Strays of the femur's label in the floor of the socket, as thresholds leave them there.
        labels[np.linalg.norm(offset + 33 * (0.9 * outward - 0.4 * up), axis=1) < 9] = FEMUR
    result = image(labels.reshape(size[::-1]), spacing, direction)
    result.SetOrigin(empty.GetOrigin())
    return result


BOTH_SIDES = [(-86.0, 3.0, 12.0), (83.0, -4.0, 18.0)]


@pytest.mark.parametrize(
    ("spacing", "direction", "centres", "tolerance_mm"),
    [
        ((2.0, 2.0, 2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1), BOTH_SIDES, 1.0),
        ((1.5, 5.2, 1.5), (1, 0, 0, 0, 1, 0, 0, 0, 1), BOTH_SIDES, 2.5),  # thick coronal slices
        ((2.0, 2.0, 3.0), OBLIQUE_FLIPPED, [(-60.0, 5.0, 10.0), (58.0, 2.0, 14.0)], 1.5),
        ((2.0, 2.0, 2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1), [(-30.0, 0.0, 10.0)], 1.0),  # one hip in view
    ],
)
def test_femoral_heads_are_found_in_labels(spacing, direction, centres, tolerance_mm):
    found = femoral_head_centres(hip_labels(spacing, direction, centres))
    assert len(found) == len(centres)
    for head, centre in zip(found, centres, strict=True):  # both from the patient's right to the left
        assert math.dist(head, centre) < tolerance_mm


def test_no_femoral_head_without_a_joint():
    labels = sitk.GetArrayFromImage(hip_labels((3.0, 3.0, 3.0), (1, 0, 0, 0, 1, 0, 0, 0, 1), [(-30.0, 0.0, 10.0)]))
    assert femoral_head_centres(image(labels * (labels == FEMUR), (3, 3, 3))) == []
    assert femoral_head_centres(image(labels * (labels == HIP_BONE), (3, 3, 3))) == []


def test_femoral_heads_of_a_simulated_ct_have_their_midpoint_at_the_world_origin():
    file = SHARED_DATA / "ct_sim" / "ctsim05_label.nii.gz"
    if not file.exists():
        pytest.skip("shared/data with the simulated CTs is not here")
    right, left = femoral_head_centres(sitk.ReadImage(str(file)))
    assert math.dist(np.mean([right, left], axis=0), (0, 0, 0)) < 2.0
    assert right[0] < -60 and left[0] > 60


def test_femoral_heads_of_a_thick_slice_mri_label_lie_where_a_reader_sees_them():
    file = SHARED_DATA / "mri_val" / "cptac_C3N-01003_t1cor_label.nii.gz"
    if not file.exists():
        pytest.skip("shared/data with the labelled MRIs is not here")
    right, left = femoral_head_centres(sitk.ReadImage(str(file)))
    assert math.dist(right, (-102, -7, -1)) < 5.0  # read off coronal overlays
    assert math.dist(left, (76, -4, 6)) < 5.0
