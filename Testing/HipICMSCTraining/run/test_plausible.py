"""Where an MRI may show bone: about the bones that the clean-up left, and anywhere where it may have lost one."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.doubts import Notice
from HipICMSCLib.anatomy.heads_of_bones import heads_of_bones
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.slabs import SlabSettings, slice_grid
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.run.plausible import AROUND_MM, plausible_bone, read_plausible
from safetensors.numpy import save
from simple_patient import simple_patient

SLAB = SlabSettings(pixel_mm=2.0, least_pixels=160)


@pytest.fixture(scope="module")
def labels() -> sitk.Image:
    return simple_patient((2.0, 2.0, 4.0)).labels


def with_stray(labels: sitk.Image) -> tuple[sitk.Image, tuple[float, float, float]]:
    """A ball of femur in the belly, and its place."""
    array, at = sitk.GetArrayFromImage(labels), (4, 20, labels.GetSize()[0] // 2)
    z, y, x = np.indices(array.shape)
    array[((z - at[0]) * 2) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < 30] = 2
    stray = sitk.GetImageFromArray(array)
    stray.CopyInformation(labels)
    return stray, labels.TransformIndexToPhysicalPoint(at[::-1])


def test_a_stray_is_not_plausible_and_each_bone_is(labels):
    classes, stray = with_stray(labels)
    cleaned = separate_sides(classes, heads_of_bones(classes))
    grid = slice_grid(labels, "axial", SLAB)
    mask = sitk.GetImageFromArray(plausible_bone(cleaned.labels, (), grid).astype(np.uint8))
    mask = grid.image(sitk.GetArrayFromImage(mask))
    truth = sitk.GetArrayFromImage(grid.resample(labels, sitk.sitkNearestNeighbor, 0))
    found = sitk.GetArrayFromImage(mask) > 0
    assert found[truth > 0].all()
    assert mask[mask.TransformPhysicalPointToIndex(stray)] == 0
    distance = sitk.SignedMaurerDistanceMap(
        grid.resample(labels, sitk.sitkNearestNeighbor, 0) > 0,
        insideIsPositive=False, squaredDistance=False, useImageSpacing=True,
    )  # fmt: skip
    assert not found[sitk.GetArrayFromImage(distance) > AROUND_MM + 0.1].any()


@pytest.mark.parametrize("kind", ["bone_missing", "one_hip", "volume_implausible"])
def test_a_result_that_may_lack_bone_does_not_say_where_there_is_none(labels, kind):
    grid = slice_grid(labels, "axial", SLAB)
    assert plausible_bone(labels, [Notice(kind, "…")], grid).all()
    assert not plausible_bone(labels, [Notice("bone_cut", "…")], grid).all()


@pytest.mark.parametrize("broken", ["no file", "no case", "other size", "rubbish"])
def test_what_was_kept_is_read_again_or_refused_in_a_sentence(tmp_path, broken):
    file, case, shape = tmp_path / "plausible.safetensors", Case("a", "MR", "train", "a", "a.nii"), (3, 5, 11)
    mask = np.random.default_rng(0).random(shape) > 0.5
    file.write_bytes(save({"a": np.packbits(mask, axis=-1)}))
    assert np.array_equal(read_plausible(file, [case], [shape])[0], mask)
    if broken == "no file":
        file.unlink()
    elif broken == "no case":
        file.write_bytes(save({"b": np.packbits(mask, axis=-1)}))
    elif broken == "other size":
        shape = (3, 6, 11)
    else:
        file.write_bytes(b"rubbish")
    with pytest.raises(HipError, match="damaged"):
        read_plausible(file, [case], [shape])
