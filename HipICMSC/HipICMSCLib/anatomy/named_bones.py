"""Which segments of a segmentation are our bones, whoever made it: one rule for a scene and for files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from HipICMSCLib.anatomy.segments import SEGMENTS, Segment
from HipICMSCLib.common.errors import HipError


@dataclass(frozen=True)
class Named:
    """What a segment says of itself.

    Attributes:
        name: which users see and change.
        identifier: as Slicer calls it within; empty where there is none.
        terminology: Slicer's serialised entry; empty where there is none.
    """

    name: str
    identifier: str = ""
    terminology: str = ""

    def is_called(self, bone: Segment) -> bool:
        """Whether it has a bone's name; case and the blanks that a user may have typed around it do not count."""
        return self.name.strip().lower() == bone.name.lower()


def bones_among(segments: Sequence[Named]) -> dict[Segment, int]:
    """The places of our bones: by name, else by our identifier, else by terminology."""
    found: dict[Segment, int] = {}
    for is_bone in (
        Named.is_called,
        lambda segment, bone: segment.identifier == bone.segment_id,
        lambda segment, bone: segment.terminology == bone.terminology,
    ):
        for bone in SEGMENTS:
            free = (place for place in range(len(segments)) if place not in found.values())
            match = next((place for place in free if is_bone(segments[place], bone)), None)
            if bone not in found and match is not None:
                found[bone] = match
    return {bone: found[bone] for bone in SEGMENTS if bone in found}


def check_names(segments: Sequence[Named], of: str) -> None:
    """
    Args:
        of: what the file or node is called.

    Raises:
        HipError: ``two_segments`` where two have the name of one bone, or its identifier where none has the name, so
            that nobody knows which is meant.
    """
    for bone in SEGMENTS:
        meant = [segment for segment in segments if segment.is_called(bone)]
        if len(meant or [segment for segment in segments if segment.identifier == bone.segment_id]) > 1:
            raise HipError("two_segments", f"Two segments of {of} are the {bone.short_name}; rename or remove one.")
