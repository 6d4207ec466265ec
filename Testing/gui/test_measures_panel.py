"""The section "Measures" as a user meets it: hips whose every angle is known, the real worker, real MRML nodes."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, truth
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
SHAPES = HipShapes(cam_radius=22.0, depth=-4.0, fossa_step=45.0)
#: Both hips, coarse for speed: errors of a few tenths of a degree more than at 1 mm.
BOX = Sampling(spacing=(1.6, 1.6, 1.6), low=(-150, -60, -125), high=(150, 60, 60))


@pytest.fixture(scope="session")
def labels() -> sitk.Image:
    return hip_labels({"right": SHAPES, "left": SHAPES}, BOX)


def add_segmentation(image: sitk.Image, name: str = "hip MRI hips", named=lambda bone: (bone.segment_id, bone.name)):
    """A segmentation node with its volume as reference, as a result or a corrected one has."""
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hip MRI")
    slicer.util.updateVolumeFromArray(volume, np.zeros(image.GetSize()[::-1], np.uint8))
    volume.SetSpacing(image.GetSpacing())
    x, y, z = image.GetOrigin()
    volume.SetOrigin(-x, -y, z)
    volume.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    voxels = sitk.GetArrayFromImage(image)
    for bone in SEGMENTS:
        segment_id, title = named(bone)
        if (voxels == bone.value).any():
            node.GetSegmentation().AddEmptySegment(segment_id, title, bone.color)
            found = (voxels == bone.value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(found, node, segment_id, volume)
    return node


class Section:
    """The section with a service of its own, in a scene with one slice view."""

    def __init__(self, application, scene) -> None:
        import slicer
        from HipICMSCLib.gui.panels.measures_panel import MeasuresPanel
        from HipICMSCLib.gui.running.segmentation_service import SegmentationService

        self.application, self.scene = application, scene
        self.view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Green")
        self.view.SetLayoutName("Green")
        self.view.SetOrientation("Coronal")
        self.view.SetDimensions(100, 100, 1)
        self.service = SegmentationService()
        self.panel = MeasuresPanel(lambda name: str(RESOURCES / name), self.service)
        self.ui = self.panel.ui
        self.panel.widget.collapsed = False
        self.panel.widget.show()
        self.slicer = slicer

    @property
    def node(self):
        return self.ui.measuresSelector.currentNode()

    @property
    def table(self):
        from HipICMSCLib.gui.scene.measures_table import table_of

        return table_of(self.node)

    def wait(self, until, seconds: float = 300) -> None:
        wait(self.application, until, seconds)

    def settle(self) -> None:
        self.wait(lambda: self.panel.settled)
        for _ in range(20):
            self.application.processEvents()

    def measure(self) -> None:
        assert self.ui.measureButton.enabled, self.ui.measureButton.toolTip
        self.ui.measureButton.click()
        self.settle()

    def row(self, measure: str, side: str = "right"):
        from HipICMSCLib.gui.scene.measures_table import rows_of

        return next(row for row in rows_of(self.table) if (row.id, row.side) == (measure, side))

    def mark(self, name: str):
        from HipICMSCLib.gui.scene.measures_marks import marks_of

        return marks_of(self.table)[name]

    def cell(self, name: str, column: int):
        """By what stands in the first column."""
        table = self.ui.measuresTable
        index = next(i for i in range(table.rowCount) if table.item(i, 0).text() == name)
        return table.item(index, column)

    def select(self, name: str, column: int) -> None:
        self.ui.measuresTable.setCurrentItem(self.cell(name, column))

    @property
    def middle(self) -> np.ndarray:
        """RAS of what the slice view shows in its middle."""
        return (self.slicer.util.arrayFromVTKMatrix(self.view.GetXYToRAS()) @ (50, 50, 0, 1))[:3]

    def drag(self, name: str, number: int, to_ras) -> None:
        """As the mouse does: the point moves step by step, and then it is let go."""
        node = self.mark(name)
        start = np.array(node.GetNthControlPointPositionWorld(number))
        for share in (0.3, 0.7, 1.0):
            node.SetNthControlPointPositionWorld(number, *(start + share * (np.array(to_ras) - start)))
            self.application.processEvents()
        node.InvokeEvent(node.PointEndInteractionEvent)
        self.settle()

    def turned_edge(self, degrees: float) -> np.ndarray:
        """Where the right roof's edge is after it was turned outward about the head centre."""
        points = [np.array(self.mark("R_LCEA").GetNthControlPointPositionWorld(n)) for n in (1, 2)]
        away = points[1] - points[0]
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        # Lateral of a right hip is towards +R.
        return points[0] + (c * away[0] + s * away[2], away[1], c * away[2] - s * away[0])

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        self.application.processEvents()
        QtWidgets.QWidget.resize(self.panel.widget, 400, 10)
        height = QtWidgets.QWidget.layout(self.panel.widget).totalHeightForWidth(400)
        QtWidgets.QWidget.resize(self.panel.widget, 400, height)
        self.application.processEvents()
        QtWidgets.QWidget.grab(self.panel.widget).save(str(path))

    def close(self) -> None:
        self.panel.close()
        self.service.close()
        self.panel.widget.deleteLater()


