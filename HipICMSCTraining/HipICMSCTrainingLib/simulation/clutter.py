"""Step 4e, what the labelled CTs do not show: loops of bowel in fat, folds of skin, muscle marbled by fat.

Without it, F_t has never seen such shapes and takes some of them for bone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

_HOW_OFTEN = 0.4
#: Nothing of it lies nearer to hip bone and femur, whose surroundings the CTs do show.
_AWAY_MM = 7.0
#: What is replaced, and what may come there; air gives no signal.
_INTO = {"fat": ("air", "fibrous", "muscle", "organ", "fluid"), "muscle": ("fat", "fibrous", "air")}


def with_clutter(shares: dict[str, Tensor], section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Now and then part of the fat or muscle away from the bones becomes another material.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    place = str(random.choice(list(_INTO), p=[0.7, 0.3]))
    material = str(random.choice(_INTO[place]))
    drawn = _folds if random.random() < 0.5 else _loops
    away = torch.minimum(section.hip, section.femur) > _AWAY_MM
    there = away & (shares[place] > 0.5) & drawn(section.hu.shape[-2:], random)
    changed = {name: share.masked_fill(there, 0) for name, share in shares.items()}
    if material in changed:
        changed[material] = changed[material].masked_fill(there, 1)
    return changed


def _folds(size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Curved bands of 1 to 6 pixels: where a smooth field changes its sign."""
    knots = int(random.integers(3, 10))
    steepness = knots / min(size)
    return smooth_field(size, knots, 1.0, random).abs() < random.uniform(0.5, 3) * steepness


def _loops(size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Blobs from a few pixels to some centimetres."""
    return smooth_field(size, int(random.integers(8, 30)), 1.0, random) > random.uniform(0.6, 1.6)
