"""What becomes of the HipICMSC panel's work while Slicer goes on, and of what comes from beside the panel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import ball_hips
import SimpleITK as sitk
import slicer_stand_ins
from ball_panel import add_volume, segment, shown_bones


def test_closing_the_scene_cancels(panel):
    volume = add_volume()
    panel.ui.segmentButton.click()
    volume.GetScene().Clear()
    panel.wait(lambda: not panel.logic.busy)
    assert "cancelled" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.toolTip == "Choose an MRI first."


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
