"""Slicer's Segment Editor on the result, inside our panel."""

from __future__ import annotations

from collections.abc import Callable

import slicer

#: An editor node of our own: two editors on one would both draw whenever one of them does.
_EDITOR_TAG = "HipICMSC"
_UNDO_STATES = 10


class EditorPanel:
    """The collapsible section "Edit the result".

    Attributes:
        editor: the qMRMLSegmentEditorWidget; None until there is something to edit.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Editor.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.ui.openSegmentEditorButton.connect("clicked(bool)", self._open_module)
        self.editor = None
        self._entered = self._closed = False
        self._shown = (None, None)
        #: Of segmentations that were changed while another one was edited, what they were before.
        self._histories: dict = {}
        self.show(None, None)

    @property
    def segmentation(self):
        """The segmentation node that is edited; None for none."""
        return self._shown[0]

    def prepare(self) -> None:
        """Make the editor, which takes half a second, before it is needed."""
        if self.editor is None and not self._closed:
            self._load()
            self.editor.visible = False

    def show(self, segmentation_node, volume_node) -> None:
        """Edit this segmentation over this volume; None closes it for editing."""
        if self._closed or (self.editor is not None and self._shown == (segmentation_node, volume_node)):
            return
        self._shown = (segmentation_node, volume_node)
        there = segmentation_node is not None
        self.ui.openSegmentEditorButton.enabled = there
        self.ui.editorHintLabel.visible = not there
        if there:
            self._load()
            self._select()
            self._take_over_history()
        elif self.editor is not None:
            self.editor.setActiveEffect(None)
            self.editor.setSegmentationNode(None)
        if self.editor is not None:
            self.editor.visible = there

    def save_state(self, segmentation_node) -> None:
        """Let the user undo what is about to be done to a segmentation, as soon as it is edited: the editor knows the
        past of the one that is in it alone, which stays so."""
        if self.editor is not None and self.segmentation is segmentation_node:
            self._select()
            self.editor.saveStateForUndo()
            return
        history = slicer.vtkSegmentationHistory()
        history.SetSegmentation(segmentation_node.GetSegmentation())
        history.SaveState()
        self._histories[segmentation_node] = history

    def forget_scene(self) -> None:
        """The scene is closed."""
        self._histories.clear()
        self.show(None, None)

    def enter(self) -> None:
        """The module is opened: keys and views belong to the editor."""
        self._entered = True
        if self.editor is not None:
            self._select()
            self.editor.installKeyboardShortcuts()

    def exit(self) -> None:
        """Another module is opened: nothing that is drawn there may be drawn with our effect."""
        self._entered = False
        if self.editor is not None:
            self.editor.setActiveEffect(None)
            self.editor.uninstallKeyboardShortcuts()
            self.editor.removeViewObservations()

    def close(self) -> None:
        """Slicer ends or the module is reloaded: the editor lets go of the scene, whatever happens to it later."""
        self._closed = True
        if self.editor is not None:
            self.exit()
            self.editor.setSegmentationNode(None)
            self.editor.setSourceVolumeNode(None)
            self.editor.setMRMLScene(None)

    def _load(self) -> None:
        if self.editor is not None:
            return
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(_UNDO_STATES)
        # What is edited is chosen above; another choice here would be lost with the next one there.
        self.editor.segmentationNodeSelectorVisible = False
        self.editor.sourceVolumeNodeSelectorVisible = False
        # Before the scene: so what the widget chooses by itself is kept in the node.
        self.editor.setMRMLSegmentEditorNode(_editor_node())
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.ui.editorFrame.layout().addWidget(self.editor)
        if self._entered:
            self.editor.installKeyboardShortcuts()

    def _select(self) -> None:
        segmentation_node, volume_node = self._shown
        self.editor.setMRMLSegmentEditorNode(_editor_node())
        self.editor.setSegmentationNode(segmentation_node)
        self.editor.setSourceVolumeNode(volume_node)
        if self._entered:
            self.editor.setupViewObservations()

    def _take_over_history(self) -> None:
        """The editor keeps for undo what is there when it is asked to: what was there before is put back for that."""
        history = self._histories.pop(self.segmentation, None)
        if history is not None:
            history.RestorePreviousState()
            self.editor.saveStateForUndo()
            history.RestoreNextState()

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
