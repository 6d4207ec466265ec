"""Joint space between the bones, by sector."""

from __future__ import annotations

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.coverage import DIRECTIONS, coverage_map
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Measure, Value
from HipICMSCLib.measures.rays import along, first_exit, first_hit

GREATEST_SPACING_MM = 1.5
LEAST_GAP_MM = 0.5
_CONE = 30.0
# A smaller window for the least space, of which a single ray would be noise.
_LEAST_SHARE = 5


def _gaps(hip: Hip) -> np.ndarray:
    """mm (directions,) from the femur's surface to the hip bone's; NaN where the head is not covered."""
    where = coverage_map(hip).covered
    directions = DIRECTIONS[where]
    radii = np.arange(hip.head.radius - 3, hip.head.radius + 11, 0.5)
    femur = first_exit(along(hip.femur_field, hip.head.centre, directions, radii), radii)
    bone = first_hit(along(hip.hip_field, hip.head.centre, directions, radii), radii)
    gaps = np.full(len(DIRECTIONS), np.nan)
    gaps[where] = bone - femur
    return gaps


def _sector(hip: Hip, direction: np.ndarray) -> np.ndarray:
    spacing = np.abs(hip.hip_field.steps.T @ direction).max()
    if spacing > GREATEST_SPACING_MM:
        raise HipError(
            "slices_too_thick",
            f"Voxels are {spacing:.1f} mm deep across the joint here, and a joint space needs "
            f"{GREATEST_SPACING_MM} mm or less.",
        )
    gaps = hip.once("gaps", lambda: _gaps(hip))
    inside = gaps[(DIRECTIONS @ direction > np.cos(np.radians(_CONE))) & np.isfinite(gaps)]
    if len(inside) < 40:
        raise HipError("not_covered", "Here the socket does not cover the head.")
    if (inside < LEAST_GAP_MM).mean() > 0.1:
        raise HipError("labels_touch", "Here the labels of femur and hip bone touch, so the joint space is not known.")
    return inside


def _median(lateral: float, anterior: float, superior: float):
    def of(hip: Hip) -> Value:
        direction = np.array([lateral, anterior, superior]) @ hip.axes
        return Value(float(np.median(_sector(hip, direction / np.linalg.norm(direction)))))

    return of


def _least(hip: Hip) -> Value:
    return Value(float(np.percentile(_sector(hip, hip.axes[2]), _LEAST_SHARE)))


_WHAT = (
    "Bone to bone along rays from the head centre, in a sector of the pelvis's frame; supine and without load, so not "
    "the cartilage's thickness"
)
MEASURES = (
    *(
        Measure(
            Definition(
                f"JointSpace{name}", f"Joint space, {name.lower()}", "mm", f"{_WHAT}; median of the sector.", tilts=True
            ),
            _median(*direction),
        )
        for name, direction in (("Upper", (0, 0, 1)), ("Anterior", (0, 0.7, 0.7)), ("Posterior", (0, -0.7, 0.7)))
    ),
    Measure(
        Definition(
            "JointSpaceLeast", "Joint space, least of the roof", "mm", f"{_WHAT}; its 5th percentile.", tilts=True
        ),
        _least,
    ),
)
