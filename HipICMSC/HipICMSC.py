"""Segments the bones of the hip joint on MRI: Slicer's side of HipICMSCLib."""

import time
from pathlib import Path

import slicer
from HipICMSCLib.errors import HipError
from HipICMSCLib.gui.mrml import check_target
from HipICMSCLib.gui.reload import forget_libraries
from HipICMSCLib.gui.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.segmentation_job import SegmentationJob
from HipICMSCLib.gui.signal import Signal
from HipICMSCLib.gui.worker_client import WorkerClient
from HipICMSCLib.model_files import DEFAULT_MODEL, find_model, shipped_models
from HipICMSCLib.protocol import Event, Failed, Finished, Progress, Warned
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtkmodules.vtkCommonCore import vtkCommand

POLL_MILLISECONDS = 100


class HipICMSC(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("HipICMSC")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The HipICMSC developers"]
        parent.helpText = _(
            "Segments the hip bone with its acetabulum and the proximal femur of both sides on MRI. "
            "Choose an MRI and press Segment hip. For research use only; not a medical device."
        )
        parent.acknowledgementText = _(
            "The network was trained with ICMSC, a method by G. Zeng et al. (arXiv 2012.12570), "
            "from labelled CT and unlabelled MRI."
        )


@parameterNodeWrapper
class HipICMSCParameterNode:
    """The choices of the panel, saved with the scene.

    Attributes:
        inputVolume: the MRI.
        segmentation: an empty one to fill; None makes a new one.
        model: a model that ships, by name.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    model: str = DEFAULT_MODEL


class HipICMSCWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._warnings = []

    # Life of the module.

    def setup(self):
        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSC.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        for path in shipped_models():
            self.ui.modelComboBox.addItem(path.stem)

        self.logic = HipICMSCLogic()
        self.logic.progressed.connect(self.onProgress)
        self.logic.warned.connect(self.onWarning)
        self.logic.finished.connect(self.onFinished)
        self.logic.failed.connect(self.onFailed)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self):
        self.logic.close()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        """A segmentation goes on while another module is open."""
        self.setParameterNode(None)

    def onReload(self):
        forget_libraries()
        super().onReload()

    def onSceneStartClose(self, caller, event):
        self.logic.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    # What the user chose.

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self.onParameterNodeModified()

    def onParameterNodeModified(self, caller=None, event=None):
        # The list of models changes, which connectGui does not support.
        index = self.ui.modelComboBox.findText(self._parameterNode.model)
        if index >= 0:
            self.ui.modelComboBox.currentIndex = index
        else:
            self.onModelChosen()
        self._checkCanApply()

    def onModelChosen(self, index=None):
        if self._parameterNode is not None and self.ui.modelComboBox.currentText:
            self._parameterNode.model = self.ui.modelComboBox.currentText

    # Segmenting.

    def onSegmentButton(self, checked=False):
        if self.logic.busy:
            self.logic.cancel()
            self.ui.statusLabel.text = _("Cancelling …")
        else:
            self.ui.progressBar.value = 0
            self.ui.statusLabel.text = _("Starting …")
            self.ui.statusLabel.toolTip = ""
            self._warnings = []
            try:
                self.logic.segment(
                    self._parameterNode.inputVolume,
                    self._parameterNode.segmentation,
                    self._parameterNode.model,
                    waitForCompletion=False,
                )
            except HipError as error:
                self.onFailed(error)
        self._checkCanApply()

    def onProgress(self, stage, share):
        self.ui.progressBar.value = round(100 * share)
        self.ui.statusLabel.text = _("{stage} …").format(stage=stage.capitalize())

    def onWarning(self, sentence):
        self._warnings.append(sentence)

    def onFinished(self, segmentationNode):
        self.ui.progressBar.value = 100
        done = _("The result is in {name}.").format(name=segmentationNode.GetName())
        self.ui.statusLabel.text = "\n".join([done, *self._warnings])
        self._checkCanApply()

    def onFailed(self, error):
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = error.sentence
        self.ui.statusLabel.toolTip = error.detail
        self._checkCanApply()

    def _checkCanApply(self):
        """The button says what it does or, in its tool tip, why it does nothing."""
        button = self.ui.segmentButton
        if self.logic.busy:
            button.text, button.enabled = _("Cancel"), not self.logic.cancelling
            button.toolTip = _("Stop the segmentation; nothing is changed.")
            return
        reason = self._reasonAgainst()
        button.text, button.enabled = _("Segment hip"), not reason
        button.toolTip = reason or _("Find the hip bones and femora in the chosen MRI.")

    def _reasonAgainst(self):
        if self._parameterNode is None or self._parameterNode.inputVolume is None:
            return _("Choose an MRI first.")
        if self._parameterNode.inputVolume.GetImageData() is None:
            return _("The chosen volume is empty; choose another one.")
        if not self.ui.modelComboBox.count:
            return _("This copy of HipICMSC comes without a model; install it again.")
        try:
            check_target(self._parameterNode.segmentation)
        except HipError as error:
            return error.sentence
        return ""


class HipICMSCLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes in a worker process; needs no widget.

    Attributes:
        progressed: signal of a stage's name and the share of the whole that is done.
        warned: signal of a sentence about the result.
        finished: signal of the segmentation node.
        failed: signal of the HipError.
    """

    def __init__(self):
        super().__init__()
        self.progressed, self.warned, self.finished, self.failed = Signal(), Signal(), Signal(), Signal()
        self.cancelling = False
        self._worker = WorkerClient(self._onEvent)
        self._job = None
        self._timer = None
        self._outcome = None

    def getParameterNode(self):
        return HipICMSCParameterNode(super().getParameterNode())

    @property
    def busy(self):
        """Whether a segmentation is under way."""
        return self._job is not None

    def segment(self, volumeNode, segmentationNode=None, model=None, waitForCompletion=True):
        """Segment the hips in a volume.

        Args:
            volumeNode: vtkMRMLScalarVolumeNode of an MRI, under any linear transform.
            segmentationNode: an empty vtkMRMLSegmentationNode to fill; None makes a new one.
            model: a model that ships, by name, or a .hipmodel file; None is the usual one.
            waitForCompletion: if False, return at once; the outcome comes through ``finished`` or ``failed``.

        Returns:
            The segmentation node, or None without waiting.

        Raises:
            HipError: if it cannot be started or, when waiting, if it fails; its sentence is for the user.
        """
        if self.busy:
            raise HipError("busy", _("Another segmentation is still running; wait for it or cancel it."))
        job = SegmentationJob(volumeNode, segmentationNode, find_model(str(model or DEFAULT_MODEL)))
        try:
            self._worker.send(job.request)
        except HipError:
            job.close()
            raise
        self._job, self._outcome, self.cancelling = job, None, False
        if not waitForCompletion:
            self._timer = RepeatingTimer(POLL_MILLISECONDS, self._worker.poll)
            self._timer.start()
            return None
        while self.busy:
            self._worker.poll()
            slicer.app.processEvents()
            time.sleep(POLL_MILLISECONDS / 1000)
        if isinstance(self._outcome, HipError):
            raise self._outcome
        return self._outcome

    def cancel(self):
        """Ask the running segmentation to stop; ``failed`` says when it did, within about a second."""
        if self.busy:
            self.cancelling = True
            self._worker.cancel()

    def close(self):
        """Give up whatever runs and end the worker process."""
        self._worker.close()
        if self.busy:
            self._end(HipError("cancelled", _("The segmentation was cancelled; nothing was changed.")))

    def _onEvent(self, event: Event):
        if isinstance(event, Progress):
            self.progressed.emit(event.stage, event.share)
        elif isinstance(event, Warned):
            self.warned.emit(event.sentence)
        elif isinstance(event, Failed):
            self._end(HipError(event.kind, event.sentence, event.detail))
        elif isinstance(event, Finished):
            try:
                if self.cancelling:
                    raise HipError("cancelled", _("The segmentation was cancelled; nothing was changed."))
                self._end(self._job.finish())
            except HipError as error:
                self._end(error)

    def _end(self, outcome):
        """The job is over with a segmentation node or a HipError."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._job.close()
        self._job, self._outcome, self.cancelling = None, outcome, False
        (self.failed if isinstance(outcome, HipError) else self.finished).emit(outcome)


class HipICMSCTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer; the other tests are in the repository's Testing folder."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_panelAsksForAnMRI()

    def test_panelAsksForAnMRI(self):
        slicer.util.selectModule("HipICMSC")
        widget = slicer.util.getModuleWidget("HipICMSC")
        self.assertFalse(widget.ui.segmentButton.enabled)
        self.assertIn("MRI", widget.ui.segmentButton.toolTip)
        self.assertTrue(Path(widget.resourcePath("UI/HipICMSC.ui")).is_file())
