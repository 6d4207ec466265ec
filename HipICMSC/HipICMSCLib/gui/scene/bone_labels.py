"""The four bones of any segmentation node as one label image, and whether it is still what was measured."""

from __future__ import annotations

import zlib

import numpy as np
import SimpleITK as sitk
import slicer
from scipy import ndimage
from slicer.i18n import tr as _
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkIntArray, vtkStringArray
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.anatomy.segments import FEMUR, SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.mrml import image_of_voxels, parent_to_world
from HipICMSCLib.gui.scene.named_bones import bones_in, check_names

_LABELMAP = "Binary labelmap"


def reason_against_measuring(segmentation_node) -> str:
    """Why a segmentation cannot be measured, in one sentence; empty where it can."""
    if segmentation_node is None:
        return _("Choose a segmentation of the hips first.")
    if not any(bone.bone == FEMUR for bone in bones_in(segmentation_node)):
        return _(
            "{name} has no segment of a proximal femur; name the segments as {names}."
        ).format(name=segmentation_node.GetName(), names=", ".join(bone.name for bone in SEGMENTS))  # fmt: skip
    try:
        check_names(segmentation_node)
    except HipError as error:
        return error.sentence
    return ""


def label_image(segmentation_node) -> sitk.Image:
    """The bones as displayed, with the values of `SEGMENTS`, on the grid that the segmentation was made on.

    Raises:
        HipError: as `named_bones.check_names`, ``nothing_to_measure`` where they cannot be brought together,
            ``nonlinear_transform``.
    """
    check_names(segmentation_node)
    to_world = parent_to_world(segmentation_node)
    ids, values = vtkStringArray(), vtkIntArray()
    for bone, segment_id in bones_in(segmentation_node).items():
        ids.InsertNextValue(segment_id)
        values.InsertNextValue(bone.value)
    merged = slicer.vtkOrientedImageData()
    # Where the image ends counts: a bone that it cuts is not measured. What was drawn beyond it counts, too.
    extent = slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS_AND_REFERENCE_GEOMETRY
    if not segmentation_node.GenerateMergedLabelmapForAllSegments(merged, extent, None, ids, values):
        raise HipError("nothing_to_measure", f"The segments of {segmentation_node.GetName()} are empty.")
    scalars = merged.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfValues():
        raise HipError("nothing_to_measure", f"The segments of {segmentation_node.GetName()} are empty.")
    voxels = vtk_to_numpy(scalars).reshape(merged.GetDimensions()[::-1]).astype(np.uint8)
    return image_of_voxels(voxels, to_world @ _first_voxel_to_parent(merged))


def fingerprint(segmentation_node) -> str:
    """Tells by the voxels of the bones, and by where they lie as displayed, whether they are the same."""
    segmentation = segmentation_node.GetSegmentation()
    try:
        to_world = parent_to_world(segmentation_node)
    except HipError:
        return ""
    check = 0
    boxes: dict[object, list] = {}
    for bone, segment_id in bones_in(segmentation_node).items():
        segment = segmentation.GetSegment(segment_id)
        layer = segment.GetRepresentation(_LABELMAP)
        scalars = layer and layer.GetPointData().GetScalars()
        if not scalars or not scalars.GetNumberOfValues():
            continue
        voxels = vtk_to_numpy(scalars).reshape(layer.GetDimensions()[::-1])
        # Saved and loaded, the grid around a bone may be another; what is bone is not.
        boxes.setdefault(layer, ndimage.find_objects(voxels))
        value = segment.GetLabelValue()
        box = boxes[layer][value - 1] if value <= len(boxes[layer]) else None
        if box is None:
            continue
        matrix = to_world @ _first_voxel_to_parent(layer)
        corner = matrix[:3, :3] @ [axis.start for axis in reversed(box)] + matrix[:3, 3]
        where = np.round(np.concatenate([corner, matrix[:3, :3].ravel()]), 3) + 0.0
        check = zlib.crc32(np.packbits(voxels[box] == value), check)
        check = zlib.crc32(repr((bone.value, voxels[box].shape, where.tolist())).encode(), check)
    return f"{check:08x}"


def _first_voxel_to_parent(labelmap) -> np.ndarray:
    """4 × 4 from voxels counted from the array's first one, as a labelmap's extent may begin anywhere."""
    matrix = vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    array = slicer.util.arrayFromVTKMatrix(matrix)
    x, _end, y, _end, z, _end = labelmap.GetExtent()
    array[:3, 3] += array[:3, :3] @ [x, y, z]
    return array
