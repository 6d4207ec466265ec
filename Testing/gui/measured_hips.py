"""The section "Measures" on the bench, and hips whose every angle is known to fill it with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer_stand_ins
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCTrainingLib.phantom.hip_labels import Sampling
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes
from section import Section

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
SHAPES = HipShapes(cam_radius=22.0, depth=-4.0, fossa_step=45.0)
#: Both hips, coarse for speed: errors of a few tenths of a degree more than at 1 mm.
BOX = Sampling(spacing=(1.6, 1.6, 1.6), low=(-150, -60, -125), high=(150, 60, 60))


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


class MeasuresSection(Section):
    """With a service of its own."""

    def __init__(self, application, scene) -> None:
        from HipICMSCLib.gui.panels.measures_panel import MeasuresPanel
        from HipICMSCLib.gui.running.segmentation_service import SegmentationService

        self.service = SegmentationService()
        super().__init__(application, scene, MeasuresPanel(lambda name: str(RESOURCES / name), self.service))
        self.panel.widget.collapsed = False

    @property
    def node(self):
        return self.ui.measuresSelector.currentNode()

    @property
    def table(self):
        from HipICMSCLib.gui.scene.measures_table import table_of

        return table_of(self.node)

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

    def close(self) -> None:
        super().close()
        self.service.close()


def report_of(labels: sitk.Image, path: Path) -> dict:
    """What the worker says of the phantom, asked once in this process; as it comes through the protocol."""
    from HipICMSCLib.worker.measuring import Measuring
    from HipICMSCLib.worker.protocol import Finished, MeasureRequest, decode, encode

    sitk.WriteImage(labels, str(path))
    said = Measuring().answer(MeasureRequest(str(path), "hip MRI hips", str(path) + "-cancel"), lambda share: None)
    return decode(encode(Finished(said))).report


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
