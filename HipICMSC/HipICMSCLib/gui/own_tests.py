"""What HipICMSC tries of itself in Slicer: with the real panel and worker; one test asks for packages, no other has a
network."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import os
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.result import result_of, volume_of
from HipICMSCLib.gui.scene.sample_data import load_phantom
from HipICMSCLib.gui.setup.installation import install
from HipICMSCLib.gui.trial import package, room
from HipICMSCLib.gui.trial.larger_font import larger_font
from HipICMSCLib.gui.trial.longer_language import longer, longer_language
from HipICMSCLib.gui.trial.made_anew import made_anew
from HipICMSCLib.models.chosen import DEFAULT_MODEL, PHANTOM_MODEL
from HipICMSCLib.worker.environment import Problem

#: Pixels.
_SMALL_SCREEN = 1366, 768
#: What a panel has there, pixels; its scroll bar takes some of it.
_PANEL_WIDTH, _SCROLL_BAR = 400, 20
#: A turn of Slicer's event loop, in time of the processor; 1.3 to 2.3 s were seen before.
_LONGEST_TURN_SECONDS = 0.5
#: Python reads it by itself when it starts: a Python without what was installed into it.
_HIDES_PACKAGES = "import sys\nsys.path[:] = [folder for folder in sys.path if 'site-packages' not in folder]\n"


class HipICMSCTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Testing/run_in_slicer.py) and on the bench; drives the real panel with the real worker."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("HipICMSC")
        self._takeWidget()
        self._longestTurn = 0.0

    def tearDown(self):
        self.widget.logic.cancel()
        self._wait(lambda: not self.widget.logic.busy, "what runs is cancelled")

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

    def test_panelAsksForAnMRI(self):
        self.assertFalse(self.widget.ui.segmentButton.enabled)
        self.assertIn("MRI", self.widget.ui.segmentButton.toolTip)

    def test_oneClickSegmentsTheSyntheticMRI(self):
        volume = self._chooseSample()
        self.assertIsNone(self.panel.card.stop())
        self.widget.ui.segmentButton.click()
        self.assertEqual(self.widget.ui.segmentButton.text, "Cancel")
        self._waitForTheResult()
        node = result_of(volume)
        self.assertIsNotNone(node, self._status())
        self.assertGreater(self._millilitres(node, "LeftFemur"), 50)
        self.assertGreater(self._millilitres(node, "RightHipBone"), 100)
        self.assertEqual(node.GetAttribute("HipICMSC.ModelName"), PHANTOM_MODEL)
        self.assertTrue(self.panel.review_panel.ui.nextPlaceButton.enabled)
        self.panel.review_panel.ui.nextPlaceButton.click()

    def test_logicNeedsNoPanel(self):
        node = self.widget.logic.segment(load_phantom("MR"), model=PHANTOM_MODEL)
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 4)

    def test_cancelChangesNothing(self):
        volume = self._chooseSample()
        self.widget.ui.segmentButton.click()
        self.widget.ui.segmentButton.click()
        self._wait(lambda: not self.widget.logic.busy, "the segmentation is cancelled")
        self.assertIn("cancelled", self._status())
        self.assertIsNone(result_of(volume))

    def test_theWindowKeepsItsWidth(self):
        """What a panel asks for must not follow what it gets."""
        window = slicer.util.mainWindow()
        width = window.width
        self._chooseSample()
        limit = time.monotonic() + 3
        self._wait(lambda: time.monotonic() > limit, "three seconds")
        self.assertEqual(window.width, width)

    def test_theButtonIsInView(self):
        """On a small screen, without scrolling, before the click; after it the result is."""
        window = slicer.util.mainWindow()
        self.addCleanup(window.resize, window.width, window.height)
        window.resize(*_SMALL_SCREEN)
        self._chooseSample()
        self.assertFalse(self.widget.ui.segmentButton.visibleRegion().isEmpty())
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.assertFalse(self.panel.run_panel.ui.statusLabel.visibleRegion().isEmpty())
        self.assertFalse(self.panel.review_panel.ui.nextPlaceButton.visibleRegion().isEmpty())

    def test_slicerNeverStandsStill(self):
        """From the choice of an MRI to the reviewed result; a rendering of Slicer's own counts, too."""
        self._chooseSample()
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.panel.review_panel.ui.nextPlaceButton.click()
        self._wait(lambda: self.panel.settled, "the first doubtful place is shown")
        self.assertLess(self._longestTurn, _LONGEST_TURN_SECONDS)

    def test_theCardSaysWhatTheModelWasNotMeasuredOn(self):
        volume = self._chooseSample()
        turned = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(volume).copy(), name="sagittal")
        turned.SetSpacing(*volume.GetSpacing())
        # The same slices as if they lay from the patient's left to the right.
        turned.SetIJKToRASDirections(0, 0, 1, 1, 0, 0, 0, 1, 0)
        choices = self.widget.logic.getParameterNode()
        choices.model, choices.inputVolume = DEFAULT_MODEL, turned
        self._wait(
            lambda: any(
                finding.sentence.startswith("Not measured on such an MRI") for finding in self.panel.card.findings
            ),
            "the card says that the model was not measured on such an MRI",
        )

    def test_bonesThatTheImageCutsAreSaid(self):
        volume = self._chooseSample()
        voxels = slicer.util.arrayFromVolume(volume)
        # Rows go to the feet: the upper third is missing.
        slicer.util.updateVolumeFromArray(volume, voxels[:, voxels.shape[1] // 3 :].copy())
        self._wait(lambda: not self.panel.card.pending, "the card says what it found")
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.assertRegex(self._status(), "cut by the (border of the image|field of view)")

    def test_theEditorFollowsTheChosenResult(self):
        volume = self._chooseSample()
        first = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        second = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        choices = self.widget.logic.getParameterNode()
        for chosen in (second, first):
            choices.segmentation = chosen
            self._waitForTheResult()
            self.assertIs(self.panel.editor_panel.segmentation, chosen)

    def test_whatIsRedoneCanBeUndone(self):
        volume = self._chooseSample()
        node = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        self._waitForTheResult()
        node.GetSegmentation().RemoveSegment("LeftFemur")
        choices = self.widget.logic.getParameterNode()
        choices.segmentation, choices.replaceUnlocked = node, True
        self.widget.ui.againButton.click()
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 4, self._status())
        self.panel.editor_panel.editor.undo()
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 3)
        self.assertIsNone(node.GetSegmentation().GetSegment("LeftFemur"))

    def test_ofABatchTheChosenMriShowsItsResult(self):
        first = self._chooseSample()
        load_phantom("MR")
        batch = self.panel.batch_panel
        self._wait(
            lambda: batch.ui.batchTable.rowCount == 2 and batch.ui.batchStartButton.enabled, "both MRIs are listed"
        )
        batch.ui.batchStartButton.click()
        self._wait(lambda: not batch.busy, "the batch is done")
        self.assertEqual(self._shown(), [result_of(first)], batch.ui.batchStatusLabel.text)
        for row in (1, 0):
            batch.ui.batchTable.selectRow(row)
            self._waitForTheResult()
            chosen = self.widget.logic.getParameterNode().inputVolume
            self.assertEqual(self._shown(), [result_of(chosen)])

    def test_oneSceneAfterTheOther(self):
        for _scene in range(2):
            volume = self._chooseSample()
            self.widget.ui.segmentButton.click()
            self._waitForTheResult()
            self.assertIsNotNone(result_of(volume), self._status())
            slicer.mrmlScene.Clear()
            self.assertEqual(self.widget.ui.segmentButton.toolTip, "Choose an MRI first.")

    def test_aSceneThatIsClosedTakesItsJobWithIt(self):
        self._chooseSample()
        self.widget.ui.segmentButton.click()
        slicer.mrmlScene.Clear()
        self._wait(lambda: not self.widget.logic.busy, "the job of the closed scene ends")
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), [])
        volume = self._chooseSample()
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.assertIsNotNone(result_of(volume), self._status())

    def test_aReloadWhileAJobRuns(self):
        """The job ends, its process too, and the new panel segments."""
        volume = self._chooseSample()
        self.widget.ui.segmentButton.click()
        before = self.widget
        before.onReload()
        self._takeWidget()
        self.assertIsNot(self.widget, before)
        self.assertFalse(before.logic.busy)
        self.assertIsNone(result_of(volume))
        self._wait(lambda: not self.panel.card.pending, "the card of the new panel says what it found")
        self.assertIs(self.widget.logic.getParameterNode().inputVolume, volume)
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        self.assertIsNotNone(result_of(volume), self._status())

    def test_aCommaIsNoTrouble(self):
        """In a language that writes 0,6 for 0.6."""
        before = qt.QLocale()
        qt.QLocale.setDefault(qt.QLocale("de_DE"))
        try:
            node = self.widget.logic.segment(self._chooseSample(), model=PHANTOM_MODEL)
            self.assertGreater(self._millilitres(node, "LeftFemur"), 50)
        finally:
            qt.QLocale.setDefault(before)

    def test_aLanguageOfLongerWordsFitsAndChangesNothing(self):
        with made_anew(longer_language(self._folder()), self._reload):
            button = self.widget.ui.segmentButton
            self.assertEqual(button.text, longer("Segment hip"))
            volume = self._chooseSample()
            button.click()
            self.assertEqual(button.text, longer("Cancel"))
            self._waitForTheResult()
            self.assertIsNotNone(result_of(volume), self._status())
            self.assertRegex(self._status(), "Done in .* lang")
            room.open_sections(self._view())
            self.assertEqual(room.after_layouts(lambda: room.wider_than(self._view(), _PANEL_WIDTH - _SCROLL_BAR)), [])
            self.assertEqual(room.after_layouts(lambda: room.cut(self._view())), [])
            self.widget.ui.againButton.click()
            self.assertEqual(button.text, longer("Segment hip"))
            self.assertEqual(room.after_layouts(lambda: room.cut(self._view())), [])
        self.assertEqual(self.widget.ui.segmentButton.text, "Segment hip")

    def test_aLargerFontCutsNothing(self):
        """As on a screen of high density; what has a height of its own takes it from the font."""
        heights = self._heightsOfAResult()
        with made_anew(larger_font(), self._reload):
            larger = self._heightsOfAResult()
            self.assertEqual(room.after_layouts(lambda: room.cut(self._view())), [])
        self.assertTrue(heights)
        self.assertEqual([name for name in heights if larger[name] < 1.15 * heights[name]], [])

    def test_iconsAreSharpOnAScreenOfHighDensity(self):
        self.assertEqual(room.blurred_icons(self._folder() / "Resources" / "Icons"), [])

    def test_whatIsMissingIsInstalled(self):
        """By the set-up's own commands and Slicer's own pip, but beside Slicer and without a network: a package that
        nobody has, first from where it is not, then from where it is."""
        with tempfile.TemporaryDirectory() as place:
            shelf, target = Path(place, "shelf"), Path(place, "target")
            shelf.mkdir()
            requirements = Path(place, "requirements.txt")
            requirements.write_text(f"{package.NAME}>=1\n", encoding="utf-8")
            missing = Problem("missing", package.NAME, "", can_install=True, requirement=f"{package.NAME}>=1")
            before = self._installed()
            with self._pip(NO_INDEX="1", FIND_LINKS=str(shelf), TARGET=str(target)), self._installingInTests():
                with self.assertRaises(HipError) as failed:
                    install((missing,), requirements)
                self.assertEqual(failed.exception.kind, "install_failed")
                self.assertIn(f"{package.NAME} could not be installed", failed.exception.sentence)
                package.write_package(shelf)
                self.assertEqual(install((missing,), requirements), f"Installed: {package.NAME}.")
            self.assertTrue((target / package.MODULE).is_file())
            self.assertEqual(self._installed(), before)

    def test_whatSlicerLacksCanBeHad(self):
        """From where Slicer's pip gets packages: all that is needed besides PyTorch is there for this Python, which is
        seen without installing it; one, which is small but compiled, is installed beside Slicer, and loads."""
        requirements = Path(self.widget.resourcePath("HipICMSC-requirements.txt")).read_text(encoding="utf-8")
        wanted = [line for line in requirements.splitlines() if line and not line.startswith("#")]
        before = self._installed()
        with tempfile.TemporaryDirectory() as target, self._pip():
            try:
                slicer.util.pip_install(["--dry-run", "--no-deps", "--ignore-installed", "pip"])
            except subprocess.CalledProcessError:
                self.skipTest("Slicer's pip reaches no packages from here, so there was nothing to try.")
            slicer.util.pip_install(["--dry-run", "--upgrade", *wanted])
            small = next(line for line in wanted if line.startswith("safetensors"))
            slicer.util.pip_install(["--no-deps", "--target", target, small])
            script = f"import sys; sys.path.insert(0, {target!r}); import safetensors; print(safetensors.__file__)"
            child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
            self.assertTrue(child.stdout.startswith(target), child.stdout + child.stderr)
        self.assertEqual(self._installed(), before)

    def test_missingPackagesAreNamedOnTheCard(self):
        """With a way to install them; nothing is installed here."""
        self._chooseSample()
        set_up = self.panel.set_up_panel
        with self._withoutPackages():
            self._lookAtPython()
            self._wait(lambda: self.panel.card.stop() is not None, "the card says that packages are missing")
        self.assertEqual(self.panel.card.stop().sentence, "PyTorch is not installed.")
        self.assertEqual(self.panel.card.stop().remedy, "install")
        self.assertTrue(self.panel.card.ui.preflightRemedyButton.visible)
        self.assertFalse(self.widget.ui.segmentButton.enabled)
        for name in ("PyTorch", "scikit-image", "safetensors"):
            self.assertIn(f"Stop: {name} is not installed.", set_up.ui.setUpStateLabel.text)
        self._lookAtPython()
        self._wait(lambda: not self.panel.card.pending, "the card says what it found")
        self.assertEqual(set_up.blocking_sentence(), "")
        self.assertTrue(self.widget.ui.segmentButton.enabled, self.widget.ui.segmentButton.toolTip)

    def test_aResultThatIsDeletedLeavesNothingBehind(self):
        volume = self._chooseSample()
        node = self.widget.logic.segment(volume, model=PHANTOM_MODEL)
        slicer.mrmlScene.RemoveNode(node)
        self._waitForTheResult()
        self.assertIsNone(result_of(volume))
        self.assertTrue(self.widget.ui.segmentButton.visible)

    def _reload(self):
        slicer.mrmlScene.Clear()
        self.widget.onReload()
        self._takeWidget()

    def _folder(self) -> Path:
        """Where the module lies."""
        return Path(self.widget.resourcePath("UI")).parents[1]

    def _view(self):
        """The panel, without what Slicer puts above it for developers."""
        return slicer.util.findChild(self.widget.parent, "HipICMSC")

    def _heightsOfAResult(self):
        """With every section open."""
        self._chooseSample()
        self.widget.ui.segmentButton.click()
        self._waitForTheResult()
        room.open_sections(self._view())
        return room.fixed_heights(self._view())

    @staticmethod
    @contextlib.contextmanager
    def _pip(**settings: str) -> Iterator[None]:
        """Slicer's pip with these settings and none of the user's, soon giving up where nobody answers."""
        settings = {"CONFIG_FILE": os.devnull, "RETRIES": "1", "TIMEOUT": "15"} | settings
        with unittest.mock.patch.dict(os.environ, {f"PIP_{name}": value for name, value in settings.items()}):
            yield

    @staticmethod
    @contextlib.contextmanager
    def _installingInTests() -> Iterator[None]:
        """From 5.12 on, Slicer installs nothing while it is tested unless told so."""
        try:
            from slicer import packaging
        except ImportError:
            yield
            return
        installing = functools.partial(packaging.pip_ensure, skip_in_testing=False)
        with unittest.mock.patch.object(packaging, "pip_ensure", installing):
            yield

    @staticmethod
    def _installed() -> set[tuple[str, str]]:
        """Packages of Slicer's Python with their versions."""
        importlib.invalidate_caches()
        return {(found.name, found.version) for found in importlib.metadata.distributions()}

    def _takeWidget(self):
        self.widget = slicer.util.getModuleWidget("HipICMSC")
        self.panel = self.widget.panel

    def _chooseSample(self):
        """The synthetic MRI, looked over."""
        self.widget.ui.sampleButton.click()
        self._wait(lambda: not self.panel.card.pending, "the card says what it found")
        self.assertTrue(self.widget.ui.segmentButton.enabled, self.widget.ui.segmentButton.toolTip)
        return self.widget.logic.getParameterNode().inputVolume

    def _lookAtPython(self):
        button = self.panel.set_up_panel.ui.setUpCheckButton
        self._wait(lambda: button.enabled, "Python can be looked at")
        button.click()
        self._wait(lambda: button.enabled, "Python was looked at")

    @staticmethod
    @contextlib.contextmanager
    def _withoutPackages() -> Iterator[None]:
        """Processes that start meanwhile find none of the packages that were installed."""
        before = os.environ.get("PYTHONPATH")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "sitecustomize.py").write_text(_HIDES_PACKAGES, encoding="utf-8")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, before]))
            try:
                yield
            finally:
                if before is None:
                    del os.environ["PYTHONPATH"]
                else:
                    os.environ["PYTHONPATH"] = before

    @staticmethod
    def _shown():
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return [node for node in nodes if node.GetDisplayNode() and node.GetDisplayNode().GetVisibility()]

    def _waitForTheResult(self):
        self._wait(lambda: self.panel.settled, "the panel shows what came of it")

    def _wait(self, until, what, seconds=300):
        limit = time.monotonic() + seconds
        while not until():
            if time.monotonic() > limit:
                button, card = self.widget.ui.segmentButton, self.panel.card
                self.fail(
                    f"Waited {seconds} s until {what}. The panel says: {self._status()!r}; the button: "
                    f"{button.toolTip!r}; the card: {card.findings}, more to come: {card.pending}."
                )
            began = time.process_time()
            slicer.app.processEvents()
            self._longestTurn = max(self._longestTurn, time.process_time() - began)
            time.sleep(0.02)

    def _status(self):
        return self.panel.run_panel.ui.statusLabel.text

    @staticmethod
    def _millilitres(node, segmentId):
        volume = volume_of(node)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume).sum()
        x, y, z = volume.GetSpacing()
        return voxels * x * y * z / 1000
