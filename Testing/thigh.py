"""Tissues as bright as on a T1-weighted MRI."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

MUSCLE, MARROW, FAT = 0.4, 0.65, 1.0
#: Small beside the distance over which a coil's brightness is told from tissue's.
TILE = 12


def thigh(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A T1-weighted MRI of tiles of tissue within air, as its brightness and as a noisy coil gives it."""
    tiles = random.choice([MUSCLE, MARROW, FAT], (3, 14, 16), p=[0.5, 0.2, 0.3])
    true = np.pad(tiles.repeat(TILE, 1).repeat(TILE, 2), ((0, 0), (20, 20), (20, 20)))
    return true, by_a_coil(true, random)


def by_a_coil(true: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noisy, and brighter on one side."""
    coil = np.linspace(1.0, 1.8, true.shape[2])
    return (800 * true * coil + random.normal(0, 12, true.shape)).clip(0)


def inside(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Eroded slice by slice."""
    return np.stack([ndimage.binary_erosion(slice_, iterations=pixels) for slice_ in mask])
