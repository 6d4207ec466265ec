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
from HipICMSCLib.common.voxels import points_of
from scipy import ndimage, optimize
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
    box = _bounding_box(predicted | true)
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


def femoral_head_centres(labels: sitk.Image) -> list[tuple[float, float, float]]:
    """Fit a sphere to each femoral head of a true label map.

    The head is where the femur faces the hip bone: the femur's border voxels within ``_JOINT_MM`` of the hip bone. The
    fit forgives the points that are not on the sphere (rim, fossa, strays of the label).

    Args:
        labels: 1 hip bone, 2 femur, one side or both.

    Returns:
        One LPS point a side, from the patient's right to the left; a side without a joint in view has none.
    """
    hip_bone = _border_points(labels == HIP_BONE)
    femora = _border_points(labels == FEMUR)
    if len(hip_bone) == 0 or len(femora) == 0:
        return []
    to_hip_bone, _ = KDTree(hip_bone).query(femora, distance_upper_bound=_JOINT_MM)
    heads = (_fit_head(side[near]) for side, near in _split_sides(femora, np.isfinite(to_hip_bone)))
    return [head for head in heads if head is not None]


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


# Cartilage on both sides of the joint and the partial volume of a 1 mm CT or a 5 mm MRI; the neck lies farther away.
_JOINT_MM = 8.0
# Largest distance between femora of one side, far below the distance between the two sides.
_SIDE_GAP_MM = 30.0
_FEWEST_HEAD_POINTS = 30
_HEAD_RADIUS_MM = (12.0, 36.0)


def _split_sides(points: np.ndarray, near: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide femur points (n, 3) and their marks at the widest left-right gap, if it is one between two femora."""
    left_right = np.sort(points[:, 0])
    gaps = np.diff(left_right)
    widest = int(gaps.argmax()) if len(gaps) else 0
    if len(gaps) == 0 or gaps[widest] < _SIDE_GAP_MM:
        return [(points, near)]
    right = points[:, 0] <= left_right[widest]
    return [(points[right], near[right]), (points[~right], near[~right])]


def _fit_head(points: np.ndarray) -> tuple[float, float, float] | None:
    """Centre of the sphere through most of the points (n, 3), or None where they show no head."""
    if len(points) < _FEWEST_HEAD_POINTS:
        return None
    # |p|² = 2 p·c + (r² - |c|²) is linear in c: the start for the robust fit.
    solution, *_ = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1), rcond=None)
    start = np.r_[solution[:3], np.sqrt(solution[3] + solution[:3] @ solution[:3])]

    def to_sphere(sphere: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - sphere[:3], axis=1) - sphere[3]

    x, y, z, radius = optimize.least_squares(to_sphere, start, loss="cauchy", f_scale=1.0).x
    smallest, largest = _HEAD_RADIUS_MM
    return (float(x), float(y), float(z)) if smallest <= radius <= largest else None


def _border_points(mask: sitk.Image) -> np.ndarray:
    """LPS positions (n, 3) of the border voxels."""
    return points_of(mask, np.argwhere(_border(_voxels(mask)))[:, ::-1])


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


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else tuple(slice(0, 0) for _ in range(mask.ndim))
