"""The linear rescaling to [-1, 1] that training and inference share (method.md, Data)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError

Modality = Literal["CT", "MR"]

#: What stands where a volume has no voxels: the same in both domains, so that no discriminator can tell them by it.
PADDING = -1.0


@dataclass(frozen=True)
class IntensitySettings:
    """CT has a unit, so its window is fixed; MRI has none, so its range is taken from the volume (never the slice).

    Attributes:
        ct_window_hu: the Hounsfield units that become -1 and +1; what lies beyond is clipped.
        mr_percentiles: the percentiles of an MRI's intensities that become -1 and +1; what lies beyond is clipped.

    Raises:
        HipError: ``bad_setting`` for a range that is none.
    """

    ct_window_hu: tuple[float, float] = (-200.0, 1000.0)
    mr_percentiles: tuple[float, float] = (0.5, 99.5)

    def __post_init__(self) -> None:
        lowest, highest = self.ct_window_hu
        if not -math.inf < lowest < highest < math.inf:
            raise HipError("bad_setting", "intensity.ct_window_hu are two numbers, the lower one first.")
        lowest, highest = self.mr_percentiles
        if not 0 <= lowest < highest <= 100:
            raise HipError("bad_setting", "intensity.mr_percentiles are two numbers of 0 to 100, the lower one first.")


def intensity_range(voxels: np.ndarray, modality: Modality, settings: IntensitySettings) -> tuple[float, float]:
    """The two intensities that become -1 and +1; NaN marks voxels that the image does not have."""
    if modality == "CT":
        return settings.ct_window_hu
    lowest, highest = np.nanpercentile(voxels, settings.mr_percentiles)
    return float(lowest), float(highest)


def rescale(voxels: np.ndarray, modality: Modality, settings: IntensitySettings) -> np.ndarray:
    """Map intensities of one whole volume to float32 in [-1, 1]; NaN becomes :data:`PADDING`.

    Args:
        voxels: any shape, HU for CT, arbitrary units for MR.
    """
    lowest, highest = intensity_range(voxels, modality, settings)
    scaled = np.clip((voxels - lowest) * (2.0 / max(highest - lowest, 1e-6)) - 1.0, -1.0, 1.0)
    scaled[np.isnan(scaled)] = PADDING
    return scaled.astype(np.float32, copy=False)


def without_unit(image: sitk.Image) -> sitk.Image:
    """The same picture with intensities of 0 to 100, which nothing takes for Hounsfield units. To an MRI, whose range
    is taken from the volume, it makes no difference."""
    return sitk.RescaleIntensity(sitk.Cast(image, sitk.sitkFloat32), 0.0, 100.0)
