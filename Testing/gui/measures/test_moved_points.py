"""Points of a measure that a user moves: the numbers follow, go back, and stay through measuring anew and undo."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest


def test_the_numbers_follow_a_moved_point_and_go_back(measured, pictures):
    """The lateral edge turned outward by 6 degrees about the head centre: the angle grows by 6."""
    before = {row: measured.row(row).value for row in ("LCEA", "ExtrusionIndex", "VersionCentral", "Alpha_0130")}
    alpha = measured.row("Alpha_0130").status
    other = measured.row("LCEA", "left").value
    automatic = np.array(measured.mark("R_LCEA").GetNthControlPointPositionWorld(2))
    measured.drag("R_LCEA", 2, measured.turned_edge(6.0))
    lcea = measured.row("LCEA")
    assert lcea.value == pytest.approx(before["LCEA"] + 6.0, abs=0.3)
    assert lcea.status == "edited" and lcea.auto_value == pytest.approx(before["LCEA"], abs=1e-3)
    assert f"{lcea.value:.1f} edited" in measured.cell("Lateral centre-edge angle", 1).text()
    # What else rests on the rim follows, too; what does not stays.
    assert measured.row("ExtrusionIndex").value < before["ExtrusionIndex"] - 2
    assert measured.row("Alpha_0130").value == before["Alpha_0130"] and measured.row("Alpha_0130").status == alpha
    assert measured.row("LCEA", "left").value == other
    assert measured.row("Coverage").status == "outdated"
    assert "Points were moved" in measured.ui.measuresStateLabel.text
    # The rim's own points went along, and the angle in the view says the same.
    assert measured.mark("R_LCEA").GetAngleDegrees() == pytest.approx(lcea.value, abs=0.05)
    measured.select("Lateral centre-edge angle", 1)
    measured.picture(pictures / "measures-edited.png")
    measured.ui.measuresResetButton.click()
    back = measured.mark("R_LCEA").GetNthControlPointPositionWorld(2)
    np.testing.assert_allclose(back, automatic, atol=1e-3)
    measured.settle()
    assert measured.row("LCEA").value == pytest.approx(before["LCEA"], abs=1e-3)
    assert measured.row("LCEA").status == "auto" and measured.row("Coverage").status == "auto"
    assert not measured.ui.measuresResetButton.enabled


def test_a_reset_whose_measuring_is_cancelled_leaves_no_number_of_the_points_before(measured):
    before = measured.row("LCEA").value
    measured.drag("R_LCEA", 2, measured.turned_edge(6.0))
    measured.ui.measuresResetButton.click()
    measured.ui.measureButton.click()
    measured.settle()
    row = measured.row("LCEA")
    assert row.value == pytest.approx(before, abs=1e-3) and row.status == "outdated"
    assert not measured.ui.measuresTableButton.enabled and "Measure again" in measured.ui.measuresTableButton.toolTip


def test_a_point_let_go_beside_its_plane_goes_back_into_it(measured):
    edge = measured.turned_edge(4.0)
    measured.drag("R_LCEA", 2, edge + np.array([0, 3.0, 0]))
    head, end = (np.array(measured.mark("R_LCEA").GetNthControlPointPositionWorld(n)) for n in (1, 2))
    assert end[1] == pytest.approx(head[1], abs=0.05)
    assert measured.mark("R_LCEA").GetAngleDegrees() == pytest.approx(measured.row("LCEA").value, abs=0.05)


def test_a_moved_head_centre_takes_all_angles_with_it(measured):
    before = measured.row("LCEA").value
    centre = np.array(measured.mark("R_HeadCentre").GetNthControlPointPositionWorld(0))
    edge = np.array(measured.mark("R_LCEA").GetNthControlPointPositionWorld(2))
    measured.drag("R_HeadCentre", 0, centre - (2.0, 0, 0))
    away = edge - (centre - (2.0, 0, 0))
    expected = math.degrees(math.atan2(away[0], away[2]))
    assert expected > before + 2
    assert measured.row("LCEA").value == pytest.approx(expected, abs=0.3)
    np.testing.assert_allclose(
        measured.mark("R_LCEA").GetNthControlPointPositionWorld(1), centre - (2, 0, 0), atol=0.01
    )
    assert measured.row("Alpha_0130").status == "outdated"


def test_a_moved_head_centre_takes_an_edited_radius_with_it(measured):
    """The sphere kept its old surface point, so that its radius changed with each move of the centre."""
    centre, surface = (np.array(measured.mark("R_HeadRadius").GetNthControlPointPositionWorld(n)) for n in range(2))
    measured.drag("R_HeadRadius", 1, centre + (surface - centre) * 25.0 / np.linalg.norm(surface - centre))
    assert measured.row("HeadRadius").value == pytest.approx(25.0, abs=0.01)
    lifted = np.array([0, 0, 4.0])
    measured.drag("R_HeadCentre", 0, centre + lifted)
    assert measured.row("HeadRadius").value == pytest.approx(25.0, abs=0.01)
    start, end = (np.array(measured.mark("R_HeadRadius").GetNthControlPointPositionWorld(n)) for n in range(2))
    np.testing.assert_allclose(start, centre + lifted, atol=0.01)
    assert np.linalg.norm(end - start) == pytest.approx(25.0, abs=0.01)
    assert measured.row("Sphericity").status == "outdated"


def test_the_point_where_the_surface_leaves_the_sphere_is_the_alpha_angle(measured):
    beside = measured.row("Alpha_0200").status
    node = measured.mark("R_Alpha_0130")
    neck, centre, end = (np.array(node.GetNthControlPointPositionWorld(n)) for n in range(3))
    axis, away = neck - centre, end - centre
    axis /= np.linalg.norm(axis)
    across = away - (away @ axis) * axis
    across /= np.linalg.norm(across)
    angle = math.radians(measured.row("Alpha_0130").value + 8.0)
    moved = centre + np.linalg.norm(away) * (math.cos(angle) * axis + math.sin(angle) * across)
    measured.drag("R_Alpha_0130", 2, moved)
    assert measured.row("Alpha_0130").value == pytest.approx(math.degrees(angle), abs=0.05)
    assert measured.row("Alpha_0130").status == "edited" and measured.row("Alpha_0200").status == beside


def test_what_was_moved_is_kept_when_it_is_measured_again(measured):
    measured.drag("R_LCEA", 2, measured.turned_edge(6.0))
    value, rest = measured.row("LCEA").value, measured.row("LCEA", "left").value
    measured.measure()
    again = measured.row("LCEA")
    assert again.value == pytest.approx(value, abs=0.3) and again.status in ("edited", "uncertain")
    assert again.low < again.value < again.high
    assert measured.row("Coverage").status != "outdated" and measured.row("LCEA", "left").value == rest
    assert measured.ui.measuresResetButton.enabled


def test_a_point_that_is_moved_while_the_hips_are_measured_stays_where_it_was_put(measured_right):
    edge, mark = measured_right.turned_edge(6.0), measured_right.mark("R_LCEA")
    measured_right.ui.measureButton.click()
    measured_right.wait(lambda: measured_right.ui.measuresProgressBar.value > 0)
    mark.SetNthControlPointPositionWorld(2, *edge)
    measured_right.application.processEvents()
    mark.InvokeEvent(mark.PointEndInteractionEvent)
    measured_right.settle()
    assert np.allclose(mark.GetNthControlPointPositionWorld(2), edge, atol=0.5)
    assert "moved while the hips were being measured" in measured_right.ui.measuresStateLabel.text
    value = measured_right.row("LCEA").value
    measured_right.measure()
    assert measured_right.row("LCEA").value == pytest.approx(value, abs=0.3)


def test_undo_brings_back_point_and_number_where_the_scenes_undo_is_on(measured):
    scene = measured.scene
    scene.SetUndoOn()
    before = measured.row("LCEA").value
    point = measured.mark("R_LCEA").GetNthControlPointPositionWorld(2)
    # As Slicer does when the mouse takes hold of a point.
    scene.SaveStateForUndo()
    measured.drag("R_LCEA", 2, measured.turned_edge(6.0))
    moved = measured.row("LCEA").value
    assert moved > before + 5
    scene.Undo()
    measured.settle()
    np.testing.assert_allclose(measured.mark("R_LCEA").GetNthControlPointPositionWorld(2), point, atol=1e-3)
    assert measured.row("LCEA").value == before
    assert measured.cell("Lateral centre-edge angle", 1).text().startswith(f"{before:.1f}")
    scene.Redo()
    measured.settle()
    assert measured.row("LCEA").value == moved


def test_the_numbers_follow_moved_landmarks_and_the_frame_is_said_to_be_the_users(measured_pelvis, pictures):
    """Both pubic tubercles 8 mm forward tilt the pelvis's plane: numbers of both hips follow, and back on reset."""
    from HipICMSCLib.gui.scene.measures_table import csv_of

    section = measured_pelvis
    assert "Frame of the pelvis: anterior pelvic plane (APP)" in section.ui.measuresStateLabel.text
    landmarks = section.mark("PelvicLandmarks")
    assert not landmarks.GetLocked()
    names = [landmarks.GetNthControlPointLabel(n) for n in range(4)]
    found = [landmarks.GetNthControlPointPositionWorld(n) for n in range(4)]
    before = {side: section.row("VersionCentral", side) for side in ("right", "left")}
    radius = section.row("HeadRadius").value
    for name in ("PT_R", "PT_L"):
        number = names.index(name)
        section.drag("PelvicLandmarks", number, np.add(found[number], (0, 8.0, 0)))
    live = {side: section.row("VersionCentral", side) for side in ("right", "left")}
    for side, row in live.items():
        # 8 mm on the distance of spines and tubercles; against the plane turned so, the bones tilt forward.
        apart = abs(found[names.index("ASIS_R")][2] - found[names.index("PT_R")][2])
        tilt = math.degrees(math.atan2(8.0, apart))
        assert row.value - before[side].value == pytest.approx(tilt * before[side].tilt_slope, abs=0.5)
        assert abs(row.value - before[side].value) > 2
        assert (row.status, row.frame) == ("edited", "USER")
        assert row.auto_value == pytest.approx(before[side].value, abs=1e-3)
        assert "Frame set by hand" in row.cautions
    assert section.row("HeadRadius").value == radius and section.row("HeadRadius").frame == ""
    assert section.row("CoverageUpper").status == "outdated" and section.row("Coverage").status == "auto"
    assert "Frame of the pelvis: set by hand (USER). Frame set by hand" in section.ui.measuresStateLabel.text
    section.select("Acetabular version, central", 1)
    section.picture(pictures / "measures-user-frame.png")
    # The bones say the same, and table and page name the frame.
    section.measure()
    again = section.row("VersionCentral")
    assert again.value == pytest.approx(live["right"].value, abs=0.5) and again.frame == "USER"
    rows = list(csv.DictReader(csv_of(section.table).splitlines()))
    assert {row["Frame"] for row in rows} == {"USER", ""}
    version = next(row for row in rows if (row["Measure"], row["Side"]) == ("VersionCentral", "right"))
    assert float(version["Auto value"]) == pytest.approx(before["right"].value, abs=1e-3)
    assert section.ui.measuresResetButton.enabled
    section.ui.measuresResetButton.click()
    section.settle()
    assert "Frame of the pelvis: anterior pelvic plane (APP)" in section.ui.measuresStateLabel.text
    assert section.row("VersionCentral").value == pytest.approx(before["right"].value, abs=1e-3)
    assert section.row("VersionCentral").status == "auto" and section.row("VersionCentral").frame == "APP"
    for number, point in enumerate(found):
        np.testing.assert_allclose(landmarks.GetNthControlPointPositionWorld(number), point, atol=1e-3)
    assert not section.ui.measuresResetButton.enabled


