"""The femoral shaft's axis, from the centroids of its sections below the trochanters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.side import angle, unit

#: The shaft counts from here on, mm below the head centre: below the lesser trochanter.
BELOW_HEAD_MM = 90.0
NEEDED_MM, SHORT_MM = 20.0, 40.0
GREATEST_RESIDUAL_MM = 1.5
GREATEST_BEND = 3.0
# Of a whole femur only this much of the shaft: its bow would bend the axis.
_LONGEST_MM = 120.0
_SLAB_MM = 5.0


@dataclass(frozen=True)
class Shaft:
    """An axis; side coordinates.

    Attributes:
        point: (3,) mm, its upper end.
        axis: (3,) unit vector towards the knee.
        length: mm of shaft it rests on.
        residual: mm, RMS of the centroids from it.
        bend: degrees between the axes of its two halves; 0 of a short one.
    """

    point: np.ndarray
    axis: np.ndarray
    length: float
    residual: float
    bend: float

    @property
    def end(self) -> np.ndarray:
        """(3,) mm, its lower end."""
        return self.point + self.length * self.axis

    @property
    def short(self) -> bool:
        """Whether it rests on less shaft than it should."""
        return self.length < SHORT_MM


def find_shaft(femur: Bone, head: Head) -> Shaft:
    """The shaft of a femur whose head is known.

    Raises:
        HipError: ``shaft_short`` or ``shaft_bent``.
    """
    index = np.argwhere(femur.mask)
    voxels = femur.points(index)
    at_end = ((index == femur.image[:, 0]) | (index == femur.image[:, 1])).any(axis=1)
    axis = np.array([0.0, 0.0, -1.0])
    for _ in range(6):
        along = (voxels - head.centre) @ axis
        # A section that the image cuts has its centroid elsewhere, so the shaft counts to the first such section.
        cut = along[at_end & (along > BELOW_HEAD_MM)]
        end = min(float(along.max()), BELOW_HEAD_MM + _LONGEST_MM, float(cut.min(initial=np.inf)))
        length = end - BELOW_HEAD_MM
        if length < NEEDED_MM:
            raise HipError(
                "shaft_short",
                f"The femoral shaft's axis needs {NEEDED_MM:.0f} mm of shaft from {BELOW_HEAD_MM:.0f} mm below the "
                f"head centre on; the label has {max(length, 0):.0f} mm.",
            )
        # The last slab ends short of the label's end, which is not at right angles to the axis.
        count = int((length - 3) // _SLAB_MM)
        slab = np.floor((along - BELOW_HEAD_MM) / _SLAB_MM).astype(int)
        inside = (slab >= 0) & (slab < count)
        size = np.bincount(slab[inside], minlength=count)
        if size.min() == 0:
            raise HipError("shaft_short", "The femoral shaft is interrupted in the label, so its axis is not known.")
        centroids = np.column_stack([np.bincount(slab[inside], voxels[inside, i], count) / size for i in range(3)])
        point, new = _line(centroids)
        moved = angle(axis, new)
        axis = new
        if moved < 0.005:
            break
    off = centroids - point - ((centroids - point) @ axis)[:, None] * axis
    residual = float(np.sqrt((off**2).sum(axis=1).mean()))
    half = len(centroids) // 2
    bend = angle(_line(centroids[:half])[1], _line(centroids[-half:])[1]) if half >= 4 else 0.0
    if residual > GREATEST_RESIDUAL_MM or bend > GREATEST_BEND:
        raise HipError(
            "shaft_bent",
            f"The femoral shaft is no straight line: its sections are {residual:.1f} mm off it and its halves "
            f"{bend:.1f} degrees apart.",
        )
    upper = point + (BELOW_HEAD_MM + (head.centre - point) @ axis) * axis
    return Shaft(upper, axis, length, residual, bend)


def shaft_between(upper: np.ndarray, lower: np.ndarray) -> Shaft:
    """The shaft whose ends (3,) a user has set.

    Raises:
        HipError: ``shaft_short`` where they are too near to each other.
    """
    length = float(np.linalg.norm(lower - upper))
    if length < NEEDED_MM:
        raise HipError(
            "shaft_short",
            f"The two points of the femoral shaft are {length:.0f} mm apart, and its axis needs {NEEDED_MM:.0f} mm; "
            "move them apart, or reset them to automatic.",
        )
    return Shaft(upper, (lower - upper) / length, length, 0.0, 0.0)


def _line(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = points.mean(axis=0)
    axis = unit(np.linalg.svd(points - middle, full_matrices=False)[2][0])
    return middle, axis if axis[2] < 0 else -axis
