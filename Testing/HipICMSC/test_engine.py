"""From a volume to its bones, end to end: a network whose result is known, on volumes whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import STAGES, HipSegmenter
from HipICMSCLib.networks.inference import FP32
from packages import (
    BRIGHT,
    FIELD_OF_VIEW,
    HEADS,
    as_ct,
    blank,
    dice,
    distance,
    rotation,
    scene,
    write_threshold_package,
)

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
}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_threshold_package(tmp_path_factory.mktemp("model") / "a.hipmodel")


@pytest.fixture(scope="module")
def segmenter(package) -> HipSegmenter:
    return HipSegmenter(package, "cpu", FP32)


@pytest.fixture(scope="module")
def coronal() -> tuple[sitk.Image, sitk.Image]:
    return scene(blank(CORONAL, (1.8, 1.8, 5.2)))


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def left_of_patient(image: sitk.Image) -> np.ndarray:
    return distance(image, HEADS.left) < distance(image, HEADS.right)


@pytest.mark.parametrize("name", VOLUMES)
def test_bones_are_found_where_they_are(segmenter, name):
    image, truth = scene(blank(*VOLUMES[name]))
    result = segmenter.segment(image, HEADS)
    for found in (result.labels, result.classes, result.confidence):
        assert found.GetSize() == image.GetSize()
        assert found.GetSpacing() == image.GetSpacing()
        assert found.GetOrigin() == image.GetOrigin()
        assert found.GetDirection() == image.GetDirection()
    classes, labels, known = array(result.classes), array(result.labels), array(truth)
    left = left_of_patient(image)
    for bone, value in ((HIP_BONE, 1), (FEMUR, 3)):
        assert dice(classes == bone, known == bone) > 0.97
        assert dice(labels == value, (known == bone) & ~left) > 0.97
        assert dice(labels == value + 1, (known == bone) & left) > 0.97
    millilitres = float(np.prod(image.GetSpacing())) / 1000
    assert result.volumes_ml == pytest.approx({v: (labels == v).sum() * millilitres for v in (1, 2, 3, 4)})
    assert "nothing_found" not in [notice.kind for notice in result.notices]


def test_heads_that_are_found_serve_as_well_as_given_ones(segmenter, coronal):
    image, truth = coronal
    result = segmenter.segment(image)
    for side in ("right", "left"):
        assert np.linalg.norm(np.subtract(getattr(result.heads, side), getattr(HEADS, side))) < 5
    given = segmenter.segment(image, HEADS)
    assert given.heads == HEADS
    for value in (1, 2, 3, 4):
        assert dice(array(result.labels) == value, array(given.labels) == value) > 0.97
    assert dice(array(result.classes) == FEMUR, array(truth) == FEMUR) > 0.97


def test_confidence_is_a_probability_and_zero_where_the_network_did_not_look(segmenter):
    # Wider and higher than the crop's 375 × 240 mm.
    image, _ = scene(blank(CORONAL, (2.5, 2.5, 5.0), (450, FIELD_OF_VIEW[1], 330)))
    result = segmenter.segment(image, HEADS)
    confidence, classes = array(result.confidence), array(result.classes)
    x, _, z = np.moveaxis(positions(image), -1, 0)
    inside = (np.abs(x) < 375 / 2 - 3) & (np.abs(z) < 240 / 2 - 3)
    outside = (np.abs(x) > 375 / 2 + 3) | (np.abs(z) > 240 / 2 + 3)
    assert confidence.dtype == np.float32
    assert confidence.min() == 0
    assert confidence.max() <= 1
    assert (confidence[outside] == 0).all()
    assert (classes[outside] == 0).all()
    assert (confidence[inside] > 1 / 3 - 1e-6).all()
    # Surest in the middle of things, least sure at outlines.
    assert confidence[distance(image, HEADS.right) < 15].min() > 0.99
    assert confidence[np.abs(distance(image, HEADS.right) - 24) < 1].mean() < 0.95


def positions(image: sitk.Image) -> np.ndarray:
    """LPS of every voxel (z, y, x, 3)."""
    z, y, x = np.indices(image.GetSize()[::-1])
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([x, y, z], axis=-1) @ steps.T + np.array(image.GetOrigin())


def test_the_raw_result_keeps_what_the_clean_up_removes(segmenter, coronal):
    image, _ = coronal
    voxels = array(image)
    stray = distance(image, (0.0, 0.0, -40.0)) < 6  # 0.9 ml, less than any bone
    voxels[stray] = BRIGHT
    with_stray = sitk.GetImageFromArray(voxels)
    with_stray.CopyInformation(image)
    result = segmenter.segment(with_stray, HEADS)
    assert (array(result.classes)[stray] == FEMUR).any()
    assert (array(result.labels)[stray] == 0).all()
    assert (array(result.classes)[array(result.labels) > 0] > 0).all()


def test_notices_reach_the_result(segmenter):
    image, _ = scene(blank(CORONAL, (2.0, 2.0, 5.0)), sides=("right",))
    result = segmenter.segment(image, FemoralHeads(HEADS.right, None))
    assert "one_hip" in [notice.kind for notice in result.notices]
    assert all(notice.sentence.endswith(".") for notice in result.notices)
    labels = array(result.labels)
    assert {1, 3} <= set(np.unique(labels))
    assert not {2, 4} & set(np.unique(labels))


def test_a_second_volume_is_segmented_as_by_a_fresh_segmenter(package, segmenter, coronal):
    first, _ = coronal
    second, _ = scene(blank(np.eye(3), (2.0, 2.0, 4.0)))
    segmenter.segment(first, HEADS)
    used, fresh = segmenter.segment(second, HEADS), HipSegmenter(package, "cpu", FP32).segment(second, HEADS)
    for name in ("labels", "classes", "confidence"):
        assert (array(getattr(used, name)) == array(getattr(fresh, name))).all()
    assert used.fallbacks == fresh.fallbacks == ()
    assert (used.device, used.precision) == ("cpu", "fp32")


def test_the_input_is_not_changed(segmenter, coronal):
    image, _ = coronal
    before = array(image).copy()
    segmenter.segment(image, HEADS)
    assert (array(image) == before).all()


def test_progress_passes_every_stage_once_and_ends_at_one(segmenter, coronal):
    calls: list[tuple[str, float]] = []
    result = segmenter.segment(coronal[0], HEADS, progress=lambda stage, share: calls.append((stage, share)))
    shares = [share for _, share in calls]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    assert list(dict.fromkeys(stage for stage, _ in calls)) == list(STAGES) == list(result.seconds)
    assert sum(STAGES.values()) == pytest.approx(1)
    assert all(seconds >= 0 for seconds in result.seconds.values())


@pytest.mark.parametrize("stage", ["finding the hips", "preparing", "segmenting", "mapping back"])
def test_cancellation_ends_each_stage(segmenter, coronal, stage):
    reached: list[str] = []

    def cancelled() -> bool:
        return stage in reached

    with pytest.raises(HipError) as raised:
        segmenter.segment(coronal[0], HEADS, lambda name, share: reached.append(name), cancelled)
    assert raised.value.kind == "cancelled"
    assert reached[-1] == stage
    if stage == "segmenting":
        assert reached.count(stage) == 1, "a batch was computed after the cancellation"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda image: image * 0, "constant"),
        (lambda image: sitk.Cast(image, sitk.sitkFloat32) / 0, "not_finite"),
        (lambda image: image[:, :, :1], "not_3d"),
        (lambda image: sitk.Compose(image, image), "not_scalar"),
        (as_ct, "ct_given"),
        (lambda image: sitk.OtsuThreshold(sitk.SmoothingRecursiveGaussian(image, 3.0), 0, 7), "labels_given"),
    ],
    ids=["constant", "NaN", "2-D", "vector", "CT", "label map"],
)
def test_what_cannot_be_segmented_is_refused(segmenter, coronal, make, kind):
    with pytest.raises(HipError) as raised:
        segmenter.segment(make(coronal[0]), HEADS)
    assert raised.value.kind == kind


def test_an_image_without_hips_is_refused(segmenter):
    grid = blank(CORONAL, (3.0, 3.0, 6.0))
    x, _, z = np.moveaxis(positions(grid), -1, 0)
    image = sitk.GetImageFromArray((500 + x + z).astype(np.float32))
    image.CopyInformation(grid)
    with pytest.raises(HipError) as raised:
        segmenter.segment(image)
    assert raised.value.kind == "no_hip"


@pytest.mark.parametrize(
    "heads",
    [
        FemoralHeads(None, None),
        FemoralHeads((-85.0, 0.0, 400.0), None),
        FemoralHeads(HEADS.left, HEADS.right),
        FemoralHeads(HEADS.right, (HEADS.right[0] + 3, *HEADS.right[1:])),
        FemoralHeads(HEADS.right, HEADS.right),
    ],
    ids=["none", "outside", "exchanged", "both in one hip", "the same twice"],
)
def test_points_that_cannot_be_femoral_heads_are_refused(segmenter, coronal, heads):
    with pytest.raises(HipError) as raised:
        segmenter.segment(coronal[0], heads)
    assert raised.value.kind == "bad_points"


def test_a_bad_package_or_device_is_refused_at_the_start(package, tmp_path):
    with pytest.raises(HipError) as raised:
        HipSegmenter(tmp_path / "none.hipmodel")
    assert raised.value.kind == "missing_file"
    with pytest.raises(HipError) as raised:
        HipSegmenter(package, "quantum")
    assert raised.value.kind == "unknown_device"