def test_undo_brings_back_landmark_frame_and_numbers(measured_pelvis):
    section = measured_pelvis
    section.scene.SetUndoOn()
    before = section.row("RimVersion").value
    point = section.mark("PelvicLandmarks").GetNthControlPointPositionWorld(1)
    section.scene.SaveStateForUndo()
    section.drag("PelvicLandmarks", 1, np.add(point, (0, 12.0, 0)))
    moved = section.row("RimVersion").value
    assert abs(moved - before) > 1
    section.scene.Undo()
    section.settle()
    np.testing.assert_allclose(section.mark("PelvicLandmarks").GetNthControlPointPositionWorld(1), point, atol=1e-3)
    assert section.row("RimVersion").value == before and section.row("RimVersion").frame == "APP"
    assert "Frame of the pelvis: anterior pelvic plane (APP)" in section.ui.measuresStateLabel.text
    section.scene.Redo()
    section.settle()
    assert section.row("RimVersion").value == moved and section.row("RimVersion").frame == "USER"


def test_landmarks_that_tell_no_plane_are_one_sentence_and_no_number_changes(measured_pelvis):
    section = measured_pelvis
    before = section.row("RimVersion").value
    right, left = (section.mark("PelvicLandmarks").GetNthControlPointPositionWorld(n) for n in (0, 2))
    section.drag("PelvicLandmarks", 0, np.subtract(left, (right[0] - left[0], 0, 0)))
    assert "tell no plane of a pelvis" in section.ui.measuresStateLabel.text
    section.measure()
    assert "tell no plane of a pelvis" in section.ui.measuresStateLabel.text
    section.ui.measuresResetButton.click()
    section.settle()
    assert section.row("RimVersion").value == pytest.approx(before, abs=1e-3)


