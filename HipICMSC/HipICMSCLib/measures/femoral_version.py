"""Femoral version: the neck's direction against the back of the condyles, only where both are in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Value
from HipICMSCLib.measures.shaft import Shaft
from HipICMSCLib.measures.side import across, third

#: The label must reach this far below the head centre for condyles to be in it (mm).
LEAST_LENGTH_MM = 280.0
GREATEST_SPACING_MM = 6.0
_CONDYLES_MM = 45.0
_LEAST_APART_MM = 25.0
_BORDER_MM = 3.0
#: The back of a condyle is a smooth surface through its points this near to the hindmost (mm): of a wavering label the
#: hindmost voxel alone is the noise's, not the bone's.
PATCH_MM = 12.0
_PATCH_DEPTH_MM = 7.0
#: Slices farther apart leave too little of a condyle for a surface: on the phantoms of the bench with 5 mm its version
#: was off by up to 11 degrees, that of the hindmost voxels by 1.
_SMOOTH_UP_TO_MM = 2.0


@dataclass(frozen=True)
class CondylarLine:
    """The common tangent of both condyles' backs, smoothed where slices are thin: points (3,), side coordinates, mm."""

    medial: np.ndarray
    lateral: np.ndarray


def find_condylar_line(femur: Bone, head: Head, shaft: Shaft) -> CondylarLine:
    """Of a femur that reaches to the knee.

    Raises:
        HipError: ``no_condyles``, ``slices_too_thick`` or ``condyles_cut``.
    """
    surface = femur.crossings().points
    along = (surface - head.centre) @ shaft.axis
    if along.max() < LEAST_LENGTH_MM:
        raise HipError(
            "no_condyles",
            "The femoral condyles are not in this image, and without them there is no femoral version; it is never "
            "estimated from the proximal femur.",
        )
    if femur.spacing.max() > GREATEST_SPACING_MM:
        raise HipError("slices_too_thick", f"Slices are {femur.spacing.max():.1f} mm apart at the condyles.")
    ends = surface[along > along.max() - _CONDYLES_MM]
    front = across(np.array([0.0, 1.0, 0.0]), shaft.axis)
    lateral = third(shaft.axis, front, np.array([1.0, 0.0, 0.0]))
    flat = np.column_stack([ends @ lateral, ends @ front])
    hull = ConvexHull(flat)
    best, chosen = -1.0, None
    for (one, other), (normal_side, normal_front, _) in zip(hull.simplices, hull.equations, strict=True):
        width = abs(flat[one, 0] - flat[other, 0])
        if normal_front < -0.5 and abs(normal_side) < 0.85 and width > best:
            best, chosen = width, (one, other)
    if chosen is None or best < _LEAST_APART_MM:
        raise HipError("no_condyles", "The femur's lower end has no two condyles that a tangent could touch.")
    depth = np.column_stack([flat, ends @ shaft.axis])
    one, other = (depth[i] for i in sorted(chosen, key=lambda i: flat[i, 0]))
    if femur.spacing.max() <= _SMOOTH_UP_TO_MM:
        one, other = _touched(_Back(depth, one), _Back(depth, other))
    points = np.stack([one, other]) @ np.stack([lateral, front, shaft.axis])
    if femur.room_mm(points).min() < _BORDER_MM:
        raise HipError("condyles_cut", "The femoral condyles are cut by the end of the image.")
    return CondylarLine(points[0], points[1])


class _Back:
    """The smooth back of a condyle: its front-to-back position as a quadratic function of the two others.

    Args:
        surface: (n, 3) lateral, front and along the shaft, mm.
        hindmost: (3,) the point about which it is.
    """

    def __init__(self, surface: np.ndarray, hindmost: np.ndarray) -> None:
        away = surface - hindmost
        near = (np.hypot(away[:, 0], away[:, 2]) < PATCH_MM) & (np.abs(away[:, 1]) < _PATCH_DEPTH_MM)
        x, front, z = away[near].T
        self.hindmost = hindmost
        system = np.column_stack([np.ones(len(x)), x, z, x * x / 2, x * z, z * z / 2])
        self.level, *slope, xx, xz, zz = np.linalg.lstsq(system, front, rcond=None)[0]
        self.slope, self.bend = np.array(slope), np.array([[xx, xz], [xz, zz]])
        # A patch that is no bowl, of a ragged label or with too few points, has its hindmost voxel only.
        self.smooth = len(x) > 20 and np.linalg.eigvalsh(self.bend).min() > 0

    def touched(self, tangent: float) -> np.ndarray:
        """(3,) where a line that goes forward by ``tangent`` mm per mm lateral touches it from behind."""
        if not self.smooth:
            return self.hindmost
        x, z = np.linalg.solve(self.bend, np.array([tangent, 0.0]) - self.slope)
        if np.hypot(x, z) > PATCH_MM:
            return self.hindmost
        away = np.array([x, z])
        return self.hindmost + np.array([x, self.level + self.slope @ away + away @ self.bend @ away / 2, z])


def _touched(medial: _Back, lateral: _Back) -> tuple[np.ndarray, np.ndarray]:
    """The points where one line touches both."""
    one, other = medial.hindmost, lateral.hindmost
    for _ in range(10):
        tangent = (other[1] - one[1]) / (other[0] - one[0])
        one, other = medial.touched(tangent), lateral.touched(tangent)
    return one, other


def femoral_version(toward_neck: np.ndarray, line: CondylarLine, shaft_axis: np.ndarray) -> float:
    """Degrees by which the neck points forward of the condylar line, seen along the shaft.

    Args:
        toward_neck: (3,) from the head centre.
        line: of the condyles.
        shaft_axis: (3,) unit vector towards the knee.
    """
    across_knee = across(line.lateral - line.medial, shaft_axis)
    front = third(shaft_axis, across_knee, np.array([0.0, 1.0, 0.0]))
    return float(np.degrees(np.arctan2(-toward_neck @ front, toward_neck @ across_knee)))


def _line(hip: Hip) -> CondylarLine:
    if not hip.femur.points(np.array([0, 0, 0]))[2] < hip.head.centre[2] - 0.8 * LEAST_LENGTH_MM:
        raise HipError(
            "no_condyles",
            "The femoral condyles are not in this image, and without them there is no femoral version; it is never "
            "estimated from the proximal femur.",
        )
    return hip.once("condyles", lambda: find_condylar_line(hip.femur, hip.head, hip.shaft))


def _to_base(hip: Hip) -> Value:
    line = _line(hip)
    base = hip.shaft.point
    marks = (
        Mark("CondylarLine", "line", np.stack([line.medial, line.lateral]), ("medial", "lateral")),
        Mark("VersionNeck", "line", np.stack([hip.head.centre, base]), ("C", "shaft")),
    )
    return Value(femoral_version(base - hip.head.centre, line, hip.shaft.axis), marks)


def _of_the_axis(hip: Hip) -> Value:
    return Value(femoral_version(hip.neck.axis, _line(hip), hip.shaft.axis))


MEASURES = (
    Measure(
        Definition(
            "FemoralVersion", "Femoral version (Murphy)", "deg",
            "Seen along the shaft, between the line from the head centre to the shaft's centre below the lesser "
            "trochanter and the common tangent of the condyles' backs; anteversion is positive. Other methods differ "
            "by up to 20 degrees.",
            class_width=15,
        ),
        _to_base,
    ),
    Measure(
        Definition(
            "FemoralVersionNeck", "Femoral version of the neck's axis", "deg",
            "As Murphy's, with the neck's axis in the place of the line to the shaft.", class_width=15,
        ),
        _of_the_axis,
    ),
)  # fmt: skip
