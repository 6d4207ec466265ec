"""Thin cortex: only in the two bones, never below what CT shows; compact bone stays black."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.cortex import with_thin_cortex
from HipICMSCTrainingLib.simulation.sampling import Section
from shares_by_seed import Shares, before_and_after

SIZE = 64
SHAFT_HU = 1700.0
ACETABULUM_HU = 400.0


@pytest.fixture(scope="module")
def section() -> Section:
    """Hip bone left and femur right, each with 3 mm of cortex: thin in the first, compact in the other."""
    across = torch.arange(SIZE, dtype=torch.float32).expand(2, SIZE, SIZE)
    hip, femur = across - 24, 40 - across
    hu = torch.full((2, SIZE, SIZE), 100.0)
    hu[(hip < 0) & (hip > -3)] = ACETABULUM_HU
    hu[(femur < 0) & (femur > -3)] = SHAFT_HU
    return Section(hu, hip, femur)


@pytest.fixture(scope="module")
def pairs(section) -> list[tuple[Shares, Shares]]:
    return before_and_after(section, lambda shares, random: with_thin_cortex(shares, section, random))


def test_nothing_changes_beside_the_bones(section, pairs):
    beside = torch.minimum(section.hip, section.femur) >= 0
    assert all(torch.equal(before[name][beside], after[name][beside]) for before, after in pairs for name in before)


def test_a_bone_stays_whole_and_marrow_takes_the_place_of_cortex(section, pairs):
    inside = torch.minimum(section.hip, section.femur) < 0
    for before, after in pairs:
        assert torch.allclose(sum(after.values())[inside], torch.tensor(1.0), atol=1e-5)
        assert bool((after["cortex"] <= before["cortex"] + 1e-6).all())
        assert all(bool((after[name] >= before[name] - 1e-6).all()) for name in ("red_marrow", "yellow_marrow"))


def test_what_ct_shows_in_part_is_less_dark_in_many_slabs_and_as_dark_in_others(section, pairs):
    partly = (section.hip < 0) & (section.hip > -3)
    kept = np.array([float(after["cortex"][partly].sum() / before["cortex"][partly].sum()) for before, after in pairs])
    assert np.mean(kept < 0.75) > 0.3
    assert np.mean(kept == 1) > 0.15


def test_no_less_is_cortex_than_ct_shows(section, pairs):
    partly = (section.hip < 0) & (section.hip > -3)
    shown = (ACETABULUM_HU - 100) / (1700 - 100)
    for before, after in pairs:
        assert bool((after["cortex"] >= before["cortex"].clamp_max(shown) - 1e-6)[partly].all())


def test_compact_bone_stays_black(section, pairs):
    compact = (section.femur < 0) & (section.femur > -3)
    assert all(torch.allclose(after["cortex"][compact], before["cortex"][compact]) for before, after in pairs)
