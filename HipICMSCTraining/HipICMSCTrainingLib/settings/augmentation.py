"""How far slices are deformed at random (paper: flip, contrast, scaling; the rest is ours)."""

from __future__ import annotations

from dataclasses import dataclass

from HipICMSCLib.common.errors import HipError


@dataclass(frozen=True)
class AugmentationSettings:
    """Half-widths of uniform distributions about "unchanged"; 0 switches one off. What a training on slabs makes of
    CT varies by its own settings (simulation.…) instead.

    Attributes:
        flip: mirror half of the slices, left to right; of slabs those of MRIs.
        scaling: slices are enlarged by exp(s) with s within ± this; of slabs those of corrected MRIs.
        rotation_deg: slices are rotated in their plane by up to this to either side; of slabs those of corrected MRIs.
        shift: slices are moved by up to this fraction of their height and width; of slabs those of corrected MRIs.
        contrast: intensities v in [0, 1] become v^exp(c) with c within ± this; of slabs those of corrected MRIs.

    Raises:
        HipError: ``bad_setting`` for a number below 0.
    """

    flip: bool = True
    scaling: float = 0.1
    rotation_deg: float = 5.0
    shift: float = 0.04
    contrast: float = 0.15

    def __post_init__(self) -> None:
        for name in ("scaling", "rotation_deg", "shift", "contrast"):
            if getattr(self, name) < 0:
                raise HipError("bad_setting", f"augmentation.{name} is {getattr(self, name)}; give a number from 0.")
