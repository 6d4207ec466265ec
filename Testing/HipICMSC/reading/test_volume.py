"""What is read and what is refused: each bad input has its kind and one sentence that names the file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import dicom_series
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import volume_files, volume_stem
from HipICMSCLib.preprocessing.geometry import same_geometry
from HipICMSCLib.preprocessing.image_check import check_volume, looks_like_ct, looks_like_label_map
from HipICMSCLib.reading.volume import read_volume
from packages import rotation

VOXELS = np.random.default_rng(0).integers(0, 1000, (30, 40, 50)).astype(np.int16)


def volume(voxels: np.ndarray = VOXELS, spacing=(2.0, 2.0, 2.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels, isVector=False)
    image.SetSpacing(spacing)
    image.SetOrigin((-50.0, 20.0, 33.0))
    return image


def written(path: Path, image: sitk.Image) -> Path:
    sitk.WriteImage(image, str(path))
    return path


def edited(path: Path, image: sitk.Image, offset: int, form: str, *values: float) -> Path:
    """A NIfTI file with other numbers at a place of its header."""
    data = bytearray(written(path, image).read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


def replaced_text(path: Path, image: sitk.Image, old: bytes, new: bytes) -> Path:
    data = written(path, image).read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def cut(path: Path, image: sitk.Image) -> Path:
    data = written(path, image).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def with_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def spoiled(value: float) -> sitk.Image:
    voxels = VOXELS.astype(np.float32)
    voxels[3, 4, 5] = value
    return volume(voxels)


def complex_volume() -> sitk.Image:
    real = sitk.Cast(volume(), sitk.sitkFloat32)
    return sitk.RealAndImaginaryToComplex(real, real)


COLOURS = np.zeros((30, 40, 50, 3), np.uint8)
BAD_FILES = {
    "missing": ("missing_file", lambda f: f / "a.nrrd"),
    "text": ("unreadable", lambda f: with_bytes(f / "a.nii.gz", b"hello")),
    "empty file": ("unreadable", lambda f: with_bytes(f / "a.nrrd", b"")),
    "other kind": ("unreadable", lambda f: with_bytes(f / "a.txt", b"hello")),
    "cut nii.gz": ("unreadable", lambda f: cut(f / "a.nii.gz", volume())),
    "cut nii": ("unreadable", lambda f: cut(f / "a.nii", volume())),
    "cut nrrd": ("unreadable", lambda f: cut(f / "a.nrrd", volume())),
    "cut mha": ("unreadable", lambda f: cut(f / "a.mha", volume())),
    "folder without DICOM": ("unreadable", lambda f: f),
    "picture": ("unreadable", lambda f: written(f / "a.png", sitk.GetImageFromArray(VOXELS[0].astype(np.uint8)))),
    "2-D": ("not_3d", lambda f: written(f / "a.nii", sitk.GetImageFromArray(VOXELS[0]))),
    "one slice": ("not_3d", lambda f: written(f / "a.nii.gz", volume(VOXELS[:1]))),
    "4-D": ("not_3d", lambda f: written(f / "a.nii.gz", sitk.GetImageFromArray(np.stack([VOXELS] * 3), False))),
    "RGB": ("not_scalar", lambda f: written(f / "a.nrrd", sitk.GetImageFromArray(COLOURS, isVector=True))),
    "vectors": (
        "not_scalar", lambda f: written(f / "a.nii.gz", sitk.GetImageFromArray(COLOURS.astype(np.float32), True))
    ),
    "complex": ("not_scalar", lambda f: written(f / "a.nii", complex_volume())),
    "zeros": ("constant", lambda f: written(f / "a.nii.gz", volume(VOXELS * 0))),
    "constant": ("constant", lambda f: written(f / "a.mha", volume(VOXELS * 0 + 7))),
    "NaN": ("not_finite", lambda f: written(f / "a.nii.gz", spoiled(np.nan))),
    "infinite": ("not_finite", lambda f: written(f / "a.nrrd", spoiled(-np.inf))),
    "2 m spacing": ("bad_geometry", lambda f: written(f / "a.nrrd", volume(spacing=(2000, 2, 2)))),
    "1 µm spacing": ("bad_geometry", lambda f: written(f / "a.nii", volume(spacing=(2, 2, 0.001)))),
    "zero spacing nii": ("bad_geometry", lambda f: edited(f / "a.nii", volume(), 80, "<f", 0.0)),
    "zero spacing mha": (
        "bad_geometry",
        lambda f: replaced_text(f / "a.mha", volume(), b"ElementSpacing = 2 2 2", b"ElementSpacing = 2 0 2"),
    ),
    "zero spacing nrrd": (
        "bad_geometry", lambda f: replaced_text(f / "a.nrrd", volume(), b"(0,2,0)", b"(0,0,0)")
    ),
    "sheared nrrd": ("bad_geometry", lambda f: replaced_text(f / "a.nrrd", volume(), b"(0,2,0)", b"(1,2,0)")),
    "sheared nii": (
        "bad_geometry",
        lambda f: edited(f / "a.nii", volume(), 252, "<2h6f12f", 0, 1, *[0.0] * 6, 2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0),
    ),
    "tiny": ("too_small", lambda f: written(f / "a.nrrd", volume(spacing=(2, 0.5, 2)))),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, name, capfd):
    kind, make = BAD_FILES[name]
    path = make(tmp_path)
    with pytest.raises(HipError) as raised:
        read_volume(path)
    assert raised.value.kind == kind
    assert str(path) in raised.value.sentence
    assert raised.value.sentence.endswith(".")
    assert "\n" not in raised.value.sentence
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_good_volume_is_read_as_it_is(tmp_path, ending):
    image = volume(spacing=(0.9, 1.1, 5.2))
    image.SetDirection(rotation(30).ravel().tolist())
    read = read_volume(written(tmp_path / f"a{ending}", image))
    assert same_geometry(read, image)
    assert (sitk.GetArrayFromImage(read) == VOXELS).all()


def test_scaled_and_big_endian_nifti_is_not_taken_for_cut_off(tmp_path):
    path = edited(tmp_path / "a.nii", volume(), 112, "<2f", 0.5, 3.0)  # stored as 16 bits, read as 64
    assert sitk.GetArrayFromImage(read_volume(path))[3, 4, 5] == VOXELS[3, 4, 5] * 0.5 + 3


def test_geometry_that_is_no_number_is_refused():
    image = volume()
    image.SetOrigin((np.nan, 0, 0))
    with pytest.raises(HipError) as raised:
        check_volume(image, "The image")
    assert raised.value.kind == "bad_geometry"


@pytest.mark.parametrize("pixel", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32, sitk.sitkFloat64])
def test_every_scalar_pixel_type_is_welcome(pixel):
    check_volume(sitk.Cast(volume(VOXELS // 5), pixel), "The image")


SLICES = np.random.default_rng(1).integers(0, 1000, (14, 60, 64)).astype(np.int16)


def test_a_dicom_series_is_read_with_its_geometry(tmp_path):
    dicom_series(tmp_path / "series", SLICES)
    image = read_volume(tmp_path / "series")
    assert (sitk.GetArrayFromImage(image) == SLICES).all()
    assert image.GetSpacing() == pytest.approx((0.9, 0.9, 5.2))
    assert image.GetOrigin() == pytest.approx((-70.5, -40, 88.25))
    assert image.TransformIndexToPhysicalPoint((1, 2, 3)) == pytest.approx((-69.6, -24.4, 86.45))


def test_a_folder_of_two_series_is_refused(tmp_path):
    dicom_series(tmp_path / "series", SLICES)
    dicom_series(tmp_path / "series", SLICES, "1.2.4")
    with pytest.raises(HipError, match=r"holds 2 volumes: .*1\.2\.3.*1\.2\.4.*--series") as raised:
        read_volume(tmp_path / "series")
    assert raised.value.kind == "several_series"


def test_a_series_that_lacks_a_slice_is_refused(tmp_path):
    """It would be read as if the others lay further apart."""
    dicom_series(tmp_path / "series", SLICES, without=(6,))
    with pytest.raises(HipError, match="not evenly spaced") as raised:
        read_volume(tmp_path / "series")
    assert raised.value.kind == "bad_geometry"


def body(air: float, fat: float, muscle: float, bone: float, noise: float) -> sitk.Image:
    """A pelvis-like mixture of intensities."""
    rng = np.random.default_rng(2)
    kinds = rng.choice(4, (30, 40, 50), p=[0.3, 0.25, 0.4, 0.05])
    voxels = np.choose(kinds, [air, fat, muscle, bone]) + rng.normal(0, noise, kinds.shape)
    return volume(np.maximum(voxels, min(air, 0)).astype(np.int16))


def test_a_ct_is_recognised_whether_or_not_it_has_an_offset():
    assert looks_like_ct(body(-1000, -100, 55, 600, 15))
    assert looks_like_ct(sitk.Cast(body(24, 924, 1079, 1624, 15), sitk.sitkUInt16))


@pytest.mark.parametrize(
    "mri",
    [body(5, 900, 300, 20, 10), body(20, 150, 420, 60, 20), body(3, 1400, 700, 1000, 40), body(0, 120, 60, 100, 5)],
)
def test_an_mri_is_not_taken_for_a_ct(mri):
    assert not looks_like_ct(mri)
    standardised = (sitk.Cast(mri, sitk.sitkFloat32) - 300) / 400
    assert not looks_like_ct(standardised)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 77, 78), (-1, 0.5, 3.25)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_a_label_map_is_recognised_by_its_areas_of_one_value_whatever_the_values(values, axes):
    _z, y, x = np.indices((12, 60, 60))
    classes = ((x - 20) ** 2 + (y - 30) ** 2 < 150).astype(int) + 2 * ((x - 45) ** 2 + (y - 30) ** 2 < 150)
    labels = np.array(values)[classes].transpose(axes)
    assert looks_like_label_map(volume(labels))
    # An MRI of the same areas has noise, also where it was masked and standardised.
    noise = np.random.default_rng(1).normal(0, 0.05, labels.shape)
    assert not looks_like_label_map(volume(labels + noise * (labels > labels.min()) - 0.5))


def test_names_and_folders(tmp_path):
    for name in ("b.nii.gz", "A.NRRD", "c.mha", ".hidden.nii.gz", "notes.txt", "d.nii"):
        (tmp_path / name).touch()
    assert [path.name for path in volume_files(tmp_path)] == ["A.NRRD", "b.nii.gz", "c.mha", "d.nii"]
    assert volume_stem(Path("x/pat.01.nii.gz")) == "pat.01"
    assert volume_stem(Path("x/PAT.NRRD")) == "PAT"
