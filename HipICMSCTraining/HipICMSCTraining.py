"""Trains the networks of HipICMSC in the background: Slicer's side of HipICMSCTrainingLib.

Training is a process of its own that outlives Slicer. The run folder is the only truth about it: everything shown here
is read there, so a run is watched in the same way whoever started it. Our libraries are imported late, because the
folder of HipICMSC may join Python's path after this file was read.
"""

from dataclasses import dataclass
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

REFRESH_MILLISECONDS = 1000
# Names of HipICMSCTrainingLib.training_settings.PRESETS, which needs torch.
PRESETS = ["paper", "cpu-small", "smoke"]


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
            "closed; choose its run folder to watch it again. For research use only; not a medical device."
        )
        parent.acknowledgementText = _(
            "The method is ICMSC by G. Zeng et al. (arXiv 2012.12570).",
        )


@parameterNodeWrapper
class HipICMSCTrainingParameterNode:
    """The choices of the panel, saved with the scene."""

    ctFolder: Path
    mriFolder: Path
    runFolder: Path
    preset: Annotated[str, Choice(PRESETS)] = "cpu-small"


class HipICMSCTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    # Life of the module.

    def setup(self):
        from HipICMSCLib.gui.repeating_timer import RepeatingTimer

        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSCTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = HipICMSCTrainingLogic()
        self._timer = RepeatingTimer(REFRESH_MILLISECONDS, self.refresh)
        self.ui.startButton.connect("clicked(bool)", self.onStartButton)
        self.ui.stopButton.connect("clicked(bool)", self.onStopButton)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self):
        self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self._timer.start()

    def exit(self):
        self._timer.stop()
        self.setParameterNode(None)

    def onReload(self):
        from HipICMSCLib.gui.reload import forget_libraries

        forget_libraries()
        super().onReload()

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    # What the user chose.

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtkCommand.ModifiedEvent, self.refresh)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtkCommand.ModifiedEvent, self.refresh)
            self.refresh()

    # The run.

    def onStartButton(self, checked=False):
        node = self._parameterNode
        self._doAndRefresh(lambda: self.logic.start(node.runFolder, node.ctFolder, node.mriFolder, node.preset))

    def onStopButton(self, checked=False):
        self._doAndRefresh(lambda: self.logic.stop(self._parameterNode.runFolder))

    def _doAndRefresh(self, action):
        from HipICMSCLib.errors import HipError

        try:
            action()
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
        self.refresh()

    def refresh(self, caller=None, event=None):
        """Show what the run folder says now."""
        if self._parameterNode is None:
            return
        view = self.logic.view(
            self._parameterNode.runFolder, self._parameterNode.ctFolder, self._parameterNode.mriFolder
        )
        self.ui.stateLabel.text = view.sentence
        self.ui.progressBar.value = round(100 * view.share)
        self.ui.startButton.text = view.startText
        for button, reason in (
            (self.ui.startButton, view.reasonNotToStart),
            (self.ui.stopButton, view.reasonNotToStop),
        ):
            button.enabled, button.toolTip = not reason, reason


@dataclass(frozen=True)
class RunView:
    """What the panel shows of a run folder; a reason is empty where the button can be pressed."""

    sentence: str
    share: float = 0.0
    startText: str = "Start"
    reasonNotToStart: str = ""
    reasonNotToStop: str = ""


