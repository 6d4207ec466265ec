"""The femoral neck's axis, and the clock round it.

The axis is the clinical one, through the head centre and the centre of the neck's narrowest part. An axis through the
sections' centroids alone would rest on a centimetre of neck: on phantoms with a cam it was up to 20 degrees off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, Field
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.rays import Section, section
from HipICMSCLib.measures.side import across, angle, third, unit

#: Sections of the neck lie this far from the head centre, in head radii.
NEAREST, FARTHEST = 1.0, 1.45
#: Larger ones (mean radius in head radii) run into head or trochanter.
WIDEST = 0.95
LEAST_LENGTH = 1.2
# A section this share wider than the narrowest counts a third of it: so noise does not choose between equal sections.
_NARROW = 0.015
_STEP = 0.05


@dataclass(frozen=True)
class Neck:
    """The neck's axis; side coordinates.

    Attributes:
        base: (3,) mm, centre of the narrowest part.
        axis: (3,) unit vector from the head centre through ``base``: the clinical ("three-point") axis.
        radius: mm, mean radius of the narrowest part.
        narrowest: mm from the head centre.
    """

    base: np.ndarray
    axis: np.ndarray
    radius: float
    narrowest: float


def find_neck(femur: Field, bone: Bone, head: Head, start: np.ndarray | None = None) -> Neck:
    """The neck of a femur whose head is known.

    Args:
        femur: distances about head and neck.
        bone: its voxels, for where the image ends.
        head: its sphere.
        start: (3,) a first guess of its axis.

    Raises:
        HipError: ``neck_short`` where too little of it is in view, ``neck_not_found``.
    """
    axis = head.toward_neck if start is None else start
    sections: list[tuple[float, Section]] = []
    for _ in range(12):
        found = _sections(femur, head, axis)
        # What the image cuts off is narrower than the neck is, and its middle is another.
        sections = [(along, cut) for along, cut in found if not bone.at_end(cut.rim).any()]
        seen = max((along for along, _ in sections), default=0.0)
        is_cut = len(sections) < len(found)
        if seen < LEAST_LENGTH * head.radius or (is_cut and _narrowest(sections)[2] > seen - _STEP * head.radius):
            raise HipError(
                "neck_short",
                "Too little of the femoral neck is in the label: its axis needs the neck up to "
                f"{LEAST_LENGTH:.1f} head radii from the head centre.",
            )
        base, radius, at = _narrowest(sections)
        new = unit(base - head.centre)
        moved = angle(axis, new)
        axis = new
        if moved < 0.02:
            break
    return Neck(base, axis, radius, at)


def _sections(femur: Field, head: Head, axis: np.ndarray) -> list[tuple[float, Section]]:
    first = across(np.array([0.0, 1.0, 0.0]), axis)
    second = np.cross(axis, first)
    kept = []
    for share in np.arange(NEAREST, FARTHEST + _STEP / 2, _STEP):
        point = head.centre + share * head.radius * axis
        if femur.at(point[None])[0] > -2:
            continue
        cut = section(femur, point, first, second, 1.25 * head.radius)
        if cut.radius < WIDEST * head.radius and cut.closed:
            kept.append((share * head.radius, cut))
    if not kept:
        raise HipError("neck_not_found", "No femoral neck narrower than the head is seen; check the femur's label.")
    return kept


def _narrowest(sections: list[tuple[float, Section]]) -> tuple[np.ndarray, float, float]:
    radii = np.array([cut.radius for _, cut in sections])
    weights = np.exp(-(((radii / radii.min() - 1) / _NARROW) ** 2))
    base = np.average([cut.centre for _, cut in sections], axis=0, weights=weights)
    return base, float(np.average(radii, weights=weights)), float(np.average([a for a, _ in sections], weights=weights))


@dataclass(frozen=True)
class Clock:
    """The clock round the neck: 12 proximal, 3 anterior on both sides.

    Attributes:
        twelve, three: (3,) unit vectors across the neck's axis.
        from_shaft: whether 12 is the shaft's direction; else it is the frame's.
    """

    twelve: np.ndarray
    three: np.ndarray
    from_shaft: bool

    def spoke(self, degrees: np.ndarray) -> np.ndarray:
        """Unit vectors (…, 3) across the axis, at degrees from 12 towards 3 o'clock."""
        turn = np.radians(degrees)[..., None]
        return np.cos(turn) * self.twelve + np.sin(turn) * self.three


def clock_of(neck: Neck, proximal: np.ndarray, anterior: np.ndarray, from_shaft: bool) -> Clock:
    """The clock whose 12 is the direction closest to ``proximal`` across the neck."""
    twelve = across(proximal, neck.axis)
    return Clock(twelve, third(neck.axis, twelve, anterior), from_shaft)
