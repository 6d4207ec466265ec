"""The surfaces of a result, which the 3D view shows: made a bone a step, because each takes 0.1 to 0.2 s."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.util.vtkConstants import VTK_UNSIGNED_CHAR
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.common.voxels import box_of

_LABELMAP, _SURFACE = "Binary labelmap", "Closed surface"


def surface_steps(segmentation_node) -> list[Callable[[], None]]:
    """What is to be done one after the other until the 3D view shows the segments as they are now.

    A step does nothing where the segmentation has left the scene.
    """
    made: dict[str, tuple[int, object]] = {}

    def compute(segment_id: str) -> None:
        segment = _segment(segmentation_node, segment_id)
        if segment is not None:
            made[segment_id] = _time_of(segment), _surface_of(segment)

    def show() -> None:
        for segment_id, (time, surface) in made.items():
            segment = _segment(segmentation_node, segment_id)
            if segment is None:
                continue
            # Somebody may have edited it since.
            surface = surface if time == _time_of(segment) else _surface_of(segment)
            segment.AddRepresentation(_SURFACE, surface)
        if segmentation_node.GetScene() is not None:
            segmentation_node.CreateClosedSurfaceRepresentation()

    segment_ids = list(segmentation_node.GetSegmentation().GetSegmentIDs())
    return [*(lambda segment_id=segment_id: compute(segment_id) for segment_id in segment_ids), show]


def has_surfaces(segmentation_node) -> bool:
    return segmentation_node.GetSegmentation().ContainsRepresentation(_SURFACE)


def _segment(segmentation_node, segment_id: str):
    if segmentation_node.GetScene() is None:
        return None
    return segmentation_node.GetSegmentation().GetSegment(segment_id)


def _time_of(segment) -> int:
    return segment.GetRepresentation(_LABELMAP).GetMTime()


def _surface_of(segment):
    """vtkPolyData by Slicer's own rule with its own settings, of a segment that nothing else looks at."""
    alone = slicer.vtkSegment()
    alone.AddRepresentation(_LABELMAP, _cropped(segment.GetRepresentation(_LABELMAP), segment.GetLabelValue()))
    slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule().Convert(alone)
    return alone.GetRepresentation(_SURFACE)


def _cropped(labelmap, value: int):
    """The box of one value, as 1 in a vtkOrientedImageData of its own: bones share a labelmap as large as the MRI."""
    x, _, y, _, z, _ = labelmap.GetExtent()
    columns, rows, slices = labelmap.GetDimensions()
    mask = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(slices, rows, columns) == value
    box = box_of(mask) or (slice(0, 1),) * 3
    part = slicer.vtkOrientedImageData()
    part.SetExtent(*(corner for start, axis in zip((x, y, z), reversed(box), strict=True)
                     for corner in (start + axis.start, start + axis.stop - 1)))  # fmt: skip
    part.AllocateScalars(VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(part.GetPointData().GetScalars())[:] = mask[box].ravel()
    to_world = vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(to_world)
    part.SetGeometryFromImageToWorldMatrix(to_world)
    return part
