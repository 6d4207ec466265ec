"""Acetabular index (Tönnis) and anterior centre-edge angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.centre_edge import TANNAST, coronal_edge
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Reference, Value
from HipICMSCLib.measures.rays import along, first_hit
from HipICMSCLib.measures.side import unit

#: The roof ends medially where the surface leaves its circle by this much (mm).
STEP_MM = 2.0
LEAST_ROOF_MM = 10.0
GREATEST_SPACING_MM = 2.0
# The fossa's edge curves from plane to plane, so planes farther off would move the mean; of thick slices these three
# rest on as many slices.
_THICK_PLANES, _THIN_PLANES = (-2.5, 0.0, 2.5), (-3.0, 0.0, 3.0)
_MEDIAL = np.arange(0.0, 100.0, 1.0)  # degrees from straight up
# So many of these angles tell where the roof is, beside its medial end and straight above the head centre.
_OF_ROOF = 25
_LONGEST_GAP_MM = 14.0


@dataclass(frozen=True)
class Roof:
    """The weight-bearing roof in the coronal plane: its medial and lateral end (3,), side coordinates, mm."""

    medial: np.ndarray
    lateral: np.ndarray


def find_roof(hip: Hip) -> Roof:
    """Medial end: a mean over three neighbouring coronal planes; lateral end: as of the centre-edge angle.

    Raises:
        HipError: ``no_fossa`` or ``roof_short``, or as for the rim.
    """
    edge = coronal_edge(hip.rim, hip.axes)
    if hip.edits.roof_medial is not None:
        return _long_enough(Roof(hip.edits.roof_medial, edge.point))
    found = []
    for off, radius in _roof_in_planes(hip):
        step = _start_of_fossa(radius - np.median(radius[:_OF_ROOF]))
        if np.isfinite(step):
            # The few rays beside the step would be noise: the roof as a line there, by angle.
            before = slice(max(0, int(step) - _OF_ROOF), int(step) + 1)
            line = np.polyfit(_MEDIAL[before], radius[before], 1)
            found.append((step, np.hypot(np.polyval(line, step), off)))
    if len(found) < 2:
        raise HipError(
            "no_fossa",
            "The step from the roof into the acetabular fossa is not seen, so the roof's medial end is not known.",
        )
    medial, reach = np.mean(found, axis=0)
    lateral, _, superior = hip.axes
    medial = np.radians(medial)
    return _long_enough(
        Roof(hip.head.centre + reach * (np.cos(medial) * superior - np.sin(medial) * lateral), edge.point)
    )


def _roof_in_planes(hip: Hip) -> list[tuple[float, np.ndarray]]:
    """Of each plane how far (mm) it is from the head centre, and mm from that centre's foot point to the surface at
    each of the angles `_MEDIAL`."""
    lateral, anterior, superior = hip.axes
    fan = np.radians(_MEDIAL)
    directions = np.cos(fan)[:, None] * superior - np.sin(fan)[:, None] * lateral
    radii = np.arange(hip.head.radius - 2, hip.head.radius + _LONGEST_GAP_MM, 0.5)
    found = []
    for off in _THICK_PLANES if hip.hip_bone.thick_axis is not None else _THIN_PLANES:
        start = hip.head.centre + off * anterior
        # Beyond what a ray sees of the fossa its floor is thin or missing: it counts as deep.
        radius = np.minimum(first_hit(along(hip.hip_field, start, directions, radii), radii), radii[-1])
        found.append((off, radius))
    return found


def _long_enough(roof: Roof) -> Roof:
    if np.linalg.norm(roof.lateral - roof.medial) < LEAST_ROOF_MM:
        raise HipError("roof_short", f"The acetabular roof would be shorter than {LEAST_ROOF_MM:.0f} mm.")
    return roof


def acetabular_index(roof: Roof, axes: np.ndarray) -> float:
    """Degrees by which the roof rises laterally."""
    away = axes @ (roof.lateral - roof.medial)
    return float(np.degrees(np.arctan2(away[2], away[0])))


def _start_of_fossa(depth: np.ndarray) -> float:
    """The first angle from which 80 % of the next 12 degrees are deep, between two rays; NaN where there is none.

    Args:
        depth: mm (rays,) by which the surface lies beyond the roof's.
    """
    deep = depth > STEP_MM
    total = np.cumsum(np.pad(deep, (1, 12)))
    starts = deep & ((total[12:] - total[:-12])[: len(deep)] >= 0.8 * 12)
    first = int(starts.argmax())
    if not starts.any() or first < 5:
        return float("nan")
    change = depth[first] - depth[first - 1]
    share = (depth[first] - STEP_MM) / change if change > 1e-6 else 0.0
    return float(_MEDIAL[first] - np.clip(share, 0, 1) * (_MEDIAL[1] - _MEDIAL[0]))


def _index(hip: Hip) -> Value:
    roof = find_roof(hip)
    marks = (
        Mark("Roof", "line", np.stack([roof.medial, roof.lateral]), ("M", "E")),
        Mark("AI", "angle", np.stack([roof.medial + 30 * hip.axes[0], roof.medial, roof.lateral]), ("level", "M", "E")),
    )
    return Value(acetabular_index(roof, hip.axes), marks)


def _index_of_apex(hip: Hip) -> Value:
    """The fallback: from the roof straight above the head centre."""
    edge = coronal_edge(hip.rim, hip.axes)
    up = [np.hypot(np.median(radius[:_OF_ROOF]), off) for off, radius in _roof_in_planes(hip)]
    roof = Roof(hip.head.centre + float(np.mean(up)) * hip.axes[2], edge.point)
    if np.linalg.norm(roof.lateral - roof.medial) < LEAST_ROOF_MM:
        raise HipError("roof_short", f"From its apex the roof is shorter than {LEAST_ROOF_MM:.0f} mm.")
    return Value(acetabular_index(roof, hip.axes))


def _anterior(hip: Hip) -> Value:
    if hip.frame_name not in ("APP", "USER"):
        raise HipError(
            "frame_too_low",
            "The anterior centre-edge angle needs the anterior pelvic plane, whose landmarks are not in view; see the "
            "rim angles instead.",
        )
    if abs(hip.hip_field.steps[1]).max() > GREATEST_SPACING_MM:
        raise HipError("slices_too_thick", "The anterior rim runs along the thick slices, so its edge is not known.")
    # The false profile: the plane turned 65 degrees from coronal.
    turn = np.radians(65)
    sideways = np.cos(turn) * hip.axes[0] + np.sin(turn) * hip.axes[1]
    across = unit(np.cross(sideways, hip.axes[2]))
    curve = hip.rim.curve
    height = curve @ across
    after = np.roll(height, -1)
    crossing = np.flatnonzero((height < 0) != (after < 0))
    share = height[crossing] / (height[crossing] - after[crossing])
    points = curve[crossing] + share[:, None] * (np.roll(curve, -1, axis=0) - curve)[crossing]
    points = points[points @ sideways > 0]
    if not len(points):
        raise HipError("no_edge", "The anterior rim does not cross the plane of the false profile.")
    edge = points[(points @ hip.axes[2]).argmax()]
    number = float(np.degrees(np.arctan2(edge @ sideways, edge @ hip.axes[2])))
    up = hip.head.centre + 1.6 * hip.head.radius * hip.axes[2]
    points = np.stack([up, hip.head.centre, hip.head.centre + edge])
    return Value(number, (Mark("ACEA", "angle", points, ("up", "C", "E")),))


MEASURES = (
    Measure(
        Definition(
            "AI", "Acetabular index (Tönnis)", "deg",
            "In the coronal plane through the head centre, by which the line from the roof's medial end, where the "
            f"surface leaves its circle by {STEP_MM:.0f} mm into the fossa, to its lateral edge rises.",
            tilts=True, class_width=10, version=2,
            reference=Reference(3, 13, TANNAST),
        ),
        _index,
    ),
    Measure(
        Definition(
            "AI_apex", "Roof angle from its apex", "deg",
            "As the acetabular index, from the roof straight above the head centre; another number, for where the "
            "fossa is not seen.",
            tilts=True, class_width=10, version=2,
        ),
        _index_of_apex,
    ),
    Measure(
        Definition(
            "ACEA", "Anterior centre-edge angle", "deg",
            "In the plane of a false profile (65 degrees from coronal), from straight up to the anterior rim.",
            tilts=True, class_width=10,
        ),
        _anterior,
    ),
)  # fmt: skip
