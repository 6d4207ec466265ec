"""Segments the bones of the hip joint on MRI: Slicer's side of HipICMSCLib."""

from typing import Annotated

import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.own_tests import HipICMSCTest  # noqa: F401  Slicer looks for it here
from HipICMSCLib.gui.panels.panel import Panel
from HipICMSCLib.gui.running.segmentation_job import NodeJob
from HipICMSCLib.gui.running.segmentation_service import SegmentationService
from HipICMSCLib.gui.running.segmentation_task import Listener
from HipICMSCLib.gui.scene.data_module import register_right_click
from HipICMSCLib.gui.scene.mrml import volume_to_begin_with
from HipICMSCLib.gui.scene.review import forget_confidence_map
from HipICMSCLib.gui.scene.sample_data import register_sample_data
from HipICMSCLib.gui.setup.reload import forget_libraries
from HipICMSCLib.models.chosen import DEFAULT_MODEL, find_model
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT
from vtkmodules.vtkCommonCore import vtkCommand


class HipICMSC(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("HipICMSC")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SegmentEditor"]
        parent.contributors = ["The HipICMSC developers"]
        parent.helpText = _(
            "Segments the hip bone with its acetabulum and the proximal femur of both sides on MRI. "
            "Choose an MRI and press Segment hip. For research use only; not a medical device."
        )
        parent.acknowledgementText = _(
            "The network was trained with ICMSC, a method by G. Zeng et al. (arXiv 2012.12570), "
            "from labelled CT and unlabelled MRI."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)
        slicer.app.connect("startupCompleted()", register_right_click)


@parameterNodeWrapper
class HipICMSCParameterNode:
    """The choices of the panel, saved with the scene.

    Attributes:
        inputVolume: the MRI.
        segmentation: where the result goes; None makes a new one.
        replaceUnlocked: in a segmentation that has segments, replace our bones that are not marked as completed.
        model: a model that ships or is the user's, by name.
        heads: femoral head centres that the user placed; None lets them be found.
        device: what computes.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    replaceUnlocked: bool = False
    model: str = DEFAULT_MODEL
    heads: vtkMRMLMarkupsFiducialNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"


class HipICMSCWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the module in Slicer: scene and parameter node; what is seen and done stands in `Panel`."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._closed = False

    def setup(self):
        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSC.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = HipICMSCLogic()
        self.panel = Panel(self.ui, self.resourcePath, self.logic)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        # Before the selectors, which choose the neighbour of a node that goes.
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved, priority=100.0)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        slicer.app.connect("aboutToQuit()", self.cleanup)
        if self.parent.isEntered:  # when it was reloaded
            self.enter()
        else:
            self.initializeParameterNode()

    def cleanup(self):
        """Once, and while widgets and scene are still there: Slicer itself asks for it when some of them are gone."""
        if self._closed:
            return
        self._closed = True
        slicer.app.disconnect("aboutToQuit()", self.cleanup)
        self.setParameterNode(None)
        self.removeObservers()
        try:
            self.panel.close()
        finally:
            self.logic.close()

    def enter(self):
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        """A segmentation goes on while another module is open."""
        self.panel.exit()
        self.setParameterNode(None)

    def onReload(self):
        forget_libraries()
        super().onReload()

    def onSceneStartClose(self, caller, event):
        if not self.panel.segments_files:
            self.logic.cancel()
        self.setParameterNode(None)
        self.panel.forget_scene()

    def onSceneStartImport(self, caller, event):
        """A selector chooses the first node that comes in; meant is the one that was saved."""
        self.setParameterNode(None)

    def onSceneChanged(self, caller, event):
        self.panel.take_scene()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeAdded(self, caller, event):
        """The first volume that is loaded while the panel waits for one is the one."""
        if slicer.mrmlScene.IsBatchProcessing():  # its end is told, too
            return
        if self._parameterNode is not None and self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = volume_to_begin_with()

    @calldata_type(VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            forget_confidence_map(node)
        chosen = self._parameterNode
        if chosen is None:
            return
        if chosen.inputVolume is node:
            chosen.inputVolume = None
        if chosen.heads is node:
            chosen.heads = None
        if chosen.segmentation is node:
            chosen.segmentation, chosen.replaceUnlocked = None, False

    @calldata_type(VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        """A result that is deleted is not shown any more."""
        if self._parameterNode is not None and node.IsA("vtkMRMLSegmentationNode"):
            self.panel.take(self._parameterNode)

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = volume_to_begin_with()

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


class HipICMSCLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes in a worker process; needs no widget.

    Attributes:
        started: signal of the volume node, the model and the device, when a segmentation begins.
        progressed: signal of a stage's name and the share of the whole that is done.
        warned: signal of a sentence about the result.
        aboutToChange: signal of a segmentation node, just before segments in it are replaced.
        finished: signal of the Outcome (segmentation node and report).
        failed: signal of the HipError.
        service: what the worker is asked to do.
    """

    def __init__(self):
        super().__init__()
        self.started, self.progressed, self.warned = Signal(), Signal(), Signal()
        self.aboutToChange, self.finished, self.failed = Signal(), Signal(), Signal()
        self.service = SegmentationService()

    def getParameterNode(self):
        return HipICMSCParameterNode(super().getParameterNode())

    @property
    def busy(self):
        """Whether a segmentation is under way."""
        return self.service.busy

    def segment(
        self,
        volumeNode,
        segmentationNode=None,
        model=None,
        waitForCompletion=True,
        replaceUnlocked=False,
        headsNode=None,
        device="auto",
        insist=False,
    ):
        """Segment the hips in a volume.

        Args:
            volumeNode: vtkMRMLScalarVolumeNode of an MRI, under any linear transform.
            segmentationNode: an empty vtkMRMLSegmentationNode to fill; None makes a new one. One that has segments is
                not overwritten: a new one is made, unless ``replaceUnlocked``.
            model: a model that ships or is the user's, by name, or a .hipmodel file; None is the usual one.
            waitForCompletion: if False, return at once; the outcome comes through ``finished`` or ``failed``.
            replaceUnlocked: replace the bones of ``segmentationNode`` that are not marked as completed.
            headsNode: vtkMRMLMarkupsFiducialNode with the femoral head centres; None finds them.
            device: auto, cpu, cuda or mps.
            insist: segment also what looks like a CT by its intensities.

        Returns:
            The segmentation node, or None without waiting.

        Raises:
            HipError: if it cannot be started or, when waiting, if it fails; its sentence is for the user.
        """
        self.service.check_free()
        model = str(model or DEFAULT_MODEL)
        package = find_model(model)
        job = NodeJob(volumeNode, segmentationNode, package, device, headsNode, replaceUnlocked, insist)
        ended = self._tell if not waitForCompletion else lambda outcome: None
        listener = Listener(ended, self.progressed.emit, self.warned.emit, self.aboutToChange.emit)
        if not waitForCompletion:
            # Whoever cannot be started has not begun.
            self.service.start(job, listener)
            self.started.emit(volumeNode, model, device)
            self.service.watch()
            return None
        self.started.emit(volumeNode, model, device)
        try:
            outcome = self.service.wait(job, listener)
        except HipError as error:
            outcome = error
        self._tell(outcome)
        if isinstance(outcome, HipError):
            raise outcome
        return outcome.node

    def cancel(self):
        """Ask the running segmentation to stop; its outcome says when it did, within about a second."""
        self.service.cancel()

    def close(self):
        """Give up whatever runs and end the worker process."""
        self.service.close()

    def _tell(self, outcome):
        (self.failed if isinstance(outcome, HipError) else self.finished).emit(outcome)
