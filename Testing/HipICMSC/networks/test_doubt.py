"""Doubt is nothing where the network is sure and steady, and grows with what it is unsure of or takes back."""

from __future__ import annotations

import numpy as np
import pytest
from HipICMSCLib.networks.doubt import MIRRORED_SLICES, disagreement, slices_through_bone, unsure_of_bone


def bone(sureness: float = 1.0, elsewhere: float = 0.0) -> np.ndarray:
    """Two classes on 20 slices, of which ten have bone."""
    foreground = np.full((2, 20, 16, 16), elsewhere, np.float32)
    foreground[0, 5:15, 2:6, 2:6] = sureness
    foreground[1, 5:15, 10:14, 10:14] = sureness
    return foreground


def test_doubt_is_how_unsure_the_network_is_of_what_it_drew():
    assert unsure_of_bone(bone()) == pytest.approx(0)
    assert unsure_of_bone(bone(0.6, elsewhere=0.1)) == pytest.approx(0.4)
    assert unsure_of_bone(np.zeros((2, 3, 4, 4), np.float32)) == 0


def test_disagreement_is_what_two_readings_do_not_share():
    first, second = bone(), bone()
    assert disagreement(first, second) == pytest.approx(0)
    second[1, 10:] = 0  # half of one class of two: Dice 2/3
    assert disagreement(first, second) == pytest.approx((1 - 2 / 3) / 2)
    assert disagreement(first[:1], np.zeros_like(first[:1])) == 1
    assert disagreement(np.zeros_like(first), np.zeros_like(first)) == 0


def test_slices_are_spread_over_the_bone_and_there_alone():
    numbers = slices_through_bone(bone())
    assert len(numbers) == MIRRORED_SLICES and 5 <= numbers[0] <= 6 and 13 <= numbers[-1] <= 14
    assert slices_through_bone(bone()[:, 7:8]) == [0]
    assert slices_through_bone(np.zeros((2, 3, 4, 4), np.float32)) == []
