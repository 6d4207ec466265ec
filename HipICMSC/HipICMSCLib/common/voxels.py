"""Where the voxels of an image lie, LPS in mm."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def steps_of(image: sitk.Image) -> np.ndarray:
    """(3, 3), by column: from a voxel to the next along each axis (x, y, z) of the image."""
    return np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())


def points_of(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Points (n, 3) of indices (n, 3; x, y, z)."""
    return indices @ steps_of(image).T + np.array(image.GetOrigin())
