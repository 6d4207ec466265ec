"""Curves of runs in Slicer's real table, series and chart nodes."""

from __future__ import annotations

import os

import numpy as np
import pytest
from HipICMSCTrainingLib.run.folder import RunFolder


@pytest.fixture
def plots(slicer_app):
    import slicer_stand_ins

    slicer_stand_ins.install(slicer_app)
    from HipICMSCTrainingLib.gui.scene.plots import Plots

    slicer_app.scene.Clear()
    shown = Plots()
    yield shown
    shown.close()
    slicer_app.scene.Clear()


@pytest.fixture
def run_called(tmp_path):
    def make(name: str, **losses: float) -> RunFolder:
        run = RunFolder(tmp_path / name)
        run.create({"method": "icmsc"})
        losses = losses or {"rec_s": 0.5, "rec_t": 0.25}
        run.append_metrics({"step": 20, "losses": losses, "learning_rates": {"G": 2e-4, "F": 1e-3}})
        run.append_metrics({"step": 30, "scores": {"agreement": 0.125, "selection": -0.5}, "weights": "last"})
        run.append_metrics({"step": 30, "scores": {"agreement": 0.25, "selection": -0.25}, "weights": "average"})
        return run

    return make


def series_of(chart) -> dict[str, object]:
    """Series nodes by name, in the order of the legend."""
    nodes = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    return {node.GetName(): node for node in nodes}


def drawn(series) -> tuple[np.ndarray, np.ndarray]:
    """x and y as the plot view takes them from the table."""
    import slicer

    table = series.GetTableNode()
    return tuple(
        slicer.util.arrayFromTableColumn(table, name) for name in (series.GetXColumnName(), series.GetYColumnName())
    )


def count_in_scene() -> int:
    import slicer

    kinds = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")
    return sum(slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds)


def test_a_runs_numbers_stand_in_three_charts(plots, run_called):
    plots.show([run_called("first")])
    losses, scores, rates = (plots.chart(name) for name in ("losses", "scores", "learning_rates"))
    assert [chart.GetTitle() for chart in (losses, scores, rates)] == [
        "Losses",
        "Label-free scores",
        "Learning rates",
    ]
    assert (losses.GetYAxisLogScale(), scores.GetYAxisLogScale()) == (True, False)
    assert list(series_of(losses)) == ["rec_s", "rec_t"]
    np.testing.assert_array_equal(drawn(series_of(losses)["rec_t"]), [[20], [0.25]])
    assert list(series_of(scores)) == [
        "agreement (last)", "selection (last)", "agreement (average)", "selection (average)",
    ]  # fmt: skip
    np.testing.assert_array_equal(drawn(series_of(scores)["selection (average)"]), [[30], [-0.25]])
    np.testing.assert_array_equal(drawn(series_of(rates)["F"]), [[20], [1e-3]])
    for series in series_of(losses).values():
        # Slicer draws steps on the x axis only for this type, and a single point only with a mark.
        assert series.GetPlotType() == series.PlotTypeScatter and series.GetMarkerStyle() == series.MarkerStyleCircle


def test_the_losses_that_matter_come_first(plots, run_called):
    names = ["rec_s", "adv_s", "imsc_t", "supervised", "cmsc_s", "identity", "supervised_t"]
    plots.show([run_called("first", **dict.fromkeys(names, 0.5))])
    assert list(series_of(plots.chart("losses"))) == [
        "supervised", "supervised_t", "cmsc_s", "imsc_t", "adv_s", "rec_s", "identity",
    ]  # fmt: skip


def test_the_axis_of_steps_begins_with_the_training_however_few_points_there_are(plots, run_called):
    run = run_called("first")
    plots.show([run])
    chart = plots.chart("losses")
    assert not chart.GetXAxisRangeAuto() and chart.GetXAxisRange() == (0.0, 21.0)
    run.append_metrics({"step": 200, "losses": {"rec_s": 0.4}})
    plots.update()
    assert chart.GetXAxisRange() == (0.0, 210.0)


def test_the_same_score_of_both_weights_has_one_colour_and_two_widths(plots, run_called):
    plots.show([run_called("first")])
    series = series_of(plots.chart("scores"))
    assert series["agreement (last)"].GetColor() == series["agreement (average)"].GetColor()
    assert series["agreement (last)"].GetColor() != series["selection (last)"].GetColor()
    assert series["agreement (last)"].GetLineWidth() < series["agreement (average)"].GetLineWidth()


def test_new_lines_go_into_the_same_nodes(plots, run_called):
    run = run_called("first")
    plots.show([run])
    before, count = series_of(plots.chart("losses")), count_in_scene()
    run.append_metrics({"step": 40, "losses": {"rec_s": 0.4, "supervised": 1.5}})
    plots.update()
    after = series_of(plots.chart("losses"))
    assert after["rec_s"] is before["rec_s"] and list(after) == ["supervised", "rec_s", "rec_t"]
    assert count_in_scene() == count + 1
    np.testing.assert_array_equal(drawn(after["rec_s"]), [[20, 40], [0.5, 0.4]])
    np.testing.assert_array_equal(drawn(after["rec_t"])[1], [0.25, np.nan])
    np.testing.assert_array_equal(drawn(after["supervised"])[1], [np.nan, 1.5])


