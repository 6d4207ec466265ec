"""The pictures show the bones where they are: right side at the left, head up, true proportions, named colours."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.results.overlay import PIXEL_MM, write_overlays
from PIL import Image

CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
FLIPPED = np.diag([-1.0, 1.0, -1.0])
HEADS = FemoralHeads((-60.0, 0.0, 0.0), (60.0, 10.0, 0.0))


def hips(direction: np.ndarray, spacing: tuple[float, float, float]) -> tuple[sitk.Image, sitk.Image]:
    """A grey image, 240 mm wide, and its labels: balls of 20 mm radius, hip bones (1, 2) 50 mm above heads (3, 4)."""
    labels = sitk.Image([round(240 / s) for s in spacing], sitk.sitkUInt8)
    labels.SetSpacing(spacing)
    labels.SetDirection(direction.ravel())
    labels.SetOrigin(-direction @ ((np.array(labels.GetSize()) - 1) / 2 * spacing))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in reversed(labels.GetSize())), indexing="ij")[::-1], -1)
    points = index * spacing @ direction.T + labels.GetOrigin()
    array = np.zeros(points.shape[:3], np.uint8)
    for value, centre in ((1, (-60, 0, 50)), (2, (60, 0, 50)), (3, HEADS.right), (4, HEADS.left)):
        array[np.linalg.norm(points - np.array(centre), axis=-1) <= 20] = value
    painted = sitk.GetImageFromArray(array)
    painted.CopyInformation(labels)
    image = sitk.GetImageFromArray((100 * np.clip(points[..., 2] + 120, 0, 240)).astype(np.int16))  # brighter upwards
    image.CopyInformation(labels)
    return image, painted


def contour(path, value: int) -> np.ndarray:
    """Pixels (n, 2) as (column, row) in the full colour of a segment, above the legend."""
    rgb = np.asarray(Image.open(path).convert("RGB"))[: round(240 / PIXEL_MM)]
    color = [round(255 * channel) for channel in SEGMENTS[value - 1].color]
    return np.argwhere((rgb == color).all(axis=-1))[:, ::-1]


@pytest.mark.parametrize(
    ("direction", "spacing"), [(CORONAL, (1.0, 1.0, 5.2)), (FLIPPED, (1.5, 3.0, 2.0))], ids=["thick coronal", "flipped"]
)
def test_bones_are_drawn_where_they_are_in_every_plane(tmp_path, direction, spacing):
    coronal, axial, sagittal = write_overlays(*hips(direction, spacing), HEADS, tmp_path, "case")
    assert [p.name for p in (coronal, axial, sagittal)] == ["case-coronal.png", "case-axial.png", "case-sagittal.png"]

    def where(path, value):  # of the contour's middle, in mm from the picture's middle, to the right and down
        pixels = contour(path, value)
        return (pixels.min(axis=0) + pixels.max(axis=0) + 1) / 2 * PIXEL_MM - 120

    near = pytest.approx
    tolerance = max(spacing)
    assert where(coronal, 1) == near((-60, -50), abs=tolerance)  # the patient's right, above the head
    assert where(coronal, 2) == near((60, -50), abs=tolerance)
    assert where(coronal, 3) == near((-60, 0), abs=tolerance)
    assert where(axial, 4) == near((60, 10), abs=tolerance)  # the left head lies 10 mm farther back, so lower
    assert where(sagittal, 3) == near((0, 0), abs=tolerance)
    assert where(sagittal, 1) == near((0, -50), abs=tolerance)
    assert len(contour(sagittal, 4)) == 0


def test_a_ball_in_thick_slices_is_drawn_round(tmp_path):
    _, axial, sagittal = write_overlays(*hips(CORONAL, (1.0, 1.0, 5.2)), HEADS, tmp_path, "case")
    for path in (axial, sagittal):
        width, height = np.ptp(contour(path, 3), axis=0) * PIXEL_MM
        assert width == pytest.approx(40, abs=5.2) and height == pytest.approx(40, abs=5.2)


def test_head_is_up_and_the_image_shines_through(tmp_path):
    coronal, *_ = write_overlays(*hips(CORONAL, (1.0, 1.0, 5.2)), HEADS, tmp_path, "case")
    gray = np.asarray(Image.open(coronal).convert("L")).astype(int)
    middle = gray.shape[1] // 2
    assert gray[20, middle] > gray[170, middle] + 60 > gray[320, middle] + 120


def test_without_heads_the_planes_go_through_the_bones(tmp_path):
    image, labels = hips(CORONAL, (1.0, 1.0, 5.2))
    only_left = sitk.Mask(labels, (labels == 2) | (labels == 4))
    paths = write_overlays(image, only_left, FemoralHeads(None, None), tmp_path, "case")
    assert all(len(contour(path, 2)) + len(contour(path, 4)) for path in paths)
    nothing = write_overlays(image, labels * 0, FemoralHeads(None, None), tmp_path, "empty")
    assert all(path.exists() for path in nothing)
