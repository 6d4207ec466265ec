"""The HipICMSC panel as a user meets it: what can be pressed, why not, and what pressing does."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins

NO_MRI = "Choose an MRI first."


@pytest.fixture
def panel(open_panel, ball_model, monkeypatch):
    """The panel with the ball model as the only one that ships, which is chosen."""
    from HipICMSCLib.models import chosen as model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (ball_model.parent,))
    panel = open_panel("HipICMSC")
    panel.logic.getParameterNode().model = "balls"
    return panel


def add_volume(image: sitk.Image | None = None, name: str = "hips"):
    import slicer

    image = ball_hips.ball_image() if image is None else image
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(image.GetSpacing())
    x, y, z = image.GetOrigin()
    node.SetOrigin(-x, -y, z)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    return node


def segment(panel):
    """Press the button and wait; the segmentation node."""
    if panel.ui.segmentButton.isHidden():
        panel.ui.againButton.click()
    assert not panel.ui.segmentButton.isHidden()
    panel.ui.segmentButton.click()
    panel.wait(lambda: panel.widget.panel.settled)
    from HipICMSCLib.gui.scene.result import result_of

    return result_of(panel.logic.getParameterNode().inputVolume)


def voxel_count(node, segment_id: str, volume) -> int:
    import slicer

    return int((slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0).sum())


def erase_half(node, segment_id: str, volume) -> None:
    """As a user might in the editor."""
    import slicer

    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)
    columns = np.flatnonzero(voxels.any((0, 1)))
    voxels[:, :, : columns[len(columns) // 2]] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment_id, volume)


# What can be pressed, and why not.


def test_without_a_volume_the_panel_says_what_is_missing_and_offers_a_synthetic_one(panel, pictures):
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == NO_MRI
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


# What somebody drew is safe.


def test_a_segmentation_with_segments_is_not_written_into_and_the_panel_says_so(panel, pictures):
    volume = add_volume()
    target = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "my work")
    assert panel.ui.targetLabel.isHidden() and panel.ui.replaceUnlockedCheckBox.isHidden()
    target.GetSegmentation().AddEmptySegment("drawn")
    panel.ui.segmentationSelector.setCurrentNode(target)
    assert "not overwritten" in panel.ui.targetLabel.text and "my work (2)" in panel.ui.targetLabel.text
    panel.picture(pictures / "hipicmsc-target.png")
    assert segment(panel).GetName() == "my work (2)"
    assert [*target.GetSegmentation().GetSegmentIDs()] == ["drawn"]


def test_redoing_some_bones_can_be_undone_in_the_editor(panel):
    volume = add_volume()
    target = segment(panel)
    target.GetSegmentation().RemoveSegment("LeftFemur")
    panel.ui.segmentationSelector.setCurrentNode(target)
    panel.ui.replaceUnlockedCheckBox.checked = True
    assert "Replaces" in panel.ui.targetLabel.text and "Right proximal femur" in panel.ui.targetLabel.text
    assert segment(panel) is target
    assert target.GetSegmentation().GetNumberOfSegments() == 4
    assert volume.GetScene().GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    # The new bones in the old node are a result to be reviewed.
    assert not panel.ui.resultFrame.isHidden() and panel.ui.segmentButton.isHidden()
    panel.widget.panel.editor_panel.editor.undo()
    assert target.GetSegmentation().GetNumberOfSegments() == 3


def test_what_was_redone_while_another_mri_was_shown_can_be_undone_when_it_is_edited_again(panel):
    """Until then the editor keeps what can be undone in the segmentation of the other MRI."""
    second = add_volume(name="second")
    of_second = segment(panel)
    first = add_volume(name="first")
    panel.ui.inputSelector.setCurrentNode(first)
    target = segment(panel)
    target.GetSegmentation().RemoveSegment("LeftFemur")
    erase_half(target, "RightFemur", first)
    former = voxel_count(target, "RightFemur", first)
    panel.ui.segmentationSelector.setCurrentNode(target)
    panel.ui.replaceUnlockedCheckBox.checked = True
    panel.ui.againButton.click()
    panel.ui.segmentButton.click()
    editor = panel.widget.panel.editor_panel
    panel.ui.inputSelector.setCurrentNode(second)
    panel.wait(lambda: editor.segmentation is of_second)
    editor.editor.saveStateForUndo()
    assert panel.logic.busy
    panel.wait(lambda: panel.widget.panel.settled)
    assert target.GetSegmentation().GetNumberOfSegments() == 4
    assert editor.segmentation is of_second and editor.editor.history.GetNumberOfStates() == 1
    panel.ui.inputSelector.setCurrentNode(first)
    panel.wait(lambda: panel.widget.panel.settled)
    redone = voxel_count(target, "RightFemur", first)
    assert target.GetSegmentation().GetNumberOfSegments() == 4 and redone > former
    editor.editor.undo()
    assert target.GetSegmentation().GetNumberOfSegments() == 3
    assert voxel_count(target, "RightFemur", first) == former


def test_bones_of_one_mri_never_go_into_the_segmentation_of_another(panel, pictures):
    add_volume()
    of_first = segment(panel)
    panel.ui.segmentationSelector.setCurrentNode(of_first)
    panel.ui.replaceUnlockedCheckBox.checked = True
    second = add_volume(name="another patient")
    panel.ui.inputSelector.setCurrentNode(second)
    assert panel.logic.getParameterNode().segmentation is None
    panel.wait(lambda: panel.widget.panel.settled)
    panel.ui.segmentationSelector.setCurrentNode(of_first)
    assert not panel.ui.segmentButton.enabled
    said = "This result belongs to another MRI; choose (new segmentation) as Result."
    assert panel.ui.targetLabel.text == panel.ui.segmentButton.toolTip == said
    panel.wait(lambda: panel.ui.preflightHeadlineLabel.text == "Nothing can be segmented into this result.")
    panel.picture(pictures / "hipicmsc-other-target.png")
    panel.ui.replaceUnlockedCheckBox.checked = False
    panel.wait(lambda: panel.ui.segmentButton.enabled)
    panel.wait(lambda: "Ready" in panel.ui.preflightHeadlineLabel.text)
    assert segment(panel).GetName() == "another patient hips"


def test_a_result_whose_mri_is_gone_is_not_taken_over_by_the_next_patients(panel):
    first = add_volume()
    result = segment(panel)
    panel.ui.segmentationSelector.setCurrentNode(result)
    panel.ui.replaceUnlockedCheckBox.checked = True
    first.GetScene().RemoveNode(first)
    second = add_volume(name="another patient")
    panel.ui.inputSelector.setCurrentNode(second)
    assert panel.logic.getParameterNode().segmentation is None
    panel.ui.segmentationSelector.setCurrentNode(result)
    assert not panel.ui.segmentButton.enabled and "belongs to another MRI" in panel.ui.targetLabel.text
    panel.ui.segmentationSelector.setCurrentNode(None)
    assert segment(panel).GetName() == "another patient hips"


def test_what_was_chosen_for_one_mri_is_not_meant_for_the_next(panel):
    """Neither femoral heads that were marked in it, nor the model for the synthetic one."""
    import slicer

    model = panel.logic.getParameterNode().model
    panel.ui.sampleButton.click()
    assert panel.logic.getParameterNode().model == "hip-phantom-mri"
    heads = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "heads")
    panel.ui.headsSelector.setCurrentNode(heads)
    panel.ui.inputSelector.setCurrentNode(add_volume(name="a patient"))
    choices = panel.logic.getParameterNode()
    assert choices.heads is None and choices.model == model and panel.widget.panel.model_panel.current() == model
    # Also by way of none, and where the synthetic one is loaded twice.
    panel.ui.headsSelector.setCurrentNode(heads)
    for _ in range(2):
        panel.ui.inputSelector.setCurrentNode(None)
        panel.ui.sampleButton.click()
        assert choices.heads is None and choices.model == "hip-phantom-mri"
    panel.ui.inputSelector.setCurrentNode(add_volume(name="another patient"))
    assert choices.model == model


def test_the_panel_shows_the_result_that_was_just_made_and_not_the_one_chosen_before(panel):
    add_volume()
    first = segment(panel)
    panel.ui.segmentationSelector.setCurrentNode(first)
    panel.ui.againButton.click()
    panel.ui.segmentButton.click()
    panel.wait(lambda: panel.widget.panel.settled)
    second = panel.logic.getParameterNode().segmentation
    assert second is not first and second.GetName() in panel.ui.statusLabel.text
    assert panel.widget.panel.editor_panel.editor.node.GetSegmentationNode() is second
    assert second.GetDisplayNode().GetVisibility() and not first.GetDisplayNode().GetVisibility()


def test_the_chooser_names_the_result_that_is_shown_and_before_the_next_click_where_that_one_goes(panel, pictures):
    volume, ui = add_volume(), panel.ui
    chooser = ui.segmentationSelector
    assert chooser.currentNode() is None
    first = segment(panel)
    assert chooser.currentNode() is first
    ui.againButton.click()
    assert chooser.currentNode() is first and "not overwritten" in ui.targetLabel.text
    assert first.GetName() in ui.targetLabel.text and "hips hips (2)" in ui.targetLabel.text
    panel.picture(pictures / "hipicmsc-again-target.png")
    ui.backButton.click()
    # Who chooses a new one wants one.
    chooser.setCurrentNode(None)
    assert chooser.currentNode() is None and ui.resultFrame.isHidden() and not ui.segmentButton.isHidden()
    ui.backButton.click()
    assert chooser.currentNode() is first and not ui.resultFrame.isHidden()
    second = segment(panel)
    assert chooser.currentNode() is second is not first
    volume.GetScene().RemoveNode(second)
    assert chooser.currentNode() is first
    # What was to be replaced in one MRI's result is not meant for that of the next.
    ui.replaceUnlockedCheckBox.checked = True
    ui.inputSelector.setCurrentNode(add_volume(name="without a result"))
    assert chooser.currentNode() is None
    ui.inputSelector.setCurrentNode(volume)
    assert chooser.currentNode() is first and not ui.replaceUnlockedCheckBox.checked


def test_a_former_result_may_be_deleted_while_the_next_one_is_made(panel):
    volume = add_volume()
    former = segment(panel)
    panel.ui.againButton.click()
    panel.ui.segmentButton.click()
    volume.GetScene().RemoveNode(former)
    panel.wait(lambda: panel.widget.panel.settled)
    assert shown_bones() == ["hips hips"] and "Done in" in panel.ui.statusLabel.text


def test_one_click_hands_the_result_to_slicers_own_editor(panel, monkeypatch):
    """Each editor has a node of its own: two on one would both draw whenever one of them does."""
    import slicer

    volume = add_volume()
    result = segment(panel)
    other = slicer.qMRMLSegmentEditorWidget()
    other.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: panel.widget.exit())
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: SimpleNamespace(editor=other))
    panel.ui.openSegmentEditorButton.click()
    assert other.node.GetSegmentationNode() is result and other.node.GetSourceVolumeNode() is volume
    ours = panel.widget.panel.editor_panel.editor
    assert ours.node is not other.node and not ours.segmentationNodeSelectorVisible
    # What was done in our editor can still be undone when the user comes back.
    assert ours.node.GetSegmentationNode() is result


def test_the_editor_follows_the_result_that_is_chosen(panel):
    """Not the one that was made last."""
    add_volume()
    first, second = segment(panel), segment(panel)
    editor = panel.widget.panel.editor_panel.editor.node
    assert first is not second and editor.GetSegmentationNode() is second
    panel.ui.segmentationSelector.setCurrentNode(first)
    panel.wait(lambda: panel.widget.panel.settled)
    assert editor.GetSegmentationNode() is first
    assert first.GetName() in panel.ui.statusLabel.text
    assert shown_bones() == [first.GetName()]


def test_before_and_after_the_click_are_two_states_of_one_panel(panel, pictures):
    from HipICMSCLib.models.chosen import user_folder

    # As on a computer that never segmented.
    (user_folder() / "run-times.json").unlink(missing_ok=True)
    add_volume()
    before = ("choicesFrame", "preflightFrame", "segmentButton")
    after = ("resultFrame", "againButton")
    hidden = lambda names: [getattr(panel.ui, name).isHidden() for name in names]  # noqa: E731
    assert hidden(before) == [False] * 3 and hidden(after) == [True] * 2
    panel.wait(lambda: not panel.widget.panel.card.pending)
    assert "how long it takes is not known yet" in panel.ui.preflightHeadlineLabel.text
    segment(panel)
    assert hidden(before) == [True] * 3 and hidden(after) == [False] * 2
    panel.ui.againButton.click()
    assert hidden(before) == [False] * 3 and hidden(after) == [True] * 2
    # And back, when it was a mistake.
    assert not panel.ui.backButton.isHidden()
    panel.picture(pictures / "hipicmsc-again.png")
    panel.ui.backButton.click()
    assert hidden(before) == [True] * 3 and hidden(after) == [False] * 2 and panel.ui.backButton.isHidden()
    panel.ui.againButton.click()
    # By now it is known how long it takes.
    panel.wait(lambda: not panel.widget.panel.card.pending)
    assert "not known" not in panel.ui.preflightHeadlineLabel.text and "about" in panel.ui.preflightHeadlineLabel.text


def test_what_makes_a_result_doubtful_is_said_before_that_it_is_done(panel):
    add_volume()
    segment(panel)
    lines = panel.ui.statusLabel.text.splitlines()
    # The balls are of one size, but not as the model sees them.
    assert lines[0].startswith("Caution: The proximal femur has") and lines[-1].startswith("Done in")
    assert "was not found" in lines[1]


def shown_bones() -> list[str]:
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes if node.GetDisplayNode() and node.GetDisplayNode().GetVisibility()]


def test_a_batch_leaves_its_results_hidden_but_that_of_the_chosen_mri_and_a_row_shows_its_mri_with_its_result_alone(
    panel,
):
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    first, second = add_volume(name="first"), add_volume(name="second")
    panel.wait(lambda: panel.ui.batchTable.rowCount == 2)
    panel.ui.batchStartButton.click()
    assert not panel.ui.segmentButton.enabled
    panel.wait(lambda: not panel.widget.panel.batch_panel.busy)
    panel.wait(lambda: panel.widget.panel.settled)
    assert shown_bones() == [f"{panel.ui.inputSelector.currentNode().GetName()} hips"]
    assert not panel.ui.resultFrame.isHidden() and panel.ui.segmentButton.isHidden()
    for row, volume in ((1, second), (0, first)):
        panel.ui.batchTable.selectRow(row)
        panel.wait(lambda: panel.widget.panel.settled)
        assert shown_bones() == [f"{volume.GetName()} hips"]
        assert view.GetBackgroundVolumeID() == volume.GetID()
        assert panel.ui.inputSelector.currentNode() is volume
    third = add_volume(name="third, without a result")
    panel.ui.inputSelector.setCurrentNode(third)
    assert shown_bones() == [] and view.GetBackgroundVolumeID() == third.GetID()


def test_a_batch_that_segments_the_chosen_mri_anew_shows_the_newer_result(panel):
    add_volume()
    former = segment(panel)
    panel.ui.batchRedoCheckBox.checked = True
    panel.wait(lambda: panel.ui.batchStartButton.enabled)
    panel.ui.batchStartButton.click()
    panel.wait(lambda: not panel.widget.panel.batch_panel.busy)
    panel.wait(lambda: panel.widget.panel.settled)
    newer = panel.ui.segmentationSelector.currentNode()
    assert newer is not former and shown_bones() == [newer.GetName()]
    assert panel.widget.panel.editor_panel.segmentation is newer


@pytest.fixture
def status_bar(monkeypatch) -> list[str]:
    """What Slicer's status bar was told."""
    import slicer

    said: list[str] = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))
    return said


