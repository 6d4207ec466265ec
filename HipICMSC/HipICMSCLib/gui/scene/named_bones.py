"""Which segments of a segmentation node are our bones, whoever made them."""

from __future__ import annotations

from vtkmodules.vtkCommonCore import reference

from HipICMSCLib.anatomy import named_bones
from HipICMSCLib.anatomy.named_bones import Named
from HipICMSCLib.anatomy.segments import Segment


def tag_of(segment, name: str) -> str:
    """The text of a segment's tag; empty where it has none."""
    text = reference("")
    return str(text) if segment.GetTag(name, text) else ""


def bones_in(segmentation_node) -> dict[Segment, str]:
    """Ids of the segments that are our bones, as `anatomy.named_bones` knows them."""
    segments = _segments_of(segmentation_node)
    return {bone: segments[place].identifier for bone, place in named_bones.bones_among(segments).items()}


def check_names(segmentation_node) -> None:
    """
    Raises:
        HipError: as `anatomy.named_bones.check_names`.
    """
    named_bones.check_names(_segments_of(segmentation_node), segmentation_node.GetName())


def _segments_of(segmentation_node) -> list[Named]:
    segmentation = segmentation_node.GetSegmentation()
    segments = [(segment_id, segmentation.GetSegment(segment_id)) for segment_id in segmentation.GetSegmentIDs()]
    return [
        Named(segment.GetName(), segment_id, tag_of(segment, segment.GetTerminologyEntryTagName()))
        for segment_id, segment in segments
    ]
