"""The sphere through points of which most lie on one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Points further off than this share of all are left out of the next fit; so often.
_KEPT, _ROUNDS = 80.0, 3


@dataclass(frozen=True)
class Sphere:
    """Attributes:
    centre: (3,), in the coordinates of the points.
    radius: in their unit.
    residual: mean distance of the points that were kept from the surface.
    """

    centre: np.ndarray
    radius: float
    residual: float


def fit_sphere(points: np.ndarray) -> Sphere | None:
    """Least squares of |p|² = 2 p·c + d, each time without the points that fit worst.

    Args:
        points: (n, 3).

    Returns:
        None for fewer than ten points, or where they lie in a plane.
    """
    for _ in range(_ROUNDS):
        if len(points) < 10:
            return None
        middle = points.mean(0)
        centred = points - middle
        system = np.column_stack([2 * centred, np.ones(len(points))])
        solution, _, rank, _ = np.linalg.lstsq(system, (centred**2).sum(1), rcond=1e-9)
        if rank < 4:
            return None
        centre = solution[:3]
        radius = float(np.sqrt(max(solution[3] + centre @ centre, 0.0)))
        off = np.abs(np.linalg.norm(centred - centre, axis=1) - radius)
        fitted = Sphere(centre + middle, radius, float(off.mean()))
        points = points[off <= np.percentile(off, _KEPT)]
    return fitted
