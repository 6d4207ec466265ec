"""Clocks of a hip in Slicer's own plot view: the alpha angle round the neck, and how far the rim covers the head.

Slicer's plots know no polar axes, so a clock is drawn in x and y: 12 is up, and anterior is to the right of a right hip
and to the left of a left one, as seen from lateral.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from slicer.i18n import tr as _
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkTable

from HipICMSCLib.gui.scene.measures_marks import put_into_folder
from HipICMSCLib.measures.alpha import CAM_ABOVE, CLOCK
from HipICMSCLib.measures.rim import TURNS

Kind = Literal["alpha", "rim"]

_ROLE = "HipICMSC.clock."
_CURVE_COLOR, _RING_COLOR, _HAND_COLOR = (0.04, 0.41, 0.85), (0.55, 0.55, 0.55), (0.8, 0.8, 0.8)


@dataclass(frozen=True)
class _Clock:
    """What one kind of clock shows.

    Attributes:
        turns: degrees from 12 o'clock towards anterior.
        rings: circles drawn for reading; the middle one is dashed.
        reach: the largest value drawn.
    """

    turns: np.ndarray
    rings: tuple[float, float, float]
    reach: float


_CLOCKS: dict[Kind, _Clock] = {
    "alpha": _Clock(CLOCK, (30.0, CAM_ABOVE, 90.0), 100.0),
    "rim": _Clock(TURNS, (60.0, 90.0, 120.0), 130.0),
}


def clock_chart(table_node, side: str, kind: Kind):
    """The vtkMRMLPlotChartNode of a side's clock, or None."""
    return table_node.GetNodeReference(_role(side, kind, "chart"))


def fill_clocks(table_node, side: str, clocks: dict[str, list[float | None]]) -> None:
    """Bring the clocks of a side into the scene; nothing is left of one that is not known.

    Args:
        clocks: as the worker says them, see worker/measuring.py.
    """
    for kind, clock in _CLOCKS.items():
        values = np.array([np.nan if value is None else value for value in clocks[kind]], float)
        if len(values) != len(clock.turns):
            _remove(table_node, side, kind)
            continue
        if clock_chart(table_node, side, kind) is None:
            _make(table_node, side, kind)
        table_node.GetNodeReference(_role(side, kind, "table")).SetAndObserveTable(_columns(side, clock, values))


def _make(table_node, side: str, kind: Kind) -> None:
    scene, clock = table_node.GetScene(), _CLOCKS[kind]
    title = {
        ("alpha", "right"): _("Alpha angle round the neck, right"),
        ("alpha", "left"): _("Alpha angle round the neck, left"),
        ("rim", "right"): _("Cover by the rim, right"),
        ("rim", "left"): _("Cover by the rim, left"),
    }[kind, side]
    table = _new(table_node, side, "vtkMRMLTableNode", title, _role(side, kind, "table"), hidden=True)
    # So that the series find their columns; the values follow.
    table.SetAndObserveTable(_columns(side, clock, np.full(len(clock.turns), np.nan)))
    chart = _new(table_node, side, "vtkMRMLPlotChartNode", title, _role(side, kind, "chart"))
    for number, name in enumerate((_("measured"), *(f"{ring:g}°" for ring in clock.rings), "12–6", "9–3")):
        series = scene.CreateNodeByClass("vtkMRMLPlotSeriesNode")
        series.UnRegister(None)
        series.SetName(name)
        series.SetHideFromEditors(True)
        series = scene.AddNode(series)
        series.SetAndObserveTableNodeID(table.GetID())
        # What Slicer calls a line has no x column.
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(f"x{number}")
        series.SetYColumnName(f"y{number}")
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetColor(*(_CURVE_COLOR if number == 0 else _RING_COLOR if number < 4 else _HAND_COLOR))
        series.SetLineWidth(3 if number == 0 else 1)
        series.SetLineStyle(series.LineStyleDash if number == 2 else series.LineStyleSolid)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    measured = table_node.GetNodeReference("HipICMSC.measured")
    chart.SetTitle(title if measured is None else f"{measured.GetName()}: {title}")
    front, back = _("3 o'clock, anterior"), _("9 o'clock, posterior")
    left_to_right = f"{back} – {front}" if side == "right" else f"{front} – {back}"
    chart.SetXAxisTitle(left_to_right)
    chart.SetYAxisTitle(_("6 o'clock – 12 o'clock"))
    chart.SetGridVisibility(False)
    for axis in ("X", "Y"):
        getattr(chart, f"Set{axis}AxisRangeAuto")(False)
        getattr(chart, f"Set{axis}AxisRange")(-clock.reach, clock.reach)


def _columns(side: str, clock: _Clock, values: np.ndarray) -> vtkTable:
    """The curve first, then rings and hands, all closed and equally long."""
    turns = np.radians(np.append(clock.turns, 360.0))
    toward_front = np.sin(turns) * (1 if side == "right" else -1)
    radii = [np.append(values, values[0]), *(np.full(len(turns), ring) for ring in clock.rings)]
    curves = [(radius * toward_front, radius * np.cos(turns)) for radius in radii]
    line, zero = np.linspace(-clock.reach, clock.reach, len(turns)), np.zeros(len(turns))
    table = vtkTable()
    for number, xy in enumerate((*curves, (zero, line), (line, zero))):
        for axis, column in zip("xy", xy, strict=True):
            array = numpy_to_vtk(np.ascontiguousarray(column, float), deep=True)
            array.SetName(f"{axis}{number}")
            table.AddColumn(array)
    return table


def _new(table_node, side: str, kind: str, name: str, role: str, hidden: bool = False):
    node = table_node.GetScene().CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(hidden)
    node = table_node.GetScene().AddNode(node)
    table_node.SetNodeReferenceID(role, node.GetID())
    put_into_folder(table_node, node, side)
    return node


def _remove(table_node, side: str, kind: Kind) -> None:
    chart = clock_chart(table_node, side, kind)
    if chart is None:
        return
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    for node in (*series, chart, table_node.GetNodeReference(_role(side, kind, "table"))):
        if node is not None:
            table_node.GetScene().RemoveNode(node)


def _role(side: str, kind: Kind, part: str) -> str:
    return f"{_ROLE}{side}.{kind}.{part}"
