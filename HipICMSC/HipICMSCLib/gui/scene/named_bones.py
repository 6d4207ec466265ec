"""Which segments of a segmentation node are our bones, whoever made them."""

from __future__ import annotations

from collections import Counter

from vtkmodules.vtkCommonCore import reference

from HipICMSCLib.anatomy.segments import SEGMENTS, Segment
from HipICMSCLib.common.errors import HipError


def tag_of(segment, name: str) -> str:
    """The text of a segment's tag; empty where it has none."""
    text = reference("")
    return str(text) if segment.GetTag(name, text) else ""


def bones_in(segmentation_node) -> dict[Segment, str]:
    """Ids of the segments that are our bones: by name, which users see and change, else by our id or terminology."""
    segmentation = segmentation_node.GetSegmentation()
    segments = {segment_id: segmentation.GetSegment(segment_id) for segment_id in segmentation.GetSegmentIDs()}
    names = {segment_id: name.lower() for segment_id, name in _names_of(segmentation_node).items()}
    terms = {
        segment_id: tag_of(segment, segment.GetTerminologyEntryTagName()) for segment_id, segment in segments.items()
    }
    found: dict[Segment, str] = {}
    for is_bone in (
        lambda segment_id, bone: names[segment_id] == bone.name.lower(),
        lambda segment_id, bone: segment_id == bone.segment_id,
        lambda segment_id, bone: terms[segment_id] == bone.terminology,
    ):
        for bone in SEGMENTS:
            free = [segment_id for segment_id in segments if segment_id not in found.values()]
            match = next((segment_id for segment_id in free if is_bone(segment_id, bone)), None)
            if bone not in found and match is not None:
                found[bone] = match
    return {bone: found[bone] for bone in SEGMENTS if bone in found}


def check_names(segmentation_node) -> None:
    """
    Raises:
        HipError: ``two_segments`` where two have the name of one bone, so that nobody knows which is meant.
    """
    names = Counter(name.lower() for name in _names_of(segmentation_node).values())
    for bone in SEGMENTS:
        if names[bone.name.lower()] > 1:
            raise HipError(
                "two_segments",
                f"Two segments of {segmentation_node.GetName()} are called {bone.name}; rename or remove one.",
            )


def _names_of(segmentation_node) -> dict[str, str]:
    """By the segments' ids, without the blanks that a user may have typed around them."""
    segmentation = segmentation_node.GetSegmentation()
    return {
        segment_id: segmentation.GetSegment(segment_id).GetName().strip() for segment_id in segmentation.GetSegmentIDs()
    }
