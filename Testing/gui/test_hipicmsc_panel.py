"""The HipICMSC panel as a user meets it: what can be pressed, why not, and what pressing does."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from ball_panel import add_volume

# What can be pressed, and why not.


def test_without_a_volume_the_panel_says_what_is_missing_and_offers_a_synthetic_one(panel, pictures):
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == "Choose an MRI first."
    assert not panel.ui.sampleButton.isHidden()
    assert "Research use only" in panel.ui.researchLabel.text
    panel.wait(lambda: "Load an MRI" in panel.card_text())
    panel.picture(pictures / "hipicmsc-empty.png")


def test_a_loaded_volume_is_chosen_when_the_panel_opens(panel):
    volume = add_volume()
    panel.widget.exit()
    panel.widget.enter()
    assert panel.ui.inputSelector.currentNode() is volume
    assert panel.ui.segmentButton.enabled and panel.ui.segmentButton.text == "Segment hip"
    assert panel.ui.sampleButton.isHidden()


def test_a_volume_that_is_loaded_while_the_panel_waits_is_chosen_too(panel):
    volume = add_volume()
    assert panel.ui.inputSelector.currentNode() is volume
    assert panel.ui.segmentButton.enabled


def test_what_the_user_looks_at_is_chosen_before_what_was_loaded_last(bench, panel):
    import slicer

    scene = slicer.mrmlScene
    panel.widget.exit()
    first, _ = add_volume(name="looked at"), add_volume(name="loaded last")
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    view.SetBackgroundVolumeID(first.GetID())
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    panel.widget.enter()
    assert panel.ui.inputSelector.currentNode() is first is not labels


def test_a_choice_in_the_panel_is_saved_with_the_scene_and_back(panel):
    """Each parameter has exactly one widget, and both always say the same."""
    node = panel.logic.getParameterNode()
    first, second = add_volume(), add_volume()
    scene = first.GetScene()
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "target")
    heads = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "heads")
    for value in (first, second):
        panel.ui.inputSelector.setCurrentNode(value)
        assert node.inputVolume is value
    node.inputVolume = first
    assert panel.ui.inputSelector.currentNode() is first
    panel.ui.segmentationSelector.setCurrentNode(target)
    assert node.segmentation is target
    node.segmentation = None
    assert panel.ui.segmentationSelector.currentNode() is None
    panel.ui.headsSelector.setCurrentNode(heads)
    assert node.heads is heads
    panel.ui.deviceComboBox.currentText = "cpu"
    assert node.device == "cpu"
    panel.ui.replaceUnlockedCheckBox.checked = True
    assert node.replaceUnlocked is True
    node.model = "unheard-of"
    assert panel.widget.panel.model_panel.current() == "unheard-of"
    assert not panel.ui.segmentButton.enabled and "no model unheard-of" in panel.ui.segmentButton.toolTip
    panel.wait(panel.widget.panel.card.stop)
    # The MRI is not to blame.
    assert panel.ui.preflightHeadlineLabel.text == "Nothing can be segmented yet."
    assert "Model" in [finding.subject for finding in panel.widget.panel.card.findings]
    panel.widget.panel.model_panel.chosen.emit("balls")
    assert node.model == "balls" and panel.widget.panel.model_panel.current() == "balls"


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_each_parameter_has_exactly_one_widget(open_panel, name):
    panel = open_panel(name)
    bound = [w.property("SlicerParameterName") for w in vars(panel.ui).values() if w.property("SlicerParameterName")]
    by_hand = {"HipICMSC": ["model"], "HipICMSCTraining": ["datasetFile", "choices", "runFolder"]}[name]
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


def ui_files() -> list[Path]:
    return sorted(slicer_stand_ins.REPOSITORY.glob("HipICMSC*/Resources/UI/*.ui"))


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_names_are_unique_over_all_sections(name):
    """For they are looked up in one place."""
    names = [
        widget.get("name")
        for path in ui_files()
        if path.parents[2].name == name
        for widget in ElementTree.parse(path).getroot().iter("widget")
    ]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_every_control_has_a_tool_tip(open_panel, name):
    import ctk
    import qt
    import slicer

    controls = (
        qt.QPushButton, qt.QToolButton, qt.QCheckBox, qt.QComboBox, qt.QLineEdit, qt.QAbstractSpinBox, qt.QSlider,
        ctk.ctkPathLineEdit, slicer.qMRMLNodeComboBox,
    )  # fmt: skip
    panel = open_panel(name)
    without = [
        widget_name
        for widget_name, widget in vars(panel.ui).items()
        if isinstance(widget, controls) and not widget_name.startswith("qt_") and not widget.toolTip
    ]
    assert without == []


def test_without_any_model_the_button_says_so(open_panel, monkeypatch, tmp_path):
    from HipICMSCLib.models import chosen as model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (tmp_path,))
    add_volume()
    panel = open_panel("HipICMSC")
    assert not panel.ui.segmentButton.enabled and "There is no model hip-mri" in panel.ui.segmentButton.toolTip


def test_what_is_missing_on_this_computer_is_said_on_the_card_and_on_the_button(panel, monkeypatch, pictures):
    """Nothing is started and nothing downloaded before the user presses the card's own button."""
    set_up = panel.widget.panel.set_up_panel
    monkeypatch.setattr(set_up, "blocking_sentence", lambda: "PyTorch is missing.")
    mended = []
    monkeypatch.setattr(set_up, "mend", lambda: mended.append(True))
    add_volume()
    panel.wait(lambda: "PyTorch is missing" in panel.card_text())
    assert not panel.ui.segmentButton.enabled and "PyTorch is missing" in panel.ui.segmentButton.toolTip
    assert panel.logic.service._worker._process is None
    panel.picture(pictures / "hipicmsc-not-installed.png")
    panel.ui.preflightRemedyButton.click()
    assert mended == [True]


