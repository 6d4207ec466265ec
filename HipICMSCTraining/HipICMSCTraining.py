"""Trains the networks of HipICMSC in the background: Slicer's side of HipICMSCTrainingLib.

Training is a process of its own that outlives Slicer. The run folder is the only truth about it: everything shown here
is read there, so a run is watched in the same way whoever started it. Our libraries are imported late, because the
folder of HipICMSC may join Python's path after this file was read.
"""

from pathlib import Path
from typing import Annotated

import slicer
from HipICMSCTrainingLib.gui.own_tests import HipICMSCTrainingTest  # noqa: F401  Slicer looks for it here
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtkmodules.vtkCommonCore import vtkCommand

KEEP_RUNNING, STOP_AND_SAVE = "keep running", "stop and save"


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
    """Life of the module in Slicer: scene, parameter node and exit; what is seen and done stands in `Panel`."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._closed = False

    def setup(self):
        from HipICMSCTrainingLib.gui.panels.panel import Panel

        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSCTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = HipICMSCTrainingLogic()
        self.panel = Panel(self.ui, self.resourcePath, self.logic)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        slicer.app.connect("aboutToQuit()", self.onAboutToQuit)
        if self.parent.isEntered:  # when it was reloaded
            self.enter()
        else:
            self.initializeParameterNode()

    def cleanup(self):
        """Trainings go on; what only looks at data or exports ends. Once, and while widgets and scene are still there:
        Slicer itself asks for it when some of them are gone."""
        if self._closed:
            return
        self._closed = True
        slicer.app.disconnect("aboutToQuit()", self.onAboutToQuit)
        self.panel.close()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        self.panel.exit()
        self.setParameterNode(None)

    def onReload(self):
        from HipICMSCLib.gui.setup.reload import forget_libraries

        forget_libraries()
        super().onReload()

    def onAboutToQuit(self):
        """Trainings outlive Slicer unless the user wants otherwise."""
        if self.logic.getParameterNode().atExit == STOP_AND_SAVE:
            self.panel.stop_trainings()
        self.cleanup()

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneChanged(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

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
        self.panel.take(parameterNode)

    def onParameterNodeModified(self, caller, event):
        self.panel.take(self._parameterNode)


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
        from HipICMSCTrainingLib.gui.panels.adding import add_case

        return add_case(Path(datasetFile), volumeNode, labelNode, mapping, name, patient, labelledMri)

    def makeSyntheticData(self, folder, onEnd):
        """Let a process write a small synthetic data set, with its dataset.json; ``onEnd`` is called with None or a
        HipError, and the folder. Returns the running command."""
        from HipICMSCTrainingLib.gui.running.synthetic_data import make_synthetic_data

        return make_synthetic_data(Path(folder), onEnd)

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