@pytest.fixture
def section(bench):
    app, application = bench
    app.scene.Clear()
    opened = Section(application, app.scene)
    yield opened
    opened.close()
    app.scene.SetUndoOff()
    app.scene.ClearUndoStack()
    app.scene.Clear()


@pytest.fixture(scope="session")
def report(labels, tmp_path_factory) -> dict:
    return report_of(labels, tmp_path_factory.mktemp("labels") / "labels.nrrd")


def report_of(labels: sitk.Image, path: Path) -> dict:
    """What the worker says of the phantom, asked once in this process; as it comes through the protocol."""
    from HipICMSCLib.worker.measuring import Measuring
    from HipICMSCLib.worker.protocol import Finished, MeasureRequest, decode, encode

    sitk.WriteImage(labels, str(path))
    said = Measuring().answer(MeasureRequest(str(path), "hip MRI hips", str(path) + "-cancel"), lambda share: None)
    return decode(encode(Finished(said))).report


@pytest.fixture(scope="session")
def pelvis(tmp_path_factory) -> tuple[sitk.Image, dict]:
    """Both hips with their iliac spines and pubic tubercles, and what the worker says of them."""
    shapes = replace(SHAPES, pelvis=True)
    box = replace(BOX, low=(-150, -110, -125), high=(150, 70, 130))
    labels = hip_labels({"right": shapes, "left": shapes}, box)
    return labels, report_of(labels, tmp_path_factory.mktemp("pelvis") / "labels.nrrd")


@pytest.fixture
def measured_pelvis(section, pelvis):
    return with_measures(section, *pelvis)


@pytest.fixture
def measured(section, labels, report):
    return with_measures(section, labels, report)


def with_measures(section, labels, report):
    """The phantom with its measures in the scene, in the steps that the panel takes."""
    from HipICMSCLib.gui.scene.bone_labels import fingerprint
    from HipICMSCLib.gui.scene.measures import measures_steps

    node = add_segmentation(labels)
    for step in measures_steps(node, report, fingerprint(node)):
        step()
    section.panel.show(node)
    section.settle()
    return section


def test_a_segmentation_without_hips_says_what_is_missing(section):
    import slicer

    assert not section.ui.measureButton.enabled and "Choose a segmentation" in section.ui.measureButton.toolTip
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "liver")
    section.panel.show(other)
    assert not section.ui.measureButton.enabled
    assert "liver has no segment of a proximal femur" in section.ui.measuresStateLabel.text
    assert not section.ui.measuresTable.visible