# The card.


def test_the_card_says_before_the_click_whether_it_will_work(panel, pictures):
    add_volume()
    panel.wait(lambda: not panel.widget.panel.card.pending)
    subjects = [finding.subject for finding in panel.widget.panel.card.findings]
    assert len(subjects) == len(set(subjects)) or subjects
    assert panel.widget.panel.card.stop() is None
    panel.picture(pictures / "hipicmsc-ready.png")


def test_where_no_hip_is_found_the_card_says_so_and_the_user_can_mark_them(panel):
    """As with a prosthesis: once the femoral heads are marked, the same volume can be segmented."""
    image = ball_hips.ball_image()
    voxels = np.random.default_rng(1).normal(300, 100, image.GetSize()[::-1]).astype(np.int16)
    noise = sitk.GetImageFromArray(voxels)
    noise.CopyInformation(image)
    volume = add_volume(noise)
    panel.wait(panel.widget.panel.card.stop)
    assert "No hip joint was found" in panel.card_text()
    heads = volume.GetScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "heads")
    panel.ui.headsSelector.setCurrentNode(heads)
    panel.wait(lambda: "heads has 0 points" in panel.card_text())
    for x, y, z in (ball_hips.RIGHT_CENTRE, ball_hips.LEFT_CENTRE):
        heads.AddControlPoint(-x, -y, z)
    panel.wait(lambda: not panel.widget.panel.card.pending)
    assert panel.widget.panel.card.stop() is None


def test_another_volume_gets_a_card_of_its_own(panel):
    add_volume(name="first")
    panel.wait(lambda: not panel.widget.panel.card.pending)
    flat = sitk.Image([50, 50, 50], sitk.sitkInt16)
    panel.ui.inputSelector.setCurrentNode(add_volume(flat, "second"))
    panel.wait(panel.widget.panel.card.stop)
    assert "second is empty" in panel.card_text()


# Segmenting.


def test_the_key_segments_and_does_so_again_after_a_cancel(panel):
    add_volume()
    panel.wait(lambda: not panel.widget.panel.card.pending)
    key = "Ctrl+Shift+H"
    assert panel.ui.segmentButton.shortcut.toString() == key and key in panel.ui.segmentButton.toolTip
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel" and panel.ui.segmentButton.shortcut.toString() == ""
    panel.ui.segmentButton.click()
    panel.wait(lambda: panel.widget.panel.settled)
    assert panel.ui.segmentButton.text == "Segment hip" and panel.ui.segmentButton.shortcut.toString() == key


