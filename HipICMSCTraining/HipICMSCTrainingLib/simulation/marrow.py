"""Step 4c, marrow that is not of one kind: mottles of red and yellow, and islands of what is neither.

Real hip bones are so, most of all pubis and ischium. While simulated marrow was even, F_t took what is dark or spotted
within a black outline for no bone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field

_HOW_OFTEN = 0.5
_MARROW = ("red_marrow", "yellow_marrow")
#: Sclerosis, which is dark on every contrast; what is as wet as an organ, such as oedema, cysts and cells.
_ISLANDS = ("cortex", "organ")


def with_mottled_marrow(shares: dict[str, Tensor], random: np.random.Generator) -> dict[str, Tensor]:
    """Now and then the marrow of all bones is red here and yellow there, within centimetres or millimetres, and may
    have islands.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    inside = (shares["red_marrow"] + shares["yellow_marrow"] > 0).flatten().nonzero()[:, 0]
    bone = {name: shares[name].flatten()[inside] for name in (*_MARROW, *_ISLANDS)}
    size = shares["red_marrow"].shape[-2:]
    pixels = inside % size.numel()

    def blobs() -> Tensor:
        """A normal field at these points, whose blobs are of some pixels to some centimetres."""
        return smooth_field(size, int(random.integers(10, 90)), 1.0, random).flatten()[pixels]

    marrow = bone["red_marrow"] + bone["yellow_marrow"]
    redder = (blobs() + float(random.normal(0, 0.7))).mul_(float(random.uniform(0.5, 6))).sigmoid_()
    bone["red_marrow"] = torch.lerp(bone["red_marrow"], redder * marrow, float(random.uniform(0.2, 1)))
    bone["yellow_marrow"] = marrow - bone["red_marrow"]
    for material in _ISLANDS:
        if random.random() < 0.5:
            taken = (blobs() - float(random.uniform(0.3, 1.5))).mul_(float(random.uniform(2, 10))).sigmoid_()
            taken *= float(random.uniform(0.3, 1))
            for name in _MARROW:
                lost = bone[name] * taken
                bone[name] -= lost
                bone[material] += lost
    for name, share in bone.items():
        shares[name].view(-1)[inside] = share
    return shares
