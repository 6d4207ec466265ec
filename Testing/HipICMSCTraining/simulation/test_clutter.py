"""What the CTs do not show comes now and then, far from the bones, and nothing is lost or counted twice."""

from __future__ import annotations

import numpy as np
import torch
from HipICMSCTrainingLib.simulation.clutter import with_clutter
from HipICMSCTrainingLib.simulation.sampling import Section

SEEDS = range(60)


def thigh() -> tuple[dict[str, torch.Tensor], Section]:
    """Fat on the left, muscle on the right, and a bone's surface in the middle row."""
    size = (2, 96, 128)
    distance = (torch.arange(96.0)[:, None] - 48).abs().clamp_max(12.7).expand(size)
    is_fat = (torch.arange(128) < 64).float().expand(size)
    return {"fat": is_fat, "muscle": 1 - is_fat, "fluid": torch.zeros(size)}, Section(
        torch.zeros(size), distance, torch.full(size, 12.7)
    )


def test_most_slabs_stay_as_they_are_and_no_one_is_changed_near_bone():
    shares, section = thigh()
    changed = 0
    for seed in SEEDS:
        found = with_clutter(shares, section, np.random.default_rng(seed))
        total = torch.stack(list(found.values())).sum(0)
        # What became air or a material that none of these shares is of is gone from all.
        assert ((total == 1) | (total == 0)).all()
        differs = torch.stack([(found[name] != share) for name, share in shares.items()]).any(0)
        assert not differs[section.hip <= 7].any()
        changed += bool(differs.any())
    assert len(SEEDS) / 5 < changed < len(SEEDS) * 3 / 5


def test_the_same_chance_gives_the_same_slab_and_the_shares_given_are_not_touched():
    shares, section = thigh()
    before = {name: share.clone() for name, share in shares.items()}
    for seed in SEEDS:
        first, second = (with_clutter(shares, section, np.random.default_rng(seed)) for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in shares)
    assert all(torch.equal(before[name], shares[name]) for name in shares)
