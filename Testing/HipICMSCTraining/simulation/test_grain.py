"""The grain of CT is gone from fat and from muscle in many slabs; edges between the two stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.grain import without_grain
from HipICMSCTrainingLib.simulation.sampling import Section
from shares_by_seed import Shares, before_and_after

SIZE = 64
NOISE_HU = 20.0


@pytest.fixture(scope="module")
def section() -> Section:
    """Fat on the left and muscle on the right, as a noisy CT shows them, far from any bone."""
    hu = torch.full((2, SIZE, SIZE), 55.0)
    hu[..., : SIZE // 2] = -105.0
    hu += NOISE_HU * torch.randn(hu.shape, generator=torch.Generator().manual_seed(0))
    far = torch.full_like(hu, 12.7)
    return Section(hu, far, far.clone())


@pytest.fixture(scope="module")
def pairs(section) -> list[tuple[Shares, Shares]]:
    return before_and_after(section, without_grain)


def test_in_more_than_half_of_the_slabs_fat_is_more_even(pairs):
    evener = [
        float(after["fat"][..., :30].std()) < 0.9 * float(before["fat"][..., :30].std()) for before, after in pairs
    ]
    assert 0.45 < np.mean(evener) < 0.75


def test_fat_and_muscle_share_what_they_shared(pairs):
    for before, after in pairs:
        both, kept = (shares["fat"] + shares["muscle"] for shares in (before, after))
        assert torch.allclose(both, kept, atol=1e-6)
        assert min(float(after[name].min()) for name in ("fat", "muscle")) >= 0


def test_other_materials_stay_as_they_are(pairs):
    others = [name for name in pairs[0][0] if name not in ("fat", "muscle")]
    assert all(torch.equal(before[name], after[name]) for before, after in pairs for name in others)


def test_what_is_mostly_fat_stays_so(pairs):
    for before, after in pairs:
        assert torch.equal(before["fat"] > before["muscle"], after["fat"] > after["muscle"])
