"""Translated CT beside the true MRI: what counts lies around the femur and in both images, however they are turned."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.benchmark.data import settings_of_preset
from real_data_scripts import real_data_script

SHAPE, SPACING = (40, 100, 90), (1.0, 1.2, 3.0)
SETTINGS = settings_of_preset("phantom-cpu", synthetic=False)
PATIENT = "sts_001"


@pytest.fixture(scope="module")
def script():
    with real_data_script("translation_error") as script:
        yield script


def image(voxels: np.ndarray, turned_deg: float = 10.0) -> sitk.Image:
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing(SPACING)
    made.SetOrigin((-20.0, 35.0, 110.0))
    turn = sitk.Euler3DTransform((0, 0, 0), 0.0, 0.0, np.deg2rad(turned_deg))
    made.SetDirection(turn.GetMatrix())
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A femur of 300 HU in muscle of 50; on the MRI of the same grid 100 in 600; the lowest slices are unknown."""
    folder = tmp_path_factory.mktemp("data") / "sts"
    folder.mkdir()
    z, y, x = np.indices(SHAPE)
    femur = np.hypot((x - 45) * SPACING[0], (y - 50) * SPACING[1]) < 15
    unknown = z < 5
    for part, voxels in {
        "ct": np.where(femur, 300, 50).astype(np.int16),
        "ctlabel": np.where(femur, 2, 0).astype(np.uint8),
        "t1": np.where(x < 30, 0, np.where(femur, 100, 600)).astype(np.int16),
        "ignore": unknown.astype(np.uint8),
    }.items():
        sitk.WriteImage(image(voxels), str(folder / f"{PATIENT}_{part}.nii.gz"))
    return folder.parent


@pytest.fixture(scope="module")
def pair(script, data):
    (found,) = script.pairs_of(data, SETTINGS)
    return found


def test_what_counts_is_the_femur_and_a_little_around_it_where_the_mri_is_known(script, pair):
    assert pair.patient == PATIENT
    columns_mm, _, rows_mm = SETTINGS.crop.spacing_mm
    # Of the cylinder's 25 mm of radius, 15 mm to one side are without signal.
    known_mm = np.array([(SHAPE[0] - 5) * SPACING[2], 25 + 15.0])
    largest = pair.around[int(pair.around.sum((1, 2)).argmax())]
    spans = [np.ptp(np.nonzero(largest.any(axis))[0]) + 1 for axis in (1, 0)]
    assert np.abs(np.array(spans) * (rows_mm, columns_mm) - known_mm).max() < 3 * columns_mm


def test_an_image_that_is_the_mri_but_for_its_scale_has_no_error(script, pair):
    assert script.error(0.3 - 0.2 * pair.mri, pair) == {"correlation": -1.0, "mean_absolute_error": 0.0}
    # Bone is bright on this CT and dark on this MRI; pixels of 4 mm blur its edge on either.
    assert script.error(pair.ct, pair)["correlation"] < -0.7


def test_the_error_of_what_is_not_alike_by_hand(script):
    mri, everywhere = np.array([[[-1.0, 1.0, -1.0, 1.0]]]), np.ones((1, 1, 4), dtype=bool)
    pair = script.PairOfSlices("by hand", mri, mri, everywhere)
    # The best line is flat at 0, 1 away from each voxel, of a range of 2.
    found = script.error(np.array([[[0.0, 0.0, 1.0, 1.0]]]), pair)
    assert found == {"correlation": 0.0, "mean_absolute_error": 50.0}


def test_the_crop_lies_about_the_upper_end_of_the_femur(script):
    z, _, x = np.indices(SHAPE)
    label = np.where((x > 40) & (x <= 50) & (z < 30), 2, np.where(x > 60, 1, 0)).astype(np.uint8)
    heads = script.upper_end(image(label, turned_deg=0.0))
    # Slices 9.. of 0 to 29 lie within 60 mm of the highest one.
    assert heads.midpoint() == pytest.approx((-20 + 45.5, 35 + 1.2 * 49.5, 110 + 3 * (9.5 + 29) / 2 + 0.75), abs=1.0)
