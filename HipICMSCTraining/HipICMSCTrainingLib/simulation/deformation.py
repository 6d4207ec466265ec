"""Step 2, other patients from the same CT: a smooth warp, and femora turned in their sockets."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from HipICMSCTrainingLib.settings.simulation import SimulationSettings
from HipICMSCTrainingLib.simulation.anatomy import COARSE_MM, Anatomy, Femur
from HipICMSCTrainingLib.simulation.pose import rotation
from HipICMSCTrainingLib.simulation.sampling import sampled

#: Distance between the knots of the warp.
_KNOT_MM = 45.0
#: Between femur and hip bone the turn fades within some of this; the joint is a sphere, so what fades slides along it.
_FADES_WITHIN_MM = 2.5


def deformed(points: Tensor, anatomy: Anatomy, settings: SimulationSettings, random: np.random.Generator) -> Tensor:
    """Where in the anatomy the tissue at ``points`` comes from (both (..., 3), mm)."""
    moved = _warped(points, anatomy, settings, random)
    for femur in anatomy.femora:
        degrees = random.normal(0, settings.femur_deg)
        moved = _turned(moved, femur, anatomy, rotation(degrees[::-1]))
    return moved


def _warped(points: Tensor, anatomy: Anatomy, settings: SimulationSettings, random: np.random.Generator) -> Tensor:
    knots = [int(n / _KNOT_MM) + 4 for n in anatomy.shape]
    field = torch.from_numpy(random.normal(0, settings.warp_mm, (1, 3, *knots)).astype(np.float32))
    # Linear interpolation between knots would crease the bones.
    fine = nnf.interpolate(field, [2 * n for n in knots], mode="trilinear", align_corners=True)
    fine = nnf.avg_pool3d(fine, 3, stride=1, padding=1, count_include_pad=False)
    extent = torch.tensor(anatomy.shape, dtype=torch.float32)
    grid = (points / extent * 2 - 1).flip(-1)
    moved = nnf.grid_sample(fine, grid[None], mode="bilinear", padding_mode="border", align_corners=True)
    return points + moved[0].movedim(0, -1)


def _turned(points: Tensor, femur: Femur, anatomy: Anatomy, turn: np.ndarray) -> Tensor:
    head = torch.from_numpy(femur.head).float()
    back = (points - head) @ torch.from_numpy(turn).float() + head
    # Where the CT ends, neither bone does.
    to_femur = sampled(torch.from_numpy(femur.distance), back / COARSE_MM, outside="border")
    to_hip = sampled(torch.from_numpy(anatomy.hip_coarse), points / COARSE_MM, outside="border")
    share = torch.sigmoid((to_hip - to_femur) / _FADES_WITHIN_MM)[..., None]
    return points + share * (back - points)
