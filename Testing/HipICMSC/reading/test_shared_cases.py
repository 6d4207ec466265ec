"""Files from public reports of other tools, each of which was once read wrongly or refused: all become the same image.

They lie in ../shared/cases and are never committed; where they are not, the tests beside this one make their like.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_volume, read_with_notes

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not (CASES / "good.nii.gz").exists(), reason="../shared/cases is not here")
NIFTI = "15-nifti-headers-that-peers-read"
AS_GOOD = [
    "01-nii-twin/scan.nii.gz", "01-nii-twin/mixed.nii.gz", "02-enhanced-slope-per-frame/slopes.dcm",
    "07-nrrd-4d-one-volume/list1.nrrd", f"{NIFTI}/shear_0.06deg.nii.gz", f"{NIFTI}/negative_pixdim.nii.gz",
    f"{NIFTI}/slope0_inter.nii.gz", f"{NIFTI}/trailing_garbage.nii.gz", f"{NIFTI}/nifti2.nii.gz",
    f"{NIFTI}/Mixed.Nii.gz", f"{NIFTI}/packed.nii",
]  # fmt: skip


def as_lps(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Voxels along the patient's axes, and where the first lies."""
    turned = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(turned).astype(float), np.array(turned.GetOrigin())


@pytest.fixture(scope="module")
def good() -> sitk.Image:
    return read_volume(CASES / "good.nii.gz")


def assert_is_good(image: sitk.Image, good: sitk.Image, tolerance: float = 0.0) -> None:
    (voxels, origin), (expected, place) = as_lps(image), as_lps(good)
    assert voxels.shape == expected.shape
    assert np.abs(voxels - expected).max() <= tolerance
    assert np.abs(origin - place).max() < 0.25


@pytest.mark.parametrize("name", AS_GOOD)
def test_a_file_is_read_as_what_it_is(name, good, capfd):
    # slopes.dcm was rounded to its slopes, up to 4 units a step.
    image, notes = read_with_notes(CASES / name)
    assert_is_good(image, good, tolerance=2.0 if name.endswith(".dcm") else 0.0)
    assert notes == []
    assert capfd.readouterr() == ("", "")


def test_where_nothing_was_measured_is_0_and_said(good):
    image, (note,) = read_with_notes(CASES / NIFTI / "nan_border.nii.gz")
    voxels, expected = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(good)
    changed = voxels != expected
    assert (voxels[changed] == 0).all() and 0 < changed.mean() < 0.05
    assert "read as 0" in note


@pytest.fixture
def unpacked(tmp_path):
    def unpack(name: str) -> Path:
        (packed,) = CASES.glob(f"*/{name}.tar.gz")
        with tarfile.open(packed) as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path / name

    return unpack


@pytest.mark.parametrize("name", ["cd", "copies"])
def test_a_folder_of_one_series_is_read(unpacked, name, good):
    image, notes = read_with_notes(unpacked(name))
    assert_is_good(image, good)
    assert notes == []


@pytest.mark.parametrize("name", ["flat", "ge", "study"])
def test_a_localizer_beside_or_in_the_series_is_left_aside_with_a_note(unpacked, name, good):
    image, (note,) = read_with_notes(unpacked(name))
    assert_is_good(image, good)
    assert "36 images" in note and "left aside: " in note


def test_volumes_of_one_series_are_named_and_chosen(unpacked, good):
    folder = unpacked("dixon")
    with pytest.raises(HipError) as raised:
        read_volume(folder)
    assert raised.value.kind == "several_series"
    assert "WATER" in raised.value.sentence and "--series" in raised.value.sentence
    assert_is_good(read_volume(folder, "3/2"), good)
    assert not np.array_equal(as_lps(read_volume(folder, "water"))[0], as_lps(good)[0])
