"""The section "Measures" as a user meets it: hips whose every angle is known, the real worker, real MRML nodes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, truth

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
        import time

        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit
            self.application.processEvents()
            time.sleep(0.01)

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


@pytest.fixture
def measured(section, labels):
    section.panel.show(add_segmentation(labels))
    section.measure()
    return section


def test_a_segmentation_without_hips_says_what_is_missing(section):
    import slicer

    assert not section.ui.measureButton.enabled and "Choose a segmentation" in section.ui.measureButton.toolTip
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "liver")
    section.panel.show(other)
    assert not section.ui.measureButton.enabled
    assert "liver has no segment of a proximal femur" in section.ui.measuresStateLabel.text
    assert not section.ui.measuresTable.visible


def test_the_values_are_the_phantoms_and_the_panel_says_frame_and_research_use(measured, pictures):
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