def test_a_moved_shaft_takes_the_neck_shaft_angle_with_it(measured_right):
    before = {name: measured_right.row(name).value for name in ("CCD_3D", "LCEA")}
    node = measured_right.mark("R_ShaftAxis")
    assert not node.GetLocked()
    upper, lower = (np.array(node.GetNthControlPointPositionWorld(n)) for n in range(2))
    # Lateral of a right hip is towards +R: there the shaft's lower end is farther from the head.
    measured_right.drag("R_ShaftAxis", 1, np.add(lower, (6.0, 0, 0)))
    row, turned = measured_right.row("CCD_3D"), math.degrees(math.atan2(6.0, np.linalg.norm(lower - upper)))
    assert row.value == pytest.approx(before["CCD_3D"] + turned, abs=1.5) and row.status == "edited"
    corner = measured_right.mark("R_CCD")
    np.testing.assert_allclose(corner.GetNthControlPointPositionWorld(2), np.add(lower, (6.0, 0, 0)), atol=1e-3)
    assert measured_right.row("LCEA").value == before["LCEA"]
    # The clock round the neck is set by the shaft.
    assert measured_right.row("Alpha_0130").status == "outdated"
    live = row.value
    measured_right.measure()
    assert measured_right.row("CCD_3D").value == pytest.approx(live, abs=0.1)
    measured_right.ui.measuresResetButton.click()
    measured_right.settle()
    assert measured_right.row("CCD_3D").value == pytest.approx(before["CCD_3D"], abs=1e-3)
