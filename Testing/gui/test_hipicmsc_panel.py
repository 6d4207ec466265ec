"""The HipICMSC panel as a user meets it: what can be pressed, why not, and what pressing does."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins


@pytest.fixture
def panel(open_panel, ball_model, monkeypatch):
    """The panel with the ball model as the only one that ships."""
    from HipICMSCLib import model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (ball_model.parent,))
    return open_panel("HipICMSC")


def add_volume(image: sitk.Image | None = None):
    import slicer

    image = ball_hips.ball_image() if image is None else image
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hips")
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(image.GetSpacing())
    x, y, z = image.GetOrigin()
    node.SetOrigin(-x, -y, z)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    return node


def test_without_a_volume_the_button_says_what_is_missing(panel, pictures):
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == "Choose an MRI first."
    assert "Research use only" in panel.ui.researchLabel.text
    panel.picture(pictures / "hipicmsc-empty.png")


def test_a_loaded_volume_is_chosen_when_the_panel_opens(panel):
    volume = add_volume()
    panel.widget.enter()
    assert panel.ui.inputSelector.currentNode() is volume
    assert panel.ui.segmentButton.enabled and panel.ui.segmentButton.text == "Segment hip"


def test_a_choice_in_the_panel_is_saved_with_the_scene_and_back(panel):
    """Each parameter has exactly one widget, and both always say the same."""
    node = panel.logic.getParameterNode()
    first, second = add_volume(), add_volume()
    target = first.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "target")
    for value in (first, second):
        panel.ui.inputSelector.setCurrentNode(value)
        assert node.inputVolume is value
    node.inputVolume = first
    assert panel.ui.inputSelector.currentNode() is first
    panel.ui.segmentationSelector.setCurrentNode(target)
    assert node.segmentation is target
    node.segmentation = None
    assert panel.ui.segmentationSelector.currentNode() is None
    panel.ui.modelComboBox.addItem("another")
    panel.ui.modelComboBox.currentIndex = 1
    assert node.model == "another"
    node.model = "balls"
    assert panel.ui.modelComboBox.currentText == "balls"


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_each_parameter_has_exactly_one_widget(open_panel, name):
    panel = open_panel(name)
    bound = [w.property("SlicerParameterName") for w in vars(panel.ui).values() if w.property("SlicerParameterName")]
    by_hand = {"HipICMSC": ["model"], "HipICMSCTraining": []}[name]
    assert sorted(bound + by_hand) == sorted(panel.logic.getParameterNode().allParameters)


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_every_node_selector_gets_the_scene(name):
    """In Slicer this is a connection in the .ui file, which the bench replaces."""
    root = ElementTree.parse(slicer_stand_ins.module_file(name).parent / "Resources" / "UI" / f"{name}.ui").getroot()
    selectors = {w.get("name") for w in root.iter("widget") if w.get("class") == "qMRMLNodeComboBox"}
    connected = {
        c.findtext("receiver")
        for c in root.iter("connection")
        if (c.findtext("sender"), c.findtext("signal")) == (name, "mrmlSceneChanged(vtkMRMLScene*)")
        and c.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert selectors == connected


def test_a_segmentation_with_segments_is_not_accepted_as_a_target(panel):
    volume = add_volume()
    target = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "my work")
    target.GetSegmentation().AddEmptySegment("drawn")
    panel.widget.enter()
    panel.ui.segmentationSelector.setCurrentNode(target)
    assert not panel.ui.segmentButton.enabled
    assert "my work" in panel.ui.segmentButton.toolTip and "never overwritten" in panel.ui.segmentButton.toolTip


def test_without_any_model_the_button_says_so(open_panel, monkeypatch, tmp_path):
    from HipICMSCLib import model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (tmp_path,))
    add_volume()
    panel = open_panel("HipICMSC")
    assert not panel.ui.segmentButton.enabled and "without a model" in panel.ui.segmentButton.toolTip


def test_one_click_segments(panel, pictures):
    """The real worker, from the volume node to four segments, with progress and a Cancel button meanwhile."""
    volume = add_volume()
    panel.widget.enter()
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel" and panel.ui.segmentButton.enabled
    panel.wait(lambda: panel.ui.progressBar.value > 0)
    assert panel.ui.statusLabel.text.endswith("…")
    panel.picture(pictures / "hipicmsc-running.png")
    panel.wait(lambda: not panel.logic.busy)
    assert panel.ui.progressBar.value == 100
    assert panel.ui.segmentButton.text == "Segment hip" and panel.ui.segmentButton.enabled
    node = volume.GetScene().GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert node.GetName() in panel.ui.statusLabel.text
    # The ball model finds no hip bone, which the user is told.
    assert len(panel.ui.statusLabel.text.splitlines()) > 1
    surface = node.GetSegmentation().GetSegment("RightFemur").GetRepresentation("Closed surface")
    bounds = np.array(surface.GetBounds())
    centre = (bounds[::2] + bounds[1::2]) / 2 * (-1, -1, 1)
    assert centre == pytest.approx(np.array(ball_hips.RIGHT_CENTRE), abs=2.5)
    panel.picture(pictures / "hipicmsc-done.png")


def test_cancel_gives_the_button_back_and_changes_nothing(panel):
    volume = add_volume()
    panel.widget.enter()
    panel.ui.segmentButton.click()
    panel.ui.segmentButton.click()
    assert not panel.ui.segmentButton.enabled and "Cancelling" in panel.ui.statusLabel.text
    panel.wait(lambda: not panel.logic.busy)
    assert "cancelled" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.text == "Segment hip" and panel.ui.segmentButton.enabled
    assert volume.GetScene().GetFirstNodeByClass("vtkMRMLSegmentationNode") is None


def test_a_bad_volume_is_refused_at_once_by_its_name(panel):
    add_volume(sitk.Image([50, 50, 50], sitk.sitkInt16))
    panel.widget.enter()
    panel.ui.segmentButton.click()
    assert not panel.logic.busy
    assert panel.ui.statusLabel.text == "hips is empty: every voxel has the value 0."


def test_an_error_of_the_worker_is_shown_as_its_sentence(panel, ball_model, pictures):
    panel.ui.modelComboBox.addItem("cut-off")
    package = ball_model.read_bytes()
    (ball_model.parent / "cut-off.hipmodel").write_bytes(package[: len(package) // 2])
    add_volume()
    panel.widget.enter()
    panel.ui.modelComboBox.currentIndex = 1
    panel.ui.segmentButton.click()
    panel.wait(lambda: not panel.logic.busy)
    (ball_model.parent / "cut-off.hipmodel").unlink()
    assert "damaged" in panel.ui.statusLabel.text and panel.ui.statusLabel.text.endswith(".")
    assert panel.ui.statusLabel.toolTip  # the technical background
    assert panel.ui.progressBar.value == 0 and panel.ui.segmentButton.enabled
    panel.picture(pictures / "hipicmsc-error.png")


def test_closing_the_scene_cancels(panel):
    volume = add_volume()
    panel.widget.enter()
    panel.ui.segmentButton.click()
    volume.GetScene().Clear()
    panel.wait(lambda: not panel.logic.busy)
    assert "cancelled" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.toolTip == "Choose an MRI first."


def test_leaving_slicer_ends_the_worker(panel):
    add_volume()
    panel.widget.enter()
    panel.ui.segmentButton.click()
    process = panel.logic._worker._process
    panel.widget.cleanup()
    assert process.poll() is not None and not panel.logic.busy


def test_the_icon_and_the_panel_lie_where_slicer_looks():
    for name in ("HipICMSC", "HipICMSCTraining"):
        resources = Path(slicer_stand_ins.module_file(name).parent / "Resources")
        assert (resources / "Icons" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
