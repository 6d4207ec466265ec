"""The README's tutorials, click by click; their pictures are made here: PANEL_PICTURES=Resources/Screenshots."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_from_a_loaded_mri_to_an_edited_segmentation(open_panel, pictures):
    import slicer

    panel = open_panel("HipICMSC")
    panel.widget.setUpPanel.widget.collapsed = True
    panel.ui.sampleButton.click()
    panel.wait(lambda: len(panel.widget.preflightCard.findings) > 6)
    panel.picture(pictures / "hipicmsc-1-ready.png")

    panel.ui.segmentButton.click()
    panel.wait(lambda: panel.ui.progressBar.value > 30)
    panel.picture(pictures / "hipicmsc-2-running.png")
    panel.wait(lambda: not panel.logic.busy)
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
    panel.ui.replaceUnlockedCheckBox.click()
    assert "Right hip bone" in panel.ui.targetLabel.text and "femur" not in panel.ui.targetLabel.text
    panel.picture(pictures / "hipicmsc-4-redo.png")
