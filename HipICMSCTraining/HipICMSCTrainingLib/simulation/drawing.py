"""Chance as the steps of the simulation need it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor


def drawn_name(shares: Any, random: np.random.Generator) -> str:
    """The name of a field of a dataclass of shares, as often as its share says."""
    names, values = zip(*asdict(shares).items(), strict=True)
    return str(random.choice(names, p=np.array(values) / sum(values)))


def smooth_field(shape: tuple[int, int], knots: int, amplitude: float, random: np.random.Generator) -> Tensor:
    """(rows, columns) of a normal field that varies over a ``knots``-th of its extent."""
    coarse = torch.from_numpy(random.normal(0, amplitude, (1, 1, knots, knots)).astype(np.float32))
    return nnf.interpolate(coarse, shape, mode="bicubic", align_corners=True)[0, 0]
