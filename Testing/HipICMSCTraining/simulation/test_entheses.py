"""Where muscles arise: bone and muscle alike on both sides of the surface, in places, now and then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.entheses import with_entheses
from HipICMSCTrainingLib.simulation.sampling import Section
from shares_by_seed import Shares, before_and_after

SIZE = 64


@pytest.fixture(scope="module")
def section() -> Section:
    """Two planes of muscle with a hip bone 40 mm wide in the left, a line of HU 1200 at its surface."""
    across = torch.arange(SIZE, dtype=torch.float32).expand(2, SIZE, SIZE)
    hip = across - 40
    hu = torch.where(hip < 0, 150.0, 55.0)
    hu[(hip < 0) & (hip >= -2)] = 1200
    return Section(hu, hip, torch.full_like(hip, 40.0))


@pytest.fixture(scope="module")
def pairs(section) -> list[tuple[Shares, Shares]]:
    return before_and_after(section, lambda shares, random: with_entheses(shares, section, random))


def _changed(before: Shares, after: Shares) -> torch.Tensor:
    return sum((after[name] - before[name]).abs() for name in before)


def test_of_about_four_in_ten_slabs_a_surface_is_changed(pairs):
    assert 0.28 < np.mean([float(_changed(*pair).max()) > 0.05 for pair in pairs]) < 0.52


def test_nothing_is_lost_or_won(pairs):
    for before, after in pairs:
        assert min(float(share.min()) for share in after.values()) >= -1e-5
        assert torch.allclose(sum(after.values()), sum(before.values()), atol=1e-4)


def test_what_is_far_from_a_surface_stays(section, pairs):
    far = (section.hip > 8) | (section.hip < -24)
    for before, after in pairs:
        assert all(torch.equal(before[name][far], after[name][far]) for name in before)


def test_in_places_the_line_is_gone_and_both_sides_are_of_the_same_tissue(section, pairs):
    """Where a voxel inside and its neighbour outside differed by nearly all they consist of, they hardly do."""
    differences = []
    for before, after in pairs:
        if float(_changed(before, after).max()) > 0.05:
            inside, outside = (section.hip == -1)[0, 0].nonzero()[0, 0], (section.hip == 0)[0, 0].nonzero()[0, 0]
            across = [sum((of[n][..., inside] - of[n][..., outside]).abs() for n in of) / 2 for of in (before, after)]
            differences.append([float(across[0].min()), float(across[1].min()), float(across[1].max())])
    before, least, most = np.median(differences, axis=0)
    assert before > 0.8
    assert least < 0.2
    assert most > 0.6, "elsewhere the surface is seen as before"
