"""Neck-shaft angle (CCD)."""

from __future__ import annotations

import numpy as np

from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Value
from HipICMSCLib.measures.shaft import SHORT_MM
from HipICMSCLib.measures.side import angle


def neck_shaft_angle(neck_axis: np.ndarray, shaft_axis: np.ndarray) -> float:
    """Degrees between the neck towards the head and the shaft towards the knee; both vectors point away from it."""
    return angle(-neck_axis, shaft_axis)


def _cautions(hip: Hip) -> tuple[str, ...]:
    if not hip.shaft.short:
        return ()
    return (f"Short shaft: its axis rests on {hip.shaft.length:.0f} mm, {SHORT_MM:.0f} mm are wanted.",)


def _in_space(hip: Hip) -> Value:
    shaft = hip.shaft
    marks = (
        Mark("ShaftAxis", "line", np.stack([shaft.point, shaft.end]), ("proximal", "distal")),
        Mark("CCD", "angle", np.stack([hip.head.centre, _corner(hip), shaft.end]), ("C", "corner", "shaft")),
    )
    return Value(neck_shaft_angle(hip.neck.axis, shaft.axis), marks, _cautions(hip))


def _projected(hip: Hip) -> Value:
    neck, shaft = (v - (v @ hip.axes[1]) * hip.axes[1] for v in (hip.neck.axis, hip.shaft.axis))
    return Value(neck_shaft_angle(neck, shaft), cautions=_cautions(hip))


def _corner(hip: Hip) -> np.ndarray:
    """The point of the neck's axis nearest to the shaft's."""
    neck, shaft = hip.neck.axis, hip.shaft.axis
    between = hip.shaft.point - hip.head.centre
    cosine = neck @ shaft
    along = (between @ neck - (between @ shaft) * cosine) / max(1 - cosine**2, 1e-9)
    return hip.head.centre + along * neck


MEASURES = (
    Measure(
        Definition(
            "CCD_3D", "Neck-shaft angle in space", "deg",
            "Between the neck's axis (head centre to the centre of the neck's narrowest part) and the shaft's axis "
            "from 90 mm below the head centre on.",
            class_width=15,
        ),
        _in_space,
    ),
    Measure(
        Definition(
            "CCD_Coronal", "Neck-shaft angle, projected", "deg",
            "As in space, with both axes projected on the coronal plane of the frame; rotation of the femur changes "
            "it.",
            tilts=True, class_width=15,
        ),
        _projected,
    ),
)  # fmt: skip