def test_a_batch_that_ends_while_another_module_is_open_shows_the_result_of_the_chosen_mri_on_coming_back(
    panel, status_bar
):
    volume = add_volume()
    panel.wait(lambda: panel.ui.batchStartButton.enabled)
    panel.ui.batchStartButton.click()
    panel.widget.exit()
    panel.wait(lambda: not panel.widget.panel.batch_panel.busy)
    panel.wait(lambda: panel.widget.panel.settled)
    assert shown_bones() == []
    assert status_bar == ["Several MRIs: Segmented: 1, failed: 0, not segmented: 0."]
    panel.widget.enter()
    panel.wait(lambda: panel.widget.panel.settled)
    assert shown_bones() == [f"{volume.GetName()} hips"]
    assert not panel.ui.resultFrame.isHidden()


def test_an_installation_ends_a_batch_and_the_worker_for_good(panel):
    """A batch that went on would start the worker again, whose files are being replaced."""
    for name in ("first", "second", "third"):
        add_volume(name=name)
    panel.wait(lambda: panel.ui.batchTable.rowCount == 3)
    panel.ui.batchStartButton.click()
    panel.wait(lambda: panel.logic.service.busy)
    panel.widget.panel.set_up_panel.about_to_install.emit()
    assert not panel.widget.panel.batch_panel.busy and not panel.logic.busy
    panel.wait(lambda: panel.widget.panel.settled)
    assert not panel.logic.busy and shown_bones() == []


