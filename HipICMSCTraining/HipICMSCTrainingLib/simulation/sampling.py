"""Step 3, the anatomy cut along the slab: HU and distances to the bones at each point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, FURTHEST_MM, Anatomy


@dataclass(frozen=True)
class Section:
    """What the CT shows on the (sub-)slices of a slab, each (slices × sub-slices, rows, columns) float32.

    Attributes:
        hu: outside the CT -1000.
        hip, femur: signed distance to the bone's surface, mm, negative inside.
    """

    hu: Tensor
    hip: Tensor
    femur: Tensor


def cut(anatomy: Anatomy, points: Tensor, outline: Tensor) -> Section:
    """
    Args:
        points: (planes, rows, columns, 3), mm (z, y, x).
        outline: points (…, 3) between which they all lie.
    """
    index, outline = points / FINE_MM, outline.reshape(-1, 3) / FINE_MM
    size = np.array(anatomy.shape)
    low = np.clip(np.floor(outline.amin(0).numpy()), 0, size - 1).astype(int)
    high = np.clip(np.ceil(outline.amax(0).numpy()), 0, size - 1).astype(int) + 1
    box = tuple(slice(first, end) for first, end in zip(low, high, strict=True))
    volumes = torch.empty((3, *(high - low)))
    for volume, voxels in zip(volumes, (anatomy.hu, anatomy.hip, anatomy.femur), strict=True):
        volume.copy_(torch.from_numpy(voxels[box]))
    # Zero comes in from outside, so that is what air and "far from bone" are while the box is sampled.
    volumes[0] += 1000
    volumes[1:] -= 10 * FURTHEST_MM
    hu, hip, femur = sampled(volumes, index - torch.from_numpy(low))
    return Section(hu - 1000, hip * 0.1 + FURTHEST_MM, femur * 0.1 + FURTHEST_MM)


def sampled(volume: Tensor, index: Tensor) -> Tensor:
    """Linear interpolation of (…, z, y, x) at fractional indices (planes, rows, columns, 3); 0 outside."""
    size = torch.tensor(volume.shape[-3:], dtype=torch.float32)
    grid = (index / (size - 1).clamp_min(1) * 2 - 1).flip(-1)
    channels = volume.reshape(1, -1, *volume.shape[-3:])
    found = nnf.grid_sample(channels, grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    return found.reshape(*volume.shape[:-3], *index.shape[:-1])
