"""Brings a result into the scene: onto the volume's voxels, beside the volume, without losing what somebody drew.

The result lies in the volume's own voxel grid and under its transform, so that the two stay together when the
transform is changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.anatomy.as_made import AS_MADE
from HipICMSCLib.anatomy.segments import SEGMENTS, TAG_PREFIX, Segment
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.mrml import parent_to_world, squared, voxels_to_world
from HipICMSCLib.gui.scene.named_bones import bones_in, check_names, tag_of
from HipICMSCLib.results.provenance import provenance

#: A result's grid may differ from its volume's by this, which is what the digits in a file's header leave.
_GEOMETRY_TOLERANCE_MM = 1e-3
_LABELMAP = "Binary labelmap"
_DATE = f"{TAG_PREFIX}Date"
#: So that the joint is seen through the bones.
_OPACITY_3D = 0.6


def has_segments(segmentation_node) -> bool:
    """Whether there is something in it that somebody may have drawn."""
    return segmentation_node is not None and segmentation_node.GetSegmentation().GetNumberOfSegments() > 0


def is_locked(segment) -> bool:
    """Whether the user is done with a segment: its status, the flag in Slicer's list of segments, is "completed"."""
    status = slicer.vtkSlicerSegmentationsModuleLogic
    return status.GetSegmentStatus(segment) == status.Completed


def replaceable(segmentation_node) -> list[str]:
    """Names of the bones in a segmentation that :func:`read_result` would replace: ours that are not locked."""
    segmentation = segmentation_node.GetSegmentation()
    ours = map(segmentation.GetSegment, bones_in(segmentation_node).values())
    return [segment.GetName() for segment in ours if not is_locked(segment)]


def is_of_another_volume(segmentation_node, volume_node) -> bool:
    """Whether it shows the bones of another MRI, maybe of another patient, so that none of this one may go into it;
    that of a result of ours may be gone."""
    if segmentation_node is None:
        return False
    made_for = volume_of(segmentation_node)
    return is_result(segmentation_node) if made_for is None else made_for is not volume_node


def name_of_new_node(volume_node, segmentation_node) -> str:
    """What a segmentation is called that is made for a volume, or instead of writing into one that has segments."""
    named_after = segmentation_node is not None and not is_of_another_volume(segmentation_node, volume_node)
    base = segmentation_node.GetName() if named_after else f"{volume_node.GetName()} hips"
    scene = volume_node.GetScene()
    name, number = base, 1
    while scene.GetFirstNodeByName(name) is not None:
        number += 1
        name = f"{base} ({number})"
    return name


def volume_of(segmentation_node):
    """The volume node that a result was made for, or None."""
    return segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())


def is_result(segmentation_node) -> bool:
    """Whether bones in it are ours."""
    return segmentation_node is not None and bool(segmentation_node.GetAttribute(_DATE))


def provenance_of(segmentation_node) -> dict[str, str]:
    """How a result came about, as `provenance.provenance` said when it was made."""
    attributes = {name: segmentation_node.GetAttribute(name) for name in segmentation_node.GetAttributeNames()}
    return {
        name.removeprefix(TAG_PREFIX): text or "" for name, text in attributes.items() if name.startswith(TAG_PREFIX)
    }


