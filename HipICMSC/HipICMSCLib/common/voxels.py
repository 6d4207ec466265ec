"""Where the voxels of an image lie, LPS in mm, and those of a mask in their array."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def steps_of(image: sitk.Image) -> np.ndarray:
    """(3, 3), by column: from a voxel to the next along each axis (x, y, z) of the image."""
    return np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())


def patient_axis(image: sitk.Image, axis: int) -> int:
    """The patient axis (0 x, 1 y, 2 z of LPS) to which an image axis belongs; no two belong to one.

    As ITK turns images: in a doubly oblique stack two axes may be nearest to the same one of the patient's.
    """
    of_axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    return next(number for number, ends in enumerate(("RL", "AP", "IS")) if of_axes[axis] in ends)


def points_of(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Points (n, 3) of indices (n, 3; x, y, z)."""
    return indices @ steps_of(image).T + np.array(image.GetOrigin())


def reach_along(spacing: np.ndarray, within_mm: float) -> np.ndarray:
    """How far (mm) along each axis counts as near: in thick slices one and a half of them, for a bone that ends there
    lies in the next one, and a little beside where it was."""
    return np.maximum(within_mm, 1.5 * np.asarray(spacing))


def box_of(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The box that just holds a mask of any dimensions, in a fraction of the time of ``ndimage.find_objects``; None
    where the mask is empty."""
    axes = range(mask.ndim)
    along = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(int(some[0]), int(some[-1]) + 1) for some in along) if along[0].size else None
