"""What HipICMSC tries of itself in Slicer: with the real panel, the real worker and no network."""

from __future__ import annotations

import time

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from HipICMSCLib.gui.scene.result import result_of, volume_of
from HipICMSCLib.gui.scene.sample_data import load_phantom
from HipICMSCLib.models.chosen import PHANTOM_MODEL


class HipICMSCTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Testing/run_in_slicer.py) and on the bench; drives the real panel with the real worker."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("HipICMSC")
        self.widget = slicer.util.getModuleWidget("HipICMSC")

    def tearDown(self):
        self.widget.logic.cancel()
        self._wait(lambda: not self.widget.logic.busy)

    def runTest(self):
        """What "Reload and Test" runs."""
        for test in (
            self.test_panelAsksForAnMRI,
            self.test_oneClickSegmentsTheSyntheticMRI,
            self.test_logicNeedsNoPanel,
            self.test_cancelChangesNothing,
        ):
            self.setUp()
            test()
            self.tearDown()

    def test_panelAsksForAnMRI(self):
        self.assertFalse(self.widget.ui.segmentButton.enabled)
        self.assertIn("MRI", self.widget.ui.segmentButton.toolTip)

    def test_oneClickSegmentsTheSyntheticMRI(self):
        self.widget.ui.sampleButton.click()
        self._wait(lambda: self.widget.ui.segmentButton.enabled)
        self._wait(lambda: len(self.widget.panel.card.findings) > 5)
        self.assertIsNone(self.widget.panel.card.stop())
        self.widget.ui.segmentButton.click()
        self.assertEqual(self.widget.ui.segmentButton.text, "Cancel")
        self._wait(lambda: not self.widget.logic.busy)
        volume = self.widget.logic.getParameterNode().inputVolume
        node = result_of(volume)
        self.assertIsNotNone(node, self._status())
        self.assertGreater(self._millilitres(node, "LeftFemur"), 50)
        self.assertGreater(self._millilitres(node, "RightHipBone"), 100)
        self.assertEqual(node.GetAttribute("HipICMSC.ModelName"), PHANTOM_MODEL)
        self.assertTrue(self.widget.panel.review_panel.ui.nextPlaceButton.enabled)
        self.widget.panel.review_panel.ui.nextPlaceButton.click()

    def test_logicNeedsNoPanel(self):
        node = self.widget.logic.segment(load_phantom("MR"), model=PHANTOM_MODEL)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 4)

    def test_cancelChangesNothing(self):
        self.widget.ui.sampleButton.click()
        self._wait(lambda: self.widget.ui.segmentButton.enabled)
        self.widget.ui.segmentButton.click()
        self.widget.ui.segmentButton.click()
        self._wait(lambda: not self.widget.logic.busy)
        self.assertIn("cancelled", self._status())
        self.assertIsNone(result_of(self.widget.logic.getParameterNode().inputVolume))

    def _wait(self, until, seconds=600):
        limit = time.monotonic() + seconds
        while not until():
            self.assertLess(time.monotonic(), limit, self._status())
            slicer.app.processEvents()
            time.sleep(0.02)

    def _status(self):
        return self.widget.panel.run_panel.ui.statusLabel.text

    @staticmethod
    def _millilitres(node, segmentId):
        volume = volume_of(node)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume).sum()
        x, y, z = volume.GetSpacing()
        return voxels * x * y * z / 1000