def results_in_scene() -> list:
    """The segmentation nodes that are results of ours."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if is_result(node)]


def result_of(volume_node, chosen=None):
    """The result of ours for a volume node that is chosen, or else the newest one; None where there is none."""
    results = [node for node in results_in_scene() if volume_of(node) is volume_node is not None]
    if chosen in results:
        return chosen
    # A segmentation that was redone is newer than one that was only made later in the scene; of the same second, for
    # which dates are alike, the later in the scene is.
    return max(reversed(results), key=lambda node: node.GetAttribute(_DATE), default=None)


def read_result(
    path: Path, report: dict[str, Any], volume_node, segmentation_node=None, replace_unlocked: bool = False
):
    """Bring a result of ``volume_node`` into the scene.

    Args:
        path: .seg.nrrd on the grid of the volume as `mrml.image_of` gave it.
        report: how it came about, see report.py; kept as attributes of the node.
        segmentation_node: an empty one to fill. If it has segments, which somebody may have drawn, a new one is made
            instead, with its name and a number; None makes a new one, too.
        replace_unlocked: replace our bones in ``segmentation_node`` as far as they are not locked. What is kept stays
            to the voxel, also where the new bones overlap with it.

    Returns:
        The vtkMRMLSegmentationNode, shown and in the volume's place of the subject hierarchy; its surfaces are left to
        `surfaces.surface_steps`. If anything is wrong the scene stays as it was.

    Raises:
        HipError: ``unreadable``, ``wrong_geometry``, ``nothing_found``, ``nonlinear_transform``, ``other_volume`` where
            bones of another volume would be replaced, ``all_locked`` if there is nothing to replace, or as
            `named_bones.check_names`.
    """
    # Before anything is made: a target that cannot be written to leaves the scene as it was.
    if segmentation_node is not None:
        parent_to_world(segmentation_node)
    result = _read(path)
    _check(result, volume_node)
    into_existing = has_segments(segmentation_node)
    if into_existing and replace_unlocked:
        if is_of_another_volume(segmentation_node, volume_node):
            raise HipError(
                "other_volume",
                f"{segmentation_node.GetName()} shows the bones of another MRI than {volume_node.GetName()}; nothing "
                "in it is replaced, so choose (new segmentation) as Result.",
            )
        _replace_bones(segmentation_node, result, volume_node, report)
    else:
        if segmentation_node is None or into_existing:
            name = name_of_new_node(volume_node, segmentation_node)
            segmentation_node = volume_node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
            segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        _move_into(result, volume_node, segmentation_node)
    _set_status(segmentation_node, report)
    for key, value in provenance(report).items():
        segmentation_node.SetAttribute(TAG_PREFIX + key, value)
    segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    if segmentation_node.GetDisplayNode() is None:
        segmentation_node.CreateDefaultDisplayNodes()
        segmentation_node.GetDisplayNode().SetOpacity3D(_OPACITY_3D)
    put_beside(segmentation_node, volume_node)
    return segmentation_node


def _read(path: Path):
    """A segmentation node of its own, in no scene of the user's."""
    # A file that is missing or cut off makes Slicer's own reader crash.
    try:
        sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise HipError("unreadable", "The result of the segmentation could not be read.", str(error)) from error
    scratch = slicer.vtkMRMLScene()
    result = scratch.AddNode(slicer.vtkMRMLSegmentationNode())
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(result):
        raise HipError("unreadable", "The result of the segmentation could not be read.", str(path))
    # The scene would be gone with this function, and take the node with it.
    result.SetScene(None)
    return result


def _labelmaps(segmentation_node) -> list:
    """The vtkOrientedImageData of the segments, which usually share one."""
    segmentation = segmentation_node.GetSegmentation()
    layers = [
        segmentation.GetNthSegment(i).GetRepresentation(_LABELMAP) for i in range(segmentation.GetNumberOfSegments())
    ]
    return list(dict.fromkeys(layers))


def _check(result, volume_node) -> None:
    labelmaps = _labelmaps(result)
    dimensions = volume_node.GetImageData().GetDimensions()
    far_corner = [size - 1 for size in dimensions]
    corners = np.array(
        [[x, y, z, 1] for x in (0, far_corner[0]) for y in (0, far_corner[1]) for z in (0, far_corner[2])]
    )
    sent = squared(voxels_to_world(volume_node), dimensions)
    for labelmap in labelmaps:
        matrix = vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(matrix)
        shift = (slicer.util.arrayFromVTKMatrix(matrix) - sent) @ corners.T
        if labelmap.GetDimensions() != dimensions or np.abs(shift).max() > _GEOMETRY_TOLERANCE_MM:
            raise HipError(
                "wrong_geometry",
                "The volume was moved or changed while it was being segmented; segment it again.",
                f"{labelmap.GetDimensions()} voxels, expected {dimensions}; {np.abs(shift).max():.3g} mm apart",
            )
    if not any(_voxels(labelmap).any() for labelmap in labelmaps):
        raise HipError("nothing_found", f"No bone was found in {volume_node.GetName()}; is it an MRI of the hips?")


