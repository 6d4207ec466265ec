"""What is a label map of our bones and no MRI."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.batch.files import volumes_of
from HipICMSCLib.reading.label_map import is_label_map
from HipICMSCLib.results.segmentation_file import LABEL_MAP_ENDINGS, write_segmentation

LABELS = np.zeros((40, 50, 60), np.uint8)
LABELS[10:30, 10:40, 20:30], LABELS[10:30, 10:40, 35:45] = 3, 4


def saved(path: Path, voxels: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    return path


@pytest.mark.parametrize("ending", LABEL_MAP_ENDINGS)
@pytest.mark.parametrize("voxels", [LABELS, np.zeros_like(LABELS)], ids=["bones", "nothing found"])
def test_each_label_map_that_we_write_is_known_whatever_was_found(tmp_path, ending, voxels):
    write_segmentation(sitk.GetImageFromArray(voxels), tmp_path / f"a{ending}", {"ModelId": "hip-mri"})
    assert is_label_map(tmp_path / f"a{ending}")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".NII.GZ"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_one_of_earlier_calls_or_other_tools_is_known_by_its_values(tmp_path, ending, kind):
    path = saved(tmp_path / f"a{ending.lower()}", LABELS.astype(kind))
    assert is_label_map(path.rename(tmp_path / f"b{ending}"))


def test_so_is_one_of_nibabel_in_the_other_order_of_bytes(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.Nifti1Image(LABELS.astype(">i2"), np.eye(4), header).to_filename(tmp_path / "a.nii.gz")
    assert is_label_map(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros_like(LABELS), np.where(LABELS == 4, 5, LABELS), -LABELS.astype(np.int16), LABELS / np.float32(4),
        np.where(LABELS == 4, np.float32(np.nan), LABELS),
    ],
    ids=["empty", "another value", "negative", "between", "not a number"],
)  # fmt: skip
def test_other_values_are_those_of_an_image(tmp_path, voxels):
    assert not is_label_map(saved(tmp_path / "a.nii.gz", voxels))


def test_values_that_are_scaled_are_those_of_an_image(tmp_path):
    image = nibabel.Nifti1Image(LABELS, np.eye(4))
    image.header.set_slope_inter(250, 0)
    image.to_filename(tmp_path / "a.nii")
    assert not is_label_map(tmp_path / "a.nii")


def test_an_mri_is_read_no_further_than_needed(tmp_path, monkeypatch):
    voxels = np.random.default_rng(0).integers(0, 900, (60, 256, 256)).astype(np.int16)
    path = saved(tmp_path / "a.nii.gz", voxels)
    reads = []
    isin = np.isin
    monkeypatch.setattr(np, "isin", lambda values, of: reads.append(values.nbytes) or isin(values, of))
    assert not is_label_map(path) and reads == [1 << 16]


def test_a_folder_that_is_listed_again_has_its_label_maps_read_once_until_they_change(tmp_path, monkeypatch):
    path, reads = saved(tmp_path / "a.nii.gz", LABELS), []
    isin = np.isin
    monkeypatch.setattr(np, "isin", lambda values, of: reads.append(values.nbytes) or isin(values, of))
    assert [volumes_of(tmp_path) for _ in range(3)] == [[], [], []]
    assert sum(reads) == LABELS.nbytes
    saved(path, np.where(LABELS == 4, 500, LABELS).astype(np.int16))
    assert volumes_of(tmp_path) == [path]


def test_a_label_map_that_could_not_be_opened_is_looked_at_again(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.nii.gz", LABELS)
    with monkeypatch.context() as away:
        away.setattr("builtins.open", Mock(side_effect=PermissionError))
        assert not is_label_map(path)
    assert is_label_map(path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8bno gzip", bytes(352), b"\x5c\x01\0\0", b"\xff" * 400])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_what_cannot_be_read_is_left_to_whoever_says_why(tmp_path, content, ending):
    (tmp_path / f"a{ending}").write_bytes(content)
    assert not is_label_map(tmp_path / f"a{ending}")


def test_a_cut_off_label_map_and_one_that_is_gone_are_none(tmp_path):
    path = saved(tmp_path / "a.nii", LABELS)
    with open(path, "rb+") as file:
        file.truncate(60_001)
    assert not is_label_map(path) and not is_label_map(tmp_path / "gone.nii")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files there")
def test_nobody_waits_at_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    assert not is_label_map(tmp_path / "a.nii.gz")
