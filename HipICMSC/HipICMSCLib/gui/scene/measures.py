"""Measures of a segmentation in the scene: what a report of the worker becomes, and what a moved point changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from HipICMSCLib.gui.scene.measures_map import set_coverage_shown, show_coverage
from HipICMSCLib.gui.scene.measures_marks import (
    FRAME_LANDMARKS,
    follow_in_marks,
    mark_steps,
    marks_of,
    moved_landmarks,
    moved_points,
    note_moved,
    show_frame,
    show_marks,
)
from HipICMSCLib.gui.scene.measures_plots import fill_clocks
from HipICMSCLib.gui.scene.measures_table import (
    fill_table,
    follow_in_table,
    remember_measured,
    say_frame,
    skeletons_of,
)
from HipICMSCLib.measures.frame import user_frame
from HipICMSCLib.measures.skeleton import MovedPoints, follow


def measures_steps(segmentation_node, report: dict[str, Any], fingerprint: str) -> list[Callable[[], None]]:
    """What is to be done one after the other until the scene shows what the worker found.

    A step does nothing where the segmentation or its table has left the scene.

    Args:
        report: see worker/measuring.py.
        fingerprint: of the segmentation when the measuring began.
    """
    if segmentation_node.GetScene() is None:
        return []
    table_node = fill_table(segmentation_node, report)
    remember_measured(table_node, fingerprint)

    def if_there(show: Callable[[], None]) -> Callable[[], None]:
        return lambda: table_node.GetScene() and show()

    steps = mark_steps(table_node, report["markups"])
    for side in report["skeletons"]:
        steps.append(if_there(lambda side=side: show_coverage(table_node, side, report["coverage"][side])))
        steps.append(if_there(lambda side=side: fill_clocks(table_node, side, report["clocks"][side])))
    return steps


def hide_measures(table_node) -> None:
    """Take all marks and the coverage of a table's measures out of view."""
    show_marks(table_node, (), everything=False)
    set_coverage_shown(table_node, False)


def follow_moved_point(table_node, node, at_end: bool) -> None:
    """Let numbers and marks follow the points of a markups node that a user moves.

    Args:
        node: that was moved.
        at_end: whether the user let go: then a point that left its plane or level goes back into it.

    Raises:
        HipError: ``frame_undefined`` where moved landmarks tell no plane; numbers stay as they were then.
    """
    name = next((name for name, mark in marks_of(table_node).items() if mark is node), "")
    skeletons = skeletons_of(table_node)
    side = {"R_": "right", "L_": "left"}.get(name[:2])
    # The pelvis's frame is of both hips.
    sides = set(skeletons) if name == FRAME_LANDMARKS else {side} & set(skeletons)
    if not sides or not note_moved(node, name):
        return
    landmarks = moved_landmarks(table_node)
    frame = user_frame(landmarks) if landmarks else None
    moved = moved_points(table_node)
    for side in sorted(sides):
        followed = follow(skeletons[side], moved.get(side, MovedPoints()), frame)
        follow_in_table(table_node, side, followed, frame)
        follow_in_marks(table_node, side, followed, None if at_end else node)
    if frame is not None:
        show_frame(table_node, frame)
        say_frame(table_node, frame)
