"""Acetabular version at two levels and of the rim's plane (anatomical, in the axial plane of the frame)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Reference, Value
from HipICMSCLib.measures.rim import Rim, check_seen, in_notch, rim_plane

#: The cranial level lies this much below the roof's apex.
CRANIAL_BELOW_APEX_MM = 5.0
# Its abstract states mean ± SD: men 16.46 ± 4.42, women 19.31 ± 5.04 degrees.
_KLASAN = (
    "Klasan 2019, J Orthop Translat 18:7-12 (axial CT of 404 persons of 16 to 40 years; mean ± 1.96 SD, from the men's "
    "lower to the women's upper end)"
)
_LEAST_ABOVE_CENTRE_MM = 5.0
#: Over a shorter line, half a millimetre at either end is more than 2 degrees.
LEAST_APART_MM = 15.0


@dataclass(frozen=True)
class RimLine:
    """Where the rim crosses a level: points (3,) in front and behind, side coordinates, mm."""

    front: np.ndarray
    back: np.ndarray


def rim_line(rim: Rim, axes: np.ndarray, level_mm: float) -> RimLine:
    """The rim's crossings with the plane ``level_mm`` above the head centre.

    Raises:
        HipError: ``no_level`` or ``rim_missing``.
    """
    curve = rim.curve
    height = curve @ axes[2] - level_mm
    after = np.roll(height, -1)
    crossing = np.flatnonzero((height < 0) != (after < 0))
    share = height[crossing] / (height[crossing] - after[crossing])
    points = curve[crossing] + share[:, None] * (np.roll(curve, -1, axis=0) - curve)[crossing]
    turns = crossing / 2 + share / 2
    points, turns = points[~in_notch(turns)], turns[~in_notch(turns)]
    if len(points) < 2:
        raise HipError("no_level", "The acetabular rim does not cross this level in front and behind.")
    front, back = (points @ axes[1]).argmax(), (points @ axes[1]).argmin()
    apart = float(np.linalg.norm(points[front] - points[back]))
    if apart < LEAST_APART_MM:
        raise HipError(
            "no_level",
            f"At this level the front and the back of the rim are only {apart:.0f} mm apart, so their line has no sure "
            "direction.",
        )
    for turn in (turns[front], turns[back]):
        check_seen(rim, turn)
    return RimLine(rim.centre + points[front], rim.centre + points[back])


def version(line: RimLine, axes: np.ndarray) -> float:
    """Degrees by which the socket opens forward at a level; positive where the front edge is medial of the back."""
    across = axes @ (line.front - line.back)
    return float(np.degrees(np.arctan2(-across[0], across[1])))


def cranial_level(rim: Rim, superior: np.ndarray) -> float:
    """mm above the head centre: 5 mm below the apex of the socket's sphere.

    Args:
        superior: (3,) unit vector.

    Raises:
        HipError: ``no_level``.
    """
    level = float((rim.socket_centre - rim.centre) @ superior) + rim.socket_radius - CRANIAL_BELOW_APEX_MM
    if level < _LEAST_ABOVE_CENTRE_MM:
        raise HipError("no_level", "The roof is too low over the head centre for a cranial level.")
    return level


def _at(name: str, level_mm: float, hip: Hip) -> Value:
    line = rim_line(hip.rim, hip.axes, level_mm)
    return Value(
        version(line, hip.axes),
        (Mark(name, "line", np.stack([line.back, line.front]), ("posterior", "anterior")),),
    )


def _plane_version(hip: Hip) -> Value:
    plane = rim_plane(hip.rim)
    normal = hip.axes @ plane.normal
    point = hip.head.centre + plane.point
    marks = (
        Mark("RimPlane", "plane", np.stack([point, point + plane.normal]), ("rim",), editable=False),
        Mark("Rim", "curve", hip.head.centre + hip.rim.curve[::30], tuple(f"R{i}" for i in range(24))),
    )
    return Value(float(np.degrees(np.arctan2(normal[1], normal[0]))), marks)


def _plane_inclination(hip: Hip) -> Value:
    normal = hip.axes @ rim_plane(hip.rim).normal
    return Value(float(np.degrees(np.arccos(np.clip(-normal[2], -1, 1)))))


MEASURES = (
    Measure(
        Definition(
            "VersionCentral", "Acetabular version, central", "deg",
            "In the axial plane through the head centre, of the line through the posterior and the anterior "
            "joint-side edge; anteversion is positive.",
            tilts=True, reference=Reference(8, 29, _KLASAN), class_width=10,
        ),
        lambda hip: _at("AV_central", 0.0, hip),
    ),
    Measure(
        Definition(
            "VersionCranial", "Acetabular version, cranial", "deg",
            f"As central, {CRANIAL_BELOW_APEX_MM:.0f} mm below the apex of the sphere that fits the socket's "
            "surface best.",
            tilts=True, class_width=10, version=2,
        ),
        lambda hip: _at("AV_cranial", cranial_level(hip.rim, hip.axes[2]), hip),
    ),
    Measure(
        Definition(
            "RimVersion", "Version of the rim's plane", "deg",
            "Of the normal of the plane through the whole rim but the notch, in the axial plane; anteversion is "
            "positive.",
            tilts=True, class_width=10,
        ),
        _plane_version,
    ),
    Measure(
        Definition(
            "RimInclination", "Inclination of the rim's plane", "deg",
            "Between the normal of the plane through the whole rim but the notch and straight down.",
            tilts=True, class_width=10,
        ),
        _plane_inclination,
    ),
)  # fmt: skip
