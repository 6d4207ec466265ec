"""NIfTI as other programs write it: what nibabel reads is read alike, whatever is odd about it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_volume, read_with_notes

VOXELS = np.random.default_rng(0).integers(1, 1000, (30, 40, 50)).astype(np.int16)  # x, y, z
#: RAS, mm.
AFFINE = np.array([[2.0, 0, 0, -10], [0, 1.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])


def saved(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, kind=nibabel.Nifti1Image) -> Path:
    image = kind(voxels, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def edited(path: Path, offset: int, form: str, *values: float) -> Path:
    """Other numbers in the header of an unpacked NIfTI-1."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(data)
    return path


def assert_sound(image: sitk.Image, voxels: np.ndarray = VOXELS) -> None:
    assert (voxels == sitk.GetArrayFromImage(image).T).all()
    assert image.TransformIndexToPhysicalPoint((3, 4, 5)) == pytest.approx((10 - 6, -20 - 6, 30 + 12.5), abs=1e-3)


@pytest.mark.parametrize("named", ["scan.nii.gz", "scan.nii", "Scan.NII", "SCAN.nii.GZ"])
def test_the_named_file_is_read_and_not_its_twin(tmp_path, named):
    for name in ("scan.nii", "scan.nii.gz", "Scan.NII", "SCAN.nii.GZ", "scan.hdr", "scan.img", "scan.img.gz"):
        content = saved(tmp_path / "made.nii", VOXELS + len(name) * (name != named)).read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    assert_sound(read_volume(tmp_path / named))


def test_nifti_2_and_extra_axes_of_one_voxel(tmp_path):
    assert_sound(read_volume(saved(tmp_path / "a.nii.gz", VOXELS[..., None, None], kind=nibabel.Nifti2Image)))
    assert_sound(read_volume(saved(tmp_path / "b.nii", VOXELS[..., None])))


@pytest.mark.parametrize(("name", "packed"), [("a.nii", 1), ("a.nii.gz", 0), ("a.nii.gz", 2)])
def test_what_is_packed_is_told_by_its_bytes(tmp_path, name, packed):
    data = saved(tmp_path / "made.nii").read_bytes()
    for _ in range(packed):
        data = gzip.compress(data)
    (tmp_path / name).write_bytes(data)
    assert_sound(read_volume(tmp_path / name))


@pytest.mark.parametrize("after", [b"garbage", bytes(5000), gzip.compress(b"more")])
def test_bytes_after_the_end_are_passed_over(tmp_path, after, capfd):
    data = saved(tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(data + after)
    assert_sound(read_volume(tmp_path / "a.nii.gz"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d[:-9], lambda d: d[:-8] + b"\0\0\0\0" + d[-4:]])
def test_a_packed_file_whose_end_or_check_sum_is_gone_is_refused(tmp_path, spoil):
    data = saved(tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(spoil(data))
    with pytest.raises(HipError, match=r"cut off or damaged|damaged or of another kind"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_slope_of_0_scales_nothing(tmp_path):
    assert_sound(read_volume(edited(saved(tmp_path / "a.nii"), 112, "2f", 0.0, 7.0)))


@pytest.mark.parametrize("scale", [(np.inf, 0), (1, np.nan), (np.nan, 5)])
def test_a_scale_that_is_no_number_is_refused(tmp_path, scale):
    with pytest.raises(HipError, match="scales the voxels by what is no number"):
        read_volume(edited(saved(tmp_path / "a.nii"), 112, "2f", *scale))


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 1)])
def test_two_places_that_contradict_each_other_are_refused_and_two_that_agree_are_one(tmp_path, codes):
    """Slicer takes the qform of a file whose sform is mirrored, so that sides would be other ones there."""
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(AFFINE, codes[0])
    image.set_qform(AFFINE, codes[1])
    nibabel.save(image, tmp_path / "agree.nii")
    assert_sound(read_volume(tmp_path / "agree.nii"))
    image.set_sform(np.diag([-1, 1, 1, 1]) @ AFFINE, codes[0])
    nibabel.save(image, tmp_path / "differ.nii")
    with pytest.raises(HipError, match="sform and qform") as refused:
        read_volume(tmp_path / "differ.nii")
    assert refused.value.kind == "bad_geometry"


def test_a_qform_that_is_no_rotation_says_nothing_beside_a_sound_sform(tmp_path):
    path = edited(saved(tmp_path / "a.nii"), 256, "3f", 5.0, 5.0, 5.0)
    assert_sound(read_volume(path))


