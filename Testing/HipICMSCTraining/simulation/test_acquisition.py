"""What a scanner does to an image: each step alone, on images whose outcome is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation import acquisition
from HipICMSCTrainingLib.simulation.contrast import Contrast

PLAIN = Contrast("t1", water={"w": 1.0, "f": 0.0}, fat={"w": 0.0, "f": 1.0}, fat_sign=1.0, water_sign=1.0)
SEEDS = range(40)


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def image_of(water: torch.Tensor, fat: torch.Tensor, seed: int, **changes) -> torch.Tensor:
    return acquisition.signal({"w": water, "f": fat}, replace(PLAIN, **changes), random(seed))


def disc(rows: int = 64, columns: int = 64, radius: float = 20.0) -> torch.Tensor:
    y, x = torch.arange(rows)[:, None] - rows / 2, torch.arange(columns) - columns / 2
    return (torch.hypot(y, x) < radius).float()[None]


def test_chemical_shift_moves_fat_and_nothing_else():
    point = torch.zeros(2, 21, 21)
    point[:, 10, 10] = 1.0
    seen = set()
    for seed in SEEDS:
        assert torch.equal(image_of(point, torch.zeros_like(point), seed), point)
        fat = image_of(torch.zeros_like(point), point, seed)[0]
        assert fat.sum() == pytest.approx(1, abs=1e-5)
        y, x = ((fat * torch.arange(21).reshape(shape)).sum().item() - 10 for shape in ((21, 1), (1, 21)))
        assert min(abs(y), abs(x)) < 1e-4  # along one axis
        assert max(abs(y), abs(x)) <= 1.6
        seen.add("y" if abs(y) > abs(x) else "x")
    assert seen == {"x", "y"}


def test_opposed_phase_subtracts_fat_from_water():
    # Fat is shifted, so that only within a wide region both are there.
    half = disc() * 0.5
    for seed in SEEDS:
        together, opposed = (image_of(half, half, seed, fat_sign=sign)[0, 32, 32] for sign in (1.0, -1.0))
        assert together == pytest.approx(1)
        assert opposed == pytest.approx(0, abs=1e-6)
    assert image_of(half, half * 0.5, 0, fat_sign=-1.0)[0, 32, 32] == pytest.approx(0.25)
    assert image_of(half * 0.5, half, 0, fat_sign=-1.0)[0, 32, 32] == pytest.approx(-0.25)


def test_opposed_phase_draws_a_black_line_between_muscle_and_fat_that_share_a_voxel():
    """Both fill their side; the border runs aslant through the thickness, so that no single plane has both."""
    planes = torch.zeros(4, 64, 64)
    for number, plane in enumerate(planes):
        plane[:, 30 + number :] = 1.0
    for seed in SEEDS:
        signals = image_of(1 - planes, planes, seed, fat_sign=-1.0)
        image = acquisition.through_k_space(signals.mean(0, keepdim=True), random(seed))[0, 16:48]
        sides, line = image[:, [10, 54]].mean(), image[:, 27:38].mean(0).min()
        assert sides > 0.7
        assert line < 0.5 * sides


def test_a_fat_image_has_no_water_and_suppression_leaves_it_alone():
    water, fat = disc(), disc() * 0
    assert image_of(water, fat, 0, water_sign=0.0).max() == 0
    for seed in SEEDS:
        assert torch.equal(image_of(water, fat, seed, name="fat_suppressed", fat_sign=0.0), water)


def test_fat_escapes_suppression_now_and_then_in_parts_of_the_image():
    escaped = [image_of(disc() * 0, disc(), seed, name="fat_suppressed", fat_sign=0.0) for seed in range(100)]
    brightest = np.array([float(image.max()) for image in escaped])
    assert 0.15 < (brightest > 0.01).mean() < 0.45
    assert brightest.max() <= 0.8 + 1e-5


def test_a_slice_profile_sums_to_one_and_is_symmetric():
    assert acquisition.slice_profile(1, random(0)).tolist() == [1.0]
    for sub_slices in (2, 3, 5):
        for seed in SEEDS:
            profile = acquisition.slice_profile(sub_slices, random(seed))
            assert profile.sum() == pytest.approx(1, abs=1e-6)
            assert torch.allclose(profile, profile.flip(0))
            assert profile[sub_slices // 2] == profile.max()


def test_a_bias_field_is_smooth_and_leaves_black_black():
    image = torch.ones(3, 64, 64)
    image[:, :, :10] = 0
    for seed in SEEDS:
        biased = acquisition.with_bias_field(image, random(seed))
        assert (biased[:, :, :10] == 0).all()
        inside = biased[:, :, 10:]
        assert (inside > 0).all()
        assert (inside.diff(dim=1).abs() / inside[:, 1:]).max() < 0.25
        # All slices see the same coils.
        assert torch.allclose(inside[0] / inside[0].mean(), inside[1] / inside[1].mean(), atol=1e-4)


def test_k_space_keeps_places_and_brightness_and_blurs():
    image = disc().repeat(3, 1, 1)
    for seed in SEEDS:
        seen = acquisition.through_k_space(image, random(seed))
        assert seen.shape == image.shape
        assert (seen >= 0).all()
        assert seen[:, 26:38, 26:38].mean() == pytest.approx(1, abs=0.05)
        y, x = ((seen[0] ** 2 * torch.arange(64).reshape(s)).sum() / (seen[0] ** 2).sum() for s in ((64, 1), (1, 64)))
        assert (y, x) == (pytest.approx(32, abs=0.8), pytest.approx(32, abs=0.8))


def test_noise_is_there_where_there_is_no_signal():
    image = disc(radius=8).repeat(3, 1, 1)
    levels = [float(acquisition.through_k_space(image, random(seed))[:, :12, :12].mean()) for seed in range(100)]
    # Rician: a mean of sqrt(π / 2) σ, σ from 0 to 12 % of the tissue.
    assert np.mean(levels) == pytest.approx(0.06 * np.sqrt(np.pi / 2), rel=0.3)
    assert max(levels) < 0.2


def test_air_about_a_small_patient_takes_no_noise_away():
    """What shimmers in air was once the median signal of a slab that is mostly air, whose noise was then a fiftieth."""
    small, large = (disc(radius=radius).repeat(3, 1, 1) for radius in (10, 28))
    for image in (small, large):
        shimmer = torch.from_numpy(random(1).uniform(0, 0.03, image.shape).astype(np.float32))
        image[image == 0] = shimmer[image == 0]
    for seed in SEEDS:
        of_small, of_large = (acquisition.through_k_space(each, random(seed))[:, :4].mean() for each in (small, large))
        assert float(of_small) == pytest.approx(float(of_large), rel=0.25, abs=0.02)


def test_bright_skin_does_not_bury_deep_tissue_in_noise():
    image = disc(radius=20).repeat(3, 1, 1)
    with_skin = image.clone()
    with_skin[:, 30:34, 10:14] = 8.0
    for seed in SEEDS:
        alone, beside = (acquisition.through_k_space(each, random(seed)) for each in (image, with_skin))
        # Away from the bright spot and its ringing, where there is nothing but noise.
        assert float(beside[:, :8, 50:].mean()) == pytest.approx(float(alone[:, :8, 50:].mean()), rel=0.2, abs=0.02)


def test_metal_is_a_void_without_labels():
    image, labels = torch.full((3, 96, 96), 0.5), torch.full((96, 96), 2, dtype=torch.uint8)
    struck = 0
    for seed in range(400):
        after, left = acquisition.with_metal(image, labels, random(seed))
        assert (image == 0.5).all()
        assert (labels == 2).all()
        void = after[0] == 0
        assert torch.equal(left == 0, void)
        struck += bool(void.any())
    assert 1 <= struck <= 20


def test_the_rim_of_metal_is_bright_in_opposed_phase_too():
    """Where there is more fat than water a signal is below 0 until the magnitude is taken."""
    fat, labels = torch.full((1, 96, 96), -0.5), torch.zeros(96, 96, dtype=torch.uint8)
    brightest = [float(acquisition.with_metal(fat, labels, random(seed))[0].abs().max()) for seed in range(400)]
    assert max(brightest) > 0.6 and min(brightest) == 0.5


def test_beyond_the_field_of_view_there_is_neither_image_nor_bone():
    image, labels = torch.full((3, 80, 80), 0.5), torch.ones(80, 80, dtype=torch.uint8)
    cut, shares = 0, []
    for seed in range(200):
        after, left = acquisition.within_field_of_view(image, labels, random(seed))
        assert torch.equal(after[0] == 0, left == 0)
        assert torch.equal(after[0], after[2])
        assert set(left.unique().tolist()) <= {0, 1}
        assert left[38:42, 38:42].all()  # the middle stays
        cut += bool((left == 0).any())
        shares.append(float((left == 0).float().mean()))
    assert 0.4 < cut / 200 < 0.6
    assert max(shares) > 0.25


def test_rescaled_images_fill_the_range_of_preprocessed_ones():
    image = torch.from_numpy(random(0).gamma(2.0, 30.0, (3, 64, 64)).astype(np.float32))
    image[:, :5] = 0
    ends = []
    for seed in SEEDS:
        scaled = acquisition.rescaled(image, random(seed))
        assert scaled.min() == -1  # what is black
        assert scaled.max() <= 1
        assert (scaled.flatten().argsort() == scaled.flatten().argsort()).all()
        ends.append((float(torch.quantile(scaled, 0.995)) + 1) / 2)
    # As the volume's brightest tissue may lie elsewhere: mostly 0.8 to 1, now and then far below.
    assert max(ends) <= 1 and 0.8 < np.median(ends) < 0.98
    assert torch.equal(acquisition.rescaled(torch.zeros(3, 8, 8), random(0)), -torch.ones(3, 8, 8))
