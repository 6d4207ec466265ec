"""What the slice and 3D views look at."""

from __future__ import annotations

from collections.abc import Sequence

import slicer

from HipICMSCLib.gui.scene.result import results_in_scene


def centre_views_on(point_ras: Sequence[float]) -> None:
    """Bring a point, RAS mm as displayed, into the middle of every slice view and 3D view; zoom and angles stay."""
    slice_node = slicer.vtkMRMLSliceNode
    slice_node.JumpAllSlices(slicer.mrmlScene, *point_ras, slice_node.CenteredJumpSlice)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        way = [new - old for new, old in zip(point_ras, camera.GetFocalPoint(), strict=True)]
        camera.SetPosition([old + step for old, step in zip(camera.GetPosition(), way, strict=True)])
        camera.SetFocalPoint(list(point_ras))
        camera.ResetClippingRange()


def show_alone(volume_node, segmentation_node) -> None:
    """Show a volume in all slice views, with this result of ours or none: other results of ours are hidden, and what is
    not ours stays as it is."""
    slicer.util.setSliceViewerLayers(background=volume_node, fit=True)
    show_result_alone(segmentation_node)


def show_result_alone(segmentation_node) -> None:
    """Hide all results of ours but this one."""
    for result in results_in_scene():
        result.CreateDefaultDisplayNodes()
        result.GetDisplayNode().SetVisibility(result is segmentation_node)