def test_what_the_user_drew_stays_in_view_whatever_is_chosen(panel):
    import slicer

    first = add_volume(name="first")
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.CreateDefaultDisplayNodes()
    segment(panel)
    panel.ui.inputSelector.setCurrentNode(add_volume(name="second"))
    assert shown_bones() == ["mine"]
    panel.ui.inputSelector.setCurrentNode(first)
    assert shown_bones() == ["mine", "first hips"]


def test_where_all_is_completed_note_button_and_headline_agree(panel):
    import slicer

    add_volume()
    target = segment(panel)
    status = slicer.vtkSlicerSegmentationsModuleLogic
    for index in range(target.GetSegmentation().GetNumberOfSegments()):
        status.SetSegmentStatus(target.GetSegmentation().GetNthSegment(index), status.Completed)
    panel.ui.segmentationSelector.setCurrentNode(target)
    panel.ui.replaceUnlockedCheckBox.checked = True
    assert "nothing to replace" in panel.ui.targetLabel.text and not panel.ui.segmentButton.enabled
    panel.wait(lambda: panel.ui.preflightHeadlineLabel.text == "Nothing can be segmented into this result.")


def test_who_insists_may_segment_what_looks_like_a_ct(panel, pictures):
    """Air and fat as in Hounsfield units: by its intensities no MRI. The result is that of the MRI as it was."""
    image = ball_hips.ball_image()
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    as_ct = sitk.GetImageFromArray(voxels - 350)
    as_ct.CopyInformation(image)
    add_volume(as_ct, "like a CT")
    panel.wait(panel.widget.panel.card.stop)
    assert not panel.ui.segmentButton.enabled and "looks like a CT" in panel.ui.segmentButton.toolTip
    card = panel.widget.panel.card
    assert "Measured" not in [finding.subject for finding in card.findings], "the worker did not look"
    panel.ui.preflightInsistCheckBox.click()
    assert panel.ui.segmentButton.enabled
    panel.wait(lambda: not card.pending)
    assert {"Measured", "Hips", "Device", "Time"} <= {finding.subject for finding in card.findings}
    assert panel.ui.preflightHeadlineLabel.text == "Will be segmented on your word, although it looks like a CT."
    assert panel.ui.segmentButton.enabled
    panel.picture(pictures / "hipicmsc-insist.png")
    result = segment(panel)
    assert result is not None, panel.ui.statusLabel.text


