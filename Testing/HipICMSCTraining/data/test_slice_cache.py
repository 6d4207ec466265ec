"""Preprocessed slices: what is cached is what preprocessing gives, and what is wrong with a case is said by name."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.reading.volume import read_volume
from HipICMSCTrainingLib.data.dataset import Case, LabelValues
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from tiny_training import TinyData, tiny_settings

SETTINGS = tiny_settings()


def first_case(data: TinyData, modality: str) -> Case:
    return next(case for case in data.dataset.cases if case.modality == modality)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_cached_slices_are_those_that_preprocessing_gives(tiny_data, modality):
    case = first_case(tiny_data, modality)
    cached = cached_volume(case, SETTINGS, tiny_data.cache)
    image = read_volume(Path(case.image))
    fresh = prepare(image, find_femoral_heads(image), modality, SETTINGS.crop, SETTINGS.intensity)
    assert np.array_equal(cached["slices"], fresh.slices.astype(np.float16))
    assert np.array_equal(cached["covered"], fresh.covered)
    np.testing.assert_allclose(cached["position_mm"], fresh.position_mm, atol=1e-3)
    assert ("labels" in cached) == (modality == "CT")


def test_cached_labels_lie_where_the_labels_of_the_volume_lie(tiny_data):
    """Centroids in the world, from the cached array's own axes: front to back, head to foot, right to left.

    Each side by itself: a centroid of both would move by centimetres with a few voxels more on one of them.
    """
    case = first_case(tiny_data, "CT")
    cached = cached_volume(case, SETTINGS, tiny_data.cache)
    image, labels = read_volume(Path(case.image)), read_volume(Path(case.label))
    heads = find_femoral_heads(image)
    grid = prepare(image, heads, "CT", SETTINGS.crop, SETTINGS.intensity).grid
    assert grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    corner, spacing = np.array(grid.origin), np.array(grid.spacing)
    extent = (np.array(grid.size) - 1) * spacing
    middle = corner[0] + extent[0] / 2
    for value in (1, 2):
        slices, rows, columns = np.argwhere(cached["labels"] == value).T
        world = corner + np.stack([columns, slices, grid.size[2] - 1 - rows], axis=1) * spacing
        voxels = np.argwhere(sitk.GetArrayViewFromImage(labels) == value)[:, ::-1]
        truth = np.array(labels.GetOrigin()) + voxels * np.array(labels.GetSpacing())
        truth = truth[((truth >= corner - spacing / 2) & (truth <= corner + extent + spacing / 2)).all(axis=1)]
        for right in (True, False):
            of_side, expected = (points[(points[:, 0] < middle) == right] for points in (world, truth))
            np.testing.assert_allclose(of_side.mean(axis=0), expected.mean(axis=0), atol=4)  # half a voxel
            volumes = len(of_side) * np.prod(spacing), len(expected) * np.prod(labels.GetSpacing())
            assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_the_second_reading_takes_the_file_and_changes_of_settings_or_files_do_not(tiny_data, tmp_path):
    case = first_case(tiny_data, "MR")
    copied = tmp_path / "copied.nii.gz"
    shutil.copy(case.image, copied)
    case = replace(case, image=str(copied))
    cache = tmp_path / "cache"

    def files() -> set[Path]:
        cached_volume(case, SETTINGS, cache)
        return set(cache.iterdir())

    first = files()
    written = next(iter(first)).stat().st_mtime_ns
    assert files() == first
    assert next(iter(first)).stat().st_mtime_ns == written

    cached_volume(case, replace(SETTINGS, crop=CropSettings((8.0, 8.0, 8.0), (32, 16, 20))), cache)
    assert len(list(cache.iterdir())) == 2
    cached_volume(case, replace(SETTINGS, learning_rate_segmentation=0.5, seed=9), cache)
    assert len(list(cache.iterdir())) == 2  # neither has to do with preprocessing
    status = copied.stat()
    os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    assert len(files()) == 3


def test_files_that_went_away_are_named(tiny_data, tmp_path):
    case = replace(first_case(tiny_data, "CT"), image=str(tmp_path / "gone.nii.gz"))
    with pytest.raises(HipError, match=r"ct00.*gone\.nii\.gz") as caught:
        cached_volume(case, SETTINGS, tmp_path)
    assert caught.value.kind == "missing_file"


def test_a_ct_listed_as_mri_is_refused_by_name(tiny_data, tmp_path):
    ct = first_case(tiny_data, "CT")
    case = Case("scan7", "MR", "train", "p", ct.image)
    with pytest.raises(HipError, match="scan7") as caught:
        cached_volume(case, SETTINGS, tmp_path / "cache")
    assert caught.value.kind == "ct_given"
    with pytest.raises(HipError, match=r"scan7 .* label map") as caught:
        cached_volume(replace(case, image=ct.label), SETTINGS, tmp_path / "cache")
    assert caught.value.kind == "labels_given"
    assert not (tmp_path / "cache").exists()


def label_case(data: TinyData, folder: Path, change) -> tuple[Case, sitk.Image]:
    """The first CT with another label map."""
    case = first_case(data, "CT")
    labels = change(sitk.ReadImage(case.label))
    sitk.WriteImage(labels, str(folder / "label.nii.gz"))
    return replace(case, label=str(folder / "label.nii.gz")), read_volume(Path(case.image))


def moved(labels: sitk.Image) -> sitk.Image:
    labels.SetOrigin([p + 1.0 for p in labels.GetOrigin()])
    return labels


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (moved, "geometry_mismatch", "ct00"),
        (lambda labels: labels[:, :, :-1], "geometry_mismatch", "ct00"),
        (lambda labels: labels + sitk.Cast(labels == 2, sitk.sitkUInt8) * 3, "unknown_labels", "5"),
        (lambda labels: sitk.Cast(labels, sitk.sitkFloat32) * 0.5, "unknown_labels", "0.5"),
        (lambda labels: labels * sitk.Cast(labels == 1, sitk.sitkUInt8), "empty_labels", "femur"),
        (lambda labels: labels * 0, "constant", "empty"),
    ],
)
def test_label_maps_that_cannot_be_learned_from(tiny_data, tmp_path, change, kind, word):
    case, image = label_case(tiny_data, tmp_path, change)
    with pytest.raises(HipError, match=word) as caught:
        read_labels(case, image)
    assert caught.value.kind == kind


def test_labels_of_another_number_type_are_taken(tiny_data, tmp_path):
    case, image = label_case(tiny_data, tmp_path, lambda labels: sitk.Cast(labels, sitk.sitkFloat32))
    read = read_labels(case, image)
    assert read.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(
        sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(sitk.ReadImage(first_case(tiny_data, "CT").label))
    )


def with_sides_and_more(labels: sitk.Image) -> sitk.Image:
    """Left and right with values of their own, as TotalSegmentator has them, and a bone of no interest."""
    voxels = sitk.GetArrayFromImage(labels).astype(np.int16)
    left = np.arange(voxels.shape[2]) >= voxels.shape[2] // 2
    numbered = np.where(voxels == 1, 77 + ~left, np.where(voxels == 2, 75 + ~left, 0)).astype(np.int16)
    numbered[0, 0, :5] = 25
    image = sitk.GetImageFromArray(numbered)
    image.CopyInformation(labels)
    return image


SIDES = LabelValues(acetabulum=(77, 78), femur=(75, 76))


def test_label_maps_with_values_of_their_own_are_taken_as_they_are(tiny_data, tmp_path):
    case, image = label_case(tiny_data, tmp_path, with_sides_and_more)
    read = read_labels(replace(case, label_values=replace(SIDES, ignore_others=True)), image)
    truth = sitk.ReadImage(first_case(tiny_data, "CT").label)
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(truth))
    assert read.GetPixelID() == sitk.sitkUInt8


def test_values_that_nobody_gave_a_meaning_are_an_error_unless_they_are_to_be_ignored(tiny_data, tmp_path):
    case, image = label_case(tiny_data, tmp_path, with_sides_and_more)
    with pytest.raises(HipError, match="has the value 25; only 0 background, 77 or 78 hip bone and 75 or 76") as caught:
        read_labels(replace(case, label_values=SIDES), image)
    assert caught.value.kind == "unknown_labels"
    with pytest.raises(HipError, match="has the values 25, 75, 76, 77, 78; only") as caught:
        read_labels(case, image)
    assert caught.value.kind == "unknown_labels"


def test_a_class_whose_values_do_not_occur_is_missing_however_many_others_do(tiny_data, tmp_path):
    case, image = label_case(tiny_data, tmp_path, with_sides_and_more)
    with pytest.raises(HipError, match=r"no voxel of acetabulum and none of femur\.") as caught:
        read_labels(replace(case, label_values=LabelValues(ignore_others=True)), image)
    assert caught.value.kind == "empty_labels"


def test_other_label_values_are_not_read_from_a_cache_made_with_the_former_ones(tiny_data, tmp_path):
    case = first_case(tiny_data, "CT")
    swapped = replace(case, label_values=LabelValues(acetabulum=(2,), femur=(1,)))
    before, after = (cached_volume(c, SETTINGS, tmp_path / "cache")["labels"] for c in (case, swapped))
    assert np.array_equal(before == 1, after == 2)
    assert np.array_equal(before == 2, after == 1)
