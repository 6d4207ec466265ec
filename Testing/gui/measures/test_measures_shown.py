"""What is drawn and saved of the measures: coverage, clocks, table and report."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest


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