def test_the_femoral_heads_can_be_marked_from_the_card(panel):
    image = ball_hips.ball_image()
    noise = sitk.GetImageFromArray(np.random.default_rng(1).normal(300, 100, image.GetSize()[::-1]).astype(np.int16))
    noise.CopyInformation(image)
    add_volume(noise)
    panel.wait(panel.widget.panel.card.stop)
    assert "Mark the femoral" in panel.ui.preflightRemedyButton.text.replace("&", "")
    panel.ui.preflightRemedyButton.click()
    heads = panel.logic.getParameterNode().heads
    assert heads is not None and heads.GetMaximumNumberOfControlPoints() == 2
    assert panel.ui.headsSelector.currentNode() is heads


# While it runs, Slicer goes on.


def test_closing_the_scene_cancels(panel):
    volume = add_volume()
    panel.ui.segmentButton.click()
    volume.GetScene().Clear()
    panel.wait(lambda: not panel.logic.busy)
    assert "cancelled" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.toolTip == NO_MRI


def test_deleting_the_input_cancels(panel):
    volume = add_volume()
    panel.ui.segmentButton.click()
    volume.GetScene().RemoveNode(volume)
    panel.wait(lambda: not panel.logic.busy)
    assert "was deleted" in panel.ui.statusLabel.text


