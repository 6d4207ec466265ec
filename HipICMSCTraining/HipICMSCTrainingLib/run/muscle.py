"""Muscle that was called bone, which a T1-weighted MRI shows by itself: marrow holds fat and is brighter than muscle.

Muscle lies along the iliac wing as bone does, and F_t may make itself sure of it: what it teaches itself is consistent
from slice to slice and from view to view. How bright tissues are on T1 it does not take from itself.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.morphology import disk

#: Coils brighten a slice over such a distance, pixels of 1 mm or a little less; noise is averaged over the second one.
_COIL, _NOISE = 25.0, 1.2
#: Less than this share of the brightest is air or cortex; of tissue the second one, coil taken out.
_AIR, _CORTEX = 0.08, 0.15
#: As bright as muscle: from this share of its median, up to this share of the way from there to where marrow begins.
_FROM, _UP_TO = 0.65, 0.65
#: Radius of the discs that fit into a muscle, pixels: into red marrow between two dark lines of cortex few do.
_WIDE = 3
#: A muscle goes on beside the bone with at least this share of itself; marrow does not.
_OUTSIDE = 0.5


def as_bright_as_muscle(voxels: np.ndarray) -> np.ndarray:
    """
    Args:
        voxels: (slice, row, column) of a T1-weighted MRI, 0 where there is no signal, pixels of 1 mm or a little less.

    Returns:
        bool, same shape.

    Raises:
        ValueError: for an image without tissue of three kinds.
    """
    voxels = voxels / np.percentile(voxels, 99)
    tissue = (voxels > _AIR).astype(np.float32)
    coil = [0, _COIL, _COIL]
    about, weight = (ndimage.gaussian_filter(values, coil) for values in (voxels * tissue, tissue))
    even = np.where(tissue > 0, voxels / np.maximum(about / np.maximum(weight, 1e-3), 0.02), 0)
    even = ndimage.gaussian_filter(even, [0, _NOISE, _NOISE])
    of_tissue = even[(even > _CORTEX) & (tissue > 0)]
    marrow_from = threshold_multiotsu(of_tissue[::17], 3)[0]
    muscle = np.median(of_tissue[of_tissue < marrow_from])
    return (even > _FROM * muscle) & (even < muscle + _UP_TO * (marrow_from - muscle))


def muscle_called_bone(voxels: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """What is as bright as muscle, wide enough for one and hangs together, within its slice, with more of it outside.

    Args:
        voxels: as of :func:`as_bright_as_muscle`.
        bone: bool, same shape.

    Returns:
        bool, same shape, within ``bone``.

    Raises:
        ValueError: as :func:`as_bright_as_muscle`.
    """
    wide = ndimage.binary_opening(as_bright_as_muscle(voxels), disk(_WIDE)[None])
    pieces, count = ndimage.label(wide, np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0))))
    size, within = (np.bincount(pieces[where], minlength=count + 1) for where in (wide, bone))
    goes_on = size - within >= _OUTSIDE * size
    return wide & bone & goes_on[pieces]
