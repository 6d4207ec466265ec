"""Step 3, the anatomy cut along the slab: HU and distances to the bones at each point."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, FURTHEST_MM, Anatomy

#: Of each thread, the memory that it fills anew for each slab, for to get new memory takes twice as long as to fill it;
#: and the largest that is kept, 64 MiB, which is enough for most slabs.
_kept = threading.local()
_MOST_KEPT = 1 << 24


@dataclass(frozen=True)
class Section:
    """What the CT shows on the (sub-)slices of a slab, each (slices × sub-slices, rows, columns) float32.

    Attributes:
        hu: outside the CT -1000.
        hip, femur: signed distance to the bone's surface, mm, negative inside.
        across: mm to the left of the plane in which the pubic bones part; None where that is not in view.
    """

    hu: Tensor
    hip: Tensor
    femur: Tensor
    across: Tensor | None = None


def cut(anatomy: Anatomy, knots: Tensor, patch: int) -> Section:
    """
    Args:
        knots: (planes, rows, columns, 3), mm (z, y, x): where some points of each plane lie, its corners among them.
        patch: so many rows and columns come out, evenly between the knots.
    """
    index = knots / FINE_MM
    reached = index.reshape(-1, 3).numpy()
    # Two voxels at least: beyond a single one, interpolation would not know inside from outside.
    size = np.array(anatomy.shape)
    low = np.clip(np.floor(reached.min(0)), 0, size - 2).astype(int)
    high = np.clip(np.ceil(reached.max(0)) + 1, low + 2, size).astype(int)
    box = tuple(slice(first, end) for first, end in zip(low, high, strict=True))
    volumes = _kept_array((3, *(high - low)))
    # Zero comes in from outside, so that is what air and "far from bone" are while the box is sampled.
    np.add(anatomy.hu[box], np.float32(1000), out=volumes[0])
    np.subtract(anatomy.hip[box], np.float32(10 * FURTHEST_MM), out=volumes[1])
    np.subtract(anatomy.femur[box], np.float32(10 * FURTHEST_MM), out=volumes[2])
    hu, hip, femur = sampled(torch.from_numpy(volumes), index - torch.from_numpy(low), (patch, patch))
    return Section(hu - 1000, hip * 0.1 + FURTHEST_MM, femur * 0.1 + FURTHEST_MM, _across(anatomy, knots, patch))


def _across(anatomy: Anatomy, knots: Tensor, patch: int) -> Tensor | None:
    if anatomy.symphysis is None:
        return None
    across = knots @ torch.from_numpy(anatomy.symphysis.normal).float() - anatomy.symphysis.offset
    if across.min() > 0 or across.max() < 0:
        return None
    return nnf.interpolate(across[:, None], (patch, patch), mode="bilinear", align_corners=True)[:, 0]


def _kept_array(shape: tuple[int, ...]) -> np.ndarray:
    """float32 of this shape, valid until this thread asks again."""
    size = math.prod(shape)
    if size > _MOST_KEPT:
        return np.empty(shape, np.float32)
    if len(getattr(_kept, "values", ())) < size:
        _kept.values = np.empty(size, np.float32)
    return _kept.values[:size].reshape(shape)


def sampled(
    volume: Tensor, index: Tensor, size: tuple[int, int] | None = None, outside: Literal["zeros", "border"] = "zeros"
) -> Tensor:
    """Linear interpolation of (…, z, y, x) at fractional indices (planes, rows, columns, 3).

    Args:
        size: rows and columns that come out, evenly between the indices; None for those of the indices.
        outside: whether there is nothing beyond the volume, or what lies at its border.
    """
    last = torch.tensor(volume.shape[-3:], dtype=torch.float32) - 1
    grid = (index / last * 2 - 1).flip(-1)
    if size is not None:
        grid = nnf.interpolate(grid.movedim(-1, 1), size, mode="bilinear", align_corners=True).movedim(1, -1)
    channels = volume.reshape(1, -1, *volume.shape[-3:])
    found = nnf.grid_sample(channels, grid[None], mode="bilinear", padding_mode=outside, align_corners=True)[0]
    return found.reshape(*volume.shape[:-3], *grid.shape[:-1])