def test_what_is_told_of_one_mri_never_stands_below_another(panel):
    """Who chooses another MRI meanwhile reads there whose segmentation goes on, and none of its cautions."""
    first = add_volume(name="patient A")
    panel.ui.segmentButton.click()
    second = add_volume(name="patient B")
    panel.logic.getParameterNode().inputVolume = second
    panel.wait(lambda: not panel.logic.busy or "patient A: " in panel.ui.statusLabel.text)
    panel.wait(lambda: panel.widget.panel.settled)
    assert "patient A: The result is ready, with cautions: " in panel.ui.statusLabel.text
    assert "Caution: " not in panel.ui.statusLabel.text
    panel.logic.getParameterNode().inputVolume = first
    panel.wait(lambda: panel.widget.panel.settled)
    assert panel.ui.statusLabel.text.startswith("Caution: ")


def test_another_module_may_be_opened_meanwhile(panel):
    """The result is there when the user comes back; the editor lets go of keys and views in between."""
    add_volume()
    panel.ui.segmentButton.click()
    panel.widget.exit()
    panel.wait(lambda: not panel.logic.busy)
    panel.widget.enter()
    panel.wait(lambda: panel.widget.panel.settled)
    assert panel.ui.nextPlaceButton.enabled
    editor = panel.widget.panel.editor_panel.editor
    assert editor.node.GetSegmentationNode().GetName() == "hips hips"
    editor.calls.clear()
    panel.widget.exit()
    assert {"setActiveEffect", "uninstallKeyboardShortcuts", "removeViewObservations"} <= {*editor.calls}
    assert "installKeyboardShortcuts" not in editor.calls


