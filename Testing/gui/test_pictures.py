"""Pictures of both panels in Slicer's main window, in each state, light and dark, for whoever wants to look:
PANEL_PICTURES=folder. That nothing is cut off or out of view is tested in test_main_window."""

from __future__ import annotations

import shutil
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
from ball_panel import add_volume
from main_window import DESKTOP, LAPTOP

pytestmark = pytest.mark.slow

SIZES = {"laptop": LAPTOP, "desktop": DESKTOP}


@pytest.fixture(params=list(SIZES))
def size(request):
    return request.param


def test_the_segmentation_panel_in_each_state(panel, pictures: Path, style, size):
    """With the model and the image that take seconds; the words are those of any other."""
    import slicer

    view, ui = panel.widget.panel, panel.ui
    with panel.in_window(SIZES[size]) as window:

        def keep(state: str) -> None:
            window.picture(pictures / f"hipicmsc-{size}-{style}-{state}.png")

        keep("0-empty")
        volume = add_volume(name="t1_tse_cor")
        panel.wait(lambda: not view.card.pending)
        keep("1-caution")
        view.card.show([finding for finding in view.card.findings if finding.level == "fine"], False)
        keep("2-before")
        ui.segmentButton.click()
        with panel.held_at(0.1):
            keep("3-running")
        panel.wait(lambda: view.settled)
        keep("4-result")
        assert volume.GetName() in ui.statusLabel.text

        scan = ball_hips.ball_image()
        add_volume(sitk.Cast(scan, sitk.sitkFloat32) - 350, "a CT")
        ui.inputSelector.setCurrentNode(slicer.mrmlScene.GetFirstNodeByName("a CT"))
        panel.wait(lambda: view.card.stop() is not None)
        keep("5-stop")
        view.batch_panel.widget.collapsed = False
        ui.batchRedoCheckBox.checked = True
        panel.wait(lambda: ui.batchStartButton.enabled)
        ui.batchStartButton.click()
        panel.wait(lambda: not view.batch_panel.busy)
        window.scroll_to(ui.batchStatusLabel)
        keep("6-batch-done")


def test_the_training_panel_in_each_state(open_panel, pictures: Path, tmp_path, style, size):
    import qt
    from training_run import trained_run

    run = tmp_path / "runs" / "first"
    shutil.copytree(trained_run(), run)
    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(run.parent))
    panel = open_panel("HipICMSCTraining")
    view, ui = panel.widget.panel, panel.ui
    panel.wait(lambda: not view.settings_panel.reason_against_taking())
    with panel.in_window(SIZES[size]) as window:

        def keep(state: str, seen=None) -> None:
            window.scroll_to(seen or ui.sampleDataButton)
            window.picture(pictures / f"training-{size}-{style}-{state}.png")

        keep("0-empty")
        ui.sampleDataButton.click()
        panel.wait(lambda: ui.sampleDataButton.enabled)
        keep("1-data")
        ui.dataCheckButton.click()
        panel.wait(lambda: ui.dataCheckProgressBar.value > 0 or not view.activity.sentence)
        keep("2-checking")
        panel.wait(lambda: not view.activity.sentence)
        box = ui.settingsPresetComboBox
        box.currentIndex = [box.itemText(index) for index in range(box.count)].index("smoke")
        ui.settingsStartButton.click()
        panel.wait(lambda: view.runs_panel.selected is not None)
        started = view.runs_panel.selected
        panel.wait(lambda: panel.logic.state(started) != "starting")
        keep("3-training")
        keep("4-training-watched", ui.liveLogCollapsibleButton)
        panel.wait(lambda: panel.logic.state(started) == "finished")
        panel.wait(lambda: ui.liveProgressBar.value == 100 and ui.finishUseButton.enabled)
        keep("5-finished-watched", ui.liveLogCollapsibleButton)
        keep("6-finished", ui.finishUseButton)
    qt.QSettings.values.clear()


def test_the_measures_in_each_state(own_worker, open_panel, pictures: Path, style, size):
    """With a worker of its own: one that has measured these hips before has nothing to do."""
    import slicer
    from HipICMSCTrainingLib.phantom.hip_labels import hip_labels
    from measured_hips import BOX, SHAPES, add_segmentation

    panel = open_panel("HipICMSC")
    view, ui = panel.widget.panel, panel.ui
    ui.measuresCollapsibleButton.collapsed = False
    with panel.in_window(SIZES[size]) as window:

        def keep(state: str) -> None:
            window.scroll_to(ui.measuresLimitsLabel)
            window.scroll_to(ui.measuresSelector)
            window.picture(pictures / f"measures-{size}-{style}-{state}.png")

        keep("0-empty")
        node = add_segmentation(hip_labels({"right": SHAPES, "left": SHAPES}, BOX))
        view.measures_panel.show(node)
        ui.measureButton.click()
        panel.wait(lambda: ui.measuresProgressBar.value > 30)
        keep("1-measuring")
        panel.wait(lambda: view.settled)
        ui.measuresTable.setCurrentCell(4, 1)
        keep("2-measured")
        volume = slicer.mrmlScene.GetFirstNodeByName("hip MRI")
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, "LeftFemur", volume)
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros_like(voxels), node, "LeftFemur", volume)
        panel.wait(lambda: "changed" in ui.measuresStateLabel.text)
        keep("3-stale")
