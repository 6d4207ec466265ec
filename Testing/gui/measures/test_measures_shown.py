"""What is drawn and saved of the measures: coverage, clocks, table and report."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from ball_panel import add_volume, segment
from measured_hips import add_segmentation


def test_the_coverage_is_a_coloured_sphere(measured):
    from HipICMSCLib.gui.scene.measures_map import coverage_model
    from vtkmodules.util.numpy_support import vtk_to_numpy

    for side in ("right", "left"):
        model = coverage_model(measured.table, side)
        sphere = model.GetPolyData()
        covered = vtk_to_numpy(sphere.GetPointData().GetArray("Covered"))
        assert 100 * covered.mean() == pytest.approx(measured.row("Coverage", side).value, abs=0.05)
        points = vtk_to_numpy(sphere.GetPoints().GetData())
        centre = np.array(measured.mark(f"{side[0].upper()}_HeadCentre").GetNthControlPointPositionWorld(0))
        away = points - centre
        assert np.linalg.norm(away, axis=1) == pytest.approx(measured.row("HeadRadius", side).value + 0.5, abs=0.01)
        # The roof is above and medial of the centre.
        medial = -1 if side == "right" else 1
        assert away[covered == 1].mean(axis=0) @ (medial, 0, 1) > 5
        # Its faces look outward, so that light falls on them.
        faces = sphere.GetPolys()
        corners = vtk_to_numpy(faces.GetConnectivityArray()).reshape(-1, 3)
        a, b, c = (away[corners[:, n]] for n in range(3))
        assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), a) > 0).all()
        colors = model.GetDisplayNode().GetColorNode()
        assert colors.GetColorName(1) == "covered" and colors.GetNumberOfColors() == 2
        assert not model.GetDisplayNode().GetVisibility()
    measured.ui.measuresCoverageCheckBox.click()
    assert coverage_model(measured.table, "left").GetDisplayNode().GetVisibility()


def test_the_clocks_are_plots_of_slicer(measured):
    import slicer
    from HipICMSCLib.gui.scene.measures_plots import clock_chart

    for side, toward in (("right", 1), ("left", -1)):
        chart = clock_chart(measured.table, side, "alpha")
        series = chart.GetNthPlotSeriesNode(0)
        table = series.GetTableNode()
        x, y = (
            slicer.util.arrayFromTableColumn(table, name) for name in (series.GetXColumnName(), series.GetYColumnName())
        )
        # 1:30 is the tenth of the positions every five degrees; its distance from the middle is the angle.
        assert math.hypot(x[9], y[9]) == pytest.approx(measured.row("Alpha_0130", side).value, abs=0.01)
        assert y[9] > 0 and toward * x[9] > 0
        assert chart.GetNumberOfPlotSeriesNodes() == 6
    rim = clock_chart(measured.table, "right", "rim").GetNthPlotSeriesNode(0)
    y = slicer.util.arrayFromTableColumn(rim.GetTableNode(), rim.GetYColumnName())
    assert y[0] == pytest.approx(180 - measured.row("RimAngle_1200").value, abs=0.01)
    measured.ui.measuresRimButton.click()


def test_the_table_is_saved_as_the_command_line_writes_it(measured, report, tmp_path):
    import pythonqt
    from HipICMSCLib.results.morphometry_table import as_csv

    pythonqt.QFileDialog.answer = str(tmp_path / "mine")
    measured.ui.measuresTableButton.click()
    assert "mine.csv" in measured.ui.measuresStateLabel.text
    text = (tmp_path / "mine.csv").read_text(encoding="utf-8-sig")
    assert text == as_csv(report["rows"])
    rows = list(csv.DictReader(text.splitlines()))
    assert next(r for r in rows if r["Status"] == "refused")["Value"] == ""


def test_a_file_is_not_replaced_unasked(measured, tmp_path, monkeypatch):
    import pythonqt
    import slicer

    (tmp_path / "mine.csv").write_text("precious")
    # Qt's dialogue asks about the name that is chosen there; this one lacks its ending.
    pythonqt.QFileDialog.answer = str(tmp_path / "mine")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **more: False)
    measured.ui.measuresTableButton.click()
    assert (tmp_path / "mine.csv").read_text() == "precious"
    pythonqt.QFileDialog.answer = str(tmp_path / "nowhere" / "mine.csv")
    measured.ui.measuresTableButton.click()
    assert "does not exist" in measured.ui.measuresStateLabel.text
    pythonqt.QFileDialog.answer = ""
    measured.ui.measuresTableButton.click()


def test_the_report_is_one_page_with_pictures_made_by_the_worker(measured, tmp_path):
    import pythonqt

    pythonqt.QFileDialog.answer = str(tmp_path / "page.html")
    measured.ui.measuresReportButton.click()
    measured.settle()
    assert "page.html" in measured.ui.measuresStateLabel.text
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page and "hip MRI hips" in page and "research use only" in page.lower()
    assert f"{measured.row('LCEA').value:.1f}" in page
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def copy_of(node):
    """As *Clone* in the subject hierarchy makes it: with all references of the original."""
    import slicer

    copy = slicer.vtkMRMLSegmentationNode()
    copy.Copy(node)
    copy.SetName(f"{node.GetName()} copy")
    return slicer.mrmlScene.AddNode(copy)


def seen_of_measures() -> list[str]:
    """Names of the marks and coverage models that are visible."""
    import slicer

    nodes = [*slicer.util.getNodesByClass("vtkMRMLMarkupsNode"), *slicer.util.getNodesByClass("vtkMRMLModelNode")]
    return sorted(n.GetName() for n in nodes if n.GetDisplayNode() is not None and n.GetDisplayNode().GetVisibility())


@pytest.mark.parametrize("how", ["another result", "deleted", "none"])
def test_measures_of_one_patient_are_not_seen_over_the_next(measured, labels, how):
    """All patients' marks have the same names."""
    measured.select("Lateral centre-edge angle", 1)
    measured.ui.measuresCoverageCheckBox.click()
    assert {"R_LCEA", "R_CoverageMap", "L_CoverageMap"} <= set(seen_of_measures())
    first = measured.node
    if how == "another result":
        measured.panel.show(add_segmentation(labels, "the next patient"))
    elif how == "deleted":
        first.GetScene().RemoveNode(first)
    else:
        measured.ui.measuresSelector.setCurrentNode(None)
    measured.settle()
    assert seen_of_measures() == []
    if how != "deleted":
        measured.panel.show(first)
        measured.settle()
        assert not measured.ui.measuresCoverageCheckBox.checked
        measured.ui.measuresAllPointsCheckBox.click()
        assert "R_LCEA" in seen_of_measures()
        measured.ui.measuresAllPointsCheckBox.click()


