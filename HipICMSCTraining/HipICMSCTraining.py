"""Trains the networks of HipICMSC in the background: Slicer's side of HipICMSCTrainingLib.

Training is a process of its own that outlives Slicer. The run folder is the only truth about it: everything shown here
is read there, so a run is watched in the same way whoever started it. Our libraries are imported late, because the
folder of HipICMSC may join Python's path after this file was read.
"""

import logging
import tempfile
import time
from pathlib import Path
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtkmodules.vtkCommonCore import vtkCommand

FINISH_MILLISECONDS = 3000
KEEP_RUNNING, STOP_AND_SAVE = "keep running", "stop and save"
#: Of the synthetic data set that a user tries things out with.
SAMPLE_SUBJECTS, SAMPLE_SEED = 3, 2026


class HipICMSCTraining(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("HipICMSC Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["HipICMSC"]
        parent.contributors = ["The HipICMSC developers"]
        parent.helpText = _(
            "Trains the networks of HipICMSC on labelled CT and unlabelled MRI. The training goes on when Slicer is "
            "closed; choose its run to watch it again. For research use only; not a medical device."
        )
        parent.acknowledgementText = _("The method is ICMSC by G. Zeng et al. (arXiv 2012.12570).")


@parameterNodeWrapper
class HipICMSCTrainingParameterNode:
    """The choices of the panel, saved with the scene; everything else is in files.

    Attributes:
        datasetFile: the dataset.json.
        choices: method, preset and settings of the next run, as text of the section "Training".
        runFolder: the run that is watched.
        atExit: what becomes of trainings when Slicer is closed.
    """

    datasetFile: Path
    choices: str = ""
    runFolder: Path
    atExit: Annotated[str, Choice([KEEP_RUNNING, STOP_AND_SAVE])] = KEEP_RUNNING


class HipICMSCTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: its sections, from data to finished model, have classes of their own in HipICMSCTrainingLib.gui."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._sample = None

    # Life of the module.

    def setup(self):
        from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
        from HipICMSCTrainingLib.gui.panels.data_panel import DataPanel
        from HipICMSCTrainingLib.gui.panels.finish_panel import FinishPanel
        from HipICMSCTrainingLib.gui.panels.live_panel import LivePanel
        from HipICMSCTrainingLib.gui.panels.runs_panel import RunsPanel, runs_folder
        from HipICMSCTrainingLib.gui.panels.settings_panel import SettingsPanel

        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSCTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = HipICMSCTrainingLogic()

        self.dataPanel = DataPanel(self.resourcePath)
        self.settingsPanel = SettingsPanel(
            self.resourcePath, self._readChoices, self._writeChoices, self._datasetFile, runs_folder
        )
        self.runsPanel = RunsPanel(
            self.resourcePath, self.settingsPanel, self._datasetFile, self.dataPanel.set_dataset_file
        )
        self.livePanel = LivePanel(self.resourcePath)
        self.finishPanel = FinishPanel(self.resourcePath, self.logic.useInHipICMSC)
        self._panels = (self.dataPanel, self.settingsPanel, self.runsPanel, self.livePanel, self.finishPanel)
        for panel in self._panels:
            self.ui.panelsFrame.layout().addWidget(panel.widget)

        self.dataPanel.changed.connect(self.onDataChanged)
        self.settingsPanel.changed.connect(self.onSettingsChanged)
        self.settingsPanel.described.connect(self.onSettingsDescribed)
        if self.settingsPanel.description is not None:  # it was read before
            self.onSettingsDescribed(self.settingsPanel.description)
        self.runsPanel.attached.connect(self.onRunAttached)
        # The other sections look after themselves.
        self._finishTimer = RepeatingTimer(FINISH_MILLISECONDS, self.finishPanel.refresh)
        self.ui.sampleDataButton.connect("clicked(bool)", self.onSampleDataButton)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        slicer.app.connect("aboutToQuit()", self.onAboutToQuit)
        self.initializeParameterNode()

    def cleanup(self):
        """Trainings go on; what only looks at data or exports ends."""
        slicer.app.disconnect("aboutToQuit()", self.onAboutToQuit)
        self._finishTimer.stop()
        for panel in self._panels:
            panel.close()
        if self._sample is not None:
            self._sample.close()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.dataPanel.refresh()
        self.settingsPanel.enter()
        self.runsPanel.enter()
        self.livePanel.enter()
        self.finishPanel.refresh()
        self._finishTimer.start()

    def exit(self):
        self._finishTimer.stop()
        self.runsPanel.exit()
        self.livePanel.exit()
        self.setParameterNode(None)

    def onReload(self):
        from HipICMSCLib.gui.setup.reload import forget_libraries

        forget_libraries()
        super().onReload()

    def onAboutToQuit(self):
        """Trainings outlive Slicer unless the user wants otherwise."""
        if self.logic.getParameterNode().atExit == STOP_AND_SAVE:
            from HipICMSCLib.common.errors import HipError
            from HipICMSCTrainingLib.gui.panels.runs_panel import runs_folder
            from HipICMSCTrainingLib.gui.running.training_process import running_runs, stop_all

            try:
                stop_all(running_runs(runs_folder()))
            except HipError as error:  # nobody looks at a panel any more
                logging.warning("HipICMSC Training: %s", error.sentence)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneChanged(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    # What the user chose.

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self._showChoices()

    def onParameterNodeModified(self, caller, event):
        self._showChoices()

    def _showChoices(self):
        """The choices that connectGui knows no widget for."""
        node = self._parameterNode
        if _chosen(node.datasetFile) != self.dataPanel.dataset_file:
            self.dataPanel.set_dataset_file(_chosen(node.datasetFile))
        self.settingsPanel.show()
        self.onSettingsChanged()
        self.runsPanel.select(_chosen(node.runFolder))

    def _readChoices(self):
        return self.logic.getParameterNode().choices

    def _writeChoices(self, text):
        self.logic.getParameterNode().choices = text

    def _datasetFile(self):
        from HipICMSCLib.common.errors import HipError

        reason = self.dataPanel.blocking_sentence()
        if reason:
            raise HipError("no_data", reason)
        return self.dataPanel.dataset_file

    def onDataChanged(self):
        if self._parameterNode is not None and self.dataPanel.dataset_file is not None:
            self._parameterNode.datasetFile = self.dataPanel.dataset_file
        self.runsPanel.refresh()

    def onSettingsChanged(self):
        """What the data must be like depends on the method."""
        self.dataPanel.set_method(self.settingsPanel.method, self.settingsPanel.reads_mr_labels)

    def onSettingsDescribed(self, description):
        self.onSettingsChanged()
        self.livePanel.know_methods(description.methods)
        self.finishPanel.know_methods(description.methods)

    def onRunAttached(self, run):
        self.livePanel.attach(run)
        self.finishPanel.attach(run)
        if self._parameterNode is not None and run is not None:
            self._parameterNode.runFolder = run.path

    # To try things out.

    def onSampleDataButton(self, checked=False):
        """Make a small synthetic data set beside the runs and choose it; nobody is shown in it."""
        from HipICMSCTrainingLib.gui.panels.runs_panel import runs_folder

        folder = runs_folder().parent / "synthetic-data"
        if (folder / "dataset.json").exists():
            self.dataPanel.set_dataset_file(folder / "dataset.json")
            return
        self.ui.sampleDataButton.enabled = False
        self.ui.sampleDataLabel.text = _("Making synthetic CTs and MRIs; this takes less than a minute …")
        self._sample = self.logic.makeSyntheticData(folder, self._onSampleDataMade)

    def _onSampleDataMade(self, error, folder):
        self._sample = None
        self.ui.sampleDataButton.enabled = True
        if error is None:
            self.ui.sampleDataLabel.text = _("The synthetic data set is in {folder}.").format(folder=folder)
            self.dataPanel.set_dataset_file(folder / "dataset.json")
        else:
            self.ui.sampleDataLabel.text = error.sentence


class HipICMSCTrainingLogic(ScriptedLoadableModuleLogic):
    """Exports data, starts, stops and reads training runs, and exports models; needs no widget.

    Runs are `HipICMSCTrainingLib.run.folder.RunFolder` objects or their paths.
    """

    def getParameterNode(self):
        return HipICMSCTrainingParameterNode(super().getParameterNode())

    def addCase(self, datasetFile, volumeNode, labelNode=None, mapping=None, name="", patient="", labelledMri=False):
        """Write a volume of the scene into a data set: as a CT to train on, or as an MRI without labels.

        Args:
            datasetFile: the dataset.json, which is made if it is not there.
            labelNode: label map or segmentation of a CT; an MRI that has one is only measured.
            mapping: class ("acetabulum" or "femur") by the name of a segment or the value of a label map; by default
                what the names suggest.
            name: of the case; by default a number. The node's own name, which may name a patient, is not used.
            patient: by default the case's name.
            labelledMri: the data set is for a method that is trained on labelled MRIs, such as the target model.

        Returns:
            The case.

        Raises:
            HipError: as `HipICMSCTrainingLib.gui.scene.scene_export.export_case`.
        """
        from HipICMSCTrainingLib.data.dataset import Case
        from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
        from HipICMSCTrainingLib.gui.scene.label_mapping import suggested_mapping
        from HipICMSCTrainingLib.gui.scene.scene_export import export_case, guessed_modality, parts_of

        dataset = DatasetFile(Path(datasetFile))
        modality = guessed_modality(volumeNode)
        name = dataset.free_name(modality, name)
        if labelNode is not None and mapping is None:
            mapping = suggested_mapping(parts_of(labelNode))
        image, label = export_case(dataset.make_folder(), name, volumeNode, labelNode, mapping)
        case = Case(name, modality, "train", patient or name, str(image), None if label is None else str(label))
        case = dataset.with_role(case, labelledMri)
        dataset.add([case])
        return case

    def makeSyntheticData(self, folder, onEnd):
        """Let a process write a small synthetic data set, with its dataset.json; ``onEnd`` is called with None or a
        HipError, and the folder."""
        from HipICMSCTrainingLib.gui.running.command import Command

        numbers = ["--subjects", str(SAMPLE_SUBJECTS), "--seed", str(SAMPLE_SEED)]
        arguments = ["phantom", str(folder), *numbers, "--coarse"]
        return Command(arguments, lambda line: None, lambda error: onEnd(error, Path(folder)))

    def start(self, runFolder, datasetFile, arguments=()):
        """Train in a new folder; the process outlives Slicer.

        Args:
            arguments: method, preset and settings as for ``hipicmsc train``, e.g. ``["--preset", "smoke"]``.

        Returns:
            The RunFolder.

        Raises:
            HipError: ``folder_in_use``, ``not_started``, or as for any file.
        """
        from HipICMSCLib.gui.setup.installation import python_interpreter
        from HipICMSCTrainingLib.gui.running import training_process

        return training_process.start(Path(runFolder), Path(datasetFile), list(arguments), python_interpreter())

    def resume(self, run):
        """Go on with a run that waits, was stopped, lost or failed."""
        from HipICMSCLib.gui.setup.installation import python_interpreter
        from HipICMSCTrainingLib.gui.running import training_process

        training_process.resume(_run(run), python_interpreter())

    def pause(self, run):
        """Let the process of a run wait after the step at hand."""
        from HipICMSCTrainingLib.gui.running import training_process

        training_process.pause(_run(run))

    def stop(self, run):
        """Ask a run to save itself and end after the step at hand; it can be resumed."""
        from HipICMSCTrainingLib.gui.running import training_process

        training_process.stop(_run(run))

    def state(self, run):
        """How a run stands, in a word: starting, running, paused, stopped, lost, finished …"""
        from HipICMSCTrainingLib.gui.running import training_process

        return training_process.state_of(_run(run))

    def export(self, run, output, weights="selected", onEnd=None):
        """Write a model package from a run in a process of its own.

        Args:
            output: the .hipmodel file.
            weights: selected (by the label-free score), average or last.
            onEnd: called with None or a HipError when it is done.

        Returns:
            The running command.
        """
        from HipICMSCTrainingLib.gui.running.command import Command

        arguments = ["export", str(_run(run).path), "-o", str(output), "--weights", weights]
        return Command(arguments, lambda line: None, onEnd or (lambda error: None))

    @staticmethod
    def useInHipICMSC(name):
        """Choose a model, by its name, in the module HipICMSC."""
        slicer.util.getModuleLogic("HipICMSC").getParameterNode().model = name


def _run(run):
    from HipICMSCTrainingLib.run.folder import RunFolder

    return run if isinstance(run, RunFolder) else RunFolder(run)


def _chosen(path):
    """A parameter that nobody set reads as the current folder."""
    return None if path is None or str(path) in ("", ".") else Path(path)


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
        self.assertFalse(self.widget.runsPanel.ui.runsStartButton.enabled)
        self.assertTrue(self.widget.runsPanel.ui.runsStartButton.toolTip)

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
        self.widget.runsPanel.select(run)
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
