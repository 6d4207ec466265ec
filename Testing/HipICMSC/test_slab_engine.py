"""The engine with a model of slabs: the whole volume in its own plane, heads from the result, sides by the heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.networks.inference import FP32
from HipICMSCLib.preprocessing.slabs import SlabSettings
from packages import BRIGHT, DARK, GREY, dice, rotation, write_slab_package
from simple_patient import HEADS, positions, simple_patient

CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # columns to the left, rows to the feet, slices to the back
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
VOLUMES = {
    "coronal 5.2 mm": (CORONAL, (1.3, 1.3, 5.2)),
    "coronal, back to front, rows up, mirrored": (CORONAL @ np.diag([-1, -1, -1]), (1.5, 1.5, 4.5)),
    "coronal, 10 degrees oblique": (rotation(10) @ CORONAL, (1.5, 1.5, 5.2)),
    "axial 4 mm": (np.eye(3), (1.5, 1.5, 4.0)),
    "axial, feet first": (np.diag([-1.0, 1, -1]), (1.5, 1.5, 4.0)),
    "sagittal 4 mm": (SAGITTAL, (1.5, 1.5, 4.0)),
    "40 degrees oblique": (rotation(40) @ CORONAL, (1.5, 1.5, 3.0)),
    "even voxels": (np.eye(3), (3.0, 3.0, 3.0)),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_slab_package(tmp_path_factory.mktemp("model") / "a.hipmodel", slab=SlabSettings(pixel_mm=1.5))


@pytest.fixture(scope="module")
def segmenter(package) -> HipSegmenter:
    return HipSegmenter(package, "cpu", FP32)


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def scene(
    direction: np.ndarray, spacing: tuple[float, float, float], sides: tuple[str, ...] = ("right", "left")
) -> tuple[sitk.Image, sitk.Image]:
    """Joints whose hip bones are dark and whose femora are bright; image and truth (classes)."""
    truth = simple_patient(spacing, sides, direction, ischium=True).labels
    image = sitk.GetImageFromArray(np.choose(array(truth), [GREY, DARK, BRIGHT]).astype(np.int16))
    image.CopyInformation(truth)
    return image, truth


def assert_right(result, image: sitk.Image, truth: sitk.Image, sides=("right", "left")) -> None:
    for found in (result.labels, result.classes, result.confidence):
        assert (found.GetSize(), found.GetOrigin()) == (image.GetSize(), image.GetOrigin())
        assert (found.GetSpacing(), found.GetDirection()) == (image.GetSpacing(), image.GetDirection())
    labels, known = array(result.labels), array(truth)
    x = positions(image)[0]
    for bone, value in ((HIP_BONE, 1), (FEMUR, 3)):
        for side, here in (("right", x < 0), ("left", x > 0)):
            segment = labels == value + (side == "left")
            if side in sides:
                assert dice(segment, (known == bone) & here) > 0.95
            else:
                assert not segment.any()


@pytest.mark.parametrize("name", VOLUMES)
def test_bones_are_found_where_they_are(segmenter, name):
    image, truth = scene(*VOLUMES[name])
    result = segmenter.segment(image)
    assert_right(result, image, truth)
    for side in ("right", "left"):
        assert np.linalg.norm(np.subtract(getattr(result.heads, side), HEADS[side])) < 3
    acquired = name != "even voxels"
    assert result.slices == (image.GetSize()[2] if acquired else image.GetSize()[1])


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["coronal, 10 degrees oblique", "axial, feet first", "sagittal 4 mm"])
def test_one_hip_alone_is_found_with_its_side(segmenter, name, side):
    image, truth = scene(*VOLUMES[name], sides=(side,))
    result = segmenter.segment(image)
    assert_right(result, image, truth, (side,))
    assert "one_hip" in [notice.kind for notice in result.notices]


def test_a_network_that_draws_the_same_in_the_mirror_is_not_doubted_for_it(package, segmenter):
    image, _ = scene(*VOLUMES["coronal 5.2 mm"])
    doubt = segmenter.segment(image).doubt
    assert 0 <= doubt.unsure < 0.1 and doubt.mirrored == pytest.approx(0, abs=1e-3)
    averaged = HipSegmenter(package, "cpu", FP32, quality="high").segment(image).doubt
    assert averaged.mirrored == pytest.approx(doubt.mirrored, abs=1e-3)
    sagittal, _ = scene(*VOLUMES["sagittal 4 mm"])
    assert segmenter.segment(sagittal).doubt.mirrored is None, "the patient would face the other way"


def test_given_heads_are_kept(segmenter):
    image, truth = scene(*VOLUMES["axial 4 mm"])
    given = FemoralHeads(HEADS["right"], HEADS["left"])
    result = segmenter.segment(image, given)
    assert result.heads == given
    assert_right(result, image, truth)


def test_the_whole_field_of_view_is_read(segmenter):
    """Bone in a corner of the image, far from any joint."""
    image, _ = scene(CORONAL, (2.0, 2.0, 5.0))
    voxels = array(image)
    voxels[:3, -10:, :10] = DARK
    edited = sitk.GetImageFromArray(voxels)
    edited.CopyInformation(image)
    result = segmenter.segment(edited)
    assert (array(result.classes)[:3, -9:, :9] == HIP_BONE).mean() > 0.95
    assert (array(result.confidence) > 1 / 3 - 1e-6).all()


@pytest.mark.parametrize(("name", "planes"), [("even voxels", 3), ("axial 4 mm", 1), ("sagittal 4 mm", 1)])
def test_high_quality_reads_even_voxels_in_three_planes_and_finds_the_same(package, name, planes):
    image, truth = scene(*VOLUMES[name])
    thorough = HipSegmenter(package, "cpu", FP32, quality="high").segment(image)
    assert_right(thorough, image, truth)
    width, depth, height = image.GetSize()
    assert thorough.slices == (width + depth + height if planes == 3 else max(thorough.slices, 1))
    standard = HipSegmenter(package, "cpu", FP32).segment(image)
    # This network reads pixel by pixel, so that neither mirror nor plane can change what it says.
    assert dice(array(thorough.classes) > 0, array(standard.classes) > 0) > 0.98


def test_the_same_input_gives_the_same_answer(package, segmenter):
    image, _ = scene(*VOLUMES["coronal 5.2 mm"])
    first, second = segmenter.segment(image), HipSegmenter(package, "cpu", FP32).segment(image)
    for name in ("labels", "classes", "confidence"):
        assert np.array_equal(array(getattr(first, name)), array(getattr(second, name)))


def test_without_any_bone_it_says_so(tmp_path):
    # Slices of 120 × 68 pixels as the network reads them, so that nothing is padded, which it would call bone.
    package = write_slab_package(tmp_path / "even.hipmodel", slab=SlabSettings(pixel_mm=2.0))
    image = scene(CORONAL, (2.0, 2.0, 5.0))[0][:120]
    voxels = np.full(image.GetSize()[::-1], GREY, np.int16)
    # Crumbs of 0.02 ml, some percent of the image.
    voxels[::3, ::6, ::6], voxels[1::3, 3::6, 3::6] = DARK, BRIGHT
    changed = sitk.GetImageFromArray(voxels)
    changed.CopyInformation(image)
    with pytest.raises(HipError) as refused:
        HipSegmenter(package, "cpu", FP32).segment(changed)
    assert refused.value.kind == "no_hip"
    assert refused.value.sentence.endswith(".")


def test_progress_rises_through_every_stage(package):
    image, _ = scene(*VOLUMES["even voxels"])
    calls: list[tuple[str, float]] = []
    result = HipSegmenter(package, "cpu", FP32, quality="high").segment(
        image, progress=lambda stage, share: calls.append((stage, share))
    )
    shares = [share for _, share in calls]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert set(result.seconds) == {stage for stage, _ in calls}


@pytest.mark.parametrize("stage", ["preparing", "segmenting", "mapping back", "finding the hips"])
def test_cancellation_ends_each_stage(segmenter, stage):
    image, _ = scene(*VOLUMES["coronal 5.2 mm"])
    reached: list[str] = []
    with pytest.raises(HipError) as raised:
        segmenter.segment(image, None, lambda name, share: reached.append(name), lambda: stage in reached)
    assert raised.value.kind == "cancelled"
    assert reached[-1] == stage


def test_pixels_may_be_coarse(tmp_path):
    package = write_slab_package(tmp_path / "coarse.hipmodel", slab=SlabSettings(pixel_mm=3.0))
    image, truth = scene(*VOLUMES["coronal 5.2 mm"])
    result = HipSegmenter(package, "cpu", FP32).segment(image)
    assert dice(array(result.classes) == FEMUR, array(truth) == FEMUR) > 0.93