def test_one_click_measures_and_the_panel_says_frame_and_research_use(section, labels, pictures):
    section.panel.show(add_segmentation(labels))
    section.measure()
    measured = section
    expected = truth(SHAPES)
    for name, tolerance in (("LCEA", 1.5), ("VersionCentral", 1.5), ("HeadRadius", 0.3), ("Coverage", 1.5)):
        for side in ("right", "left"):
            row = measured.row(name, side)
            assert row.value == pytest.approx(expected[name], abs=tolerance)
            assert row.low < row.value < row.high
    ui = measured.ui
    assert "Frame of the pelvis: BIHEAD. Supine image tilt, not corrected." in ui.measuresStateLabel.text
    assert "research use only" in ui.measuresLimitsLabel.text and "no diagnosis" in ui.measuresLimitsLabel.text
    lcea = measured.row("LCEA")
    text = measured.cell("Lateral centre-edge angle", 1).text()
    assert text == f"{lcea.value:.1f}\n{lcea.low:.1f} to {lcea.high:.1f}"
    assert measured.cell("Lateral centre-edge angle", 3).text() == "°"
    # What is refused is no number, and says why.
    refused = measured.cell("Anterior centre-edge angle", 1)
    assert refused.text() == "–" and "anterior pelvic plane" in refused.toolTip()
    measured.select("Lateral centre-edge angle", 1)
    note = ui.measuresNoteLabel.text
    for words in ("95 % interval", "Reference 23 to 33: Tannast 2015", "per degree of forward tilt", "BIHEAD"):
        assert words in note
    measured.picture(pictures / "measures.png")


def test_a_row_leads_the_views_to_its_place_and_shows_its_points_alone(measured):
    measured.select("Lateral centre-edge angle", 2)
    edge = measured.mark("L_LCEA").GetNthControlPointPositionWorld(2)
    np.testing.assert_allclose(measured.middle, edge, atol=0.01)
    assert measured.mark("L_LCEA").GetDisplayNode().GetVisibility()
    assert not measured.mark("R_LCEA").GetDisplayNode().GetVisibility()
    measured.select("Head out of round (RMS)", 1)
    centre = measured.mark("R_HeadCentre").GetNthControlPointPositionWorld(0)
    np.testing.assert_allclose(measured.middle, centre, atol=0.01)
    measured.ui.measuresAllPointsCheckBox.checked = True
    assert measured.mark("R_LCEA").GetDisplayNode().GetVisibility()


def test_segments_of_the_same_names_are_measured_whoever_made_them(section, labels):
    """A corrected or foreign segmentation: other ids, the names of ours."""
    from HipICMSCLib.gui.scene.bone_labels import label_image

    node = add_segmentation(labels, "corrected", lambda bone: (f"Segment_{bone.value}", bone.name))
    section.panel.show(node)
    assert section.ui.measureButton.enabled
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label_image(node)), sitk.GetArrayFromImage(labels))
    assert label_image(node).GetOrigin() == pytest.approx(labels.GetOrigin())


def test_the_markups_lie_in_a_folder_a_side_and_only_what_may_be_moved_is_unlocked(measured):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(measured.scene)
    folders = {}
    for side, letter in (("right", "R"), ("left", "L")):
        for name in ("LCEA", "Rim", "HeadCentre", "Alpha_0130"):
            item = hierarchy.GetItemByDataNode(measured.mark(f"{letter}_{name}"))
            folders.setdefault(side, set()).add(hierarchy.GetItemParent(item))
    assert all(len(found) == 1 for found in folders.values()) and folders["right"] != folders["left"]
    (right,) = folders["right"]
    assert hierarchy.GetItemLevel(right) == "Folder" and "right hip" in hierarchy.GetItemName(right)
    lcea = measured.mark("R_LCEA")
    assert not lcea.GetLocked()
    assert [lcea.GetNthControlPointLocked(n) for n in range(3)] == [True, True, False]
    for name in ("R_RimPlane", "R_Extrusion", "R_CamMargin", "R_Offset_0130", "HeadAxis"):
        assert measured.mark(name).GetLocked()
    assert lcea.GetAngleDegrees() == pytest.approx(measured.row("LCEA").value, abs=0.05)


