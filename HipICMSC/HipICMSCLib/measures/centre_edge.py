"""Lateral centre-edge angle and extrusion index: how far the roof reaches over the head in the coronal plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Reference, Value
from HipICMSCLib.measures.rim import Rim, check_seen

#: Part of the rim whose outermost point an AP film shows: 10 to 2 o'clock, as degrees from 12.
FILM_ARC = 60.0
#: Degrees by which the bone may go on outside the edge, farther from the head, without a caution.
FLAT_ROOF = 8.0
_LEAST, _GREATEST = -20.0, 60.0
# Its abstract states the ranges of centre-edge angle, extrusion index and acetabular index.
TANNAST = "Tannast 2015, doi:10.1007/s11999-014-4038-3 (AP film in neutral tilt)"


@dataclass(frozen=True)
class Edge:
    """The lateral edge of the roof: centre and edge (3,), side coordinates, mm."""

    centre: np.ndarray
    point: np.ndarray


def coronal_edge(rim: Rim, axes: np.ndarray) -> Edge:
    """Where the rim crosses the coronal plane through the head centre, above.

    Raises:
        HipError: ``no_edge`` or ``rim_missing``.
    """
    curve = rim.curve
    front = curve @ axes[1]
    following = np.roll(curve, -1, axis=0)
    crossing = np.flatnonzero((front < 0) != (np.roll(front, -1) < 0))
    share = front[crossing] / (front[crossing] - np.roll(front, -1)[crossing])
    points = curve[crossing] + share[:, None] * (following - curve)[crossing]
    if not len(points):
        raise HipError("no_edge", "The acetabular rim does not cross the coronal plane through the head centre.")
    return _seen(rim, points[(points @ axes[2]).argmax()])


def film_edge(rim: Rim, axes: np.ndarray) -> Edge:
    """The outermost point of the upper rim, as an AP film shows it.

    Raises:
        HipError: ``rim_missing``.
    """
    turns = np.arange(0, 360, 0.5)
    upper = rim.curve[np.abs((turns + 180) % 360 - 180) <= FILM_ARC]
    return _seen(rim, upper[(upper @ axes[0]).argmax()])


def _seen(rim: Rim, point: np.ndarray) -> Edge:
    turn, _ = rim.angles(point / np.linalg.norm(point))
    check_seen(rim, float(turn))
    return Edge(rim.centre, rim.centre + point)


def centre_edge_angle(edge: Edge, axes: np.ndarray) -> float:
    """Degrees from straight up to the edge in the coronal plane, lateral positive."""
    away = axes @ (edge.point - edge.centre)
    return float(np.degrees(np.arctan2(away[0], away[2])))


def extrusion_index(edge: Edge, radius: float, axes: np.ndarray) -> float:
    """Percent of the head's width lateral of the edge."""
    return float(50 * (1 - (axes @ (edge.point - edge.centre))[0] / radius))


def _angle(name: str, edge: Edge, hip: Hip) -> Value:
    number = centre_edge_angle(edge, hip.axes)
    if not _LEAST <= number <= _GREATEST:
        raise HipError(
            "no_edge",
            f"The edge of the roof would stand at {number:.0f} degrees, beyond any anatomy ({_LEAST:.0f} to "
            f"{_GREATEST:.0f}); check the hip bone's label above the head.",
        )
    up = edge.centre + 1.6 * hip.head.radius * hip.axes[2]
    mark = Mark(name, "angle", np.stack([up, edge.centre, edge.point]), ("up", "C", "E"))
    return Value(number, (mark,), _cautions(edge, hip.rim))


def _cautions(edge: Edge, rim: Rim) -> tuple[str, ...]:
    turn, _ = rim.angles((edge.point - edge.centre) / np.linalg.norm(edge.point - edge.centre))
    further = float(rim.around(rim.further, turn))
    if not further > FLAT_ROOF:
        return ()
    return (
        f"The roof is flat: outside this edge the bone goes on for {further:.0f} degrees, farther from the head. Check "
        "the edge.",
    )


def _extrusion(hip: Hip) -> Value:
    edge = film_edge(hip.rim, hip.axes)
    lateral = hip.head.centre + hip.head.radius * hip.axes[0]
    medial = hip.head.centre - hip.head.radius * hip.axes[0]
    mark = Mark("Extrusion", "line", np.stack([medial, lateral]), ("medial", "lateral"), editable=False)
    return Value(extrusion_index(edge, hip.head.radius, hip.axes), (mark,), _cautions(edge, hip.rim))


MEASURES = (
    Measure(
        Definition(
            "LCEA", "Lateral centre-edge angle", "deg",
            "In the coronal plane through the head centre, from straight up to the joint-side edge of the bony rim; "
            "not to the end of the sourcil, which a label does not have.",
            tilts=True, reference=Reference(23, 33, TANNAST), class_width=15,
        ),
        lambda hip: _angle("LCEA", coronal_edge(hip.rim, hip.axes), hip),
    ),
    Measure(
        Definition(
            "LCEA_AP", "Lateral centre-edge angle, projected", "deg",
            "From straight up to the outermost point of the rim between 10 and 2 o'clock, projected on the coronal "
            "plane as an AP film does.",
            tilts=True, reference=Reference(23, 33, TANNAST), class_width=15,
        ),
        lambda hip: _angle("LCEA_AP", film_edge(hip.rim, hip.axes), hip),
    ),
    Measure(
        Definition(
            "ExtrusionIndex", "Extrusion index", "%",
            "Share of the head's width (of its sphere) lateral of the outermost point of the rim between 10 and 2 "
            "o'clock, projected on the coronal plane.",
            tilts=True, reference=Reference(17, 27, TANNAST), class_width=10, signed=True,
        ),
        _extrusion,
    ),
)  # fmt: skip