def test_an_mri_without_a_result_shows_no_measures(panel, report):
    from HipICMSCLib.gui.scene.bone_labels import fingerprint
    from HipICMSCLib.gui.scene.measures import measures_steps

    first = add_volume(name="first")
    result = segment(panel)
    for step in measures_steps(result, report, fingerprint(result)):
        step()
    section = panel.widget.panel.measures_panel
    section.show(None)
    section.show(result)
    section.ui.measuresAllPointsCheckBox.click()
    assert section.ui.measuresTable.rowCount > 0 and seen_of_measures()
    panel.ui.inputSelector.setCurrentNode(add_volume(name="second"))
    panel.wait(lambda: panel.widget.panel.settled)
    assert section.ui.measuresSelector.currentNode() is None
    assert section.ui.measuresTable.rowCount == 0 and seen_of_measures() == []
    panel.ui.inputSelector.setCurrentNode(first)
    panel.wait(lambda: panel.widget.panel.settled)
    assert section.ui.measuresSelector.currentNode() is result


def test_a_clock_says_whose_it_is(measured):
    from HipICMSCLib.gui.scene.measures_plots import clock_chart

    for side in ("right", "left"):
        assert clock_chart(measured.table, side, "alpha").GetTitle().startswith(f"{measured.node.GetName()}: ")


@pytest.mark.parametrize("deleted", [False, True])
def test_what_is_saved_is_what_was_shown_at_the_click(measured, labels, tmp_path, monkeypatch, deleted):
    """While a file is chosen a batch may end, and then another result is shown."""
    import qt
    import slicer

    first, names = measured.node, []

    def chosen(ending: str):
        def answer(parent, title, name, filters):
            names.append(name)
            measured.panel.show(add_segmentation(labels, "of the batch"))
            if deleted:
                first.GetScene().RemoveNode(first)
            return str(tmp_path / f"mine{ending}")

        return answer

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", chosen(".csv"))
    measured.ui.measuresTableButton.click()
    assert Path(names[0]).name.startswith(first.GetName())
    assert (tmp_path / "mine.csv").exists() is not deleted
    if deleted:
        assert "was deleted" in measured.ui.measuresStateLabel.text
        return
    said = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))
    measured.panel.show(first)
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", chosen(".html"))
    measured.ui.measuresReportButton.click()
    measured.settle()
    assert first.GetName() in (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert any("mine.html" in text for text in said), said


def test_a_copy_of_a_segmentation_is_measured_for_itself(measured, report):
    """A copy is how a user keeps what was there before an edit."""
    from HipICMSCLib.gui.scene.bone_labels import fingerprint
    from HipICMSCLib.gui.scene.measures import measures_steps
    from HipICMSCLib.gui.scene.measures_table import is_stale, table_of

    copy = copy_of(measured.node)
    assert table_of(copy) is None and table_of(measured.node) is not None
    for step in measures_steps(copy, report, "of the copy, which was edited"):
        step()
    assert table_of(copy) is not table_of(measured.node)
    assert fingerprint(measured.node) and not is_stale(table_of(measured.node))
    copy.GetScene().RemoveNode(copy)
    measured.settle()
    assert table_of(measured.node) is not None
