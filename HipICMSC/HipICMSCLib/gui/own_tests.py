"""What HipICMSC tries of itself in Slicer: with the real panel, the real worker and no network."""

from __future__ import annotations

import time
import unittest

import qt
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
        for name in unittest.TestLoader().getTestCaseNames(type(self)):
            self.setUp()
            getattr(self, name)()
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

    def test_theWindowKeepsItsWidth(self):
        """What a panel asks for must not follow what it gets."""
        window = slicer.util.mainWindow()
        width = window.width
        self._chooseSample()
        limit = time.monotonic() + 3
        self._wait(lambda: time.monotonic() > limit)
        self.assertEqual(window.width, width)

    def test_theEditorFollowsTheChosenResult(self):
        volume = self._chooseSample()
        first = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        second = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        choices = self.widget.logic.getParameterNode()
        for chosen in (second, first):
            choices.segmentation = chosen
            self._wait(lambda: self.widget.panel.settled)
            self.assertIs(self.widget.panel.editor_panel.segmentation, chosen)

    def test_aBatchLeavesTheViewsAlone(self):
        self._chooseSample()
        load_phantom("MR")
        batch = self.widget.panel.batch_panel
        self._wait(lambda: batch.ui.batchTable.rowCount == 2 and batch.ui.batchStartButton.enabled)
        batch.ui.batchStartButton.click()
        self._wait(lambda: not batch.busy)
        self.assertEqual(self._shown(), [])
        for row in (1, 0):
            batch.ui.batchTable.selectRow(row)
            self._wait(lambda: self.widget.panel.settled)
            chosen = self.widget.logic.getParameterNode().inputVolume
            self.assertEqual(self._shown(), [result_of(chosen)])

    def test_oneSceneAfterTheOther(self):
        for _scene in range(2):
            volume = self._chooseSample()
            self.widget.ui.segmentButton.click()
            self._wait(lambda: self.widget.panel.settled)
            self.assertIsNotNone(result_of(volume), self._status())
            slicer.mrmlScene.Clear()
            self.assertEqual(self.widget.ui.segmentButton.toolTip, "Choose an MRI first.")

    def test_aCommaIsNoTrouble(self):
        """In a language that writes 0,6 for 0.6."""
        before = qt.QLocale()
        qt.QLocale.setDefault(qt.QLocale("de_DE"))
        try:
            node = self.widget.logic.segment(self._chooseSample(), model=PHANTOM_MODEL)
            self.assertGreater(self._millilitres(node, "LeftFemur"), 50)
        finally:
            qt.QLocale.setDefault(before)

    def test_aResultThatIsDeletedLeavesNothingBehind(self):
        volume = self._chooseSample()
        node = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        slicer.mrmlScene.RemoveNode(node)
        self._wait(lambda: self.widget.panel.settled)
        self.assertIsNone(result_of(volume))
        self.assertTrue(self.widget.ui.segmentButton.visible)

    def _chooseSample(self):
        """The synthetic MRI, looked over."""
        self.widget.ui.sampleButton.click()
        self._wait(lambda: len(self.widget.panel.card.findings) > 5)
        return self.widget.logic.getParameterNode().inputVolume

    @staticmethod
    def _shown():
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return [node for node in nodes if node.GetDisplayNode() and node.GetDisplayNode().GetVisibility()]

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
