"""Volumes prepared for slabs: kept as they were made, made anew where file, settings or what is kept changed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.intensity import PADDING
from HipICMSCLib.preprocessing.slabs import SlabSettings, acquisition_plane, prepare_slices
from HipICMSCLib.reading.volume import read_volume
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slab_cache import (
    anatomy_file,
    cached_anatomy,
    cached_slices,
    padded_size,
    plane_of,
    slices_file,
)
from safetensors.numpy import load_file, save_file
from tiny_training import SLAB_ASSIGNMENTS, TinyData, tiny_settings

SETTINGS = tiny_settings(SLAB_ASSIGNMENTS)


def first_case(data: TinyData, modality: str) -> Case:
    return next(case for case in data.dataset.cases if case.modality == modality)


def copied(case: Case, folder: Path) -> Case:
    shutil.copy(case.image, folder)
    return replace(case, image=str(folder / Path(case.image).name))


def test_slices_are_those_that_preprocessing_gives(slab_data):
    case = first_case(slab_data, "MR")
    kept = cached_slices(case, SETTINGS, slab_data.cache)
    image = read_volume(Path(case.image))
    plane = acquisition_plane(image)
    fresh = prepare_slices(image, plane, "MR", SETTINGS.slab, SETTINGS.intensity)
    assert plane_of(kept) == plane
    assert np.array_equal(kept["slices"], fresh.slices.astype(np.float16))
    assert np.array_equal(kept["covered"], fresh.covered)
    assert kept["step_mm"] == pytest.approx(fresh.grid.spacing[2])


def test_padding_is_not_kept(slab_data, tmp_path):
    case = first_case(slab_data, "MR")
    padded = replace(SETTINGS, slab=replace(SETTINGS.slab, least_pixels=200))
    kept = cached_slices(case, padded, tmp_path)
    whole = prepare_slices(read_volume(Path(case.image)), plane_of(kept), "MR", padded.slab, padded.intensity)
    _, rows, columns = kept["slices"].shape
    assert (
        kept["slices"].shape == kept["covered"].shape == cached_slices(case, SETTINGS, slab_data.cache)["slices"].shape
    )
    assert max(rows, columns) < 200 and padded_size(kept, padded.slab) == whole.slices.shape[1:] == (200, 200)
    beyond = ((0, 0), (0, 200 - rows), (0, 200 - columns))
    assert np.array_equal(np.pad(kept["slices"], beyond, constant_values=PADDING), whole.slices.astype(np.float16))
    assert np.array_equal(np.pad(kept["covered"], beyond), whole.covered)


def test_an_anatomy_comes_back_from_its_file_as_it_was_made(slab_data):
    case = first_case(slab_data, "CT")
    file = anatomy_file(case, slab_data.cache)
    kept, arrays = cached_anatomy(case, slab_data.cache), load_file(file)
    for name in ("hu", "hip", "femur", "hip_coarse", "bone_voxels"):
        assert np.array_equal(getattr(kept, name), arrays[name])
    assert len(kept.femora) == 2
    for femur, head, distance in zip(kept.femora, arrays["heads"], arrays["femora_coarse"], strict=True):
        assert np.array_equal(femur.head, head)
        assert np.array_equal(femur.distance, distance)


def test_slices_are_made_anew_where_file_or_settings_changed_and_not_otherwise(slab_data, tmp_path):
    case, cache = copied(first_case(slab_data, "MR"), tmp_path), tmp_path / "cache"
    cached_slices(case, SETTINGS, cache)
    (file,) = cache.iterdir()
    written = file.stat().st_mtime_ns
    cached_slices(case, replace(SETTINGS, seed=9, batch_size=3), cache)
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [written]
    cached_slices(case, replace(SETTINGS, slab=SlabSettings(pixel_mm=5.0)), cache)
    assert len(list(cache.iterdir())) == 2
    os.utime(case.image, ns=(0, 1_000_000_000))
    cached_slices(case, SETTINGS, cache)
    assert len(list(cache.iterdir())) == 3


def spoiled(arrays: dict[str, np.ndarray], how: str) -> dict[str, np.ndarray]:
    changed = dict(arrays)
    if how == "one is missing":
        changed.popitem()
    elif how == "another type":
        changed["covered"] = changed["covered"].astype(np.uint8)
    elif how == "other shapes":
        changed["covered"] = changed["covered"][:, 1:].copy()
    elif how == "an impossible plane":
        changed["plane"] = np.array([7], np.uint8)
    elif how == "no number":
        changed["slices"] = np.full_like(changed["slices"], np.nan)
    elif how == "no slice":
        changed["slices"], changed["covered"] = changed["slices"][:0].copy(), changed["covered"][:0].copy()
    return changed


@pytest.mark.parametrize(
    "how",
    ["one is missing", "another type", "other shapes", "an impossible plane", "no number", "no slice", "cut", "text"],
)
def test_a_spoiled_file_is_replaced(slab_data, tmp_path, how):
    case = first_case(slab_data, "MR")
    file = slices_file(case, SETTINGS, tmp_path)
    good = load_file(slices_file(case, SETTINGS, slab_data.cache))
    if how in ("cut", "text"):
        file.write_bytes(slices_file(case, SETTINGS, slab_data.cache).read_bytes()[:500] if how == "cut" else b"no")
    else:
        save_file(spoiled(good, how), file)
    kept = cached_slices(case, SETTINGS, tmp_path)
    for arrays in (kept, load_file(file)):
        assert all(np.array_equal(arrays[name], good[name]) for name in good)


@pytest.mark.parametrize("how", ["other shapes", "a head too many", "a voxel outside", "no number"])
def test_a_spoiled_anatomy_is_made_anew(slab_data, tmp_path, monkeypatch, how):
    case = first_case(slab_data, "CT")
    arrays = dict(load_file(anatomy_file(case, slab_data.cache)))
    if how == "other shapes":
        arrays["hip"] = arrays["hip"][1:].copy()
    elif how == "a head too many":
        arrays["heads"] = np.zeros((3, 3))
    elif how == "a voxel outside":
        arrays["bone_voxels"] = np.full((4, 3), 10_000, np.int16)
    else:
        arrays["femora_coarse"] = arrays["femora_coarse"] * np.float32(np.nan)
    save_file(arrays, anatomy_file(case, tmp_path))
    made = cached_anatomy(case, slab_data.cache)
    # What it costs to make one is not the point here.
    monkeypatch.setattr("HipICMSCTrainingLib.data.slab_cache.anatomy_of", lambda *images: made)
    again = cached_anatomy(case, tmp_path)
    assert np.array_equal(again.hip, made.hip)
    assert np.array_equal(load_file(anatomy_file(case, tmp_path))["hip"], made.hip)


def test_what_is_wrong_is_said_by_the_name_of_the_case(slab_data, tmp_path):
    gone = replace(first_case(slab_data, "CT"), image=str(tmp_path / "gone.nii.gz"))
    with pytest.raises(HipError, match=f"Case {gone.name}: there is no file gone.nii.gz"):
        cached_anatomy(gone, tmp_path)
    ct = first_case(slab_data, "CT")
    as_mri = replace(ct, modality="MR", label=None, label_values=replace(ct.label_values))
    with pytest.raises(HipError, match=r"listed as an MRI") as refused:
        cached_slices(as_mri, SETTINGS, tmp_path)
    assert refused.value.kind == "ct_given"
    assert list(tmp_path.iterdir()) == []
