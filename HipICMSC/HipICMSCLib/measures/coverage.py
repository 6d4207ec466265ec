"""How much of the femoral head the socket covers, in space and by sector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Measure, Value
from HipICMSCLib.measures.rays import sphere_directions
from HipICMSCLib.measures.rim import check_seen, covered

#: Directions of the coverage map.
DIRECTIONS = sphere_directions(6000)
_SECTORS = {"1200": 0.0, "0130": 45.0, "0300": 90.0, "0900": 270.0, "1030": 315.0}


@dataclass(frozen=True)
class CoverageMap:
    """Which of `DIRECTIONS` from the head centre are covered: (directions,) bool, side coordinates."""

    covered: np.ndarray


def coverage_map(hip: Hip) -> CoverageMap:
    """The coverage of a hip's head."""
    return hip.once("coverage", lambda: CoverageMap(covered(hip.rim, hip.hip_field, DIRECTIONS)))


def covered_share(where: CoverageMap, axis: np.ndarray | None = None) -> float:
    """Percent of the sphere covered; of the half towards ``axis`` (3,), each direction by its projection along it."""
    weights = np.ones(len(DIRECTIONS)) if axis is None else np.maximum(DIRECTIONS @ axis, 0)
    return float(100 * np.average(where.covered, weights=weights))


def _upper(hip: Hip) -> Value:
    upper = DIRECTIONS @ hip.axes[2] > 0
    return Value(float(100 * coverage_map(hip).covered[upper].mean()))


def _projected(hip: Hip, axis: int, sign: int) -> Value:
    if hip.frame_name == "IMAGE":
        raise HipError(
            "frame_too_low",
            "Coverage by direction needs a frame of the pelvis, and with one hip in view there is only the image's.",
        )
    return Value(covered_share(coverage_map(hip), sign * hip.axes[axis]))


def _sector(turn: float):
    def of(hip: Hip) -> Value:
        check_seen(hip.rim, turn)
        return Value(float(hip.rim.around(hip.rim.polar, np.array([turn]))[0]))

    return of


MEASURES = (
    Measure(
        Definition(
            "Coverage", "Coverage of the whole head", "%",
            "Share of all directions from the head centre that the joint-side surface of the hip bone lies in.",
        ),
        lambda hip: Value(covered_share(coverage_map(hip))),
    ),
    Measure(
        Definition(
            "CoverageUpper", "Coverage of the upper half", "%",
            "As the coverage of the whole head, of the directions above the head centre.", tilts=True,
        ),
        _upper,
    ),
    Measure(
        Definition(
            "CoverageCranial", "Coverage from above", "%",
            "Share of the head's disc seen from above that is covered.", tilts=True,
        ),
        lambda hip: _projected(hip, 2, 1),
    ),
    Measure(
        Definition(
            "CoverageAnterior", "Coverage from the front", "%",
            "Share of the head's disc seen from the front that is covered in front of the head centre.", tilts=True,
        ),
        lambda hip: _projected(hip, 1, 1),
    ),
    Measure(
        Definition(
            "CoveragePosterior", "Coverage from the back", "%",
            "Share of the head's disc seen from the back that is covered behind the head centre.", tilts=True,
        ),
        lambda hip: _projected(hip, 1, -1),
    ),
    *(
        Measure(
            Definition(
                f"RimAngle_{hour}", f"Rim angle at {int(hour[:2])}:{hour[2:]}", "deg",
                "From the socket's opening axis to the joint-side edge of the rim, round that axis: small covers more. "
                "It does not depend on the pelvis's tilt but for the clock.",
            ),
            _sector(turn),
        )
        for hour, turn in _SECTORS.items()
    ),
)  # fmt: skip
