"""Vessels: in some slabs, dark-walled, never in air and never at the bones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.sampling import Section
from HipICMSCTrainingLib.simulation.vessels import with_vessels
from shares_by_seed import Shares, before_and_after

SIZE = 96
AIR_ROWS = 20


@pytest.fixture(scope="module")
def section() -> Section:
    """Two planes of fat below air, with hip bone along the left side."""
    hu = torch.full((2, SIZE, SIZE), -110.0)
    hu[:, :AIR_ROWS] = -1000.0
    hip = torch.arange(SIZE, dtype=torch.float32).expand(2, SIZE, SIZE) - 10
    hu[hip < 0] = 100.0
    return Section(hu, hip, torch.full_like(hu, 12.7))


@pytest.fixture(scope="module")
def slabs(section) -> list[tuple[Shares, Shares, torch.Tensor]]:
    """Shares before and after, and where they changed, by seed."""
    pairs = before_and_after(section, lambda shares, random: with_vessels(shares, section, 1.0, random))
    return [
        (before, after, sum((before[name] - after[name]).abs() for name in before) > 0.1) for before, after in pairs
    ]


def test_about_a_third_of_the_slabs_have_some(slabs):
    assert 0.15 < np.mean([bool(changed.any()) for _, _, changed in slabs]) < 0.45


def test_none_is_in_air_or_at_a_bone(section, slabs):
    assert not any(changed[:, :AIR_ROWS].any() or changed[section.hip < 5].any() for _, _, changed in slabs)


def test_a_vessel_has_a_dark_wall_about_one_material_or_nothing(slabs):
    for _, after, changed in slabs:
        wall = (after["cortex"] + after["fibrous"] > 0.99) & changed
        assert bool(wall.any()) == bool(changed.any())
        inside = torch.stack([share[changed & ~wall] for share in after.values()])
        assert bool(((inside == 0) | (inside == 1)).all())
        assert bool((inside.sum(0) <= 1).all())


def test_all_slices_show_the_same_vessels(slabs):
    assert all(torch.equal(changed[0], changed[1]) for _, _, changed in slabs)
