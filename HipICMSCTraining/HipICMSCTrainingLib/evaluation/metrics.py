"""How well a predicted bone agrees with the true one (method.md, Metrics).

Masks and label maps are 3-D SimpleITK images on the same grid; distances are millimetres and follow the spacing (the
direction turns both bones alike and changes no distance). Points are LPS, in millimetres.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.voxels import box_of
from scipy import ndimage
from scipy.spatial import KDTree

# Printed beside every table: one-voxel shifts score differently under other definitions.
DEFINITIONS = {
    "dice": "2·|P∩T| / (|P|+|T|) over the voxels of the 3-D volume.",
    "asd_mm": "Symmetric average surface distance: mean over the pooled distances of both surfaces, each from a border "
    "voxel of one mask to the nearest border voxel of the other; border = mask XOR its 6-neighbour erosion, the "
    "outside of the image counting as background (MedPy >= 0.5.2 `assd`).",
    "hd95_mm": "95th percentile of the same pooled distances (MedPy `hd95`), not the larger of the two directed ones.",
    "surface_dice_1mm": "Share of the border voxels of both masks that lie within 1 mm of the other border; every "
    "border voxel counts the same.",
    "surface_dice_3mm": "The same within 3 mm.",
}


@dataclass(frozen=True)
class MaskScores:
    """Agreement of one predicted mask with the true one, each number as in ``DEFINITIONS``.

    None stands for a number that does not exist: a distance where a mask is empty, an overlap where both are.
    """

    dice: float | None
    asd_mm: float | None
    hd95_mm: float | None
    surface_dice_1mm: float | None
    surface_dice_3mm: float | None


METRICS = tuple(field.name for field in fields(MaskScores))


def score_mask(prediction: sitk.Image, truth: sitk.Image, counted: sitk.Image | None = None) -> MaskScores:
    """Compare two masks on the same grid.

    Args:
        prediction: nonzero inside the predicted bone.
        truth: nonzero inside the true bone.
        counted: nonzero where voxels count; None counts all. Voxels outside are left out of both masks for Dice.
            Borders are those of the whole masks: only border voxels that count are measured, to the whole other
            border, so that the edge of the counted region never becomes a surface.
    """
    predicted, true = _voxels(prediction), _voxels(truth)
    counts = np.ones_like(true) if counted is None else _voxels(counted)
    # Outside the box around both masks there is nothing to score; on its faces the neighbours outside are background,
    # so the borders are the same as in the whole volume.
    box = box_of(predicted | true) or (slice(0, 0),) * predicted.ndim
    predicted, true, counts = predicted[box], true[box], counts[box]

    sizes = np.count_nonzero(predicted & counts), np.count_nonzero(true & counts)
    if sum(sizes) == 0:
        return MaskScores(None, None, None, None, None)
    dice = float(2 * np.count_nonzero(predicted & true & counts) / sum(sizes))
    if min(sizes) == 0:
        return MaskScores(dice, None, None, 0.0, 0.0)

    spacing = truth.GetSpacing()[::-1]
    distances = _pooled_surface_distances(predicted, true, counts, spacing)
    if len(distances) == 0:  # both surfaces lie where nothing counts
        return MaskScores(dice, None, None, None, None)
    return MaskScores(
        dice,
        float(distances.mean()),
        float(np.percentile(distances, 95)),
        _share_within(distances, 1.0),
        _share_within(distances, 3.0),
    )


def largest_components(labels: sitk.Image) -> sitk.Image:
    """Keep of each class its largest component and, as a pelvis has two sides, the next one if it is a bone too.

    The next one stays when it has at least a quarter of the largest one's voxels. Voxels that share a corner belong
    together, as thick slices often meet only there.

    Args:
        labels: 1 hip bone, 2 femur.
    """
    kept = sitk.Image(labels.GetSize(), sitk.sitkUInt8)
    kept.CopyInformation(labels)
    for value in (HIP_BONE, FEMUR):
        components = sitk.RelabelComponent(sitk.ConnectedComponent(labels == value, True))
        sizes = sitk.LabelShapeStatisticsImageFilter()
        sizes.Execute(components)
        bones = [
            n for n in (1, 2) if n in sizes.GetLabels() and 4 * sizes.GetNumberOfPixels(n) >= sizes.GetNumberOfPixels(1)
        ]
        for bone in bones:
            kept += sitk.Cast(components == bone, sitk.sitkUInt8) * value
    return kept


def within_balls(grid: sitk.Image, centres: Iterable[tuple[float, float, float]], radius_mm: float) -> sitk.Image:
    """Mask on ``grid`` of the voxels whose centre lies at most ``radius_mm`` from any of the LPS points."""
    # The direction matrix only turns: distances along the image's own axes are those in the world.
    inside = np.zeros(grid.GetSize()[::-1], bool)
    for centre in centres:
        index = grid.TransformPhysicalPointToContinuousIndex(centre)
        x, y, z = (
            ((np.arange(size) - position) * spacing) ** 2
            for size, position, spacing in zip(grid.GetSize(), index, grid.GetSpacing(), strict=True)
        )
        inside |= z[:, None, None] + y[:, None] + x <= radius_mm**2
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(grid)
    return mask


def _pooled_surface_distances(
    predicted: np.ndarray, true: np.ndarray, counts: np.ndarray, spacing: tuple[float, ...]
) -> np.ndarray:
    """Distances of the counted border voxels of each mask to the whole border of the other, in one array."""
    borders = _border(predicted), _border(true)
    points = [np.argwhere(border) * spacing for border in borders]
    measured = [np.argwhere(border & counts) * spacing for border in borders]
    return np.concatenate([KDTree(points[1]).query(measured[0])[0], KDTree(points[0]).query(measured[1])[0]])


def _share_within(distances: np.ndarray, tolerance_mm: float) -> float:
    # Spacings come out of single-precision file headers: a neighbour at exactly the tolerance belongs to it.
    return float(np.mean(distances <= tolerance_mm + 1e-5))


def _border(mask: np.ndarray) -> np.ndarray:
    """The mask's voxels with a 6-neighbour outside it; beyond the array there is background."""
    return mask ^ ndimage.binary_erosion(mask)


def _voxels(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayViewFromImage(mask) != 0
