"""What of the panel is seen when: what leads to the click, what runs, or the result with its doubts and its editor."""

from __future__ import annotations

from typing import Literal

Stage = Literal["before", "running", "after"]

#: By the name of the widget in the panel.
_SEEN_IN: dict[str, tuple[Stage, ...]] = {
    "choicesFrame": ("before",),
    "preflightFrame": ("before",),
    "segmentButton": ("before", "running"),
    "againButton": ("after",),
    "resultFrame": ("after",),
}


def show_stage(ui, stage: Stage) -> None:
    """Show the parts of one stage and no other.

    Args:
        ui: of the panel.
    """
    for name, stages in _SEEN_IN.items():
        getattr(ui, name).visible = stage in stages