def test_a_failure_while_another_module_is_open_is_said_in_the_status_bar_and_what_was_cancelled_is_not(
    panel, status_bar
):
    add_volume()
    panel.ui.segmentButton.click()
    panel.widget.exit()
    panel.logic.cancel()
    panel.wait(lambda: panel.widget.panel.settled)
    assert status_bar == []
    panel.widget.enter()
    panel.wait(lambda: panel.ui.segmentButton.enabled and not panel.logic.busy)
    panel.ui.segmentButton.click()
    panel.widget.exit()
    panel.wait(lambda: panel.logic.service._worker._process is not None)
    panel.logic.service._worker._process.kill()
    panel.wait(lambda: panel.widget.panel.settled)
    assert status_bar == ["A segmentation has failed; open HipICMSC to see why."]
    assert "ended unexpectedly" in panel.ui.statusLabel.text


def test_a_result_that_comes_while_another_module_is_open_waits_for_the_user_to_come_back(
    panel, monkeypatch, status_bar
):
    """Nobody's views are moved meanwhile; the status bar says that it is there, and on coming back it is shown once."""
    import slicer

    said, three_d_views = status_bar, []
    monkeypatch.setattr(slicer.util, "resetThreeDViews", lambda: three_d_views.append("centred"))
    view, green = (slicer.mrmlScene.AddNewNodeByClass(f"vtkMRMLSlice{kind}Node") for kind in ("Composite", ""))
    volume, other = add_volume(), add_volume(name="another one")
    panel.ui.inputSelector.setCurrentNode(volume)
    former = segment(panel)
    said.clear()
    three_d_views.clear()

    def go_elsewhere() -> None:
        panel.widget.exit()
        view.SetBackgroundVolumeID(other.GetID())
        green.JumpSliceByCentering(500, 500, 500)

    def what_is_seen() -> tuple:
        place = [round(green.GetSliceToRAS().GetElement(row, 3)) for row in range(3)]
        return view.GetBackgroundVolumeID(), place, shown_bones(), [*three_d_views]

    panel.ui.againButton.click()
    panel.ui.segmentButton.click()
    go_elsewhere()
    before = what_is_seen()
    panel.wait(lambda: panel.widget.panel.settled)
    assert what_is_seen() == before == (other.GetID(), [500] * 3, [former.GetName()], [])
    assert slicer.mrmlScene.GetFirstNodeByName("hips hips (2)") is not None
    assert said == ["The segmentation hips hips (2) is ready; open HipICMSC to see it."]
    panel.widget.enter()
    panel.wait(lambda: panel.widget.panel.settled)
    background, place, bones, centred = what_is_seen()
    assert (background, bones, centred) == (volume.GetID(), ["hips hips (2)"], ["centred"]) and place != [500] * 3
    assert panel.widget.panel.editor_panel.segmentation.GetName() == "hips hips (2)"
    go_elsewhere()
    before = what_is_seen()
    panel.widget.enter()
    panel.wait(lambda: panel.widget.panel.settled)
    assert what_is_seen() == before and len(said) == 1


