"""From a volume to slices: where they lie, what they cover, what stands where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.preprocessing.intensity import PADDING, IntensitySettings
from packages import BRIGHT, DARK, GREY, HEADS, blank, rotation, scene

CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def prepared(image, heads=HEADS, modality="MR"):
    return prepare(image, heads, modality, CropSettings(), IntensitySettings())


def test_slices_know_how_far_behind_the_heads_they_lie():
    image, _ = scene(blank(rotation(5) @ CORONAL, (2.0, 2.0, 5.2)))
    volume = prepared(image)
    assert np.diff(volume.position_mm) == pytest.approx(5.2)
    # The femoral heads are roundest, so brightest, in the slice that goes through their centres.
    brightness = (volume.slices > 0.9).sum(axis=(1, 2))
    assert abs(volume.position_mm[brightness.argmax()]) <= 5.2
    assert volume.position_mm[0] < 0 < volume.position_mm[-1]


def test_uncovered_voxels_are_padding_and_covered_ones_carry_the_image():
    image, _ = scene(blank(CORONAL, (2.0, 2.0, 5.0)))
    volume = prepared(image)
    assert volume.slices.dtype == np.float32
    assert volume.slices.shape == volume.covered.shape == (volume.grid.size[1], 240, 300)
    assert (volume.slices[~volume.covered] == PADDING).all()
    # The field of view is 300 × 210 mm of the crop's 375 × 240 mm, 30 mm higher than the heads.
    assert volume.covered.mean() == pytest.approx(300 / 375 * 195 / 240, abs=0.01)
    values, counts = np.unique(volume.slices[volume.covered].round(2), return_counts=True)
    assert values[counts.argmax()] == pytest.approx(2 * (GREY - DARK) / (BRIGHT - DARK) - 1, abs=0.01)


def test_a_single_head_is_the_centre_of_its_crop():
    image, _ = scene(blank(CORONAL, (2.0, 2.0, 5.0)))
    volume = prepared(image, FemoralHeads(None, HEADS.left))
    middle = volume.grid.origin[0] + (volume.grid.size[0] - 1) / 2 * volume.grid.spacing[0]
    assert middle == pytest.approx(85)


def test_ct_takes_its_own_window():
    image, _ = scene(blank(CORONAL, (2.0, 2.0, 5.0)))
    inside = prepared(image, modality="CT")
    values = np.unique(inside.slices[inside.covered].round(3))
    assert values.min() == pytest.approx((DARK + 200) / 600 - 1, abs=1e-3)
    assert values.max() == pytest.approx((BRIGHT + 200) / 600 - 1, abs=1e-3)
