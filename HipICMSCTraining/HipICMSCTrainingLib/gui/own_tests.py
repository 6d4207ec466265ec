"""What HipICMSC Training tries of itself in Slicer: with real processes and no network.

Slicer looks for it when the module's file is read; HipICMSC's library may not be on Python's path by then.
"""

from __future__ import annotations

import logging
import tempfile
import time
import unittest
from pathlib import Path

import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

#: What a panel has on a small screen, pixels; its scroll bar takes some of it.
_PANEL_WIDTH, _SCROLL_BAR = 400, 20


class HipICMSCTrainingTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Testing/run_in_slicer.py) and on the bench: from data to a model that HipICMSC runs."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("HipICMSCTraining")
        self._takeWidget()
        self.folder = tempfile.TemporaryDirectory(prefix="HipICMSCTraining-")

    def tearDown(self):
        self.folder.cleanup()

    def runTest(self):
        """What "Reload and Test" runs."""
        for name in unittest.TestLoader().getTestCaseNames(type(self)):
            self.setUp()
            try:
                getattr(self, name)()
            except unittest.SkipTest as reason:
                logging.info("%s was skipped: %s", name, reason)
            self.tearDown()
            self.doCleanups()

    def test_panelAsksForData(self):
        self.assertFalse(self.widget.panel.settings_panel.ui.settingsStartButton.enabled)
        self.assertTrue(self.widget.panel.settings_panel.ui.settingsStartButton.toolTip)

    def test_oneThingAtATime(self):
        """While data are checked nothing is estimated, and one line says what goes on."""
        said = self.widget.ui.activityLabel
        data, settings = self.widget.panel.data_panel, self.widget.panel.settings_panel
        self._wait(lambda: not settings.reason_against_taking(), "the settings are there")
        data.set_dataset_file(self._makeData())
        self.assertEqual(said.text, "Nothing is running.")
        data.ui.dataCheckButton.click()
        self.assertIn("check", said.text)
        self.assertFalse(settings.ui.settingsEstimateButton.enabled)
        self.assertIn(said.text, settings.ui.settingsEstimateButton.toolTip)
        self._wait(lambda: said.text == "Nothing is running.", "the data are checked")
        self.assertIn("Last check", data.ui.dataCheckLabel.text)
        self.assertTrue(settings.ui.settingsEstimateButton.enabled, settings.ui.settingsEstimateButton.toolTip)

    def test_trainedModelSegments(self):
        """A smoke training on synthetic data, started here, left to itself and exported; HipICMSC then segments a
        synthetic MRI with the new model, which has learned nothing of use."""
        from HipICMSCLib.common.errors import HipError
        from HipICMSCLib.gui.scene.sample_data import load_phantom

        run = Path(self.folder.name) / "run"
        started = self.logic.start(run, self._makeData(), ["--preset", "smoke"])
        self._wait(lambda: self.logic.state(run) in ("running", "finished"), "the training runs", run)
        self.widget.panel.runs_panel.select(run)
        self._wait(lambda: self.logic.state(run) not in ("starting", "running"), "the training ends", run)
        self.assertEqual(self.logic.state(run), "finished", started.tail_of_log(20))
        self.assertTrue(started.previews_of())
        self.widget.panel.live_panel.ui.liveCurvesButton.checked = True
        charts = {chart.GetTitle(): chart for chart in slicer.util.getNodesByClass("vtkMRMLPlotChartNode")}
        self.assertFalse(charts["Losses"].GetXAxisRangeAuto())
        self.assertEqual(charts["Losses"].GetXAxisRange()[0], 0.0)

        package, ended = Path(self.folder.name) / "smoke.hipmodel", []
        self.logic.export(run, package, onEnd=ended.append)
        self._wait(lambda: ended, "the model is exported")
        self.assertEqual(ended, [None])
        try:
            node = slicer.util.getModuleLogic("HipICMSC").segment(load_phantom("MR"), model=package)
            self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 4)
        except HipError as error:
            # So short a training may find nothing at all, which is said in so many words.
            self.assertEqual(error.kind, "nothing_found", error.sentence)

    def test_aTrainingGoesOnWhateverHappensToThePanel(self):
        """The scene is closed, the module reloaded; the new panel finds the run and stops it."""
        run = Path(self.folder.name) / "runs" / "run"
        folder_before = qt.QSettings().value("HipICMSCTraining/RunsFolder", "")
        qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(run.parent))
        try:
            self.logic.start(run, self._makeData(), ["--preset", "smoke", "--set", "steps_per_epoch=2000"])
            self._wait(lambda: self.logic.state(run) == "running", "the training runs", run)
            slicer.mrmlScene.Clear()
            self.assertEqual(self.logic.state(run), "running")
            before = self.widget
            before.onReload()
            self._takeWidget()
            self.assertIsNot(self.widget, before)
            self.assertEqual(self.logic.state(run), "running")
            runs = self.widget.panel.runs_panel
            self._wait(lambda: runs.ui.runsTable.rowCount == 1, "the new panel lists the run", run)
            runs.select(run)
            self._wait(lambda: runs.ui.runsStopButton.enabled, "the run can be stopped", run)
            runs.ui.runsStopButton.click()
            self._wait(lambda: self.logic.state(run) == "stopped", "the run has stopped", run)
        finally:
            if self.logic.state(run) == "running":
                self.logic.stop(run)
            qt.QSettings().setValue("HipICMSCTraining/RunsFolder", folder_before)

    def test_aCommaIsNoTrouble(self):
        """In a language that writes 0,6 for 0.6 settings are what they are."""
        from HipICMSCLib.common.errors import HipError

        before = qt.QLocale()
        qt.QLocale.setDefault(qt.QLocale("de_DE"))
        try:
            settings = self.widget.panel.settings_panel
            self._wait(lambda: not settings.reason_against_taking(), "the settings are there")
            rate = slicer.util.findChild(settings.widget, "setting_learning_rate_translation")
            usual = rate.text
            self.assertEqual(float(usual), 0.0002)
            rate.text = "0,001"
            with self.assertRaises(HipError) as refused:
                settings.arguments()
            self.assertIn("must be a number such as 0.0002", refused.exception.sentence)
            rate.text = "0.001"
            self.assertIn("learning_rate_translation=0.001", settings.arguments())
            rate.text = usual
        finally:
            qt.QLocale.setDefault(before)

    def test_aLanguageOfLongerWordsFitsAndChangesNothing(self):
        import HipICMSCLib
        from HipICMSCLib.gui.trial import room
        from HipICMSCLib.gui.trial.longer_language import longer, longer_language
        from HipICMSCLib.gui.trial.made_anew import made_anew

        with made_anew(longer_language(self._folder(), Path(HipICMSCLib.__file__).parents[1]), self._reload):
            said, data = self.widget.ui.activityLabel, self.widget.panel.data_panel
            data.set_dataset_file(self._makeData())
            self.assertEqual(said.text, longer("Nothing is running."))
            data.ui.dataCheckButton.click()
            self.assertEqual(data.ui.dataCheckButton.text, longer("Cancel check"))
            self._wait(lambda: said.text == longer("Nothing is running."), "the data are checked")
            self.assertRegex(data.ui.dataCheckLabel.text, "Last check.* lang")
            settings = self.widget.panel.settings_panel
            self._wait(lambda: not settings.reason_against_taking(), "the settings are there")
            room.open_sections(self._view())
            self.assertEqual(room.after_layouts(lambda: room.wider_than(self._view(), _PANEL_WIDTH - _SCROLL_BAR)), [])
            self.assertEqual(room.after_layouts(lambda: room.cut(self._view())), [])
        self.assertEqual(self.widget.ui.activityLabel.text, "Nothing is running.")

    def test_aLargerFontCutsNothing(self):
        """As on a screen of high density; what has a height of its own takes it from the font."""
        from HipICMSCLib.gui.trial import room
        from HipICMSCLib.gui.trial.larger_font import larger_font
        from HipICMSCLib.gui.trial.made_anew import made_anew

        heights = self._heightsWithData()
        with made_anew(larger_font(), self._reload):
            larger = self._heightsWithData()
            self.assertEqual(room.after_layouts(lambda: room.cut(self._view())), [])
        self.assertTrue(heights)
        self.assertEqual([name for name in heights if larger[name] < 1.15 * heights[name]], [])

    def test_iconsAreSharpOnAScreenOfHighDensity(self):
        from HipICMSCLib.gui.trial import room

        self.assertEqual(room.blurred_icons(self._folder() / "Resources" / "Icons"), [])

    def _reload(self):
        self.widget.onReload()
        self._takeWidget()

    def _folder(self) -> Path:
        """Where the module lies."""
        return Path(self.widget.resourcePath("UI")).parents[1]

    def _view(self):
        """The panel, without what Slicer puts above it for developers."""
        return slicer.util.findChild(self.widget.parent, "HipICMSCTraining")

    def _heightsWithData(self):
        """With every section open."""
        from HipICMSCLib.gui.trial import room

        self.widget.panel.data_panel.set_dataset_file(self._makeData())
        settings = self.widget.panel.settings_panel
        self._wait(lambda: not settings.reason_against_taking(), "the settings are there")
        self._wait(lambda: self.widget.panel.data_panel.ui.dataTable.visible, "the panel is shown")
        room.open_sections(self._view())
        return room.fixed_heights(self._view())

    def _takeWidget(self):
        self.widget = slicer.util.getModuleWidget("HipICMSCTraining")
        self.logic = self.widget.logic

    def _makeData(self):
        """A small synthetic data set, made once; its dataset.json."""
        data, ended = Path(self.folder.name) / "data", []
        if data.exists():
            return data / "dataset.json"
        self.logic.makeSyntheticData(data, lambda error, folder: ended.append(error))
        self._wait(lambda: ended, "the synthetic data are made")
        self.assertEqual(ended, [None])
        return data / "dataset.json"

    def _wait(self, until, what, run=None, seconds=600):
        """``run`` is the folder of the training that is waited for."""
        limit = time.monotonic() + seconds
        while not until():
            if time.monotonic() > limit:
                state = f" The training is {self.logic.state(run)}." if run else ""
                self.fail(f"Waited {seconds} s until {what}. {self.widget.ui.activityLabel.text}{state}")
            slicer.app.processEvents()
            time.sleep(0.05)
