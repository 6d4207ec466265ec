"""Slicer's Segment Editor on the result, inside our panel."""

from __future__ import annotations

from collections.abc import Callable

import slicer

#: An editor node of our own: two editors on one would both draw whenever one of them does.
_EDITOR_TAG = "HipICMSC"
_UNDO_STATES = 10


class EditorPanel:
    """The collapsible section "Edit the result"; the editor itself is made when there is something to edit."""

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Editor.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.ui.openSegmentEditorButton.connect("clicked(bool)", self._open_module)
        self._editor = None
        self._entered = self._closed = False
        self._shown = (None, None)
        self.show(None, None)

    @property
    def segmentation(self):
        """The segmentation node that is edited; None for none."""
        return self._shown[0]

    def prepare(self) -> None:
        """Make the editor, which takes half a second, before it is needed."""
        if self._editor is None and not self._closed:
            self._load()
            self._editor.visible = False

    def show(self, segmentation_node, volume_node) -> None:
        """Edit this segmentation over this volume; None closes it for editing."""
        if self._closed or (self._editor is not None and self._shown == (segmentation_node, volume_node)):
            return
        self._shown = (segmentation_node, volume_node)
        there = segmentation_node is not None
        self.ui.openSegmentEditorButton.enabled = there
        self.ui.editorHintLabel.visible = not there
        if there:
            self._load()
            self._select()
        elif self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.setSegmentationNode(None)
        if self._editor is not None:
            self._editor.visible = there

    def save_state(self, segmentation_node, volume_node) -> None:
        """Let the user undo what is about to be done to a segmentation."""
        self.show(segmentation_node, volume_node)
        self._select()
        self._editor.saveStateForUndo()

    def enter(self) -> None:
        """The module is opened: keys and views belong to the editor."""
        self._entered = True
        if self._editor is not None:
            self._select()
            self._editor.installKeyboardShortcuts()

    def exit(self) -> None:
        """Another module is opened: nothing that is drawn there may be drawn with our effect."""
        self._entered = False
        if self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.uninstallKeyboardShortcuts()
            self._editor.removeViewObservations()

    def close(self) -> None:
        """Slicer ends or the module is reloaded: the editor lets go of the scene, whatever happens to it later."""
        self._closed = True
        if self._editor is not None:
            self.exit()
            self._editor.setSegmentationNode(None)
            self._editor.setSourceVolumeNode(None)
            self._editor.setMRMLScene(None)

    def _load(self) -> None:
        if self._editor is not None:
            return
        self._editor = slicer.qMRMLSegmentEditorWidget()
        self._editor.setMaximumNumberOfUndoStates(_UNDO_STATES)
        # What is edited is chosen above; another choice here would be lost with the next one there.
        self._editor.segmentationNodeSelectorVisible = False
        self._editor.sourceVolumeNodeSelectorVisible = False
        # Before the scene: so what the widget chooses by itself is kept in the node.
        self._editor.setMRMLSegmentEditorNode(_editor_node())
        self._editor.setMRMLScene(slicer.mrmlScene)
        self.ui.editorFrame.layout().addWidget(self._editor)
        if self._entered:
            self._editor.installKeyboardShortcuts()

    def _select(self) -> None:
        segmentation_node, volume_node = self._shown
        self._editor.setMRMLSegmentEditorNode(_editor_node())
        self._editor.setSegmentationNode(segmentation_node)
        self._editor.setSourceVolumeNode(volume_node)
        if self._entered:
            self._editor.setupViewObservations()

    def _open_module(self, checked: bool = False) -> None:
        segmentation_node, volume_node = self._shown
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation_node)
        editor.setSourceVolumeNode(volume_node)


def _editor_node():
    """The scene's one, which is gone after the scene was closed."""
    node = slicer.mrmlScene.GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag(_EDITOR_TAG)
        node = slicer.mrmlScene.AddNode(node)
    return node
