"""Step 3b, the disc between the two pubic bones: wide in the young, a slit in the old, and no bone in either.

The labelled CTs are of elderly patients, whose labels join both bones here and there. While simulated pubic bones met,
F_t found none beside the wide, bright disc of a man of middle age.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

_WIDTH_MM = (1.0, 9.0)
#: Its faces are not quite even.
_UNEVEN_MM = 0.5
#: In front and behind, it ends in ligaments that reach so far beyond the bones.
_BEYOND_MM = 2.0
_HU = (40.0, 100.0)
#: What a disc may consist of; how much of each is drawn about these shares.
_MADE_OF = {"cartilage": 1.0, "fibrous": 1.0, "muscle": 0.7, "fluid": 0.2, "fat": 0.2}


def with_disc(section: Section, random: np.random.Generator) -> tuple[Section, Tensor | None]:
    """
    Returns:
        The section with the bones parted by a disc, and where that is, bool (planes, rows, columns); None where no
        symphysis is in view.
    """
    width = float(random.uniform(*_WIDTH_MM))
    hu = float(random.uniform(*_HU))
    if section.across is None:
        return section, None
    half = width / 2 + smooth_field(section.hu.shape[-2:], 40, _UNEVEN_MM, random)
    inward = half - section.across.abs()
    disc = (inward > 0) & (section.hip < _BEYOND_MM)
    parted = replace(section, hu=section.hu.masked_fill(disc, hu), hip=torch.maximum(section.hip, inward))
    return parted, disc


def with_disc_filled(shares: dict[str, Tensor], disc: Tensor | None, random: np.random.Generator) -> dict[str, Tensor]:
    """
    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
        disc: as :func:`with_disc` gives it.
    """
    made_of = dict(zip(_MADE_OF, map(float, random.dirichlet(list(_MADE_OF.values()))), strict=True))
    if disc is None:
        return shares
    there = disc.flatten().nonzero()[:, 0]
    room = sum(share.view(-1)[there] for share in shares.values())
    for name, share in shares.items():
        share.view(-1)[there] = room * made_of.get(name, 0.0)
    return shares