def test_an_edit_makes_the_measures_stale_until_they_are_measured_again(section, labels):
    import slicer

    node = add_segmentation(labels)
    section.panel.show(node)
    section.measure()
    before = section.row("LCEA", "left").value
    volume = slicer.mrmlScene.GetFirstNodeByName("hip MRI")
    # The lateral 12 mm of the left roof are erased.
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, "LeftHipBone", volume).copy()
    centre = np.array(section.mark("L_HeadCentre").GetNthControlPointPositionWorld(0))
    x, _, z = labels.TransformPhysicalPointToIndex((-centre[0], -centre[1], centre[2]))
    voxels[z:, :, x + 8 :] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, "LeftHipBone", volume)
    section.settle()
    assert "measure again" in section.ui.measuresStateLabel.text
    assert section.row("LCEA", "left").status == "stale"
    assert "out of date" in section.cell("Lateral centre-edge angle", 2).text()
    assert not section.ui.measuresReportButton.enabled and "Measure again" in section.ui.measuresReportButton.toolTip
    section.measure()
    assert "measure again" not in section.ui.measuresStateLabel.text
    after = section.row("LCEA", "left")
    assert math.isnan(after.value) or after.value < before - 5
    assert section.row("LCEA", "right").status in ("auto", "uncertain")


def test_a_cleared_segment_makes_the_measures_stale_and_a_surface_does_not(measured):
    import slicer

    segmentation = measured.node.GetSegmentation()
    assert segmentation.CreateRepresentation("Closed surface", True)
    measured.settle()
    assert "measure again" not in measured.ui.measuresStateLabel.text
    bone = segmentation.GetSegmentIdBySegmentName("LeftFemur") or "LeftFemur"
    assert slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(measured.node, bone)
    measured.settle()
    assert "measure again" in measured.ui.measuresStateLabel.text
    assert measured.row("LCEA", "left").status == "stale"


def test_what_was_edited_while_nobody_watched_is_stale_when_it_is_shown(measured, labels):
    import slicer

    node = measured.node
    measured.ui.measuresSelector.setCurrentNode(None)
    volume = slicer.mrmlScene.GetFirstNodeByName("hip MRI")
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, "LeftFemur", volume).copy()
    voxels[:3] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, "LeftFemur", volume)
    assert measured.node is None
    measured.panel.show(node)
    assert "measure again" in measured.ui.measuresStateLabel.text


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
    assert "Frame of the pelvis: APP" in section.ui.measuresStateLabel.text
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
    assert "Frame of the pelvis: USER. Frame set by hand" in section.ui.measuresStateLabel.text
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
    assert "Frame of the pelvis: APP" in section.ui.measuresStateLabel.text
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
    assert "Frame of the pelvis: APP" in section.ui.measuresStateLabel.text
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


def test_a_moved_shaft_takes_the_neck_shaft_angle_with_it(measured):
    before = {name: measured.row(name).value for name in ("CCD_3D", "LCEA")}
    node = measured.mark("R_ShaftAxis")
    assert not node.GetLocked()
    upper, lower = (np.array(node.GetNthControlPointPositionWorld(n)) for n in range(2))
    # Lateral of a right hip is towards +R: there the shaft's lower end is farther from the head.
    measured.drag("R_ShaftAxis", 1, np.add(lower, (6.0, 0, 0)))
    row, turned = measured.row("CCD_3D"), math.degrees(math.atan2(6.0, np.linalg.norm(lower - upper)))
    assert row.value == pytest.approx(before["CCD_3D"] + turned, abs=1.5) and row.status == "edited"
    corner = measured.mark("R_CCD")
    np.testing.assert_allclose(corner.GetNthControlPointPositionWorld(2), np.add(lower, (6.0, 0, 0)), atol=1e-3)
    assert measured.row("LCEA").value == before["LCEA"]
    # The clock round the neck is set by the shaft.
    assert measured.row("Alpha_0130").status == "outdated"
    live = row.value
    measured.measure()
    assert measured.row("CCD_3D").value == pytest.approx(live, abs=0.1)
    measured.ui.measuresResetButton.click()
    measured.settle()
    assert measured.row("CCD_3D").value == pytest.approx(before["CCD_3D"], abs=1e-3)


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
    text = (tmp_path / "mine.csv").read_text(encoding="utf-8")
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


