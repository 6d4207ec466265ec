"""Where the femoral heads of a segmentation are: of a femur's parts, the largest ball fits into its head."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.anatomy.sphere import fit_sphere
from HipICMSCLib.common.voxels import points_of

#: A femur to speak of.
_LEAST_ML = 5.0
#: The ball within a head, from that of a head which is cut or outlined too narrowly to a large one.
_RADII_MM = (12.0, 34.0)
#: How far the hip bone is from that ball at most: joint space, cortex and what slices blur.
_LARGEST_GAP_MM = 12.0
#: Two heads lie side by side, so far apart at least, and so much higher or further back at most.
LEAST_APART_MM, _LARGEST_OFFSET_MM = 90.0, 60.0
#: The surface about a ball is fitted out to so many times its radius; a sphere that is no head's is not believed.
_FITTED_TIMES, _LARGEST_SHIFT_MM = 1.35, 8.0
#: Hip bone about a head tells its side, for it lies towards the middle; if there is enough of it, clearly on one side.
_ABOUT_MM, _ENOUGH_ML, _CLEARLY_MM = 60.0, 15.0, 8.0


@dataclass(frozen=True)
class _Ball:
    """The largest ball within a component of the femur: centre (LPS) and radius, mm."""

    centre: np.ndarray
    radius: float


def heads_of_bones(classes: sitk.Image) -> FemoralHeads:
    """
    Args:
        classes: integer image, 0 background, 1 hip bone, 2 femur; any orientation. Strays do no harm.

    Returns:
        The centres, LPS mm; None on a side where no joint is in view, on both where none is.
    """
    array = sitk.GetArrayViewFromImage(classes)
    hip = array == HIP_BONE
    if not hip.any():
        return FemoralHeads(None, None)
    hip_points = _points(classes, np.argwhere(hip)[::7])
    balls = [
        ball
        for ball in _balls(array == FEMUR, classes)
        if np.linalg.norm(hip_points - ball.centre, axis=1).min() <= ball.radius + _LARGEST_GAP_MM
    ]
    pairs = [pair for pair in itertools.combinations(balls, 2) if _are_a_pair(*pair)]
    if pairs:
        right, left = sorted(max(pairs, key=lambda pair: pair[0].radius + pair[1].radius), key=lambda b: b.centre[0])
        return FemoralHeads(tuple(map(float, right.centre)), tuple(map(float, left.centre)))
    if not balls:
        return FemoralHeads(None, None)
    only = max(balls, key=lambda ball: ball.radius).centre
    point = tuple(map(float, only))
    side = side_of_head(point, hip, classes) or side_in_scanner(only)
    return FemoralHeads(point, None) if side == "right" else FemoralHeads(None, point)


def side_of_head(head: tuple[float, float, float], hip: np.ndarray, image: sitk.Image) -> str | None:
    """On which side of the patient the only head of an image is, as far as the hip bone about it tells.

    Args:
        head: its centre, LPS mm.
        hip: bool, where hip bone is (z, y, x) in ``image``.
    """
    centre, voxel_ml = np.array(head), float(np.prod(image.GetSpacing())) / 1000
    points = _points(image, np.argwhere(hip))
    # Above the head the ilium spreads to both sides.
    not_above = points[points[:, 2] <= centre[2]]
    return side_told_by(centre, not_above, voxel_ml) or side_told_by(centre, points, voxel_ml)


def side_told_by(place: np.ndarray, hip_points: np.ndarray, voxel_ml: float) -> str | None:
    """The patient's side on which a femur is by the hip bone near it, which lies towards the middle; None where too
    little of it was found, or as much on either side.

    Args:
        place: the femur's head, or its middle, LPS mm.
        hip_points: voxels of hip bone, (n, 3), LPS mm.
    """
    near = hip_points[np.linalg.norm(hip_points - place, axis=1) < _ABOUT_MM]
    if len(near) * voxel_ml < _ENOUGH_ML:
        return None
    to_the_left = float(near[:, 0].mean() - place[0])
    if abs(to_the_left) < _CLEARLY_MM:
        return None
    return "right" if to_the_left > 0 else "left"


def side_in_scanner(place: np.ndarray) -> str:
    """The side if the scanner's middle were the patient's, which is no more than likely."""
    return "right" if place[0] < 0 else "left"


def _points(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """LPS points (n, 3), mm, of array indices (n, 3; z, y, x)."""
    return points_of(image, indices[:, ::-1])


def _balls(femur: np.ndarray, image: sitk.Image) -> list[_Ball]:
    components, count = ndimage.label(femur)
    sizes = np.bincount(components.ravel(), minlength=count + 1) * np.prod(image.GetSpacing()) / 1000
    found = []
    for value, box in enumerate(ndimage.find_objects(components), start=1):
        if sizes[value] < _LEAST_ML:
            continue
        # What lies beyond the image may be bone as well: only a surface that is seen ends a ball.
        mask = np.pad(components[box] == value, 1, mode="edge")
        corner = np.array([axis.start for axis in box]) - 1
        depth = ndimage.distance_transform_edt(mask, sampling=image.GetSpacing()[::-1])[(slice(1, -1),) * 3]
        deepest = np.array(np.unravel_index(depth.argmax(), depth.shape))
        ball = _Ball(_points(image, (corner + 1 + deepest)[None])[0], float(depth.max()))
        if _RADII_MM[0] <= ball.radius <= _RADII_MM[1]:
            surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
            found.append(_fitted(ball, _points(image, corner + np.argwhere(surface))))
    return found


def _fitted(ball: _Ball, surface: np.ndarray) -> _Ball:
    """The sphere through the surface about a ball, where it is like that ball."""
    near = surface[np.linalg.norm(surface - ball.centre, axis=1) <= _FITTED_TIMES * ball.radius]
    sphere = fit_sphere(near)
    if sphere is None or not _RADII_MM[0] <= sphere.radius <= _RADII_MM[1]:
        return ball
    is_like = np.linalg.norm(sphere.centre - ball.centre) <= _LARGEST_SHIFT_MM
    return _Ball(sphere.centre, ball.radius) if is_like else ball


def _are_a_pair(first: _Ball, second: _Ball) -> bool:
    across, *other = np.abs(first.centre - second.centre)
    return bool(across >= LEAST_APART_MM and max(other) <= _LARGEST_OFFSET_MM)
