"""What was done to a case, in words for a person."""

from __future__ import annotations

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.cases.corrected_case import CorrectedCase, CorrectedSegment

_STATES = {"completed": "completed", "edited": "edited, not completed", "as_made": "as the model drew it"}


def in_words(case: CorrectedCase) -> str:
    """Its bones and what was done to each, such as "right hip bone completed (1.2 ml changed)"."""
    names = {segment.segment_id: segment.short_name for segment in SEGMENTS}
    return ", ".join(f"{names[segment.name]} {_STATES[segment.state]}{_changed(segment)}" for segment in case.segments)


def remarks(case: CorrectedCase) -> list[str]:
    """Sentences about what keeps the case from teaching more."""
    found = []
    if not any(segment.state == "completed" for segment in case.segments):
        found.append(
            "No bone is marked as completed, so a training takes nothing from this case for right; mark what is right "
            "and keep it again."
        )
    if any(segment.changed_ml is None for segment in case.segments):
        found.append("What the model drew is not known of every bone, so how much was changed is not either.")
    return found


def _changed(segment: CorrectedSegment) -> str:
    return f" ({segment.changed_ml:.1f} ml changed)" if segment.changed_ml else ""
