"""The section "Measures" as a user meets it: hips whose every angle is known, the real worker, real MRML nodes."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.phantom.hip_shapes import truth
from measured_hips import SHAPES, add_segmentation


def test_a_segmentation_without_hips_says_what_is_missing(section):
    import slicer

    assert not section.ui.measureButton.enabled and "Choose a segmentation" in section.ui.measureButton.toolTip
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "liver")
    section.panel.show(other)
    assert not section.ui.measureButton.enabled
    assert "liver has no segment of a proximal femur" in section.ui.measuresStateLabel.text
    assert not section.ui.measuresTable.visible


def test_bones_are_known_by_the_names_that_a_user_gave_them(section, labels):
    """The names of two segments were exchanged, and their identifiers are what they were."""
    from HipICMSCLib.gui.scene.bone_labels import bones_in, fingerprint

    segmentation_node = add_segmentation(labels)
    as_it_was = fingerprint(segmentation_node)
    before = {bone.name: segment_id for bone, segment_id in bones_in(segmentation_node).items()}
    segmentation = segmentation_node.GetSegmentation()
    right, left = "Right hip bone (acetabulum)", "Left hip bone (acetabulum)"
    segmentation.GetSegment(before[right]).SetName(left)
    segmentation.GetSegment(before[left]).SetName(right)
    after = {bone.name: segment_id for bone, segment_id in bones_in(segmentation_node).items()}
    assert after == before | {right: before[left], left: before[right]}
    # Where a name says nothing, the identifier does.
    segmentation.GetSegment(before[left]).SetName("Rechtes Hüftbein")
    segmentation.GetSegment(before[right]).SetName("Linkes Hüftbein")
    assert fingerprint(segmentation_node) == as_it_was, "other names are no other bones"
    assert {bone.name: segment_id for bone, segment_id in bones_in(segmentation_node).items()} == before


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
    assert (
        "Frame of the pelvis: both femoral heads as found automatically (BIHEAD). Supine image tilt, not corrected."
        in ui.measuresStateLabel.text
    )
    assert "research use only" in ui.measuresLimitsLabel.text and "no diagnosis" in ui.measuresLimitsLabel.text
    lcea = measured.row("LCEA")
    text = measured.cell("Lateral centre-edge angle", 1).text()
    assert text == f"{lcea.value:.1f}\n{lcea.low:.1f} to {lcea.high:.1f}"
    assert measured.cell("Lateral centre-edge angle", 3).text() == "°"
    assert re.fullmatch(r"1?\d:\d\d", measured.cell("Clock position of the largest alpha", 1).text())
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


def test_two_segments_of_one_name_are_refused_until_one_is_renamed(section, labels):
    from HipICMSCLib.common.errors import HipError
    from HipICMSCLib.gui.scene.bone_labels import bones_in, label_image

    node = add_segmentation(labels, "hips")
    section.panel.show(node)
    (left,) = [segment_id for bone, segment_id in bones_in(node).items() if bone.name == "Left proximal femur"]
    assert section.ui.measureButton.enabled
    node.GetSegmentation().GetSegment(left).SetName("Right proximal femur ")
    section.settle()
    said = "Two segments of hips are the right proximal femur; rename or remove one."
    assert not section.ui.measureButton.enabled and section.ui.measureButton.toolTip == said
    assert section.ui.measuresStateLabel.text == said
    with pytest.raises(HipError, match="rename or remove one"):
        label_image(node)
    node.GetSegmentation().GetSegment(left).SetName("Left proximal femur")
    section.settle()
    assert section.ui.measureButton.enabled


def test_a_segment_that_is_named_as_a_bone_may_be_measured_at_once(section, labels):
    node = add_segmentation(labels, "foreign", lambda bone: (f"Segment_{bone.value}", f"Segment_{bone.value}"))
    section.panel.show(node)
    assert "has no segment of a proximal femur" in section.ui.measuresStateLabel.text
    node.GetSegmentation().GetSegment("Segment_3").SetName("Right proximal femur")
    section.settle()
    assert section.ui.measureButton.enabled and not section.ui.measuresStateLabel.visible


def test_bones_that_exchange_their_names_make_the_measures_stale(measured):
    from HipICMSCLib.gui.scene.bone_labels import bones_in

    segments = {bone.name: measured.node.GetSegmentation().GetSegment(i) for bone, i in bones_in(measured.node).items()}
    right, left = (segments[f"{side} proximal femur"] for side in ("Right", "Left"))
    right.SetName(left.GetName())
    left.SetName("Right proximal femur")
    measured.settle()
    assert "was changed since it was measured" in measured.ui.measuresStateLabel.text


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


def test_an_edit_makes_the_measures_stale_until_they_are_measured_again(measured, labels):
    import slicer

    section, node = measured, measured.node
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


def test_a_segment_that_is_added_or_removed_beside_the_bones_leaves_the_numbers_as_they_are(measured):
    from HipICMSCLib.gui.scene.measures_table import is_stale

    segmentation = measured.node.GetSegmentation()
    segmentation.AddEmptySegment("Labrum", "Labrum")
    measured.settle()
    assert not is_stale(measured.table) and measured.ui.measuresReportButton.enabled
    segmentation.RemoveSegment("Labrum")
    measured.settle()
    assert not is_stale(measured.table)
    segmentation.RemoveSegment("LeftHipBone")
    measured.settle()
    assert is_stale(measured.table)


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


def test_cancel_leaves_the_scene_as_it_was(measured):
    before = measured.row("LCEA").value
    nodes = measured.scene.GetNumberOfNodes()
    measured.ui.measureButton.click()
    assert measured.ui.measureButton.text == "Cancel" and not measured.ui.measuresReportButton.enabled
    state = measured.ui.measuresStateLabel
    assert state.visible and state.text == "Measuring …"
    measured.wait(lambda: measured.ui.measuresProgressBar.value > 0)
    measured.ui.measureButton.click()
    assert state.visible and state.text == "Cancelling …"
    measured.settle()
    assert "The measuring was cancelled; nothing was changed." in measured.ui.measuresStateLabel.text
    assert measured.row("LCEA").value == before and measured.scene.GetNumberOfNodes() == nodes
    assert measured.ui.measureButton.text == "Measure again" and measured.ui.measureButton.enabled


def test_a_worker_that_dies_is_one_sentence_and_the_next_click_works(section, right_labels):
    section.panel.show(add_segmentation(right_labels))
    section.ui.measureButton.click()
    section.wait(lambda: section.ui.measuresProgressBar.value > 0)
    section.service._worker._process.kill()
    section.settle()
    assert "ended unexpectedly" in section.ui.measuresStateLabel.text
    # The sentence says that the details say more.
    assert section.ui.measuresStateLabel.toolTip
    assert section.table is None and section.ui.measureButton.text == "Measure"
    section.measure()
    assert "unexpectedly" not in section.ui.measuresStateLabel.toolTip
    assert section.row("LCEA").value == pytest.approx(truth(SHAPES)["LCEA"], abs=1.5)


def test_another_segmentation_that_is_chosen_meanwhile_is_not_left_measuring(section, right_labels):
    first, second = (add_segmentation(right_labels, name) for name in ("first", "second"))
    section.panel.show(first)
    section.ui.measureButton.click()
    section.panel.show(second)
    section.settle()
    assert section.node is second and section.table is None
    assert section.ui.measureButton.text == "Measure" and section.ui.measuresSelector.enabled
    assert section.ui.measuresProgressBar.isHidden() and "easur" not in section.ui.measuresStateLabel.text
    section.panel.show(first)
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