def test_bones_that_are_replaced_while_another_module_is_open_stay_in_view_there(panel):
    """They may be what is edited in it."""
    add_volume()
    target = segment(panel)
    panel.ui.segmentationSelector.setCurrentNode(target)
    panel.ui.replaceUnlockedCheckBox.checked = True
    panel.ui.againButton.click()
    panel.ui.segmentButton.click()
    panel.widget.exit()
    panel.wait(lambda: panel.widget.panel.settled)
    assert shown_bones() == [target.GetName()]


def test_leaving_slicer_ends_the_worker(panel):
    add_volume()
    panel.ui.segmentButton.click()
    process = panel.logic.service._worker._process
    panel.widget.cleanup()
    assert process.poll() is not None and not panel.logic.busy


def test_when_slicer_asks_for_the_end_a_second_time_nothing_that_is_gone_is_touched(own_worker, panel):
    """First while all is there, then from the destructor of a widget: nothing may call into what is deleted."""
    import shiboken6

    add_volume()
    panel.wait(lambda: not panel.widget.panel.card.pending)
    segment(panel)
    process = panel.logic.service._worker._process
    for quit_slicer in [*slicer_stand_ins.APP_SIGNALS["aboutToQuit()"]]:
        quit_slicer()
    assert panel.logic.service._worker._process is None and process.poll() is not None
    widgets, panel.ui = panel.ui, SimpleNamespace()
    assert widgets.inputSelector is not None
    for selector in vars(widgets).values():
        if hasattr(selector, "setMRMLScene"):
            selector.setMRMLScene(None)
    shiboken6.delete(panel.frame)
    panel.widget.cleanup()
    add_volume()


