"""The box that just holds a mask, which clean-up, measures, scores and surfaces share."""

import numpy as np
import pytest
from HipICMSCLib.common.voxels import box_of


@pytest.mark.parametrize("corners", [[(0, 0, 0)], [(3, 4, 5)], [(1, 4, 2), (2, 0, 2)], [(0, 0, 5), (3, 4, 0)]])
def test_the_box_just_holds_the_mask(corners):
    mask = np.zeros((4, 5, 6), bool)
    mask[tuple(np.transpose(corners))] = True
    first, last = np.min(corners, axis=0), np.max(corners, axis=0)
    assert box_of(mask) == tuple(slice(f, e + 1) for f, e in zip(first, last, strict=True))


def test_an_empty_mask_has_no_box():
    assert box_of(np.zeros((2, 3), bool)) is None
