"""What tests of the HipICMSC panel do with it: an MRI of balls, a click, what is to be seen of the result."""

from __future__ import annotations

import ball_hips
import numpy as np
import SimpleITK as sitk


def add_volume(image: sitk.Image | None = None, name: str = "hips"):
    import slicer

    image = ball_hips.ball_image() if image is None else image
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(image.GetSpacing())
    x, y, z = image.GetOrigin()
    node.SetOrigin(-x, -y, z)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    return node


def segment(panel):
    """Press the button and wait; the segmentation node."""
    if panel.ui.segmentButton.isHidden():
        panel.ui.againButton.click()
    assert not panel.ui.segmentButton.isHidden()
    panel.ui.segmentButton.click()
    panel.wait(lambda: panel.widget.panel.settled)
    from HipICMSCLib.gui.scene.result import result_of

    return result_of(panel.logic.getParameterNode().inputVolume)


def voxel_count(node, segment_id: str, volume) -> int:
    import slicer

    return int((slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0).sum())


def erase_half(node, segment_id: str, volume) -> None:
    """As a user might in the editor."""
    import slicer

    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)
    columns = np.flatnonzero(voxels.any((0, 1)))
    voxels[:, :, : columns[len(columns) // 2]] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment_id, volume)


def shown_bones() -> list[str]:
    """Names of the segmentations that are visible."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes if node.GetDisplayNode() and node.GetDisplayNode().GetVisibility()]
