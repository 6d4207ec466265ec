"""Step 4a, the grain of CT: its noise is no tissue. In fat and muscle it is, or is not, taken out.

While simulated fat had always the streaks of a CT and marrow never, F_t could tell them apart by that, which no MRI
shows.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

_HOW_OFTEN = 0.6
#: 1 would leave shares as they are; at 4, fat and muscle mix only where each has three eighths at least.
_STEEPNESS = (1.5, 4.0)


def without_grain(shares: dict[str, Tensor], random: np.random.Generator) -> dict[str, Tensor]:
    """Now and then what is mostly fat becomes all fat, and what is mostly muscle all muscle.

    Args:
        shares: of materials, as :func:`HipICMSCTrainingLib.simulation.tissues.shares_of` gives them; changed in place.
    """
    if random.random() > _HOW_OFTEN:
        return shares
    steepness = float(random.uniform(*_STEEPNESS))
    fat, muscle = shares["fat"], shares["muscle"]
    both = fat + muscle
    # steepness × (fat / both - 1/2) + 1/2 of both, without a division by nothing
    fat.sub_(both, alpha=0.5).mul_(steepness).add_(both, alpha=0.5).clamp_min_(0)
    fat.copy_(fat.minimum(both))
    muscle.copy_(both.sub_(fat))
    return shares
