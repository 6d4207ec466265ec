"""Segments the bones of the hip joint on MRI: Slicer's side of HipICMSCLib."""

import time
from pathlib import Path
from typing import Annotated

import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.batch_panel import BatchPanel
from HipICMSCLib.gui.panels.editor_panel import EditorPanel
from HipICMSCLib.gui.panels.model_panel import ModelPanel
from HipICMSCLib.gui.panels.preflight_card import PreflightCard
from HipICMSCLib.gui.panels.review_panel import ReviewPanel
from HipICMSCLib.gui.panels.run_panel import RunPanel
from HipICMSCLib.gui.panels.set_up_panel import SetUpPanel
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.running.segmentation_job import FileJob, NodeJob
from HipICMSCLib.gui.running.segmentation_service import POLL_MILLISECONDS, SegmentationService
from HipICMSCLib.gui.running.segmentation_task import Listener
from HipICMSCLib.gui.scene.mrml import image_volumes
from HipICMSCLib.gui.scene.result import has_segments, name_of_new_node, replaceable, result_of, volume_of
from HipICMSCLib.gui.scene.review import forget_confidence_map
from HipICMSCLib.gui.scene.sample_data import load_phantom, register_sample_data
from HipICMSCLib.gui.scene.views import centre_views_on
from HipICMSCLib.gui.setup.reload import forget_libraries
from HipICMSCLib.models.chosen import DEFAULT_MODEL, PHANTOM_MODEL, find_model
from HipICMSCLib.worker.preflight import Finding
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
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
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT
from vtkmodules.vtkCommonCore import vtkCommand

