"""What HipICMSC Training tries of itself in Slicer: with real processes and no network.

Slicer looks for it when the module's file is read; HipICMSC's library may not be on Python's path by then.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest


class HipICMSCTrainingTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Testing/run_in_slicer.py) and on the bench: from data to a model that HipICMSC runs."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("HipICMSCTraining")
        self.widget = slicer.util.getModuleWidget("HipICMSCTraining")
        self.logic = self.widget.logic
        self.folder = tempfile.TemporaryDirectory(prefix="HipICMSCTraining-")

    def tearDown(self):
        self.folder.cleanup()

    def runTest(self):
        """What "Reload and Test" runs."""
        for test in (self.test_panelAsksForData, self.test_trainedModelSegments):
            self.setUp()
            test()
            self.tearDown()

    def test_panelAsksForData(self):
        self.assertFalse(self.widget.panel.runs_panel.ui.runsStartButton.enabled)
        self.assertTrue(self.widget.panel.runs_panel.ui.runsStartButton.toolTip)

    def test_trainedModelSegments(self):
        """A smoke training on synthetic data, started here, left to itself and exported; HipICMSC then segments a
        synthetic MRI with the new model, which has learned nothing of use."""
        from HipICMSCLib.common.errors import HipError
        from HipICMSCLib.gui.scene.sample_data import load_phantom

        data, run = Path(self.folder.name) / "data", Path(self.folder.name) / "run"
        ended = []
        self.logic.makeSyntheticData(data, lambda error, folder: ended.append(error))
        self._wait(lambda: ended)
        self.assertEqual(ended, [None])

        started = self.logic.start(run, data / "dataset.json", ["--preset", "smoke"])
        self._wait(lambda: self.logic.state(run) in ("running", "finished"))
        self.widget.panel.runs_panel.select(run)
        self._wait(lambda: self.logic.state(run) not in ("starting", "running"))
        self.assertEqual(self.logic.state(run), "finished", started.tail_of_log(20))
        self.assertTrue(started.previews_of())

        package, ended = Path(self.folder.name) / "smoke.hipmodel", []
        self.logic.export(run, package, onEnd=ended.append)
        self._wait(lambda: ended)
        self.assertEqual(ended, [None])
        try:
            node = slicer.util.getModuleLogic("HipICMSC").segment(load_phantom("MR"), model=package)
            self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 4)
        except HipError as error:
            # So short a training may find nothing at all, which is said in so many words.
            self.assertEqual(error.kind, "nothing_found", error.sentence)

    def _wait(self, until, seconds=900):
        limit = time.monotonic() + seconds
        while not until():
            self.assertLess(time.monotonic(), limit)
            slicer.app.processEvents()
            time.sleep(0.05)
