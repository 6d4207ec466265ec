"""Radius and sphericity of the femoral head."""

from __future__ import annotations

import numpy as np

from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Value
from HipICMSCLib.measures.side import unit


def _radius(hip: Hip) -> Value:
    centre = hip.head.centre
    end = centre + hip.head.radius * unit(hip.axes[2])
    return Value(
        hip.head.radius,
        (
            Mark("HeadCentre", "point", centre[None], ("C",)),
            Mark("HeadRadius", "line", np.stack([centre, end]), ("C", "surface")),
        ),
    )


MEASURES = (
    Measure(
        Definition(
            "HeadRadius", "Femoral head radius", "mm",
            "Radius of the sphere fitted to the subchondral surface, without neck, fovea and cam.",
        ),
        _radius,
    ),
    Measure(
        Definition(
            "Sphericity", "Head out of round (RMS)", "mm",
            "Root mean square distance of the head's surface from its sphere, more than 60 degrees off the neck; the "
            "steps and the roughness of the label are in it and raise it, so that it has no interval.",
            has_interval=False,
        ),
        lambda hip: Value(hip.head.rms),
    ),
    Measure(
        Definition(
            "SphericityP95", "Head out of round (95 %)", "mm",
            "Distance from the sphere that 95 % of the head's surface keeps, more than 60 degrees off the neck; a "
            "rough label raises it, so that it has no interval.",
            has_interval=False,
        ),
        lambda hip: Value(hip.head.p95),
    ),
    Measure(
        Definition(
            "HeadAxisRatio", "Head shortest to longest axis", "",
            "Shortest to longest half axis of an ellipsoid fitted to the head's surface; a rough label lowers it, so "
            "that it has no interval.",
            has_interval=False,
        ),
        lambda hip: Value(hip.head.axis_ratio),
    ),
)  # fmt: skip
