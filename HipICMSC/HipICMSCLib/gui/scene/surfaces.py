"""The surfaces of a result, which the 3D view shows: made a bone a step, because each takes 0.1 to 0.2 s."""

from __future__ import annotations

from collections.abc import Callable

import slicer

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
    alone.AddRepresentation(_LABELMAP, segment.GetRepresentation(_LABELMAP))
    alone.SetLabelValue(segment.GetLabelValue())
    slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule().Convert(alone)
    return alone.GetRepresentation(_SURFACE)