def test_one_click_segments(panel, pictures, monkeypatch):
    """The real worker, from the volume node to four segments, with progress and a Cancel button meanwhile."""
    import slicer

    volume = add_volume()
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Green")
    three_d_views = []
    monkeypatch.setattr(slicer.util, "resetThreeDViews", lambda: three_d_views.append("centred"))
    panel.wait(lambda: not panel.widget.panel.card.pending)
    progress = []
    panel.ui.progressBar.valueChanged.connect(progress.append)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel" and panel.ui.segmentButton.enabled
    panel.picture(pictures / "hipicmsc-running.png")
    panel.wait(lambda: not panel.logic.busy)
    assert max(progress, default=0) > 0
    assert panel.ui.progressBar.isHidden() and panel.ui.segmentButton.isHidden()
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert "the result is in hips hips" in panel.ui.statusLabel.text
    # The ball model finds no hip bone, which the user is told.
    assert "right hip bone was not found" in panel.ui.statusLabel.text
    assert "Segmenting with balls" in panel.ui.logText.plainText
    bone = node.GetSegmentation().GetSegment("RightFemur")
    panel.wait(lambda: bone.GetRepresentation("Closed surface"))
    surface = bone.GetRepresentation("Closed surface")
    bounds = np.array(surface.GetBounds())
    centre = (bounds[::2] + bounds[1::2]) / 2 * (-1, -1, 1)
    assert centre == pytest.approx(np.array(ball_hips.RIGHT_CENTRE), abs=2.5)
    panel.wait(lambda: panel.widget.panel.settled)
    assert three_d_views == ["centred"]
    # Views are where the hips are; the result is in the editor over its MRI, and there is something to review.
    middle = (np.array(ball_hips.RIGHT_CENTRE) + ball_hips.LEFT_CENTRE) / 2 * (-1, -1, 1)
    shown = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert shown == pytest.approx(middle, abs=5)
    editor = panel.widget.panel.editor_panel.editor.node
    assert editor.GetSegmentationNode() is node and editor.GetSourceVolumeNode() is volume
    assert panel.ui.nextPlaceButton.enabled
    panel.picture(pictures / "hipicmsc-done.png")


def test_cancel_gives_the_button_back_and_changes_nothing(panel):
    volume = add_volume()
    panel.ui.segmentButton.click()
    panel.ui.segmentButton.click()
    assert not panel.ui.segmentButton.enabled or not panel.logic.busy
    panel.wait(lambda: not panel.logic.busy)
    assert "cancelled" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.text == "Segment hip" and panel.ui.segmentButton.enabled
    assert volume.GetScene().GetFirstNodeByClass("vtkMRMLSegmentationNode") is None


def test_a_bad_volume_is_refused_at_once_by_its_name(panel):
    add_volume(sitk.Image([50, 50, 50], sitk.sitkInt16))
    panel.ui.segmentButton.click()
    assert not panel.logic.busy
    assert panel.ui.statusLabel.text == "hips is empty: every voxel has the value 0; choose another."


def test_an_error_of_the_worker_is_shown_as_its_sentence_and_explained_in_the_log(panel, ball_model, pictures):
    package = ball_model.read_bytes()
    damaged = ball_model.parent / "cut-off.hipmodel"
    damaged.write_bytes(package[: len(package) // 2])
    add_volume()
    panel.logic.getParameterNode().model = "cut-off"
    panel.ui.segmentButton.click()
    panel.wait(lambda: not panel.logic.busy)
    damaged.unlink()
    assert "damaged" in panel.ui.statusLabel.text and panel.ui.statusLabel.text.endswith(".")
    assert len(panel.ui.logText.plainText.splitlines()) > 2  # the technical background
    assert panel.ui.progressBar.isHidden()
    panel.picture(pictures / "hipicmsc-error.png")
