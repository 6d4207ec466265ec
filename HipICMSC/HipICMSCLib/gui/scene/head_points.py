"""Points in the middle of the femoral heads, which the user places where the hips are not found by themselves."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _


def place_heads(markups_node=None):
    """Let the user click the femoral heads in the views.

    Args:
        markups_node: goes on with these points; None makes a new list.

    Returns:
        The vtkMRMLMarkupsFiducialNode; it has no point before the user clicks.
    """
    if markups_node is None:
        markups_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Femoral heads"))
        markups_node.CreateDefaultDisplayNodes()
    markups_node.SetMaximumNumberOfControlPoints(2)
    logic = slicer.modules.markups.logic()
    logic.SetActiveList(markups_node)
    logic.StartPlaceMode(True)
    return markups_node
