"""What a step of the simulation makes of the shares of materials, many times over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from HipICMSCTrainingLib.simulation.sampling import Section
from HipICMSCTrainingLib.simulation.tissues import shares_of
from torch import Tensor

Shares = dict[str, Tensor]
_SEEDS = 60


def before_and_after(
    section: Section, step: Callable[[Shares, np.random.Generator], Shares]
) -> list[tuple[Shares, Shares]]:
    """The shares of a section and those after a step that may change them in place, for each of many seeds."""
    found = []
    for seed in range(_SEEDS):
        before = shares_of(section, np.random.default_rng(seed))
        given = {name: share.clone() for name, share in before.items()}
        found.append((before, step(given, np.random.default_rng([seed, 1]))))
    return found
