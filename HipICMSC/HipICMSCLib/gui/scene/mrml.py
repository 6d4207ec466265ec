"""The one place between MRML nodes and our files: Slicer's RAS, transforms and voxels here, LPS there.

A volume is given to the engine as it is displayed, with its linear transform applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
import slicer
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import at_right_angles

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def image_of(volume_node) -> sitk.Image:
    """A scalar volume node as it is displayed.

    Raises:
        HipError: ``no_image``, or ``nonlinear_transform`` if it is under a transform that bends it.
    """
    if volume_node is None or volume_node.GetImageData() is None:
        raise HipError("no_image", "The chosen volume is empty; choose another one.")
    return image_of_voxels(slicer.util.arrayFromVolume(volume_node), voxels_to_world(volume_node))


def image_of_voxels(voxels: np.ndarray, to_ras: np.ndarray) -> sitk.Image:
    """An image of voxels (z, y, x) and the matrix (4, 4) from their index x, y, z to RAS mm, squared as files are."""
    matrix = LPS_FROM_RAS @ squared(to_ras, voxels.shape[::-1])
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return image


def squared(to_ras: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The matrix (4, 4) with axes at right angles where it is a file's digits alone that they lack; any other stays as
    it is, and is refused by whoever reads it.

    Args:
        size: of the volume, x, y, z.
    """
    found = at_right_angles(to_ras, size)
    return to_ras if found is None else found


def image_volumes() -> list:
    """The volume nodes of the scene that may be an MRI: not label maps, which are a class of their own, nor what is
    hidden from the user."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
    ]


def volume_to_begin_with():
    """The image volume that the user looks at, or else what was loaded last; None where there is none."""
    volumes = image_volumes()
    shown = {view.GetBackgroundVolumeID() for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    volumes.sort(key=lambda node: node.GetID() in shown)
    return volumes[-1] if volumes else None


def points_of(markups_node) -> list[np.ndarray]:
    """The defined control points of a markups node as they are displayed, LPS mm."""
    positions = (
        markups_node.GetNthControlPointPositionWorld(i)
        for i in range(markups_node.GetNumberOfControlPoints())
        if markups_node.GetNthControlPointPositionStatus(i) == markups_node.PositionDefined
    )
    return [np.array(position) * (-1, -1, 1) for position in positions]


def voxels_to_world(volume_node) -> np.ndarray:
    """4 × 4, voxel index to RAS mm as displayed."""
    matrix = vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return parent_to_world(volume_node) @ slicer.util.arrayFromVTKMatrix(matrix)


def parent_to_world(node) -> np.ndarray:
    """4 × 4, what the transforms above a node do to it.

    Raises:
        HipError: ``nonlinear_transform``.
    """
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
