"""Brings what a button speaks of into view, for Slicer's module panel is higher than a screen."""

from __future__ import annotations


def bring_into_view(widget) -> None:
    """Scroll the area in which a widget lies until it is seen; nothing happens where it lies in none."""
    above = widget.parent()
    while above is not None and not hasattr(above, "ensureWidgetVisible"):
        above = above.parent()
    if above is not None:
        above.ensureWidgetVisible(widget)