def _move_into(result, volume_node, segmentation_node) -> None:
    """Give the result to an empty node, in that node's own coordinates."""
    grid = np.linalg.inv(parent_to_world(segmentation_node)) @ voxels_to_world(volume_node)
    for labelmap in _labelmaps(result):
        labelmap.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid))
    segmentation_node.GetSegmentation().DeepCopy(result.GetSegmentation())


def _replace_bones(segmentation_node, result, volume_node, report: dict[str, Any]) -> None:
    check_names(segmentation_node)
    segmentation, ids = segmentation_node.GetSegmentation(), bones_in(segmentation_node)
    replaced = [bone for bone in SEGMENTS if bone not in ids or not is_locked(segmentation.GetSegment(ids[bone]))]
    if not replaced:
        raise HipError(
            "all_locked",
            f"All bones of {segmentation_node.GetName()} are marked as completed, so there is nothing to replace.",
        )
    to_replace = {ids[bone] for bone in replaced if bone in ids}
    kept = np.zeros(volume_node.GetImageData().GetDimensions()[::-1], bool)
    for other in segmentation.GetSegmentIDs():
        if other not in to_replace:
            kept |= slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, other, volume_node) > 0
    found = _voxels(_labelmaps(result)[0])
    for bone in replaced:
        segment_id = ids.get(bone) or _added(segmentation, bone)
        segment = segmentation.GetSegment(segment_id)
        # Name, colour and terminology stay as the user has them; the tags tell where the voxels come from.
        for key, value in provenance(report).items():
            segment.SetTag(TAG_PREFIX + key, value)
        segment.SetTag(AS_MADE, tag_of(result.GetSegmentation().GetSegment(bone.segment_id), AS_MADE))
        voxels = ((found == bone.value) & ~kept).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation_node, segment_id, volume_node)


def _added(segmentation, bone: Segment) -> str:
    """The id of a new segment, which is another one than usual where a segment of another name has that."""
    segment_id = segmentation.GenerateUniqueSegmentID(bone.segment_id)
    segmentation.AddEmptySegment(segment_id, bone.name, bone.color)
    segment = segmentation.GetSegment(segment_id)
    segment.SetTag(segment.GetTerminologyEntryTagName(), bone.terminology)
    return segment_id


def _set_status(segmentation_node, report: dict[str, Any]) -> None:
    """Nothing that a machine drew is completed: a bone awaits its review, is missing, or has a warning of its own."""
    status = slicer.vtkSlicerSegmentationsModuleLogic
    segmentation = segmentation_node.GetSegmentation()
    # That the field of view ends within the bone is no fault of the result.
    of_faults = [warning["sentence"] for warning in report["warnings"] if warning["kind"] != "bone_cut"]
    warnings = " ".join(of_faults)
    for described, segment_id in bones_in(segmentation_node).items():
        segment = segmentation.GetSegment(segment_id)
        if is_locked(segment):
            continue
        if not report["volumes_ml"][described.name]:
            status.SetSegmentStatus(segment, status.NotStarted)
        elif described.short_name in warnings:
            status.SetSegmentStatus(segment, status.Flagged)
        else:
            status.SetSegmentStatus(segment, status.InProgress)


def put_beside(node, neighbour) -> None:
    """Into the same study or folder of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(neighbour.GetScene())
    item = hierarchy.GetItemByDataNode(neighbour)
    if item:
        hierarchy.CreateItem(hierarchy.GetItemParent(item), node)


def _voxels(labelmap) -> np.ndarray:
    """(z, y, x) of a labelmap that covers its volume."""
    return vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
