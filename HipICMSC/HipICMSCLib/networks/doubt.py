"""How far a result is to be doubted by what the network itself says: without a label, and without its training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: So many slices are read once more, in the mirror: a good half second on two cores.
MIRRORED_SLICES = 6
#: Pixels; of less than that there is no bone to speak of.
_LEAST_BONE = 1.0


@dataclass(frozen=True)
class Doubt:
    """Two views of the same question, each a share of the bone from 0 to 1.

    Attributes:
        unsure: 1 - the mean probability that the network gives to the bone which it drew.
        mirrored: 1 - the Dice of what it drew and what it draws in the mirror image, on some slices: a patient has two
            sides, so one of the two is wrong. It grows with how unlike the image is to what the network learned from.
            None in sagittal slices, whose mirror image is of another plane.
    """

    unsure: float
    mirrored: float | None


def unsure_of_bone(foreground: np.ndarray) -> float:
    """:attr:`Doubt.unsure`; 0 where nothing was drawn.

    Args:
        foreground: probabilities of the classes but background, (class - 1, slice, row, column).
    """
    strongest = foreground.max(0)
    drawn = strongest[strongest > 1.0 - foreground.sum(0)]
    return 1.0 - float(drawn.mean(dtype=np.float64)) if drawn.size else 0.0


def slices_through_bone(foreground: np.ndarray) -> list[int]:
    """Numbers of :data:`MIRRORED_SLICES` slices at most, spread evenly over the bone; none where there is no bone."""
    areas = np.cumsum((foreground.sum(0) > 0.5).sum((1, 2)))
    if not areas[-1]:
        return []
    shares = (np.arange(MIRRORED_SLICES) + 0.5) / MIRRORED_SLICES
    return sorted({int(number) for number in np.searchsorted(areas, shares * areas[-1])})


def disagreement(first: np.ndarray, second: np.ndarray) -> float:
    """1 - Dice of two maps of probabilities as in :func:`unsure_of_bone`, the mean of the classes of which there is any
    bone."""
    errors = []
    for ours, theirs in zip(first, second, strict=True):
        both = float(ours.sum(dtype=np.float64) + theirs.sum(dtype=np.float64))
        if both > _LEAST_BONE:
            errors.append(1.0 - 2 * float(np.minimum(ours, theirs).sum(dtype=np.float64)) / both)
    return float(np.mean(errors)) if errors else 0.0
