"""Results in the HipICMSC panel: what somebody drew is safe, and what is shown is of the MRI that is chosen."""

from __future__ import annotations

from types import SimpleNamespace

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
from ball_panel import add_volume, erase_half, segment, shown_bones, voxel_count


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


@pytest.mark.parametrize("chosen", ["inputVolume", "segmentation", "heads"])
def test_what_is_deleted_is_not_followed_by_its_neighbour_in_the_list(panel, chosen):
    """Slicer's selectors would choose it: another patient's MRI, or the bones that somebody drew by hand."""
    import slicer

    kind = {"inputVolume": "vtkMRMLScalarVolumeNode", "segmentation": "vtkMRMLSegmentationNode"}
    kind = kind.get(chosen, "vtkMRMLMarkupsFiducialNode")
    mine = add_volume()
    first, second, third = (
        add_volume(name=name) if chosen == "inputVolume" else slicer.mrmlScene.AddNewNodeByClass(kind, name)
        for name in ("first", "second", "third")
    )
    choices = panel.logic.getParameterNode()
    choices.inputVolume = mine
    setattr(choices, chosen, second)
    choices.replaceUnlocked = True
    panel.wait(lambda: panel.widget.panel.settled)
    slicer.mrmlScene.RemoveNode(second)
    panel.wait(lambda: panel.widget.panel.settled)
    choices = panel.logic.getParameterNode()
    assert getattr(choices, chosen) is None
    assert not choices.replaceUnlocked or chosen != "segmentation"
    assert None not in (first.GetScene(), third.GetScene())


def test_a_scene_that_is_loaded_while_the_panel_is_open_brings_the_mri_and_the_result_that_were_saved(
    panel, bench, tmp_path
):
    app, _ = bench
    add_volume(name="A")
    second = add_volume(name="B")
    panel.ui.inputSelector.setCurrentNode(second)
    name = segment(panel).GetName()
    path = tmp_path / "saved.mrb"
    app.io_manager.write_scene(str(path))
    second.GetScene().Clear(0)
    panel.wait(lambda: panel.widget.panel.settled)
    assert app.io_manager.load_scene(str(path))
    panel.wait(lambda: panel.widget.panel.settled)
    choices = panel.logic.getParameterNode()
    assert choices.inputVolume.GetName() == "B" and choices.segmentation.GetName() == name
    assert not panel.ui.resultFrame.isHidden() and shown_bones() == [name]
