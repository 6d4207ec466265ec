"""From a volume to its own slices, all of them: what the slab U-Net reads. No crop and no landmarks are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.voxels import patient_axis
from HipICMSCLib.preprocessing.geometry import PLANES, Grid, onto_grid, slice_axis
from HipICMSCLib.preprocessing.intensity import IntensitySettings, Modality, rescale

Plane = Literal["sagittal", "coronal", "axial"]

#: Where image axes point (columns, rows, slices) in each plane, as SimpleITK names it: heads are up, and on the left is
#: the patient's right, or in sagittal slices the front.
ORIENTATIONS: dict[str, str] = {"sagittal": "PIL", "coronal": "LIP", "axial": "LPS"}


@dataclass(frozen=True)
class SlabSettings:
    """How a volume is read, slice by slice.

    Attributes:
        pixel_mm: size of the pixels that the network reads.
        least_pixels: smaller slices are padded to so many rows and columns. The network's norms look at a whole slice,
            so that one which is all body looks unlike those that it learned from.
        thinnest_mm: slices that lie closer together are resampled to this distance, others are read as acquired.

    Raises:
        HipError: ``bad_setting`` for what are no pixels of a patient.
    """

    pixel_mm: float = 1.0
    least_pixels: int = 1
    thinnest_mm: float = 0.8

    def __post_init__(self) -> None:
        if not 0.2 <= self.pixel_mm <= 10 or not 0.2 <= self.thinnest_mm <= 10:
            raise HipError("bad_setting", "slab.pixel_mm and slab.thinnest_mm are numbers from 0.2 to 10 mm.")
        if not 1 <= self.least_pixels <= 2048:
            raise HipError("bad_setting", "slab.least_pixels is a number from 1 to 2048.")


@dataclass(frozen=True)
class PreparedSlices:
    """A volume as slices of one plane.

    Attributes:
        plane: in which the slices lie, or to which they are nearest.
        grid: where the slices lie in the world (LPS); its voxels are (column, row, slice).
        slices: float32 in [-1, 1], (slice, row, column).
        covered: bool, same shape: voxels that the input really has; elsewhere slices hold the padding value.
    """

    plane: Plane
    grid: Grid
    slices: np.ndarray
    covered: np.ndarray


def acquisition_plane(image: sitk.Image) -> Plane | None:
    """The plane in which an image was acquired as slices; None for a volume of about even voxels."""
    axis = slice_axis(image)
    return None if axis is None else PLANES[patient_axis(image, axis)]


def prepare_slices(
    image: sitk.Image,
    plane: Plane,
    modality: Modality,
    slab: SlabSettings,
    intensity: IntensitySettings,
    multiple: int = 1,
) -> PreparedSlices:
    """Turn, resample within the slices and rescale a whole volume.

    Args:
        plane: the one it was acquired in, or any for a volume of even voxels.
        multiple: rows and columns are padded to a multiple of it.
    """
    grid = slice_grid(image, plane, slab, multiple)
    voxels = sitk.GetArrayFromImage(onto_grid(sitk.DICOMOrient(image, ORIENTATIONS[plane]), grid))
    return PreparedSlices(plane, grid, rescale(voxels, modality, intensity), ~np.isnan(voxels))


def slice_grid(image: sitk.Image, plane: Plane, slab: SlabSettings, multiple: int = 1) -> Grid:
    """Where :func:`prepare_slices` samples an image."""
    oriented = Grid.of(sitk.DICOMOrient(image, ORIENTATIONS[plane]))
    wanted = (slab.pixel_mm, slab.pixel_mm, max(oriented.spacing[2], slab.thinnest_mm))
    spacing, size, first = [], [], []
    for axis, (count, mm, wanted_mm) in enumerate(zip(oriented.size, oriented.spacing, wanted, strict=True)):
        extent = count * mm
        voxels = max(1, math.ceil(extent / wanted_mm - 1e-6))
        if axis < 2:
            voxels = multiple * math.ceil(max(voxels, slab.least_pixels) / multiple)
        spacing.append(wanted_mm)
        size.append(voxels)
        # The outer edge of the first voxel is that of the image's.
        first.append((wanted_mm - mm) / 2)
    direction = np.array(oriented.direction).reshape(3, 3)
    return Grid(
        size=tuple(size),
        spacing=tuple(spacing),
        origin=tuple(float(p) for p in np.array(oriented.origin) + direction @ np.array(first)),
        direction=oriented.direction,
    )
