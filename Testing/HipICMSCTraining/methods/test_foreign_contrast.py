"""Another contrast: tissues change their order, anatomy stays, what sends nothing stays dark."""

from __future__ import annotations

import numpy as np
import torch
from HipICMSCTrainingLib.methods.foreign_contrast import in_foreign_contrast

AIR, CORTEX, MUSCLE, MARROW = 0.0, 0.05, 0.35, 0.9


def leg() -> torch.Tensor:
    """Stripes of four tissues, 16 columns each, in five slices."""
    stripe = torch.tensor([AIR, CORTEX, MUSCLE, MARROW]).repeat_interleave(16)
    return stripe.expand(5, 48, 64).clone()


def many(count: int = 60) -> torch.Tensor:
    return torch.stack([in_foreign_contrast(leg(), np.random.default_rng(seed)) for seed in range(count)])


def test_what_is_brighter_changes_and_what_is_dark_does_not():
    seen = many()
    assert seen.min() >= 0
    assert seen.max() <= 1
    middle = seen[:, 2, 24]
    assert not middle[:, :15].any()
    assert middle[:, 18:30].max() < 0.5
    muscle, marrow = middle[:, 40], middle[:, 56]
    # Both orders come, and both tissues are never as dark as air.
    assert (muscle > marrow + 0.1).sum() >= 5
    assert (marrow > muscle + 0.1).sum() >= 20
    assert min(muscle.min(), marrow.min()) > 0.1


def test_a_tissue_keeps_one_brightness_within_and_its_edges_where_they_were():
    seen = many()
    # Each of the four layers may look one pixel aside.
    for inner in (slice(36, 44), slice(52, 64)):
        assert seen[..., inner].diff(dim=-1).abs().max() < 1e-3
        assert seen[..., inner].diff(dim=-2).abs().max() < 1e-3


def test_slices_are_mapped_alike_and_the_same_chance_gives_the_same():
    seen = in_foreign_contrast(leg(), np.random.default_rng(4))
    assert torch.equal(seen[0], seen[4])
    assert torch.equal(seen, in_foreign_contrast(leg(), np.random.default_rng(4)))


def test_a_slab_of_air_stays_air():
    assert not in_foreign_contrast(torch.zeros(5, 32, 32), np.random.default_rng(0)).any()
