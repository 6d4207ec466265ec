"""Step 4d, where muscles arise: bone and muscle run into each other in fibres, and no line parts them.

So does the pubis of an adult under the adductors. While every simulated bone was told from muscle by a line or by its
brightness, F_t found no pubis in a gradient echo; with a black line drawn around it, it did.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

_HOW_OFTEN = 0.4
#: How far from the surface the one looks like the other.
_OUTWARDS_MM = (1.0, 8.0)
_INWARDS_MM = (4.0, 24.0)
#: What may be there, in fibres and between them; how much of each is drawn about these shares.
_IN_FIBRES = {"fibrous": 1.0, "cortex": 0.7, "red_marrow": 0.3}
_BETWEEN = {"muscle": 1.0, "red_marrow": 1.0, "fibrous": 0.5, "yellow_marrow": 0.2}


def with_entheses(shares: dict[str, Tensor], section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Now and then, in places, the same tissue lies on both sides of the surface between a bone and muscle.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    distance = torch.minimum(section.hip, section.femur).flatten()
    outwards, inwards = float(random.uniform(*_OUTWARDS_MM)), float(random.uniform(*_INWARDS_MM))
    there = ((distance < outwards) & (distance > -inwards)).nonzero()[:, 0]
    distance = distance[there]
    is_bone = distance < 0
    depth = torch.where(is_bone, distance / -inwards, distance / outwards)
    place, fibres = (field.flatten()[there % field.numel()] for field in _fields(section.hu.shape[-2:], random))
    present = {name: share.view(-1)[there] for name, share in shares.items()}
    # Muscle arises from a bone; of the fat beside it more or less stays, for some have hardly any.
    beside = {"muscle": 1.0, "fat": max(0.0, float(random.uniform(-1, 1)))}
    replaced = ((1 - depth) * float(random.uniform(1, 3))).clamp_(max=1).mul_(place)
    in_fibres, between = (_drawn(about, random) for about in (_IN_FIBRES, _BETWEEN))
    lost = {
        name: replaced * share * is_bone.float().clamp_min(beside.get(name, 0.0)) for name, share in present.items()
    }
    room = sum(lost.values())
    for name, share in present.items():
        gained = between.get(name, 0.0) + fibres * (in_fibres.get(name, 0.0) - between.get(name, 0.0))
        shares[name].view(-1)[there] = share - lost[name] + room * gained
    return shares


def _fields(size: tuple[int, int], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(rows, columns) in 0..1: where muscles arise, and their fibres, which are longer one way than the other."""
    place = smooth_field(size, int(random.integers(3, 12)), 1.0, random) + float(random.uniform(-0.7, 1.2))
    long_and_wide = int(random.integers(12, 100)), int(random.integers(12, 100))
    fibres = smooth_field(size, long_and_wide, 1.0, random) + float(random.uniform(-0.7, 0.7))
    steepness = random.uniform([1.5, 0.7], [8, 5])
    return place.mul_(float(steepness[0])).sigmoid_(), fibres.mul_(float(steepness[1])).sigmoid_()


def _drawn(about: dict[str, float], random: np.random.Generator) -> dict[str, float]:
    """Shares of these materials, 1 together."""
    return dict(zip(about, map(float, random.dirichlet(list(about.values()))), strict=True))
