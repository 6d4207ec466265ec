"""Augmentation moves image and label together and never invents intensities outside of the volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.preprocessing.intensity import PADDING
from HipICMSCTrainingLib.data.augmentation import augment
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from torch import Tensor

NOTHING = AugmentationSettings(flip=False, scaling=0, rotation_deg=0, shift=0, contrast=0)
ROWS, COLUMNS = 48, 80  # wider than high, as the paper's slices


def blobs(*centres: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """One slice with a bright disc of 5 pixels radius about each (row, column), and class k on the k-th disc."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    image, mask = np.full((ROWS, COLUMNS), -1.0), np.zeros((ROWS, COLUMNS))
    for number, (r, c) in enumerate(centres, start=1):
        inside = np.hypot(row - r, column - c) <= 5
        image[inside], mask[inside] = 0.2 * number, number
    return torch.tensor(image).float()[None, None], torch.tensor(mask).to(torch.uint8)[None, None]


def centroid(weights: Tensor) -> np.ndarray:
    row, column = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    return np.array([float((weights * axis).sum() / weights.sum()) for axis in (row, column)])


def test_with_everything_off_nothing_changes():
    random = np.random.default_rng(0)
    image = torch.rand(3, 1, ROWS, COLUMNS) * 2 - 1
    masks = torch.randint(0, 3, (3, 2, ROWS, COLUMNS), dtype=torch.uint8)
    moved, moved_masks = augment(image, masks, NOTHING, random)
    torch.testing.assert_close(moved, image, rtol=0, atol=2e-5)
    assert torch.equal(moved_masks, masks)
    assert moved_masks.dtype == torch.uint8


@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_move_together(seed):
    image, mask = blobs((20, 30))
    settings = AugmentationSettings(scaling=0.2, rotation_deg=20, shift=0.1, contrast=0)
    moved, moved_mask = augment(image, mask, settings, np.random.default_rng(seed))
    where = centroid((moved_mask[0, 0] == 1).float())
    assert np.linalg.norm(where - centroid(moved[0, 0] - PADDING)) < 0.5
    assert np.linalg.norm(where - (20, 30)) > 1  # it has moved at all


def test_a_flip_mirrors_left_and_right_exactly_and_about_half_of_the_slices():
    image, mask = blobs((20, 30))
    settings = replace(NOTHING, flip=True)
    moved, moved_mask = augment(image.repeat(64, 1, 1, 1), mask.repeat(64, 1, 1, 1), settings, np.random.default_rng(1))
    flipped = 0
    for one_image, one_mask in zip(moved, moved_mask, strict=True):
        turned = bool((one_mask != mask[0]).any())
        flipped += turned
        torch.testing.assert_close(one_image, image[0].flip(-1) if turned else image[0], rtol=0, atol=2e-5)
        assert torch.equal(one_mask, mask[0].flip(-1) if turned else mask[0])
    assert 16 < flipped < 48


def moved_right_angle(settings: AugmentationSettings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of a step of 20 pixels to the right and of one down, as (rows, columns)."""
    corner, right, down = (
        centroid(augment(*blobs(centre), settings, np.random.default_rng(seed))[0][0, 0] - PADDING)
        for centre in ((16, 30), (16, 50), (36, 30))
    )
    return right - corner, down - corner


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_rotation_keeps_lengths_and_angles_in_a_slice_that_is_wider_than_high(seed):
    right, down = moved_right_angle(replace(NOTHING, rotation_deg=25), seed)
    assert np.linalg.norm(right) == pytest.approx(20, abs=0.1)
    assert np.linalg.norm(down) == pytest.approx(20, abs=0.1)
    assert right @ down == pytest.approx(0, abs=2)
    assert abs(right[0]) > 1  # it has turned at all


@pytest.mark.parametrize("seed", range(4))
def test_scaling_is_the_same_in_both_directions(seed):
    right, down = moved_right_angle(replace(NOTHING, scaling=0.25), seed)
    assert right[1] == pytest.approx(down[0], abs=0.1)
    assert 20 * np.exp(-0.25) < right[1] < 20 * np.exp(0.25)
    assert abs(right[1] - 20) > 0.2  # it has grown or shrunk at all


def test_padding_stays_padding_and_comes_in_from_outside():
    random = np.random.default_rng(2)
    nothing = torch.full((8, 1, ROWS, COLUMNS), PADDING)
    moved, _ = augment(nothing, torch.zeros(8, 1, ROWS, COLUMNS), AugmentationSettings(), random)
    assert bool((moved == PADDING).all())

    bright, covered = torch.ones(8, 1, ROWS, COLUMNS), torch.ones(8, 1, ROWS, COLUMNS, dtype=torch.uint8)
    moved, moved_covered = augment(bright, covered, replace(NOTHING, shift=0.2), random)
    assert bool((moved[moved_covered == 0].mean() < 0).item())
    far_outside = torch.nn.functional.max_pool2d(moved_covered.float(), 3, 1, 1) == 0
    assert far_outside.any()
    assert bool((moved[far_outside] == PADDING).all())


def test_contrast_keeps_the_ends_the_order_and_the_range():
    ramp = torch.linspace(-1, 1, COLUMNS).expand(16, 1, ROWS, COLUMNS).contiguous()
    moved, _ = augment(ramp, torch.zeros_like(ramp), replace(NOTHING, contrast=0.3), np.random.default_rng(3))
    assert moved.min() >= -1
    assert moved.max() <= 1
    torch.testing.assert_close(moved[..., 0], ramp[..., 0], rtol=0, atol=1e-3)
    torch.testing.assert_close(moved[..., -1], ramp[..., -1], rtol=0, atol=1e-3)
    assert bool((moved.diff(dim=-1) > 0).all())
    middles = moved[:, 0, 0, COLUMNS // 2]
    assert middles.min() < -0.05 < 0.05 < middles.max()  # darker and brighter, each slice by itself


def test_the_same_random_numbers_give_the_same_slices():
    image, mask = blobs((20, 30))
    first, second, other = (augment(image, mask, AugmentationSettings(), np.random.default_rng(s)) for s in (7, 7, 8))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
