"""A right click on a volume in the module Data segments it. Slicer's plugin handler is stood in for, items are real."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import slicer_stand_ins
from ball_panel import add_volume


@pytest.fixture
def plugin(module_manager, ball_model, monkeypatch):
    """The plugin as Slicer makes it, with the item that was clicked in ``clicked``."""
    import slicer
    from HipICMSCLib.gui.scene import data_module
    from HipICMSCLib.models import chosen
    from PySide6.QtCore import QObject

    monkeypatch.setattr(chosen, "_SHIPPED", (ball_model.parent,))
    slicer_stand_ins.load_module("HipICMSC")
    abstract = ModuleType("AbstractScriptedSubjectHierarchyPlugin")
    abstract.AbstractScriptedSubjectHierarchyPlugin = type(
        "AbstractScriptedSubjectHierarchyPlugin", (), {"__init__": lambda self, plugin: None}
    )
    monkeypatch.setitem(sys.modules, abstract.__name__, abstract)
    clicked = []
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    handler = SimpleNamespace(currentItem=lambda: clicked[-1], subjectHierarchyNode=lambda: hierarchy)
    monkeypatch.setattr(
        slicer, "qSlicerSubjectHierarchyPluginHandler", SimpleNamespace(instance=lambda: handler), raising=False
    )
    made, kept = [], []

    class ScriptedPlugin(QObject):
        def setPythonSource(self, path: str) -> None:
            # Slicer's registers itself with the handler, which keeps it.
            kept.append(self)
            name = path.rpartition("/")[2].removesuffix(".py")
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            made.append(getattr(module, name)(self))

    monkeypatch.setattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin", ScriptedPlugin, raising=False)
    data_module.register_right_click()
    (plugin,) = made

    def click(node) -> None:
        # In Slicer a plugin of the module Data makes the item.
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        clicked.append(item)
        plugin.showContextMenuActionsForItem(clicked[-1])

    return SimpleNamespace(click=click, action=plugin.segmentAction, export=plugin.exportAction, manager=module_manager)


def test_it_is_offered_for_a_volume_alone(plugin):
    import slicer

    plugin.click(add_volume())
    assert plugin.action.visible
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"):
        plugin.click(slicer.mrmlScene.AddNewNodeByClass(kind))
        assert not plugin.action.visible


def test_it_opens_the_module_and_segments_what_was_clicked(plugin):
    from HipICMSCLib.gui.scene.result import result_of

    volumes = [add_volume(name=name) for name in ("clicked", "other")]
    plugin.manager.getModuleLogic("HipICMSC").getParameterNode().model = "balls"
    plugin.click(volumes[0])
    plugin.action.trigger()
    opened = plugin.manager._opened["HipICMSC"]
    assert opened.logic.busy, opened.ui.segmentButton.toolTip
    opened.wait(lambda: opened.widget.panel.settled)
    assert result_of(volumes[0]) is not None and result_of(volumes[1]) is None


def test_it_replaces_nothing_and_chooses_what_was_clicked_also_while_another_is_segmented(plugin):
    """A tick of an earlier run, which nobody sees beside a result, replaced the bones of that result."""
    from HipICMSCLib.gui.scene.result import result_of

    volume, other = (add_volume(name=name) for name in ("clicked", "other"))
    choices = plugin.manager.getModuleLogic("HipICMSC").getParameterNode()
    choices.model = "balls"
    plugin.click(volume)
    plugin.action.trigger()
    opened = plugin.manager._opened["HipICMSC"]
    opened.wait(lambda: opened.widget.panel.settled)
    first = result_of(volume)
    choices.segmentation, choices.replaceUnlocked = first, True
    plugin.action.trigger()
    plugin.click(other)
    plugin.action.trigger()
    assert choices.inputVolume is other
    opened.wait(lambda: opened.widget.panel.settled)
    made = list(volume.GetScene().GetNodesByClass("vtkMRMLSegmentationNode"))
    assert len(made) == 2 and first in made


def test_a_result_for_an_mri_from_dicom_can_be_exported(plugin, monkeypatch):
    """The module opens with that result, and asks for a file."""
    import qt
    import slicer
    from HipICMSCLib.gui.scene.result import result_of

    volumes = [add_volume(name=name) for name in ("from a file", "from DICOM")]
    volumes[1].SetAttribute("DICOM.instanceUIDs", "1.2.3")
    slicer.util.selectModule("HipICMSC")
    logic = plugin.manager.getModuleLogic("HipICMSC")
    results = [logic.segment(volume, model="balls") for volume in volumes]
    for result, offered in zip(results, (False, True), strict=True):
        plugin.click(result)
        assert plugin.export.visible == offered and not plugin.action.visible
    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *values: asked.append(values[2]) or "")
    plugin.manager.getModuleWidget("HipICMSC").logic.getParameterNode().inputVolume = volumes[0]
    plugin.export.trigger()
    chosen = logic.getParameterNode()
    assert asked and asked[0].endswith("from DICOM hips.dcm")
    assert result_of(chosen.inputVolume, chosen.segmentation) is results[1]
    monkeypatch.setattr(slicer.modules, "quantitativereporting", object(), raising=False)
    plugin.click(results[1])
    assert not plugin.export.visible
