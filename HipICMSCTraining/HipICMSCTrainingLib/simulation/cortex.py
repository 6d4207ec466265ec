"""Step 4b, cortex too thin to be seen: a black line here, and there no line at all between marrow and what is around.

Compact bone is thinner than a pixel at head, neck, acetabulum and pubis, and a thick slice cuts it aslant. While every
simulated bone had its black outline, F_t was sure that a bright neck without one was fat.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

_HOW_OFTEN = 0.7
_MARROW_HU = 100.0
_COMPACT_HU = (1000.0, 1700.0)


def with_thin_cortex(shares: dict[str, Tensor], section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Now and then no more of hip bone and femur is cortex, in places, than CT shows; marrow is in its stead.

    A voxel of CT that a thin cortex fills in part has an HU between those of marrow and of compact bone.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    size = section.hu.shape[-2:]
    thin = smooth_field(size, int(random.integers(4, 20)), 1.0, random) + float(random.normal(0.8, 1))
    thin = thin.mul_(float(random.uniform(0.5, 4))).sigmoid_().flatten()
    compact = float(random.uniform(*_COMPACT_HU))
    hip_is_nearer = section.hip < section.femur
    for of_bone in ((section.hip < 0) & hip_is_nearer, (section.femur < 0) & ~hip_is_nearer):
        inside = of_bone.flatten().nonzero()[:, 0]
        red, yellow, cortex = (shares[name].view(-1) for name in ("red_marrow", "yellow_marrow", "cortex"))
        shown = (section.hu.flatten()[inside] - _MARROW_HU).div_(compact - _MARROW_HU).clamp_(0, 1)
        before = cortex[inside]
        freed = (before - shown).clamp_min_(0).mul_(thin[inside % thin.numel()])
        redness = float(red[inside].sum() / (red[inside].sum() + yellow[inside].sum()).clamp_min(1e-6))
        cortex[inside] = before - freed
        red[inside] += freed * redness
        yellow[inside] += freed * (1 - redness)
    return shares
