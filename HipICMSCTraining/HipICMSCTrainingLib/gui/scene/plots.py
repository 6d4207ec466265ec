"""Shows the curves of runs in Slicer's own plot view.

A run has one table for each chart, because losses, scores and learning rates are written at different steps and a line
is broken where a column has no number. All nodes are views of run folders, so they are not saved with the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkTable

from HipICMSCTrainingLib.run.curves import CHARTS, Chart, RunCurves
from HipICMSCTrainingLib.run.folder import RunFolder

#: One a term; easily told apart on the plot view's white.
_COLOURS = (
    (0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74),
    (0.55, 0.34, 0.29), (0.89, 0.47, 0.76), (0.4, 0.4, 0.4), (0.6, 0.6, 0.1), (0.09, 0.75, 0.81),
    (0.0, 0.0, 0.5), (0.5, 0.0, 0.25), (0.0, 0.35, 0.2), (0.9, 0.65, 0.0),
)  # fmt: skip
#: One a run.
_LINE_STYLES = ("LineStyleSolid", "LineStyleDash", "LineStyleDot", "LineStyleDashDot")
#: So few points are hard to see without marks, and a single one not at all.
_FEW_POINTS = 40
#: What a loss of the paper's is called begins so; the segmentation is what is wanted, then what adapts it, and the rest
#: keeps the translation honest.
_FIRST = ("supervised", "cmsc", "imsc", "adv")
#: Beside the last point there is room for its mark.
_ROOM = 1.05


@dataclass
class _Shown:
    """What is in the scene of one run."""

    curves: RunCurves
    tables: dict[Chart, object] = field(default_factory=dict)
    series: dict[tuple[Chart, str], object] = field(default_factory=dict)

    def nodes(self) -> list:
        return [*self.tables.values(), *self.series.values()]


class Plots:
    """The charts of the runs that were last given to :meth:`show`; nothing is in the scene before that."""

    def __init__(self) -> None:
        self._runs: dict[Path, _Shown] = {}
        self._charts: dict[Chart, object] = {}

    @property
    def whole(self) -> bool:
        """Whether all charts are in the scene; false before :meth:`show` and after somebody closed the scene."""
        return bool(self._charts) and all(_is_in_scene(node) for node in self._all_nodes())

    def show(self, runs: Sequence[RunFolder]) -> None:
        """Fill the charts with these runs, the first one in solid lines; nodes of others are removed.

        Raises:
            HipError: ``unreadable``.
        """
        if not self.whole:
            self.close()
            self._charts = {chart: _new_chart(chart) for chart in CHARTS}
        wanted = [run.path for run in runs]
        for path in [path for path in self._runs if path not in wanted]:
            _remove(self._runs.pop(path).nodes())
        self._runs = {run.path: self._runs.get(run.path) or _Shown(RunCurves(run)) for run in runs}
        for shown in self._runs.values():
            shown.curves.update()
        self._draw(self._runs)

    def update(self) -> None:
        """Add what the runs reported since; nothing is touched where that is nothing.

        Raises:
            HipError: ``unreadable``.
        """
        changed = {path: shown for path, shown in self._runs.items() if shown.curves.update()}
        if changed and self.whole:
            self._draw(changed)

    def chart(self, chart: Chart):
        """The vtkMRMLPlotChartNode."""
        return self._charts[chart]

    def close(self) -> None:
        """Remove everything from the scene."""
        _remove(self._all_nodes())
        self._runs, self._charts = {}, {}

    def _all_nodes(self) -> list:
        return [*self._charts.values(), *(node for shown in self._runs.values() for node in shown.nodes())]

    def _draw(self, changed: dict[Path, _Shown]) -> None:
        for name, chart in self._charts.items():
            # Each of the many series tells the chart of a new table.
            with slicer.util.NodeModify(chart):
                for path, shown in changed.items():
                    self._fill_table(name, path, shown)
                self._arrange(name, chart)

    def _fill_table(self, chart: Chart, path: Path, shown: _Shown) -> None:
        columns = shown.curves.tables[chart].columns()
        if chart == "losses":
            # A logarithm has no place for them, and VTK would give up the logarithmic axis.
            columns = {name: values if name == "step" else _positive(values) for name, values in columns.items()}
        if chart not in shown.tables:
            shown.tables[chart] = _new_node("vtkMRMLTableNode", f"{path.name} {chart}")
        _fill_table_node(shown.tables[chart], columns)
        for column in columns:
            if column != "step" and (chart, column) not in shown.series:
                shown.series[chart, column] = _new_series(shown.tables[chart], column)
        for column in [column for of, column in shown.series if of == chart and column not in columns]:
            _remove([shown.series.pop((chart, column))])

    def _arrange(self, chart: Chart, chart_node) -> None:
        """Give every series its name, colour and line, and the chart all series in order."""
        present = [(path, column) for path, shown in self._runs.items() for of, column in shown.series if of == chart]
        if chart == "losses":
            present.sort(key=lambda series: _rank(series[1]))
        terms = list(dict.fromkeys(_term(column) for _path, column in present))
        names = _names(list(self._runs))
        for path, column in present:
            node = self._runs[path].series[chart, column]
            rows = self._runs[path].tables[chart].GetNumberOfRows()
            node.SetName(f"{names[path]}: {column}" if len(self._runs) > 1 else column)
            node.SetColor(*_COLOURS[terms.index(_term(column)) % len(_COLOURS)])
            node.SetLineStyle(getattr(node, _LINE_STYLES[list(self._runs).index(path) % len(_LINE_STYLES)]))
            node.SetLineWidth(1 if column.endswith("(last)") else 2)
            node.SetMarkerStyle(node.MarkerStyleCircle if rows <= _FEW_POINTS else node.MarkerStyleNone)
        _set_steps(chart_node, [shown.tables[chart] for shown in self._runs.values()])
        ids = [self._runs[path].series[chart, column].GetID() for path, column in present]
        if ids != [chart_node.GetNthPlotSeriesNodeID(i) for i in range(chart_node.GetNumberOfPlotSeriesNodes())]:
            chart_node.RemoveAllPlotSeriesNodeIDs()
            for node_id in ids:
                chart_node.AddAndObservePlotSeriesNodeID(node_id)


def show_chart(chart_node) -> None:
    """Bring a chart into the plot view, in a layout that has one."""
    slicer.modules.plots.logic().ShowChartInLayout(chart_node)


def _new_chart(chart: Chart):
    title, axis = {
        "losses": (_("Losses"), _("loss")),
        "scores": (_("Label-free scores"), _("score")),
        "learning_rates": (_("Learning rates"), _("learning rate")),
    }[chart]
    node = _new_node("vtkMRMLPlotChartNode", title, hidden=False)
    node.SetTitle(title)
    node.SetXAxisTitle(_("step"))
    node.SetYAxisTitle(axis)
    node.SetYAxisLogScale(chart == "losses")
    return node


def _new_series(table_node, column: str):
    node = _new_node("vtkMRMLPlotSeriesNode", column)
    node.SetAndObserveTableNodeID(table_node.GetID())
    # What Slicer calls a line has no x column.
    node.SetPlotType(node.PlotTypeScatter)
    node.SetXColumnName("step")
    node.SetYColumnName(column)
    return node


def _new_node(kind: str, name: str, hidden: bool = True):
    node = slicer.mrmlScene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(hidden)
    node.SetSaveWithScene(False)
    return slicer.mrmlScene.AddNode(node)


def _fill_table_node(table_node, columns: dict[str, np.ndarray]) -> None:
    table = vtkTable()
    for name, values in columns.items():
        array = numpy_to_vtk(values, deep=True)
        array.SetName(name)
        table.AddColumn(array)
    table_node.SetAndObserveTable(table)


def _set_steps(chart_node, table_nodes: list) -> None:
    """From the first step of a training to the last one: a chart that fits itself to a single point shows no step."""
    steps = [slicer.util.arrayFromTableColumn(node, "step") for node in table_nodes]
    last = max((column.max() for column in steps if len(column)), default=0.0)
    chart_node.SetXAxisRangeAuto(False)
    chart_node.SetXAxisRange(0.0, _ROOM * max(last, 1.0))


def _rank(column: str) -> int:
    return next((rank for rank, begin in enumerate(_FIRST) if column.startswith(begin)), len(_FIRST))


def _remove(nodes: list) -> None:
    for node in nodes:
        if _is_in_scene(node):
            slicer.mrmlScene.RemoveNode(node)


def _is_in_scene(node) -> bool:
    return node.GetScene() is not None


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _term(column: str) -> str:
    """A score without the weights it is of."""
    return column.partition(" (")[0]


def _names(paths: list[Path]) -> dict[Path, str]:
    """What a person calls the runs: by their folders, with the folder above where two have the same name."""
    names = [path.name for path in paths]
    return {path: path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths}
