"""Adds "Segment hip" to what a right click on a volume offers in the module Data.

Slicer reads this file by itself and looks for the class that is called like it.
"""

from __future__ import annotations

import qt
import slicer
from AbstractScriptedSubjectHierarchyPlugin import AbstractScriptedSubjectHierarchyPlugin
from slicer.i18n import tr as _


class HipICMSCSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """A plugin with an action and nothing else: it owns no item."""

    filePath = __file__

    def __init__(self, scriptedPlugin):
        scriptedPlugin.name = "HipICMSC"
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)
        self.segmentAction = qt.QAction(_("Segment hip"), scriptedPlugin)
        self.segmentAction.toolTip = _("Find the hip bones and femora in this MRI, in the module HipICMSC.")
        self.segmentAction.connect("triggered()", self.onSegment)

    def canAddNodeToSubjectHierarchy(self, node, parentItemID):
        return 0.0

    def canOwnSubjectHierarchyItem(self, itemID):
        return 0.0

    def roleForPlugin(self):
        return "N/A"

    def itemContextMenuActions(self):
        return [self.segmentAction]

    def showContextMenuActionsForItem(self, itemID):
        self.segmentAction.visible = _volumeOf(itemID) is not None

    def onSegment(self):
        volume = _volumeOf(slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem())
        if volume is not None:
            slicer.util.selectModule("HipICMSC")
            slicer.util.getModuleWidget("HipICMSC").panel.segment(volume)


def _volumeOf(itemID):
    """The node of an item that may be an MRI; label maps are of a class of their own."""
    hierarchy = slicer.qSlicerSubjectHierarchyPluginHandler.instance().subjectHierarchyNode()
    node = hierarchy.GetItemDataNode(itemID) if itemID else None
    return node if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode" else None
