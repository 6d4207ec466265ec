"""Pictures of a result: the bones drawn over the image in three planes, to be looked at without any viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.files import replacing

PIXEL_MM = 0.7
WINDOW_PERCENTILES = (0.5, 99.5)
FILL_OPACITY = 0.25
TEXT_COLOR = (255, 255, 255)
NOTE = "Research use only, not for diagnosis"


@dataclass(frozen=True)
class _Plane:
    """A patient plane as radiologists look at it: LPS axes along the picture's columns and rows."""

    name: str
    across: tuple[int, int, int]
    down: tuple[int, int, int]
    letters: tuple[str, str]  # at the picture's left and right edge


# The patient's right is at the picture's left; head (coronal, sagittal) and front (axial) are up.
PLANES = (
    _Plane("coronal", (1, 0, 0), (0, 0, -1), ("R", "L")),
    _Plane("axial", (1, 0, 0), (0, 1, 0), ("R", "L")),
    _Plane("sagittal", (0, 1, 0), (0, 0, -1), ("A", "P")),
)


def write_overlays(image: sitk.Image, labels: sitk.Image, heads: FemoralHeads, folder: Path, stem: str) -> list[Path]:
    """Write ``<stem>-coronal.png``, ``-axial.png`` and ``-sagittal.png`` into ``folder`` and return their paths.

    Coronal and axial planes go through the point midway between the heads, the sagittal one through the right head, or
    the left if that is the only one. Image and labels are cut along the patient's axes in square pixels, so oblique
    and anisotropic volumes look as they are.

    Args:
        image: the segmented volume.
        labels: label image on the same grid, values as in `HipICMSCLib.anatomy.segments.SEGMENTS`.
        heads: femoral head centres, LPS, mm; if none is known the planes go through bone near the bones' middle.

    Raises:
        HipError: what `HipICMSCLib.common.files.replacing` raises.
    """
    low, high = np.percentile(sitk.GetArrayViewFromImage(image), WINDOW_PERCENTILES)
    paths = []
    for plane in PLANES:
        grid = _plane_grid(image, plane, _centre(plane, labels, heads))
        gray = (_cut(image, grid, sitk.sitkLinear, float(low)) - low) / max(high - low, 1e-6)
        picture = _drawn(np.clip(gray, 0, 1), _cut(labels, grid, sitk.sitkNearestNeighbor, 0))
        paths.append(Path(folder) / f"{stem}-{plane.name}.png")
        with replacing(paths[-1]) as beside:
            _labelled(picture, plane).save(beside)
    return paths


def drawn_about(
    image: sitk.Image, labels: sitk.Image, point: tuple[float, float, float], plane: str, radius_mm: float
) -> np.ndarray:
    """The labels over the image as :func:`write_overlays` draws them, about one place.

    Args:
        point: LPS, mm, in the middle of the picture.
        plane: coronal, axial or sagittal.
        radius_mm: how far the picture goes to each side; it may end where the volume does.

    Returns:
        (rows, columns, 3), uint8.
    """
    low, high = np.percentile(sitk.GetArrayViewFromImage(image), WINDOW_PERCENTILES)
    grid = _plane_grid(image, next(each for each in PLANES if each.name == plane), np.array(point))
    middle = np.array(grid.TransformPhysicalPointToContinuousIndex(point)[:2])
    size = np.array(grid.GetSize()[:2])
    first = np.clip(np.round(middle - radius_mm / PIXEL_MM), 0, size - 1).astype(int)
    end = np.clip(np.round(middle + radius_mm / PIXEL_MM), first + 1, size).astype(int)
    grid = grid[first[0] : end[0], first[1] : end[1], :]
    gray = (_cut(image, grid, sitk.sitkLinear, float(low)) - low) / max(high - low, 1e-6)
    picture = _drawn(np.clip(gray, 0, 1), _cut(labels, grid, sitk.sitkNearestNeighbor, 0))
    return np.round(255 * picture).astype(np.uint8)


