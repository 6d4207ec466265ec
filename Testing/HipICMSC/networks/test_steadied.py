"""Slices that were read one by one hear their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from HipICMSCLib.networks.steadied import steadied


def column(*probabilities: float) -> np.ndarray:
    """One pixel of each slice, of two classes that say the same."""
    return np.tile(np.array(probabilities, np.float32)[:, None, None], (2, 1, 1, 1))


def test_by_hand():
    found = steadied(column(0.0, 1.0, 0.5, 0.5))
    assert found[0, :, 0, 0] == pytest.approx([0.2, 0.7, 0.6, 0.5])
    assert np.array_equal(found[0], found[1])


def test_a_bone_that_one_slice_half_loses_is_found_again_and_a_stray_that_no_other_sees_is_less_sure():
    assert steadied(column(0.9, 0.9, 0.3, 0.9, 0.9))[0, 2, 0, 0] > 0.5
    assert steadied(column(0.1, 0.1, 0.7, 0.1, 0.1))[0, 2, 0, 0] < 0.5


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_what_is_alike_in_all_slices_stays_and_the_input_is_not_changed(slices):
    given = column(*[0.8] * slices)
    assert steadied(given) == pytest.approx(given)
    assert given == pytest.approx(column(*[0.8] * slices))