def test_a_reload_reads_our_files_again_and_leaves_no_process(panel, monkeypatch):
    import sys

    reloaded = []
    parent = type(panel.widget).__mro__[1]
    monkeypatch.setattr(parent, "onReload", lambda self: reloaded.append(self), raising=False)
    add_volume()
    panel.ui.segmentButton.click()
    process = panel.logic.service._worker._process
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "HipICMSCLib"}
    panel.widget.onReload()
    assert reloaded == [panel.widget]
    assert not any(name in sys.modules for name in before)
    # The other tests go on with the modules that they know.
    sys.modules.update(before)
    panel.widget.cleanup()
    assert process.poll() is not None


def test_the_icon_and_the_panel_lie_where_slicer_looks():
    for name in ("HipICMSC", "HipICMSCTraining"):
        resources = Path(slicer_stand_ins.module_file(name).parent / "Resources")
        assert (resources / "Icons" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


# What comes from beside the panel.


def test_what_is_segmented_from_python_is_told_like_a_click(panel):
    volume = add_volume()
    panel.logic.segment(volume, model="balls", device="cpu")
    panel.wait(lambda: panel.widget.panel.settled)
    assert "Segmenting with balls on cpu." in panel.ui.logText.plainText
    done = panel.ui.statusLabel.text.splitlines()[-1]
    assert done.startswith("Done in ") and " h " not in done and "min" not in done, "since the run began"


def test_a_folder_is_segmented_to_its_end_whatever_becomes_of_the_scene_and_all_by_one_model(panel, tmp_path):
    import slicer

    folder, output = tmp_path / "MRIs", tmp_path / "results"
    folder.mkdir()
    for name in ("a.nrrd", "b.nrrd"):
        sitk.WriteImage(ball_hips.ball_image(), str(folder / name))
    batch, ui = panel.widget.panel.batch_panel, panel.ui
    ui.batchFolderRadioButton.checked = True
    ui.batchInputPathLineEdit.currentPath, ui.batchOutputPathLineEdit.currentPath = str(folder), str(output)
    panel.wait(lambda: ui.batchStartButton.enabled)
    ui.batchStartButton.click()
    assert batch.busy
    slicer.mrmlScene.Clear()
    panel.logic.getParameterNode().model = "another"
    panel.wait(lambda: not batch.busy)
    assert sorted(path.name for path in output.iterdir()) == ["a.seg.nrrd", "b.seg.nrrd"], ui.batchStatusLabel.text


def test_a_self_test_that_another_interpreter_overtakes_is_over(panel):
    set_up = panel.widget.panel.set_up_panel
    panel.wait(lambda: panel.ui.setUpSelfTestButton.enabled)
    panel.ui.setUpSelfTestButton.click()
    assert not panel.ui.setUpInterpreterEdit.enabled
    set_up.changed.emit()
    assert "was ended before it answered" in panel.ui.setUpResultLabel.text
    assert panel.ui.setUpSelfTestButton.enabled and panel.ui.setUpInterpreterEdit.enabled


def test_after_another_interpreter_is_taken_the_mri_is_looked_at_anew(panel):
    add_volume()
    panel.wait(lambda: "ooking" not in panel.card_text())
    assert "Intended use" in panel.card_text()
    panel.widget.panel.set_up_panel.changed.emit()
    assert "Looking at the MRI" in panel.card_text() and "Intended use" not in panel.card_text()
    panel.wait(lambda: "ooking" not in panel.card_text())
    assert "Intended use" in panel.card_text()
