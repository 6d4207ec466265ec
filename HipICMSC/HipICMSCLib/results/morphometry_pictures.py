"""Draws a hip's measures as SVG: sections of the bones with lines and angles, clocks of alpha and of the rim, and the
head from above with what covers it."""

from __future__ import annotations

import html
from collections.abc import Iterable

import numpy as np
from skimage import measure as outlines

from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, segment_of
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.alpha import CAM_ABOVE, CLOCK, profile_of
from HipICMSCLib.measures.bone import Field
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.morphometry import Morphometry, Row
from HipICMSCLib.measures.rim import TURNS, covered, in_notch
from HipICMSCLib.measures.side import across, mirrored
from HipICMSCLib.results.morphometry_table import shown

_PIXELS = 270
_HALF_MM = 52.0
_STEP_MM = 0.75
_SCALE_MM = 20.0
_BONES = {FEMUR: "femur", HIP_BONE: "hip bone"}
_GREY, _COVERED = "#6e7781", "#9ec5e8"


def pictures(morphometry: Morphometry, side: str) -> list[tuple[str, str]]:
    """Pairs of a caption and an SVG; what cannot be measured is not drawn.

    Raises:
        HipError: why this side cannot be measured at all.
    """
    hip = morphometry.hips.hip(side)
    rows = {row.definition.id: row for row in morphometry.rows if row.side == side}
    drawn = []
    for draw in (_coronal, _axial, _radial, _alpha_clock, _rim_clock, _from_above):
        try:
            drawn.append(draw(hip, rows))
        except HipError:
            continue
    return drawn


