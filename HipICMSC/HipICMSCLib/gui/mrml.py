"""The one place between MRML nodes and our files: Slicer's RAS, transforms and voxels here, LPS there.

A volume is given to the engine as it is displayed, with its linear transform applied. The result comes back into the
volume's own voxel grid, under the same transform, so that the two stay together when the transform is changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.errors import HipError

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: A result's grid may differ from its volume's by this, which is what the digits in a file's header leave.
_GEOMETRY_TOLERANCE_MM = 1e-3


def image_of(volume_node) -> sitk.Image:
    """A scalar volume node as it is displayed.

    Raises:
        HipError: ``no_image``, or ``nonlinear_transform`` if it is under a transform that bends it.
    """
    if volume_node is None or volume_node.GetImageData() is None:
        raise HipError("no_image", "The chosen volume is empty; choose another one.")
    matrix = _LPS_FROM_RAS @ _voxels_to_world(volume_node)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(volume_node))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return image


def check_target(segmentation_node) -> None:
    """Refuse to write into a segmentation that has segments, which somebody may have drawn.

    Raises:
        HipError: ``target_not_empty``.
    """
    if segmentation_node is not None and segmentation_node.GetSegmentation().GetNumberOfSegments():
        raise HipError(
            "target_not_empty",
            f"The segmentation {segmentation_node.GetName()} already has segments, which are never overwritten; "
            "choose a new one.",
        )


def read_result(path: Path, volume_node, segmentation_node=None):
    """Bring a result of ``volume_node`` into the scene.

    Args:
        path: .seg.nrrd on the grid of the volume as :func:`image_of` gave it.
        segmentation_node: an empty one to fill; None makes a new one.

    Returns:
        The vtkMRMLSegmentationNode, shown and in the volume's place of the subject hierarchy. If anything is wrong
        the scene stays as it was.

    Raises:
        HipError: ``unreadable``, ``wrong_geometry``, ``nothing_found``, or as :func:`check_target`.
    """
    check_target(segmentation_node)
    scratch = slicer.vtkMRMLScene()
    result = scratch.AddNode(slicer.vtkMRMLSegmentationNode())
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(result):
        raise HipError("unreadable", "The result of the segmentation could not be read.", str(path))
    labelmaps = _labelmaps(result)
    _check_result(labelmaps, volume_node)

    scene = volume_node.GetScene()
    if segmentation_node is None:
        # The scene adds a number to a name that was given before.
        segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume_node.GetName()} hips")
        segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    grid = _vtk_matrix(np.linalg.inv(_parent_to_world(segmentation_node)) @ _voxels_to_world(volume_node))
    for labelmap in labelmaps:
        labelmap.SetImageToWorldMatrix(grid)
    segmentation_node.GetSegmentation().DeepCopy(result.GetSegmentation())
    segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segmentation_node.CreateClosedSurfaceRepresentation()
    segmentation_node.CreateDefaultDisplayNodes()
    _put_beside(segmentation_node, volume_node, scene)
    return segmentation_node


def _labelmaps(segmentation_node) -> list:
    """The vtkOrientedImageData of the segments, which usually share one."""
    segmentation = segmentation_node.GetSegmentation()
    layers = [
        segmentation.GetNthSegment(i).GetRepresentation("Binary labelmap")
        for i in range(segmentation.GetNumberOfSegments())
    ]
    return list(dict.fromkeys(layers))


def _check_result(labelmaps: list, volume_node) -> None:
    dimensions = volume_node.GetImageData().GetDimensions()
    far_corner = [size - 1 for size in dimensions]
    corners = np.array(
        [[x, y, z, 1] for x in (0, far_corner[0]) for y in (0, far_corner[1]) for z in (0, far_corner[2])]
    )
    for labelmap in labelmaps:
        matrix = vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(matrix)
        shift = (slicer.util.arrayFromVTKMatrix(matrix) - _voxels_to_world(volume_node)) @ corners.T
        if labelmap.GetDimensions() != dimensions or np.abs(shift).max() > _GEOMETRY_TOLERANCE_MM:
            raise HipError(
                "wrong_geometry",
                "The volume was moved or changed while it was being segmented; segment it again.",
                f"{labelmap.GetDimensions()} voxels, expected {dimensions}; {np.abs(shift).max():.3g} mm apart",
            )
    if not any(vtk_to_numpy(labelmap.GetPointData().GetScalars()).any() for labelmap in labelmaps):
        raise HipError("nothing_found", f"No bone was found in {volume_node.GetName()}; is it an MRI of the hips?")


def _put_beside(node, neighbour, scene) -> None:
    """Into the same study or folder of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(neighbour)
    if item:
        hierarchy.CreateItem(hierarchy.GetItemParent(item), node)


def _voxels_to_world(volume_node) -> np.ndarray:
    """4 × 4, voxel index to RAS mm as displayed."""
    matrix = vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return _parent_to_world(volume_node) @ slicer.util.arrayFromVTKMatrix(matrix)


def _parent_to_world(node) -> np.ndarray:
    """4 × 4, what the transforms above a node do to it."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    matrix = vtkMatrix4x4()
    if not transform.IsTransformToWorldLinear() or not transform.GetMatrixTransformToWorld(matrix):
        raise HipError(
            "nonlinear_transform",
            f"{node.GetName()} is under a transform that bends it; harden that transform first.",
        )
    return slicer.util.arrayFromVTKMatrix(matrix)


def _vtk_matrix(array: np.ndarray) -> vtkMatrix4x4:
    return slicer.util.vtkMatrixFromArray(array)