class HipICMSCTrainingLogic(ScriptedLoadableModuleLogic):
    """Starts, stops and reads training runs; needs no widget."""

    def __init__(self):
        super().__init__()
        # Only to tell that a run is starting; all else is read from its folder.
        self._process = None

    def getParameterNode(self):
        return HipICMSCTrainingParameterNode(super().getParameterNode())

    def start(self, runFolder, ctFolder=None, mriFolder=None, preset="cpu-small"):
        """Train in a new run folder, or resume the run that the folder holds; the process outlives Slicer.

        Args:
            ctFolder, mriFolder, preset: of a new run, as for ``hipicmsc train``.

        Raises:
            HipError: ``run_in_use``, ``not_started``, or as for any file.
        """
        import HipICMSCLib
        import HipICMSCTrainingLib
        from HipICMSCLib.errors import HipError
        from HipICMSCLib.files import storage_error
        from HipICMSCLib.gui.child_process import start_detached

        run = self._run(runFolder)
        if run.in_use():
            raise HipError("run_in_use", _("This run is being trained already."))
        if self._isRun(run):
            arguments = ["resume", run.path]
        else:
            arguments = ["train", run.path, "--ct", ctFolder, "--mri", mriFolder, "--preset", preset]
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, run.path) from error
        folders = [Path(library.__file__).resolve().parents[1] for library in (HipICMSCLib, HipICMSCTrainingLib)]
        command = ["-m", "HipICMSCTrainingLib.cli", *map(str, arguments)]
        try:
            self._process = start_detached(command, folders, run.log)
        except OSError as error:
            raise HipError("not_started", _("The training process could not be started."), str(error)) from error

    def stop(self, runFolder):
        """Ask the run to save itself and end after the step at hand; it can be resumed.

        Raises:
            HipError: as for any file.
        """
        self._run(runFolder).request("STOP")

    def view(self, runFolder, ctFolder, mriFolder):
        """The state of a run folder in words, and what can be done with it."""
        from HipICMSCLib.errors import HipError

        if not _isChosen(runFolder):
            choose = _("Choose a run folder first.")
            return RunView(choose, startText=_("Start"), reasonNotToStart=choose, reasonNotToStop=choose)
        run = self._run(runFolder)
        if not self._isRun(run):
            return self._viewOfNewRun(run, ctFolder, mriFolder)
        try:
            return self._viewOfRun(run)
        except HipError as error:
            return RunView(error.sentence, reasonNotToStart=error.sentence, reasonNotToStop=error.sentence)

    def _viewOfNewRun(self, run, ctFolder, mriFolder):
        reason = _("The training is starting.") if self._isStarting() else self._reasonAgainst(ctFolder, mriFolder)
        return RunView(
            reason or self._lastWords(run),
            startText=_("Start"),
            reasonNotToStart=reason,
            reasonNotToStop=_("No training is running in this folder."),
        )

    def _viewOfRun(self, run):
        status = run.status()
        notToStart, notToStop = "", ""
        if run.in_use():
            notToStart = _("This run is being trained already.")
            notToStop = _("The run is about to stop.") if run.requested("STOP") else ""
        else:
            notToStop = _("No training is running in this folder.")
            if self._isStarting():
                notToStart = _("The training is starting.")
            elif status.state == "finished":
                notToStart = _("This run is finished; choose another folder.")
        return RunView(
            _("{state}: step {step} of {total}. {sentence}")
            .format(state=status.state, step=status.step, total=status.total_steps, sentence=status.sentence)
            .strip(),
            status.step / status.total_steps if status.total_steps else 0.0,
            _("Resume"),
            notToStart,
            notToStop,
        )

    @staticmethod
    def _run(folder):
        from HipICMSCTrainingLib.run_folder import RunFolder

        return RunFolder(folder)

    @staticmethod
    def _isRun(run):
        return (run.path / "run.json").exists()

    def _isStarting(self):
        """Whether the process that was started last still lives; only asked while the run folder does not tell."""
        return self._process is not None and self._process.poll() is None

    @staticmethod
    def _reasonAgainst(ctFolder, mriFolder):
        if not _isChosen(ctFolder) or not Path(ctFolder).is_dir():
            return _("Choose the folder of the labelled CTs.")
        if not _isChosen(mriFolder) or not Path(mriFolder).is_dir():
            return _("Choose the folder of the MRIs.")
        return ""

    @staticmethod
    def _lastWords(run):
        """Why a training ended before it became a run; the command prints that last."""
        try:
            lines = run.log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return _("Ready to start.")
        return next((line for line in reversed(lines) if line.strip()), _("Ready to start."))


def _isChosen(folder):
    """An empty path edit reads as the current folder."""
    return folder is not None and str(folder) not in ("", ".")


class HipICMSCTrainingTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer; the other tests are in the repository's Testing folder."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_panelAsksForARunFolder()

    def test_panelAsksForARunFolder(self):
        slicer.util.selectModule("HipICMSCTraining")
        widget = slicer.util.getModuleWidget("HipICMSCTraining")
        self.assertFalse(widget.ui.startButton.enabled)
        self.assertIn("folder", widget.ui.startButton.toolTip)