def _coronal(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    lateral, _, superior = hip.axes
    # As a reader looks at a patient: the right hip's lateral is on the left.
    to_right = -lateral if hip.side == "right" else lateral
    marks = [_mark(rows[name], hip) for name in ("LCEA", "AI") if rows[name].marks]
    text = _values(rows, "LCEA", "AI", "ExtrusionIndex")
    ends = _ends(hip, "superior")
    return "Coronal plane of the frame through the head centre", _section(hip, to_right, superior, marks, text, ends)


def _axial(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    lateral, anterior, _ = hip.axes
    to_right = -lateral if hip.side == "right" else lateral
    marks = [_mark(rows["VersionCentral"], hip)] if rows["VersionCentral"].marks else []
    text = _values(rows, "VersionCentral", "VersionCranial")
    ends = _ends(hip, "anterior")
    return "Axial plane of the frame through the head centre", _section(hip, to_right, anterior, marks, text, ends)


def _radial(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    row = rows["Alpha_0130"]
    if not row.marks:
        raise HipError(row.reason, row.sentence)
    up = hip.clock.spoke(np.array(45.0))
    text = _values(rows, "Alpha_0130", "Offset_0130")
    up = across(up, hip.neck.axis)
    ends = ("", "neck", "1:30")
    return "Radial plane at 1:30", _section(hip, hip.neck.axis, up, [_mark(row, hip)], text, ends)


def _ends(hip: Hip, top: str) -> tuple[str, str, str]:
    """What lies to the left, to the right and at the top of a picture, as a reader looks at a patient."""
    return ("lateral", "medial", top) if hip.side == "right" else ("medial", "lateral", top)


def _mark(row: Row, hip: Hip) -> np.ndarray:
    return mirrored(row.marks[0].points, hip.side) - hip.head.centre


def _values(rows: dict[str, Row], *names: str) -> list[str]:
    return [_value(rows[name]) for name in names if np.isfinite(rows[name].value)]


def _value(row: Row) -> str:
    edited = " (edited)" if row.is_edited else ""
    return f"{row.definition.name} {shown(row)} {row.definition.unit}{edited}"


def _section(
    hip: Hip,
    right: np.ndarray,
    up: np.ndarray,
    marks: Iterable[np.ndarray],
    text: list[str],
    ends: tuple[str, str, str],
) -> str:
    """Outlines of both bones in a plane through the head centre, the head's circle and polylines."""
    shapes = [*_directions(ends), *_scale()]
    fields: list[tuple[int, Field]] = []
    fields.append((FEMUR, hip.femur_field))
    if hip.hip_bone is not None:
        fields.append((HIP_BONE, hip.hip_field))
    for bone, field in fields:
        colour = "#" + "".join(f"{round(255 * channel):02x}" for channel in segment_of(bone, hip.side).color)
        shapes.append(_text(_PIXELS - 6, _PIXELS - 6 - 13 * (bone == FEMUR), _BONES[bone], colour, "end"))
        for outline in _outlines(field, hip.head.centre, right, up):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
            shapes.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    radius = hip.head.radius * _PIXELS / (2 * _HALF_MM)
    middle = _PIXELS / 2
    shapes.append(f'<circle cx="{middle}" cy="{middle}" r="{radius:.1f}" fill="none" stroke="#8c959f"/>')
    for points in marks:
        pixels = _pixels(np.column_stack([points @ right, points @ up]))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        shapes.append(f'<polyline points="{line}" fill="none" stroke="#1b1f23" stroke-width="1.5"/>')
        shapes += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#bf8700"/>' for x, y in pixels]
    return _svg(shapes, text)


def _directions(ends: tuple[str, str, str]) -> list[str]:
    left, right, top = ends
    return [
        _text(4, _PIXELS / 2 + 4, left),
        _text(_PIXELS - 4, _PIXELS / 2 + 4, right, anchor="end"),
        _text(_PIXELS / 2 + 4, 11, top),
    ]


def _scale() -> list[str]:
    length = _SCALE_MM * _PIXELS / (2 * _HALF_MM)
    y = _PIXELS - 6
    line = f'<line x1="6" y1="{y}" x2="{6 + length:.1f}" y2="{y}" stroke="{_GREY}" stroke-width="2"/>'
    return [line, _text(6, y - 4, f"{_SCALE_MM:.0f} mm")]


def _text(x: float, y: float, words: str, colour: str = _GREY, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def _outlines(field: Field, centre: np.ndarray, right: np.ndarray, up: np.ndarray) -> list[np.ndarray]:
    ticks = np.arange(-_HALF_MM, _HALF_MM + _STEP_MM / 2, _STEP_MM)
    points = centre + ticks[:, None, None] * up + ticks[None, :, None] * right
    values = field.at(points)
    # Beyond the field nothing is known, so nothing is drawn there.
    index = (points - field.origin) @ np.linalg.inv(field.steps).T
    outside = ((index < 0) | (index > np.array(field.values.shape) - 1)).any(axis=-1)
    values = np.where(outside, np.nan, values)
    found = outlines.find_contours(values, 0.0)
    return [_pixels(np.column_stack([c[:, 1], c[:, 0]]) * _STEP_MM - _HALF_MM) for c in found if len(c) > 8]


def _pixels(points: np.ndarray) -> np.ndarray:
    """From mm to the right and up about the centre to pixels right and down."""
    return (points * [1, -1] + _HALF_MM) * _PIXELS / (2 * _HALF_MM)


def _alpha_clock(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    profile = profile_of(hip)
    alpha = np.where(profile.hidden, np.nan, profile.alpha)
    text = _values(rows, "AlphaMax", "CamExtent")
    dial = _dial(CLOCK, alpha, 0, 90, (30, CAM_ABOVE, 90), hip.side)
    return "Alpha angle round the neck (dashed 60 degrees); gaps are not known", _svg(dial, text)


def _rim_clock(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    covered = 180 - hip.rim.polar
    raw = np.where(in_notch(TURNS), np.nan, 180 - hip.rim.raw)
    dial = _dial(TURNS, covered, 30, 120, (60, 90, 120), hip.side) + _dots(TURNS, raw, 30, 120, hip.side)
    caption = "Coverage by the rim, degrees from the socket's depth (dashed 90); dots are the edge as found"
    return caption, _svg(dial, _values(rows, "Coverage", "RimVersion"))


def _from_above(hip: Hip, rows: dict[str, Row]) -> tuple[str, str]:
    """The head's disc seen from above, each point of it covered or not; lateral on the same side as in a section."""
    lateral, anterior, superior = hip.axes
    to_right = -lateral if hip.side == "right" else lateral
    ticks = np.linspace(-1.05, 1.05, 106)
    right, front = np.meshgrid(ticks, ticks)
    height = np.sqrt(np.clip(1 - right**2 - front**2, 0, None))
    on_disc = height > 0
    directions = right[..., None] * to_right + front[..., None] * anterior + height[..., None] * superior
    inside = np.zeros(on_disc.shape)
    inside[on_disc] = covered(hip.rim, hip.hip_field, directions[on_disc])
    reach = 0.42 * _PIXELS
    path = ""
    for outline in outlines.find_contours(inside, 0.5):
        x = np.interp(outline[:, 1], np.arange(len(ticks)), ticks)
        y = np.interp(outline[:, 0], np.arange(len(ticks)), ticks)
        points = _PIXELS / 2 + reach * np.column_stack([x, -y])
        path += "M" + " L".join(f"{u:.1f},{v:.1f}" for u, v in points) + " Z "
    middle = _PIXELS / 2
    shapes = [f'<path d="{path}" fill="{_COVERED}" fill-rule="evenodd"/>'] if path else []
    shapes.append(f'<circle cx="{middle}" cy="{middle}" r="{reach:.1f}" fill="none" stroke="#8c959f"/>')
    shapes += _directions(_ends(hip, "anterior"))
    return "The head from above; blue is covered by the socket", _svg(shapes, _values(rows, "CoverageCranial"))


def _dial(
    turns: np.ndarray, values: np.ndarray, low: float, high: float, rings: tuple[float, ...], side: str
) -> list[str]:
    middle, reach = _PIXELS / 2, 0.42 * _PIXELS
    shapes = []
    for ring in rings:
        radius = reach * (ring - low) / (high - low)
        dash = ' stroke-dasharray="4 3"' if ring == rings[1] else ""
        shapes.append(f'<circle cx="{middle}" cy="{middle}" r="{radius:.1f}" fill="none" stroke="#d0d7de"{dash}/>')
        shapes.append(
            f'<text x="{middle + 3}" y="{middle - radius - 2:.1f}" font-size="9" fill="#6e7781">{ring:g}</text>'
        )
    for hour, turn in ((12, 0.0), (3, 90.0), (6, 180.0), (9, 270.0)):
        x, y = _on_dial(np.array([turn]), np.array([high]), low, high, side)[0]
        x, y = middle + 1.12 * (x - middle), middle + 1.12 * (y - middle)
        shapes.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="11" text-anchor="middle">{hour}</text>')
    closed_turns, closed = np.append(turns, 360), np.append(values, values[0])
    for start, end in zip(range(len(turns)), range(1, len(turns) + 1), strict=True):
        if np.isfinite(closed[[start, end]]).all():
            (x, y), (u, v) = _on_dial(closed_turns[[start, end]], closed[[start, end]], low, high, side)
            shapes.append(
                f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}" stroke="#0969da" stroke-width="2"/>'
            )
    return shapes


def _dots(turns: np.ndarray, values: np.ndarray, low: float, high: float, side: str) -> list[str]:
    known = np.isfinite(values)
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="#8c959f"/>'
        for x, y in _on_dial(turns[known], values[known], low, high, side)
    ]


def _on_dial(turns: np.ndarray, values: np.ndarray, low: float, high: float, side: str) -> np.ndarray:
    """Pixels of a clock read from lateral: anterior is to the right on a right hip, to the left on a left one."""
    radius = 0.42 * _PIXELS * np.clip((values - low) / (high - low), 0, 1.15)
    across_dial = np.sin(np.radians(turns)) * (1 if side == "right" else -1)
    return np.column_stack([_PIXELS / 2 + radius * across_dial, _PIXELS / 2 - radius * np.cos(np.radians(turns))])


def _svg(shapes: Iterable[str], text: list[str]) -> str:
    lines = "".join(
        f'<text x="6" y="{_PIXELS + 14 + 14 * number}" font-size="12">{html.escape(line)}</text>'
        for number, line in enumerate(text)
    )
    height = _PIXELS + 8 + 14 * len(text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PIXELS}" height="{height}" '
        f'viewBox="0 0 {_PIXELS} {height}" font-family="sans-serif"><rect width="{_PIXELS}" height="{height}" '
        f'fill="white"/>{"".join(shapes)}{lines}</svg>'
    )