def _centre(plane: _Plane, labels: sitk.Image, heads: FemoralHeads) -> np.ndarray:
    """The LPS point (mm) that a plane goes through."""
    head = heads.right or heads.left
    if head is not None:
        return np.array(head) if plane.name == "sagittal" else heads.midpoint()
    bone = np.argwhere(sitk.GetArrayViewFromImage(labels) != 0)[:, ::-1]
    if not len(bone):
        return np.array(labels.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in labels.GetSize()]))
    # The middle of the bones may lie between them; the bone voxel nearest to it is in view in all three planes.
    away = np.linalg.norm((bone - bone.mean(axis=0)) * labels.GetSpacing(), axis=1)
    return np.array(labels.TransformIndexToPhysicalPoint(bone[away.argmin()].tolist()))


def _plane_grid(image: sitk.Image, plane: _Plane, centre: np.ndarray) -> sitk.Image:
    """An empty one-slice image that shows all of the volume's extent in a plane through ``centre``."""
    size = np.array(image.GetSize())
    corners = np.array(
        [
            image.TransformContinuousIndexToPhysicalPoint((size * corner - 0.5).tolist())
            for corner in np.ndindex(2, 2, 2)
        ]
    )
    across, down = np.array(plane.across, float), np.array(plane.down, float)
    normal = np.cross(across, down)
    start, stop = (corners @ np.array([across, down]).T).min(axis=0), (corners @ np.array([across, down]).T).max(axis=0)
    columns, rows = np.ceil((stop - start) / PIXEL_MM).astype(int).tolist()
    grid = sitk.Image(columns, rows, 1, sitk.sitkUInt8)
    grid.SetSpacing((PIXEL_MM, PIXEL_MM, PIXEL_MM))
    grid.SetDirection(np.column_stack([across, down, normal]).ravel())
    first = start + PIXEL_MM / 2
    grid.SetOrigin(first[0] * across + first[1] * down + (centre @ normal) * normal)
    return grid


def _cut(volume: sitk.Image, grid: sitk.Image, interpolator: int, outside: float) -> np.ndarray:
    cut = sitk.Resample(volume, grid, sitk.Transform(), interpolator, outside, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(cut)[0]


def _drawn(gray: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Grey picture (rows, columns), 0 to 1, with the labels as light fill and full contour: RGB, 0 to 1."""
    rgb = np.repeat(gray[..., None], 3, axis=-1)
    contour = find_boundaries(labels.astype(np.uint8), mode="inner")
    for segment in SEGMENTS:
        inside = labels == segment.value
        rgb[inside] = (1 - FILL_OPACITY) * rgb[inside] + FILL_OPACITY * np.array(segment.color)
        rgb[inside & contour] = segment.color
    return rgb


def _labelled(rgb: np.ndarray, plane: _Plane) -> Image.Image:
    """Add side letters, and below the picture the colours' names and the note."""
    rows, columns = rgb.shape[:2]
    letters, words = ImageFont.load_default(size=22), ImageFont.load_default(size=13)
    line, margin = 18, 6
    picture = Image.new("RGB", (columns, rows + line * (len(SEGMENTS) // 2 + 1) + 2 * margin))
    picture.paste(Image.fromarray(np.round(255 * rgb).astype(np.uint8)))
    draw = ImageDraw.Draw(picture)
    draw.text((margin, rows // 2), plane.letters[0], TEXT_COLOR, letters, anchor="lm")
    draw.text((columns - margin, rows // 2), plane.letters[1], TEXT_COLOR, letters, anchor="rm")
    for number, segment in enumerate(SEGMENTS):
        x, y = margin + (number % 2) * columns // 2, rows + margin + (number // 2) * line
        draw.rectangle((x, y + 3, x + 11, y + 13), tuple(round(255 * channel) for channel in segment.color))
        draw.text((x + 17, y), segment.short_name, TEXT_COLOR, words)
    draw.text((margin, rows + margin + line * (len(SEGMENTS) // 2)), NOTE, TEXT_COLOR, words)
    return picture
