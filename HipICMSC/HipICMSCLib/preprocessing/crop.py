"""From a volume to what the networks read. Training, inference and evaluation all pass through here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.preprocessing.geometry import CropSettings, Grid, coronal_slices, crop_grid, onto_grid
from HipICMSCLib.preprocessing.intensity import IntensitySettings, Modality, rescale


@dataclass(frozen=True)
class PreparedVolume:
    """A volume as coronal slices.

    Attributes:
        grid: where the slices lie in the world (LPS).
        slices: float32 in [-1, 1], (slice front to back, row head to foot, column right to left).
        covered: bool, same shape: voxels that the input really has; elsewhere slices hold the padding value.
        position_mm: each slice's distance behind the femoral heads' midpoint (negative: in front of it).
    """

    grid: Grid
    slices: np.ndarray
    covered: np.ndarray
    position_mm: np.ndarray


def prepare(
    image: sitk.Image, heads: FemoralHeads, modality: Modality, crop: CropSettings, intensity: IntensitySettings
) -> PreparedVolume:
    """Resample, crop about the femoral heads and rescale (method.md, Data)."""
    centre = heads.midpoint()
    grid = crop_grid(image, centre, crop)
    voxels = coronal_slices(onto_grid(image, grid))
    front_to_back = np.array(grid.direction).reshape(3, 3)[:, 1]
    first = float(front_to_back @ (np.array(grid.origin) - np.array(centre)))
    return PreparedVolume(
        grid=grid,
        slices=rescale(voxels, modality, intensity),
        covered=~np.isnan(voxels),
        position_mm=first + np.arange(grid.size[1]) * grid.spacing[1],
    )
