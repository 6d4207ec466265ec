"""The rescaling to [-1, 1]: a fixed window for CT, the volume's own percentiles for MRI."""

from __future__ import annotations

import numpy as np
import pytest
from HipICMSCLib.preprocessing.intensity import PADDING, IntensitySettings, intensity_range, rescale

SETTINGS = IntensitySettings()


def test_the_ct_window_is_fixed():
    hounsfield = np.array([-1000.0, -200.0, 100.0, 400.0, 1000.0, 3000.0])
    assert rescale(hounsfield, "CT", SETTINGS) == pytest.approx([-1, -1, -0.5, 0, 1, 1])
    # Another volume's range changes nothing.
    assert rescale(hounsfield[2:4], "CT", SETTINGS) == pytest.approx([-0.5, 0])


def test_mri_is_scaled_by_its_percentiles_and_has_no_unit():
    voxels = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
    assert intensity_range(voxels, "MR", SETTINGS) == pytest.approx((5, 995))
    scaled = rescale(voxels, "MR", SETTINGS)
    assert scaled.dtype == np.float32
    assert scaled.flat[5] == pytest.approx(-1)
    assert scaled.flat[500] == pytest.approx(0, abs=1e-6)
    assert scaled.flat[995] == pytest.approx(1)
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert np.allclose(rescale(voxels * 37 + 500, "MR", SETTINGS), scaled, atol=1e-5)


def test_a_few_extreme_voxels_do_not_dim_the_rest():
    voxels = np.linspace(0, 100, 10_000).reshape(10, 20, 50)
    calm = rescale(voxels, "MR", SETTINGS)
    voxels[0, 0, :10] = 1e6
    assert np.abs(rescale(voxels, "MR", SETTINGS)[1:] - calm[1:]).max() < 0.01


def test_the_range_is_that_of_the_volume_never_of_a_slice():
    voxels = np.random.default_rng(0).uniform(0, 1000, (6, 30, 30))
    voxels[2] *= 0.1
    scaled = rescale(voxels, "MR", SETTINGS)
    assert scaled[2].max() < -0.7
    assert scaled[3].max() > 0.9


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_voxels_that_the_image_does_not_have_become_padding_and_do_not_count(modality):
    voxels = np.linspace(-500, 1500, 1000)
    padded = np.concatenate([voxels, np.full(5000, np.nan)])
    scaled = rescale(padded, modality, SETTINGS)
    assert (scaled[1000:] == PADDING).all()
    assert np.array_equal(scaled[:1000], rescale(voxels, modality, SETTINGS))


def test_an_almost_constant_volume_stays_finite():
    scaled = rescale(np.full((3, 3), 7.0), "MR", SETTINGS)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= 1


def test_settings_change_window_and_percentiles():
    settings = IntensitySettings(ct_window_hu=(0, 100), mr_percentiles=(0, 100))
    assert rescale(np.array([0.0, 50, 100]), "CT", settings) == pytest.approx([-1, 0, 1])
    assert rescale(np.array([10.0, 20, 30]), "MR", settings) == pytest.approx([-1, 0, 1])
