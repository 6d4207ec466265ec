"""Adds to what a right click offers in the module Data: "Segment hip" on a volume, and "Export hip bones as DICOM SEG…"
on a result of ours.

Slicer reads this file by itself and looks for the class that is called like it.
"""

from __future__ import annotations

import qt
import slicer
from AbstractScriptedSubjectHierarchyPlugin import AbstractScriptedSubjectHierarchyPlugin
from slicer.i18n import tr as _

from HipICMSCLib.gui.panels.export_panel import slicer_exports
from HipICMSCLib.gui.scene.dicom import comes_from_dicom
from HipICMSCLib.gui.scene.result import is_result, volume_of


class HipICMSCSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """A plugin with two actions and nothing else: it owns no item."""

    filePath = __file__

    def __init__(self, scriptedPlugin):
        scriptedPlugin.name = "HipICMSC"
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)
        self.segmentAction = qt.QAction(_("Segment hip"), scriptedPlugin)
        self.segmentAction.toolTip = _("Find the hip bones and femora in this MRI, in the module HipICMSC.")
        self.segmentAction.connect("triggered()", self.onSegment)
        self.exportAction = qt.QAction(_("Export hip bones as DICOM SEG…"), scriptedPlugin)
        self.exportAction.toolTip = _("Write the bones into a DICOM segmentation object, in the module HipICMSC.")
        self.exportAction.connect("triggered()", self.onExport)

    def canAddNodeToSubjectHierarchy(self, node, parentItemID):
        return 0.0

    def canOwnSubjectHierarchyItem(self, itemID):
        return 0.0

    def roleForPlugin(self):
        return "N/A"

    def itemContextMenuActions(self):
        return [self.segmentAction, self.exportAction]

    def showContextMenuActionsForItem(self, itemID):
        self.segmentAction.visible = _volumeOf(itemID) is not None
        self.exportAction.visible = _resultOf(itemID) is not None and not slicer_exports()

    def onSegment(self):
        volume = _volumeOf(_currentItem())
        if volume is not None:
            slicer.util.selectModule("HipICMSC")
            slicer.util.getModuleWidget("HipICMSC").panel.segment(volume)

    def onExport(self):
        result = _resultOf(_currentItem())
        if result is not None:
            slicer.util.selectModule("HipICMSC")
            slicer.util.getModuleWidget("HipICMSC").panel.export(result)


def _currentItem():
    return slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem()


def _nodeOf(itemID):
    hierarchy = slicer.qSlicerSubjectHierarchyPluginHandler.instance().subjectHierarchyNode()
    return hierarchy.GetItemDataNode(itemID) if itemID else None


def _resultOf(itemID):
    """The node of an item that is a result of ours for an MRI from DICOM."""
    node = _nodeOf(itemID)
    is_segmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
    return node if is_segmentation and is_result(node) and comes_from_dicom(volume_of(node)) else None


def _volumeOf(itemID):
    """The node of an item that may be an MRI; label maps are of a class of their own."""
    node = _nodeOf(itemID)
    return node if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode" else None
