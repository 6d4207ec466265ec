"""All measures in the order in which table, report and panel show them."""

from __future__ import annotations

from HipICMSCLib.measures import (
    acetabular_index,
    acetabular_version,
    alpha,
    centre_edge,
    coverage,
    femoral_version,
    head_roundness,
    joint_space,
    neck_shaft,
)
from HipICMSCLib.measures.measure import Definition, Measure

#: By topic, as a report's headings name them.
TOPICS: dict[str, tuple[Measure, ...]] = {
    "Femoral head": head_roundness.MEASURES,
    "Centre-edge": centre_edge.MEASURES,
    "Head-neck junction": alpha.MEASURES,
    "Acetabular version": acetabular_version.MEASURES,
    "Acetabular roof": acetabular_index.MEASURES,
    "Coverage": coverage.MEASURES,
    "Neck and shaft": neck_shaft.MEASURES,
    "Femoral version": femoral_version.MEASURES,
    "Joint space": joint_space.MEASURES,
}
MEASURES: tuple[Measure, ...] = tuple(measure for group in TOPICS.values() for measure in group)
DEFINITIONS: dict[str, Definition] = {measure.definition.id: measure.definition for measure in MEASURES}
