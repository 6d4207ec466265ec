"""The README's tutorials, click by click; their pictures are made here: PANEL_PICTURES=Resources/Screenshots."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_from_a_loaded_mri_to_an_edited_segmentation(open_panel, pictures):
    import slicer

    panel = open_panel("HipICMSC")
    panel.widget.panel.set_up_panel.widget.collapsed = True
    panel.ui.sampleButton.click()
    panel.wait(lambda: not panel.widget.panel.card.pending)
    panel.picture(pictures / "hipicmsc-1-ready.png")

    panel.ui.segmentButton.click()
    with panel.held_at(0.3):
        panel.picture(pictures / "hipicmsc-2-running.png")
    panel.wait(lambda: panel.widget.panel.settled)
    assert "the result is in HipPhantomMRI hips" in panel.ui.statusLabel.text

    panel.ui.nextPlaceButton.click()
    panel.ui.nextPlaceButton.click()
    panel.ui.confidenceMapCheckBox.click()
    panel.picture(pictures / "hipicmsc-3-review.png")

    result = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    status = slicer.vtkSlicerSegmentationsModuleLogic
    for name in ("RightFemur", "LeftFemur"):
        status.SetSegmentStatus(result.GetSegmentation().GetSegment(name), status.Completed)
    panel.ui.segmentationSelector.setCurrentNode(result)
    panel.ui.againButton.click()
    panel.ui.replaceUnlockedCheckBox.click()
    assert "Right hip bone" in panel.ui.targetLabel.text and "femur" not in panel.ui.targetLabel.text
    panel.wait(lambda: not panel.widget.panel.card.pending)
    panel.picture(pictures / "hipicmsc-4-redo.png")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder whose name, which the pictures show, is short."""
    with tempfile.TemporaryDirectory(prefix="hips-") as folder:
        yield Path(folder)


def test_from_synthetic_data_to_a_model_of_ones_own(module_manager, pictures, home):
    """With the preset that takes minutes; the model it makes is of no use but to see the way to one."""
    import qt
    import slicer
    import slicer_stand_ins

    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(home / "runs"))
    slicer_stand_ins.load_module("HipICMSCTraining")
    slicer.util.selectModule("HipICMSCTraining")
    panel = module_manager._opened["HipICMSCTraining"]
    widget = panel.widget
    panel.wait(lambda: not widget.panel.settings_panel.reason_against_taking())

    panel.ui.sampleDataButton.click()
    panel.wait(lambda: panel.ui.sampleDataButton.enabled)
    panel.ui.dataCheckButton.click()
    panel.wait(lambda: "Cancel" not in panel.ui.dataCheckButton.text)
    box = panel.ui.settingsPresetComboBox
    box.currentIndex = [box.itemText(i) for i in range(box.count)].index("smoke")
    panel.ui.settingsEstimateButton.click()
    panel.wait(lambda: "Cancel" not in panel.ui.settingsEstimateButton.text)
    panel.picture(pictures / "training-1-ready.png")

    panel.ui.settingsStartButton.click()
    panel.wait(lambda: widget.panel.runs_panel.selected is not None)
    run = widget.panel.runs_panel.selected
    panel.wait(lambda: widget.logic.state(run) == "finished")
    panel.wait(lambda: panel.ui.liveProgressBar.value == 100)
    # Finish looks at a run when its state has changed.
    panel.wait(lambda: panel.ui.finishUseButton.enabled)
    panel.picture(pictures / "training-2-watched.png")

    panel.ui.finishNameEdit.text = "my-first-model"
    panel.ui.finishLicenceEdit.text = "CC0-1.0"
    panel.wait(lambda: panel.ui.finishUseButton.enabled)
    panel.ui.finishUseButton.click()
    panel.wait(lambda: "my-first-model" in panel.ui.finishStateLabel.text)
    assert slicer.util.getModuleLogic("HipICMSC").getParameterNode().model == "my-first-model"
    panel.picture(pictures / "training-3-finished.png")
