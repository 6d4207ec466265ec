"""Step 4f, vessels: round, in a dark wall, of any brightness, as blood is that flows; CT has them as grey as muscle.

With mottled marrow alone F_t took the bright vessels of a gradient echo for bone, which is in a dark outline, too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

_HOW_OFTEN = 0.35
_MOST = 6
_RADIUS_MM = (2.0, 9.0)
_WALL_MM = (0.5, 2.0)
#: None of them lies nearer to hip bone and femur.
_AWAY_MM = 5.0
#: On CT; below it is air, in the bowel and around the patient.
_AIR_HU = -300.0
_WALLS = ("fibrous", "cortex")
#: Flow makes blood as bright as fluid or fat, or black: then there is nothing in a vessel.
_BLOOD = ("fluid", "fat", "red_marrow", "organ", "nothing")


def with_vessels(
    shares: dict[str, Tensor], section: Section, pixel_mm: float, random: np.random.Generator
) -> dict[str, Tensor]:
    """Now and then some vessels run through a slab, across its slices.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    depth_mm = _depth_in_vessels(section.hu.shape[-2:], pixel_mm, random)
    away = torch.minimum(section.hip, section.femur) > _AWAY_MM
    there = ((depth_mm > 0) & away & (section.hu > _AIR_HU)).flatten().nonzero()[:, 0]
    is_wall = depth_mm.flatten()[there % depth_mm.numel()] < float(random.uniform(*_WALL_MM))
    wall, blood = str(random.choice(_WALLS)), str(random.choice(_BLOOD))
    for material, share in shares.items():
        share.view(-1)[there] = torch.where(is_wall, float(material == wall), float(material == blood))
    return shares


def _depth_in_vessels(size: tuple[int, int], pixel_mm: float, random: np.random.Generator) -> Tensor:
    """(rows, columns) of mm below a vessel's surface, negative outside: ellipses, a little crooked."""
    rows, columns = (torch.arange(count, dtype=torch.float32) * pixel_mm for count in size)
    deepest = torch.full(size, -torch.inf)
    for _ in range(int(random.integers(1, _MOST + 1))):
        radius, longer, turn = random.uniform(*_RADIUS_MM), random.uniform(1, 1.8), random.uniform(0, np.pi)
        down, across = (values - float(random.uniform(0, values[-1])) for values in (rows, columns))
        down = down[:, None]
        along = (np.cos(turn) * down + np.sin(turn) * across) / longer
        beside = np.cos(turn) * across - np.sin(turn) * down
        deepest = torch.maximum(deepest, radius - torch.hypot(along, beside))
    return deepest + smooth_field(size, 24, 0.5, random)
