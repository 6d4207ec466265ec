"""What an MRI teaches in self-training: what F_t reads in it, but for strays that the clean-up took away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.doubts import Notice
from HipICMSCLib.anatomy.heads_of_bones import heads_of_bones
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import write_package
from HipICMSCLib.networks.inference import FP32
from HipICMSCLib.preprocessing.slabs import SlabSettings, slice_grid
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.run.lessons import AROUND_MM, lesson_of, packed, plausible_bone, read_lessons, write_lessons
from packages import BRIGHT, DARK, GREY, dice, slab_manifest, slab_threshold_network, write_slab_package
from safetensors.numpy import save
from scipy import ndimage
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


def test_a_bone_may_go_on_in_the_next_slice_however_thick_slices_are():
    labels = sitk.Image(60, 60, 7, sitk.sitkUInt8)
    labels.SetSpacing((2.0, 2.0, 7.0))
    labels[20:40, 20:40, 1:5] = 3
    found = plausible_bone(labels, (), slice_grid(labels, "axial", SLAB))
    # What was not drawn there is not taught to be no bone.
    assert found[[0, 5], 22:38, 22:38].all() and not found[6].any() and not found[3, 2:10, 2:10].any()


@pytest.mark.parametrize("kind", ["bone_missing", "one_hip", "volume_implausible"])
def test_a_result_that_may_lack_bone_does_not_say_where_there_is_none(labels, kind):
    grid = slice_grid(labels, "axial", SLAB)
    assert plausible_bone(labels, [Notice(kind, "…")], grid).all()
    assert not plausible_bone(labels, [Notice("bone_cut", "…")], grid).all()


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> HipSegmenter:
    """Dark is hip bone, bright femur."""
    package = write_slab_package(tmp_path_factory.mktemp("model") / "a.hipmodel", slab=SLAB)
    return HipSegmenter(package, "cpu", FP32)


def test_a_lesson_lies_where_the_bones_lie_and_holds_no_stray(labels, segmenter):
    classes, stray = with_stray(labels)
    image = sitk.GetImageFromArray(np.choose(sitk.GetArrayFromImage(classes), [GREY, DARK, BRIGHT]).astype(np.int16))
    image.CopyInformation(labels)
    lesson = lesson_of(segmenter, image)
    grid = slice_grid(labels, "axial", SLAB)
    assert lesson.shape == (2, *grid.size[::-1])
    truth = sitk.GetArrayFromImage(grid.resample(labels, sitk.sitkNearestNeighbor, 0))
    for bone, found in zip((HIP_BONE, FEMUR), lesson, strict=True):
        assert dice(found > 0.5, truth == bone) > 0.95
    column, row, number = grid.image(lesson[1]).TransformPhysicalPointToIndex(stray)
    around = lesson[:, number - 1 : number + 2, row - 3 : row + 4, column - 3 : column + 4]
    assert around.size and not around.any()


def test_a_slice_learns_from_its_neighbours_what_lies_in_it(segmenter):
    """Where bone begins, the last slice without it has a fifth of what the first with it has."""
    image = sitk.GetImageFromArray(np.full((20, 64, 64), GREY, np.int16))
    image.SetSpacing((2.0, 2.0, 4.0))
    image[20:40, 20:40, 14:20] = BRIGHT
    found = lesson_of(segmenter, image)[1][11:18, 30, 30]
    assert found == pytest.approx([0, 0, 0.2, 0.8, 1, 1, 1], abs=0.02)


def the_other_way_round(file: Path) -> Path:
    """A model that calls femur what the usual one calls hip bone, and hip bone what that calls femur."""
    network = slab_threshold_network()
    with torch.no_grad():
        network.classes.weight[[HIP_BONE, FEMUR]] = network.classes.weight[[FEMUR, HIP_BONE]]
    write_package(file, slab_manifest(slab=SLAB), {"F_t": network.state_dict()}, "# The other way round")
    return file


def test_what_only_one_of_two_teachers_sees_is_sure_to_none(tmp_path):
    """The second one takes bright for hip bone and dark for femur."""
    packages = [write_slab_package(tmp_path / "a.hipmodel", slab=SLAB), the_other_way_round(tmp_path / "b.hipmodel")]
    voxels = np.full((20, 64, 64), GREY, np.int16)
    voxels[6:14, 20:40, 20:40] = BRIGHT
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 4.0))
    sitk.WriteImage(image, str(tmp_path / "mri.nii"))
    case, said = Case("a", "MR", "train", "a", str(tmp_path / "mri.nii")), []
    write_lessons(tmp_path / "lessons.safetensors", packages, [case], "cpu", False, said.append)
    grid = slice_grid(image, "axial", SLAB)
    (found,) = read_lessons(tmp_path / "lessons.safetensors", [case], [grid.size[::-1]])
    truth = sitk.GetArrayFromImage(grid.resample(image, sitk.sitkNearestNeighbor, 0)) == BRIGHT
    inside = ndimage.binary_erosion(truth, iterations=2)
    assert inside.any()
    assert found[:, inside] / 255 == pytest.approx(0.5, abs=0.02)
    assert len(said) == 1


@pytest.mark.parametrize("bone", [HIP_BONE, FEMUR])
@pytest.mark.parametrize("t1_weighted", [False, True])
def test_what_is_as_bright_as_muscle_on_t1_and_goes_on_beside_the_bone_teaches_nothing(tmp_path, t1_weighted, bone):
    """The model calls the darker half of a muscle bone, and two bones as dark, one of them within marrow."""
    file = tmp_path / "a.hipmodel"
    package = write_slab_package(file, slab=SLAB) if bone == HIP_BONE else the_other_way_round(file)
    dark, dim, marrow = 160, 250, 360
    voxels = np.full((12, 70, 70), GREY, np.int16)
    voxels[:, 5:12, 5:65], voxels[:, 12:14, 5:65] = 0, BRIGHT
    voxels[:, 20:60, 8:20], voxels[:, 20:60, 20:38] = dark, dim
    voxels[:, 20:60, 42:68], voxels[:, 30:50, 48:62] = marrow, dark
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 5.0))
    sitk.WriteImage(image, str(tmp_path / "mri.nii"))
    case, file = Case("a", "MR", "train", "a", str(tmp_path / "mri.nii")), tmp_path / "lessons.safetensors"
    write_lessons(file, [package], [case], "cpu", t1_weighted, print)
    grid = slice_grid(image, "axial", SLAB)
    (found,) = read_lessons(file, [case], [grid.size[::-1]])
    there = sitk.GetArrayFromImage(grid.resample(image, sitk.sitkNearestNeighbor, 0))
    muscle, red = (there == dark).copy(), (there == dark).copy()
    muscle[..., 40:], red[..., :40] = False, False
    muscle, red = (ndimage.binary_erosion(part, np.ones((1, 7, 7))) for part in (muscle, red))
    assert muscle.any() and (found[bone - 1, red] / 255 > 0.75).all()
    if t1_weighted:
        assert found[bone - 1, muscle] / 255 == pytest.approx(0.5, abs=0.01)
    else:
        assert (found[bone - 1, muscle] / 255 > 0.75).all()


def test_teachers_that_read_other_pixels_are_refused(tmp_path):
    other = SlabSettings(pixel_mm=1.0, least_pixels=160)
    packages = [write_slab_package(tmp_path / f"{s.pixel_mm:g}.hipmodel", slab=s) for s in (SLAB, other)]
    with pytest.raises(HipError, match="do not read MRIs alike"):
        write_lessons(tmp_path / "lessons.safetensors", packages, [], "cpu", False, print)
    assert not (tmp_path / "lessons.safetensors").exists()


@pytest.mark.parametrize("broken", ["no file", "no case", "other size", "more than it should be", "rubbish"])
def test_what_was_kept_is_read_again_or_refused_in_a_sentence(tmp_path, broken):
    file, case, shape = tmp_path / "lessons.safetensors", Case("a", "MR", "train", "a", "a.nii"), (3, 5, 11)
    bones = np.random.default_rng(0).random((2, *shape), np.float32) / 2
    file.write_bytes(save({"a": packed(bones)}))
    assert read_lessons(file, [case], [shape])[0] / 255 == pytest.approx(bones, abs=0.5 / 255 + 1e-6)
    if broken == "no file":
        file.unlink()
    elif broken == "no case":
        file.write_bytes(save({"b": packed(bones)}))
    elif broken == "more than it should be":
        file.write_bytes(save({"a": packed(np.zeros((2, 3, 5, 1_000_000)))}))
    elif broken == "other size":
        shape = (3, 6, 11)
    else:
        file.write_bytes(b"rubbish")
    with pytest.raises(HipError, match="damaged"):
        read_lessons(file, [case], [shape])