def test_cancel_leaves_the_scene_as_it_was(measured):
    before = measured.row("LCEA").value
    nodes = measured.scene.GetNumberOfNodes()
    measured.ui.measureButton.click()
    assert measured.ui.measureButton.text == "Cancel" and not measured.ui.measuresReportButton.enabled
    measured.wait(lambda: measured.ui.measuresProgressBar.value > 0)
    measured.ui.measureButton.click()
    measured.settle()
    assert "The measuring was cancelled; nothing was changed." in measured.ui.measuresStateLabel.text
    assert measured.row("LCEA").value == before and measured.scene.GetNumberOfNodes() == nodes
    assert measured.ui.measureButton.text == "Measure again" and measured.ui.measureButton.enabled


def test_a_worker_that_dies_is_one_sentence_and_the_next_click_works(section, labels):
    section.panel.show(add_segmentation(labels))
    section.ui.measureButton.click()
    section.wait(lambda: section.ui.measuresProgressBar.value > 0)
    section.service._worker._process.kill()
    section.settle()
    assert "ended unexpectedly" in section.ui.measuresStateLabel.text
    assert section.table is None and section.ui.measureButton.text == "Measure"
    section.measure()
    assert section.row("LCEA").value == pytest.approx(truth(SHAPES)["LCEA"], abs=1.5)


def test_a_segmentation_deleted_while_it_is_measured_leaves_nothing(section, labels):
    node = add_segmentation(labels)
    section.panel.show(node)
    section.ui.measureButton.click()
    section.wait(lambda: section.ui.measuresProgressBar.value > 0)
    section.scene.RemoveNode(node)
    section.settle()
    assert section.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert section.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_a_saved_scene_comes_back_with_all_of_it_and_goes_on_following(bench, measured, tmp_path):
    from HipICMSCLib.gui.scene.measures_map import coverage_model
    from HipICMSCLib.gui.scene.measures_plots import clock_chart

    measured.drag("R_LCEA", 2, measured.turned_edge(6.0))
    app = bench[0]
    rows = {(row.side, row.id): row for row in _rows(measured.table)}
    positions = _positions(measured)
    path = tmp_path / "scene.mrb"
    assert app.io_manager.write_scene(str(path))
    app.scene.Clear()
    measured.panel.forget_scene()
    assert app.io_manager.load_scene(str(path))
    measured.panel.take_scene()
    measured.settle()
    again = {(row.side, row.id): row for row in _rows(measured.table)}
    assert again.keys() == rows.keys()
    for key, row in rows.items():
        assert again[key].status == row.status and again[key].marks == row.marks
        # Slicer writes six digits into a table's file.
        assert again[key].value == pytest.approx(row.value, rel=1e-5, nan_ok=True)
    assert "Points were moved" in measured.ui.measuresStateLabel.text
    for name, points in _positions(measured).items():
        np.testing.assert_allclose(points, positions[name], atol=1e-3)
    assert coverage_model(measured.table, "left").GetPolyData().GetNumberOfPoints() == 6000
    assert coverage_model(measured.table, "left").GetDisplayNode().GetColorNode().GetColorName(1) == "covered"
    assert clock_chart(measured.table, "left", "rim").GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() == 121
    assert measured.mark("R_LCEA").GetNthControlPointLocked(1) and not measured.mark("R_LCEA").GetLocked()
    value = measured.row("LCEA").value
    measured.drag("R_LCEA", 2, measured.turned_edge(-3.0))
    assert measured.row("LCEA").value == pytest.approx(value - 3.0, abs=0.3)
    # What does not rest on the rim is neither edited nor robbed of its interval by that.
    assert measured.row("CCD_3D").status == "auto" and not math.isnan(measured.row("CCD_3D").low)


def _rows(table):
    from HipICMSCLib.gui.scene.measures_table import rows_of

    return rows_of(table)


def _positions(section) -> dict[str, list]:
    from HipICMSCLib.gui.scene.measures_marks import marks_of

    return {
        name: [node.GetNthControlPointPositionWorld(n) for n in range(node.GetNumberOfControlPoints())]
        for name, node in marks_of(section.table).items()
    }