def test_an_update_without_news_touches_no_node(plots, run_called):
    plots.show([run_called("first")])
    chart = plots.chart("losses")
    events = []
    tag = chart.AddObserver("AnyEvent", lambda caller, event: events.append(event))
    plots.update()
    chart.RemoveObserver(tag)
    assert events == []


def test_an_update_tells_each_chart_once(plots, run_called):
    """However many series it has: the plot view draws everything anew each time."""
    run = run_called("first")
    plots.show([run])
    chart, events = plots.chart("losses"), []
    tag = chart.AddObserver("ModifiedEvent", lambda caller, event: events.append(event))
    run.append_metrics({"step": 40, "losses": {"rec_s": 0.4, "rec_t": 1.5}})
    plots.update()
    chart.RemoveObserver(tag)
    assert len(events) == 1


def test_a_resumed_run_is_drawn_anew(plots, run_called):
    run = run_called("first")
    for step in (40, 60):
        run.append_metrics({"step": step, "losses": {"rec_s": step / 100, "late": 1.0}})
    plots.show([run])
    run.forget_metrics_after(30)
    run.append_metrics({"step": 40, "losses": {"rec_s": 7.0}})
    plots.update()
    series = series_of(plots.chart("losses"))
    assert list(series) == ["rec_s", "rec_t"]
    np.testing.assert_array_equal(drawn(series["rec_s"]), [[20, 40], [0.5, 7.0]])


def test_what_a_logarithm_cannot_show_is_a_gap_in_the_losses_alone(plots, run_called):
    run = run_called("first", rec_s=0.5, adv_D_t=0.0)
    run.append_metrics({"step": 40, "losses": {"rec_s": -1.0, "adv_D_t": 0.5}, "learning_rates": {"G": 0.0}})
    plots.show([run])
    series = series_of(plots.chart("losses"))
    np.testing.assert_array_equal(drawn(series["rec_s"])[1], [0.5, np.nan])
    np.testing.assert_array_equal(drawn(series["adv_D_t"])[1], [np.nan, 0.5])
    np.testing.assert_array_equal(drawn(series_of(plots.chart("learning_rates"))["G"])[1], [2e-4, 0])


def test_several_runs_share_a_chart_under_their_names(plots, run_called):
    first, second = run_called("first"), run_called("second", rec_s=0.75)
    plots.show([first])
    kept, alone = series_of(plots.chart("losses"))["rec_s"], count_in_scene()
    plots.show([first, second])
    series = series_of(plots.chart("losses"))
    assert list(series) == ["first: rec_s", "first: rec_t", "second: rec_s"]
    assert series["first: rec_s"] is kept
    assert series["first: rec_s"].GetColor() == series["second: rec_s"].GetColor()
    assert series["first: rec_s"].GetLineStyle() != series["second: rec_s"].GetLineStyle()
    np.testing.assert_array_equal(drawn(series["second: rec_s"]), [[20], [0.75]])
    second.append_metrics({"step": 40, "losses": {"rec_s": 0.7}})
    plots.update()
    np.testing.assert_array_equal(drawn(series["second: rec_s"]), [[20, 40], [0.75, 0.7]])
    plots.show([first])
    assert list(series_of(plots.chart("losses"))) == ["rec_s", "rec_t"]
    assert count_in_scene() == alone


def test_runs_of_the_same_name_are_told_apart_by_their_folders(plots, run_called):
    plots.show([run_called("monday/run"), run_called("tuesday/run")])
    names = list(series_of(plots.chart("losses")))
    assert names[0] == "monday/run: rec_s" and names[-1] == "tuesday/run: rec_t"


def test_closing_leaves_nothing_and_nothing_is_saved_with_the_scene(plots, run_called):
    import slicer

    before = count_in_scene()
    plots.show([run_called("first"), run_called("second")])
    assert plots.whole
    for kind in ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode"):
        assert not any(node.GetSaveWithScene() for node in slicer.util.getNodesByClass(kind))
    plots.close()
    assert count_in_scene() == before and not plots.whole


def test_a_scene_that_was_closed_is_noticed_and_can_be_filled_again(plots, run_called):
    import slicer

    run = run_called("first")
    plots.show([run])
    slicer.mrmlScene.Clear()
    assert not plots.whole
    plots.update()
    assert count_in_scene() == 0
    plots.show([run])
    assert list(series_of(plots.chart("losses"))) == ["rec_s", "rec_t"]


def test_a_run_without_numbers_is_an_empty_chart(plots, tmp_path):
    run = RunFolder(tmp_path / "new")
    run.create({"method": "icmsc"})
    plots.show([run])
    assert list(series_of(plots.chart("losses"))) == []
    os.remove(run.path / "run.json")
    plots.update()
    assert plots.whole


def test_a_chart_is_the_active_one_when_it_is_shown(plots, run_called, slicer_app):
    from HipICMSCTrainingLib.gui.scene.plots import show_chart

    plots.show([run_called("first")])
    show_chart(plots.chart("scores"))
    assert slicer_app.app_logic.GetSelectionNode().GetActivePlotChartID() == plots.chart("scores").GetID()
