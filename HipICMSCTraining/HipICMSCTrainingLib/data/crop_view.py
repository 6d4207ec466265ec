"""What of a volume lies in the crop that the networks read: where it is, its slices, bones that a border cuts."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR
from HipICMSCLib.common.voxels import points_of
from HipICMSCLib.preprocessing.geometry import CropSettings, crop_grid

from HipICMSCTrainingLib.data.checked_case import BONES

#: Of a bone's cross-section on a border of the image; less may be noise of the contour.
LEAST_CUT_MM2 = 50.0
#: What lies this near to the border of the crop or beyond is lost to the networks anyway.
CROP_MARGIN_MM = 5.0
#: Axis (LPS), end and name of the borders of an image. Every femur is cut at the lower one, so that is no problem.
_BORDERS = (
    (0, 0, "right"),
    (0, -1, "left"),
    (1, 0, "front"),
    (1, -1, "back"),
    (2, 0, "lower"),
    (2, -1, "upper"),
)


def slice_positions(image: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[float, ...]:
    """Of the slices that the networks read, mm behind the femoral heads."""
    grid = crop_grid(image, heads.midpoint(), crop)
    front_to_back = np.array(grid.direction).reshape(3, 3)[:, 1]
    first = float(front_to_back @ (np.array(grid.origin) - heads.midpoint()))
    return tuple(first + grid.spacing[1] * number for number in range(grid.size[1]))


def crop_box(image: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (LPS mm), axes (columns) and half extents (mm) of the crop, whether or not the image fills it."""
    axes = np.array(crop_grid(image, heads.midpoint(), crop).direction).reshape(3, 3)
    return heads.midpoint(), axes, np.array(crop.size) * crop.spacing_mm / 2


def cut_bones(labels: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[tuple[int, str], ...]:
    """Labelled bones that the image cuts within the crop, and at which borders."""
    labels = sitk.DICOMOrient(labels, "LPS")
    values, spacing = sitk.GetArrayViewFromImage(labels), np.array(labels.GetSpacing())
    middle, axes, half = crop_box(labels, heads, crop)
    cuts = []
    for bone in BONES:
        borders = []
        for axis, end, word in _BORDERS:
            if bone == FEMUR and word == "lower":
                continue
            on_border = np.argwhere(np.take(values, end, axis=2 - axis) == bone)[:, ::-1]
            indices = np.insert(on_border, axis, end % labels.GetSize()[axis], axis=1)
            offsets = (points_of(labels, indices) - middle) @ np.linalg.inv(axes).T
            seen = (np.abs(offsets) < half - CROP_MARGIN_MM).all(axis=1).sum()
            if seen * np.prod(np.delete(spacing, axis)) >= LEAST_CUT_MM2:
                borders.append(word)
        if borders:
            cuts.append((bone, " and ".join(borders)))
    return tuple(cuts)