#: A choice that is changed again within this time is not looked into.
PREFLIGHT_MILLISECONDS = 300


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
    """The panel: choices, card and button here; each section below has a class of its own in HipICMSCLib.gui."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._watched = (None, None)
        self._checked = None

    # Life of the module.

    def setup(self):
        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HipICMSC.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = HipICMSCLogic()

        self.modelPanel = ModelPanel(self.resourcePath)
        self.preflightCard = PreflightCard(self.resourcePath)
        self.editorPanel = EditorPanel(self.resourcePath)
        self.reviewPanel = ReviewPanel(self.resourcePath)
        self.batchPanel = BatchPanel(self.resourcePath, self._startNode, self._startFile, self.logic.cancel)
        self.setUpPanel = SetUpPanel(self.resourcePath, self._selfTest)
        self.runPanel = RunPanel(self.resourcePath)
        self.ui.modelFrame.layout().addWidget(self.modelPanel.widget)
        self.ui.preflightFrame.layout().addWidget(self.preflightCard.widget)
        self.ui.runFrame.layout().addWidget(self.runPanel.widget)
        for panel in (self.editorPanel, self.reviewPanel, self.batchPanel, self.setUpPanel):
            self.ui.panelsFrame.layout().addWidget(panel.widget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic.progressed.connect(self.onProgress)
        self.logic.warned.connect(self.runPanel.warn)
        self.logic.aboutToChange.connect(self.onAboutToChange)
        self.logic.finished.connect(self.onFinished)
        self.logic.failed.connect(self.onFailed)
        self.modelPanel.chosen.connect(self.onModelChosen)
        self.batchPanel.changed.connect(self._checkCanApply)
        self.setUpPanel.checked.connect(self.onSetUpChecked)
        self.setUpPanel.about_to_install.connect(self.logic.close)
        self.setUpPanel.changed.connect(self.logic.close)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.sampleButton.connect("clicked(bool)", self.onSampleButton)
        self._preflightTimer = RepeatingTimer(PREFLIGHT_MILLISECONDS, self.onPreflightDue)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        if self.parent.isEntered:  # when it was reloaded
            self.enter()
        else:
            self.initializeParameterNode()

    def cleanup(self):
        self.setParameterNode(None)
        self.removeObservers()
        self._preflightTimer.stop()
        try:
            # The sections first: a batch would go on with its next volume.
            for panel in (self.editorPanel, self.reviewPanel, self.batchPanel, self.setUpPanel):
                panel.close()
        finally:
            self.logic.close()

    def enter(self):
        self.initializeParameterNode()
        self.editorPanel.enter()

    def exit(self):
        """A segmentation goes on while another module is open."""
        self._preflightTimer.stop()
        self.logic.service.forget_preflight()
        self._checked = None
        self.editorPanel.exit()
        self.setParameterNode(None)

    def onReload(self):
        forget_libraries()
        super().onReload()

    def onSceneStartClose(self, caller, event):
        self.logic.cancel()
        self.logic.service.forget_preflight()
        self.setParameterNode(None)
        self.editorPanel.show(None, None)
        self.reviewPanel.show(None)

    def onSceneChanged(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeAdded(self, caller, event):
        """The first volume that is loaded while the panel waits for one is the one."""
        if slicer.mrmlScene.IsBatchProcessing():  # its end is told, too
            return
        if self._parameterNode is not None and self._parameterNode.inputVolume is None:
            self._chooseVolume()

    @calldata_type(VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            forget_confidence_map(node)

    # What the user chose.

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._chooseVolume()
        self._showChoices()

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = parameterNode
        if parameterNode is None:
            self._watch(None, None)
        else:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self._showChoices()

    def onParameterNodeModified(self, caller, event):
        self._showChoices()

    def onModelChosen(self, name):
        if self._parameterNode is not None:
            self._parameterNode.model = name

    def _chooseVolume(self):
        """What the user looks at, or else what was loaded last."""
        volumes = image_volumes()
        shown = {view.GetBackgroundVolumeID() for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
        volumes.sort(key=lambda node: node.GetID() in shown)
        if volumes:
            self._parameterNode.inputVolume = volumes[-1]

    def _showChoices(self):
        """Everything that follows from the choices."""
        node = self._parameterNode
        # The list of models changes, which connectGui does not support.
        self.modelPanel.select(node.model)
        self.ui.sampleButton.visible = node.inputVolume is None
        self._watch(node.inputVolume, node.heads)
        self._showTarget()
        self.showResult(result_of(node.inputVolume))
        self._requestPreflight()
        self._checkCanApply()

    def _showTarget(self):
        """What becomes of a segmentation that has segments is said before the click."""
        node = self._parameterNode
        full = has_segments(node.segmentation)
        self.ui.replaceUnlockedCheckBox.enabled = full
        self.ui.targetLabel.visible = full
        if not full or node.inputVolume is None:
            return
        if node.replaceUnlocked:
            names = ", ".join(replaceable(node.segmentation)) or _("nothing")
            self.ui.targetLabel.text = _(
                "Replaces {names} in {target}. What is marked as completed and what is not ours stays to the voxel."
            ).format(names=names, target=node.segmentation.GetName())
        else:
            self.ui.targetLabel.text = _(
                "{name} has segments and is not overwritten: the result becomes a new segmentation, {new}."
            ).format(name=node.segmentation.GetName(), new=name_of_new_node(node.inputVolume, node.segmentation))

    def showResult(self, segmentationNode):
        """Offer a result for editing and review; None where there is none."""
        self.editorPanel.show(segmentationNode, self._parameterNode.inputVolume)
        self.reviewPanel.show(segmentationNode)

    # Before the click.

    def _watch(self, volumeNode, headsNode):
        """A volume that is filled, moved or changed is looked at again, and so are points that were placed or moved."""
        if (volumeNode, headsNode) == self._watched:
            return
        moved = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        markups = slicer.vtkMRMLMarkupsNode
        eventsOf = (
            (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, moved),
            # Not at every step while a point is dragged.
            (markups.PointPositionDefinedEvent, markups.PointRemovedEvent, markups.PointEndInteractionEvent, moved),
        )
        for before, now, events in zip(self._watched, (volumeNode, headsNode), eventsOf, strict=True):
            for event in events:
                if before is not None:
                    self.removeObserver(before, event, self.onVolumeChanged)
                if now is not None:
                    self.addObserver(now, event, self.onVolumeChanged)
        self._watched = (volumeNode, headsNode)

    def onVolumeChanged(self, caller, event):
        self._checked = None
        self._requestPreflight()
        self._checkCanApply()

    def _requestPreflight(self):
        node = self._parameterNode
        volume = node.inputVolume and node.inputVolume.GetID()
        wanted = (volume, node.model, node.device, node.heads, self.setUpPanel.blocking_sentence())
        if wanted != self._checked:
            self._checked = wanted
            self.logic.service.forget_preflight()
            self._preflightTimer.start()

    def onPreflightDue(self):
        self._preflightTimer.stop()
        node = self._parameterNode
        if node is None:
            return
        blocking = self.setUpPanel.blocking_sentence()
        if node.inputVolume is None or node.inputVolume.GetImageData() is None:
            self.preflightCard.clear(_("Load an MRI of the hips to see whether it can be segmented."))
        elif blocking:
            self.preflightCard.show((Finding("stop", _("Set-up"), blocking),), False)
        else:
            self.logic.service.preflight(node.inputVolume, node.model, node.device, node.heads, self.onFindings)

    def onFindings(self, findings, pending):
        self.preflightCard.show(findings, pending)
        self._checkCanApply()

    # Segmenting.

    def onSegmentButton(self, checked=False):
        if self.logic.busy:
            self.logic.cancel()
            self.runPanel.cancelling()
        else:
            node = self._parameterNode
            self.runPanel.start(_("Segmenting with {model} on {device}.").format(model=node.model, device=node.device))
            try:
                self.logic.segment(
                    node.inputVolume,
                    node.segmentation,
                    node.model,
                    waitForCompletion=False,
                    replaceUnlocked=node.replaceUnlocked,
                    headsNode=node.heads,
                    device=node.device,
                )
            except HipError as error:
                self.onFailed(error)
        self._checkCanApply()

    def onProgress(self, stage, share):
        if not self.logic.service.cancelling:
            self.runPanel.progress(stage, share)

    def onAboutToChange(self, segmentationNode):
        self.editorPanel.save_state(segmentationNode, self._parameterNode and self._parameterNode.inputVolume)

    def onFinished(self, outcome):
        self.runPanel.finish(outcome.node.GetName())
        slicer.util.setSliceViewerLayers(background=volume_of(outcome.node))
        heads = [head for head in outcome.report["femoral_heads_lps_mm"].values() if head is not None]
        x, y, z = (sum(axis) / len(heads) for axis in zip(*heads, strict=True))
        centre_views_on((-x, -y, z))
        slicer.util.resetThreeDViews()
        if self._parameterNode is not None:
            self._showChoices()

    def onFailed(self, error):
        self.runPanel.fail(error)
        self.setUpPanel.last_error_kind = error.kind
        self._checkCanApply()

    def _checkCanApply(self):
        """The button says what it does or, in its tool tip, why it does nothing."""
        button = self.ui.segmentButton
        ofBatch = self.batchPanel.busy
        self.batchPanel.set_available(
            _("Another segmentation is still running.") if self.logic.busy and not ofBatch else self._reasonOfSetUp()
        )
        if self.logic.busy and not ofBatch:
            button.text, button.enabled = _("Cancel"), not self.logic.service.cancelling
            button.toolTip = _("Stop the segmentation; nothing is changed.")
            return
        reason = self._reasonAgainst()
        button.text, button.enabled = _("Segment hip"), not reason
        button.toolTip = reason or _("Find the hip bones and femora in the chosen MRI.")

    def _reasonAgainst(self):
        node = self._parameterNode
        if self.batchPanel.busy:
            return _("Several MRIs are being segmented below; wait for them or cancel them.")
        if node is None or node.inputVolume is None:
            return _("Choose an MRI first.")
        if node.inputVolume.GetImageData() is None:
            return _("The chosen volume is empty; choose another one.")
        if has_segments(node.segmentation) and node.replaceUnlocked and not replaceable(node.segmentation):
            return _("Every bone of {name} is marked as completed; there is nothing to replace.").format(
                name=node.segmentation.GetName()
            )
        return self._reasonOfSetUp()

    def _reasonOfSetUp(self):
        if self.setUpPanel.blocking_sentence():
            return self.setUpPanel.blocking_sentence()
        try:
            find_model(self.modelPanel.current())
        except HipError as error:
            return error.sentence
        return ""

    # What the sections below ask for.

    def _startNode(self, volumeNode, onProgress, onEnd):
        node = self.logic.getParameterNode()
        self.logic.startNode(volumeNode, node.model, node.device, onProgress, onEnd)

    def _startFile(self, path, output, onProgress, onEnd):
        node = self.logic.getParameterNode()
        self.logic.startFile(path, output, node.model, node.device, onProgress, onEnd)

    def _selfTest(self, onReport, onError):
        node = self.logic.getParameterNode()
        self.logic.service.self_test(node.model, node.device, onReport, onError)

    def onSetUpChecked(self):
        if self._parameterNode is not None:
            self._showChoices()

    def onSampleButton(self, checked=False):
        volume = load_phantom("MR")
        if volume is not None and self._parameterNode is not None:
            self._parameterNode.inputVolume = volume
            self._parameterNode.model = PHANTOM_MODEL


class HipICMSCLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes in a worker process; needs no widget.

    Attributes:
        progressed: signal of a stage's name and the share of the whole that is done.
        warned: signal of a sentence about the result.
        aboutToChange: signal of a segmentation node, just before segments in it are replaced.
        finished: signal of the Outcome (segmentation node and report).
        failed: signal of the HipError.
        service: what the worker is asked to do.
    """

    def __init__(self):
        super().__init__()
        self.progressed, self.warned, self.aboutToChange = Signal(), Signal(), Signal()
        self.finished, self.failed = Signal(), Signal()
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

        Returns:
            The segmentation node, or None without waiting.

        Raises:
            HipError: if it cannot be started or, when waiting, if it fails; its sentence is for the user.
        """
        self.service.check_free()
        package = find_model(str(model or DEFAULT_MODEL))
        job = NodeJob(volumeNode, segmentationNode, package, device, headsNode, replaceUnlocked)
        outcomes = []
        self.service.start(
            job,
            Listener(
                ended=outcomes.append if waitForCompletion else self._tell,
                progressed=self.progressed.emit,
                warned=self.warned.emit,
                about_to_change=self.aboutToChange.emit,
            ),
        )
        if not waitForCompletion:
            self.service.watch()
            return None
        while not outcomes:
            self.service.poll()
            slicer.app.processEvents()
            time.sleep(POLL_MILLISECONDS / 1000)
        self._tell(outcomes[0])
        if isinstance(outcomes[0], HipError):
            raise outcomes[0]
        return outcomes[0].node

    def startNode(self, volumeNode, model, device, onProgress, onEnd):
        """Segment a volume into a new node without waiting, as one of many.

        Args:
            onProgress: called with the share that is done.
            onEnd: called once, with the report or a HipError.

        Raises:
            HipError: if it cannot be started.
        """
        self.service.check_free()
        self._startOneOfMany(NodeJob(volumeNode, None, find_model(model), device), onProgress, onEnd)

    def startFile(self, path, output, model, device, onProgress, onEnd):
        """Segment a file into a file without waiting; as :meth:`startNode`."""
        self.service.check_free()
        self._startOneOfMany(FileJob(Path(path), Path(output), find_model(model), device), onProgress, onEnd)

    def cancel(self):
        """Ask the running segmentation to stop; its outcome says when it did, within about a second."""
        self.service.cancel()

    def close(self):
        """Give up whatever runs and end the worker process."""
        self.service.close()

    def _startOneOfMany(self, job, onProgress, onEnd):
        def end(outcome):
            onEnd(outcome if isinstance(outcome, HipError) else outcome.report)

        self.service.start(job, Listener(ended=end, progressed=lambda stage, share: onProgress(share)))
        self.service.watch()

    def _tell(self, outcome):
        (self.failed if isinstance(outcome, HipError) else self.finished).emit(outcome)


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
        self._wait(lambda: len(self.widget.preflightCard.findings) > 5)
        self.assertFalse(self.widget.preflightCard.has_stop())
        self.widget.ui.segmentButton.click()
        self.assertEqual(self.widget.ui.segmentButton.text, "Cancel")
        self._wait(lambda: not self.widget.logic.busy)
        volume = self.widget.logic.getParameterNode().inputVolume
        node = result_of(volume)
        self.assertIsNotNone(node, self._status())
        self.assertGreater(self._millilitres(node, "LeftFemur"), 50)
        self.assertGreater(self._millilitres(node, "RightHipBone"), 100)
        self.assertEqual(node.GetAttribute("HipICMSC.ModelName"), PHANTOM_MODEL)
        self.assertTrue(self.widget.reviewPanel.ui.nextPlaceButton.enabled)
        self.widget.reviewPanel.ui.nextPlaceButton.click()

    def test_logicNeedsNoPanel(self):
        node = HipICMSCLogic().segment(load_phantom("MR"), model=PHANTOM_MODEL)
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
        return self.widget.runPanel.ui.statusLabel.text

    @staticmethod
    def _millilitres(node, segmentId):
        volume = volume_of(node)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volume).sum()
        x, y, z = volume.GetSpacing()
        return voxels * x * y * z / 1000