def test_a_negative_pixdim_matters_not_where_the_sform_is_sound_but_another_size_does(tmp_path):
    assert_sound(read_volume(edited(saved(tmp_path / "a.nii"), 80, "f", -2.0)))
    with pytest.raises(HipError, match="two things about how large"):
        read_volume(edited(saved(tmp_path / "a.nii"), 80, "f", -2.2))
    # Without an sform there is nothing else to go by.
    path = edited(edited(saved(tmp_path / "b.nii"), 80, "f", -2.0), 254, "h", 0)
    with pytest.raises(HipError) as raised:
        read_volume(path)
    assert raised.value.kind in ("unreadable", "bad_geometry")


@pytest.mark.parametrize(("turn", "read"), [(0.0015, True), (0.02, False)])
def test_shear_of_rounding_size_is_squared_and_more_is_refused(tmp_path, turn, read):
    affine = AFFINE.copy()
    affine[0, 1] = 1.5 * turn
    path = saved(tmp_path / "a.nii.gz", affine=affine)
    image = nibabel.load(path)
    image.set_qform(AFFINE, 0)
    nibabel.save(image, path)
    if not read:
        with pytest.raises(HipError, match="not at right angles"):
            read_volume(path)
        return
    image = read_volume(path)
    axes = np.array(image.GetDirection()).reshape(3, 3)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    for corner in ((0, 0, 0), (29, 39, 49), (0, 39, 0)):
        expected = np.diag([-1, -1, 1]) @ (affine @ [*corner, 1])[:3]
        assert np.abs(image.TransformIndexToPhysicalPoint(corner) - expected).max() < 0.1


def test_nan_at_the_border_is_0_and_amid_the_image_refused(tmp_path):
    voxels = VOXELS.astype(np.float32)
    voxels[:3], voxels[:, :, -2:] = np.nan, np.inf
    image, (note,) = read_with_notes(saved(tmp_path / "a.nii.gz", voxels))
    read = sitk.GetArrayFromImage(image).T
    assert (read[:3] == 0).all() and (read[:, :, -2:] == 0).all()
    assert (read[3:, :, :-2] == VOXELS[3:, :, :-2]).all()
    assert "14 %" in note or "13 %" in note
    voxels[15, 20, 25] = np.nan
    with pytest.raises(HipError, match="put a number in their place") as raised:
        read_volume(saved(tmp_path / "b.nii.gz", voxels))
    assert raised.value.kind == "not_finite"


@pytest.mark.parametrize("named", ["scan.hdr", "scan.img", "SCAN.HDR", "SCAN.IMG"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_either_file_of_a_pair_is_the_volume_and_not_its_twin(tmp_path, named, kind):
    for number, stem in enumerate(("scan", "SCAN")):
        voxels = VOXELS if named[:4] == stem else VOXELS + 1 + number
        saved(tmp_path / "made.hdr", voxels, kind=kind)
        for made, ending in (("made.hdr", ".hdr"), ("made.img", ".img")):
            ending = ending.upper() if stem.isupper() else ending
            (tmp_path / (stem + ending)).write_bytes((tmp_path / made).read_bytes())
    saved(tmp_path / "scan.nii", VOXELS + 7)
    assert_sound(read_volume(tmp_path / named))


def test_the_voxels_of_a_pair_may_be_packed(tmp_path):
    saved(tmp_path / "scan.hdr", kind=nibabel.Nifti1Pair)
    image = tmp_path / "scan.img"
    (tmp_path / "scan.img.gz").write_bytes(gzip.compress(image.read_bytes()))
    image.unlink()
    assert_sound(read_volume(tmp_path / "scan.hdr"))


def test_half_a_pair_or_one_that_leads_elsewhere_is_said(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    saved(tmp_path / "scan.hdr", kind=nibabel.Nifti1Pair)
    (tmp_path / "scan.img").rename(elsewhere / "scan.img")
    with pytest.raises(HipError, match=r"scan\.hdr .* the file scan\.img, .* is not beside it"):
        read_volume(tmp_path / "scan.hdr")
    (tmp_path / "scan.img").symlink_to(elsewhere / "scan.img")
    with pytest.raises(HipError, match="is not beside it"):
        read_volume(tmp_path / "scan.hdr")
    with pytest.raises(HipError, match=r"scan\.img .* scan\.hdr, is not beside it"):
        read_volume(elsewhere / "scan.img")


def test_an_analyze_pair_is_refused_for_what_it_lacks(tmp_path):
    nibabel.save(nibabel.AnalyzeImage(VOXELS, AFFINE), tmp_path / "old.img")
    for name in ("old.hdr", "old.img"):
        with pytest.raises(HipError, match="Analyze file does not say where left and right are; export"):
            read_volume(tmp_path / name)
