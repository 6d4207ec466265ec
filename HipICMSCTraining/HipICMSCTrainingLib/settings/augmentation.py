"""How far slices are deformed at random (paper: flip, contrast, scaling; the rest is ours)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AugmentationSettings:
    """Half-widths of uniform distributions about "unchanged"; 0 switches one off.

    Attributes:
        flip: mirror half of the slices, left to right.
        scaling: slices are enlarged by exp(s) with s within ± this.
        rotation_deg: slices are rotated in their plane by up to this to either side.
        shift: slices are moved by up to this fraction of their height and width.
        contrast: intensities v in [0, 1] become v^exp(c) with c within ± this.
    """

    flip: bool = True
    scaling: float = 0.1
    rotation_deg: float = 5.0
    shift: float = 0.04
    contrast: float = 0.15
