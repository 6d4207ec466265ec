"""Where the femoral heads of a segmentation are: what of a femur faces a hip bone is a piece of a sphere."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.anatomy.sphere import fit_sphere

#: A femur to speak of, and how far from the hip bone its head's surface is at most; thick slices blur both.
_LEAST_ML = 5.0
_FACING_MM = 6.0
#: Of adults' heads with their cartilage, and how far from round what was segmented may be.
_RADII_MM = (14.0, 34.0)
_LARGEST_RESIDUAL_MM = 3.0
#: Hip bone about a head tells its side: it lies towards the middle.
_ABOUT_MM = 60.0


def heads_of_bones(classes: sitk.Image) -> FemoralHeads:
    """
    Args:
        classes: integer image, 0 background, 1 hip bone, 2 femur; any orientation.

    Returns:
        The centres, LPS mm; None on a side where no joint is in view, on both where none is.
    """
    array = sitk.GetArrayViewFromImage(classes)
    points_to_lps = _lps_of(classes)
    spacing = np.array(classes.GetSpacing()[::-1])
    components, count = ndimage.label(array == FEMUR)
    sizes = np.bincount(components.ravel(), minlength=count + 1) * np.prod(spacing) / 1000
    hip = array == HIP_BONE
    if not hip.any():
        return FemoralHeads(None, None)
    # Both neighbours of a gap of one slice count as facing each other.
    distance = ndimage.distance_transform_edt(~hip, sampling=spacing)
    reach = max(_FACING_MM, 1.5 * float(spacing.max()))
    found = []
    for value in sorted(range(1, count + 1), key=lambda v: -sizes[v]):
        if sizes[value] < _LEAST_ML:
            break
        mask = components == value
        surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
        sphere = fit_sphere(points_to_lps(np.argwhere(surface & (distance <= reach))))
        if sphere and _RADII_MM[0] <= sphere.radius <= _RADII_MM[1] and sphere.residual <= _LARGEST_RESIDUAL_MM:
            found.append(sphere.centre)
    return _by_side(found[:2], points_to_lps(np.argwhere(hip)[::20]))


def _by_side(centres: list[np.ndarray], hip_points: np.ndarray) -> FemoralHeads:
    if len(centres) == 2 and abs(centres[0][0] - centres[1][0]) > 2 * _RADII_MM[0]:
        right, left = sorted(centres, key=lambda centre: centre[0])
        return FemoralHeads(tuple(map(float, right)), tuple(map(float, left)))
    if not centres:
        return FemoralHeads(None, None)
    head = centres[0]
    near = hip_points[np.linalg.norm(hip_points - head, axis=1) < _ABOUT_MM]
    is_right = len(near) == 0 or near[:, 0].mean() > head[0]
    point = tuple(map(float, head))
    return FemoralHeads(point, None) if is_right else FemoralHeads(None, point)


def _lps_of(image: sitk.Image):
    """A function from array indices (n, 3) to LPS points (n, 3), mm."""
    steps = (np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())).T[::-1]
    origin = np.array(image.GetOrigin())
    return lambda indices: origin + indices @ steps
