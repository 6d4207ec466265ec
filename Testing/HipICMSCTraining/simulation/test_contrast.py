"""What materials send: signal equations by hand, and which tissue outshines which on each kind of image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from HipICMSCTrainingLib.settings.simulation import SimulationSettings
from HipICMSCTrainingLib.simulation.contrast import (
    _RELAXATION,
    Contrast,
    Relaxation,
    _varied,
    draw_contrast,
    gradient_echo,
    inversion_recovery,
    spin_echo,
)
from HipICMSCTrainingLib.simulation.tissues import MATERIALS

TISSUE = Relaxation(density=1.0, t1_ms=1000.0, t2_ms=50.0, fat_share=0.0)
SEEDS = range(60)


def brightness(contrast: Contrast, material: str) -> float:
    """Of a voxel full of it."""
    return abs(contrast.water_sign * contrast.water[material] + contrast.fat_sign * contrast.fat[material])


def drawn(name: str) -> list[Contrast]:
    return [draw_contrast({name: 1.0}, np.random.default_rng(seed)) for seed in SEEDS]


def test_spin_echo():
    # Recovered for ln 2 · T1, half is there; after T2 an e-th of that.
    assert spin_echo(1000 * math.log(2), 0)(TISSUE) == pytest.approx(0.5)
    assert spin_echo(1000 * math.log(2), 50)(TISSUE) == pytest.approx(0.5 / math.e)
    assert spin_echo(500, 20)(TISSUE) == pytest.approx(0.393469 * 0.670320, rel=1e-5)


def test_inversion_recovery_has_its_null_at_t1_times_the_logarithm_of_two():
    assert inversion_recovery(1e6, 0, 1000 * math.log(2))(TISSUE) == pytest.approx(0, abs=1e-12)
    # Before it the signal is negative, and what is seen is its size: |1 - 2/e| after T1 · 1, |1 - 2| at once.
    assert inversion_recovery(1e6, 0, 0)(TISSUE) == pytest.approx(1)
    assert inversion_recovery(1e6, 50, 1000)(TISSUE) == pytest.approx((1 - 2 / math.e) / math.e)
    fat = Relaxation(1.0, 320, 130, 0.95)
    assert inversion_recovery(4000, 30, 320 * math.log(2))(fat) < 1e-4


def test_gradient_echo_is_brightest_at_the_ernst_angle():
    repetition = 5.0
    ernst = math.degrees(math.acos(math.exp(-repetition / 1000)))
    at = {angle: gradient_echo(repetition, 0, angle)(TISSUE) for angle in (ernst - 1, ernst, ernst + 1)}
    assert max(at, key=at.get) == ernst
    # There it is sqrt((1 - E1) / (1 + E1)).
    e1 = math.exp(-0.005)
    assert at[ernst] == pytest.approx(math.sqrt((1 - e1) / (1 + e1)))
    # T2* is 25 ms.
    assert gradient_echo(5, 25, 10)(TISSUE) == pytest.approx(gradient_echo(5, 0, 10)(TISSUE) / math.e)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("t1", ("fat", "muscle", "cortex")),
        ("t1", ("yellow_marrow", "red_marrow", "cortex")),
        ("t2", ("fluid", "muscle", "fibrous")),
        ("t2", ("fat", "muscle", "cortex")),
        ("pd", ("fat", "fibrous", "cortex")),
        ("fat_suppressed", ("fluid", "cortex")),
    ],
)
def test_tissues_are_as_bright_as_a_radiologist_knows_them(name, order):
    means = [np.mean([brightness(contrast, material) for contrast in drawn(name)]) for material in order]
    assert means == sorted(means, reverse=True)
    if order[-1] == "cortex":  # always
        for contrast in drawn(name):
            assert brightness(contrast, "cortex") < 0.5 * brightness(contrast, order[0])


def test_fat_suppression_removes_fat():
    # Spectral suppression takes the fat's part of the signal, STIR nulls what relaxes as fat does.
    for contrast in drawn("fat_suppressed"):
        if contrast.fat_sign < 1:
            assert brightness(contrast, "fat") < 0.4 * (contrast.water["fat"] + contrast.fat["fat"])
        else:
            assert brightness(contrast, "fat") < 0.5 * brightness(contrast, "fluid")
    shares = [contrast.fat_sign < 1 for contrast in drawn("fat_suppressed")]
    assert 0.5 < np.mean(shares) < 0.95


def test_a_gradient_echo_darkens_marrow_between_trabeculae_and_not_fat():
    late, early = ({name: [] for name in ("fat", "yellow_marrow")} for _ in range(2))
    for contrast_seed in SEEDS:
        for echo_ms, kept in ((5.0, late), (0.0, early)):
            for name, values in kept.items():
                tissue = _varied(_RELAXATION[name], np.random.default_rng(contrast_seed))
                values.append(gradient_echo(5, echo_ms, 12)(tissue))
    lost = {name: 1 - np.mean(np.array(late[name]) / early[name]) for name in late}
    # After 5 ms at R2* of 65 1/s a quarter is lost, at 3 T about half; of fat hardly anything.
    assert 0.25 < lost["yellow_marrow"] < 0.6
    assert lost["fat"] < 0.15


def test_dixon_shows_in_phase_opposed_water_and_fat_images():
    signs = {(contrast.fat_sign, contrast.water_sign) for contrast in drawn("gradient_echo")}
    assert signs == {(1.0, 1.0), (-1.0, 1.0), (0.05, 1.0), (1.0, 0.05)}
    for contrast in drawn("gradient_echo"):
        if contrast.water_sign < 1:
            assert brightness(contrast, "fat") > 5 * brightness(contrast, "muscle")
        if contrast.fat_sign == -1:
            # Red marrow is about half fat, so that it all but vanishes.
            assert brightness(contrast, "red_marrow") < 0.35 * (
                contrast.water["red_marrow"] + contrast.fat["red_marrow"]
            )


def test_every_contrast_has_a_signal_of_every_material_and_comes_as_often_as_its_share():
    shares = SimulationSettings().shares("contrast")
    names = []
    for seed in range(1000):
        contrast = draw_contrast(shares, np.random.default_rng(seed))
        names.append(contrast.name)
        assert contrast.water.keys() == contrast.fat.keys() == set(MATERIALS)
        values = [*contrast.water.values(), *contrast.fat.values()]
        assert np.isfinite(values).all()
        assert min(values) >= 0
    assert {name: names.count(name) / 1000 for name in shares} == pytest.approx(shares, abs=0.05)


def test_random_contrasts_leave_cortex_dark_and_the_two_marrows_alike():
    for contrast in drawn("random"):
        assert contrast.water["cortex"] <= 0.3
    apart = [abs(c.water["yellow_marrow"] - c.water["red_marrow"]) for c in drawn("random")]
    assert np.mean(apart) < 0.3
