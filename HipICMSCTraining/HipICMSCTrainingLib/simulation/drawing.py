"""Chance as the steps of the simulation need it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor


def drawn_name(shares: Mapping[str, float], random: np.random.Generator) -> str:
    """One of the names, as often as its share says."""
    values = np.array(list(shares.values()))
    return str(random.choice(list(shares), p=values / values.sum()))


def smooth_field(
    shape: tuple[int, int], knots: int | tuple[int, int], amplitude: float, random: np.random.Generator
) -> Tensor:
    """(rows, columns) of a normal field that varies over a ``knots``-th of its extent, down and across."""
    down, across = (knots, knots) if isinstance(knots, int) else knots
    coarse = torch.from_numpy(random.normal(0, amplitude, (1, 1, down, across)).astype(np.float32))
    return nnf.interpolate(coarse, shape, mode="bicubic", align_corners=True)[0, 0]
