"""The panel of HipICMSC: choices, card and button, what runs, and the result; each section has a class of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.panels.batch_panel import BatchPanel, OnEnd, OnProgress
from HipICMSCLib.gui.panels.case_panel import CasePanel
from HipICMSCLib.gui.panels.editor_panel import EditorPanel
from HipICMSCLib.gui.panels.export_panel import ExportPanel
from HipICMSCLib.gui.panels.measures_panel import MeasuresPanel
from HipICMSCLib.gui.panels.model_panel import ModelPanel
from HipICMSCLib.gui.panels.preflight_card import PreflightCard
from HipICMSCLib.gui.panels.review_panel import ReviewPanel
from HipICMSCLib.gui.panels.run_panel import RunPanel
from HipICMSCLib.gui.panels.segment_button import SegmentButton
from HipICMSCLib.gui.panels.set_up_panel import SetUpPanel
from HipICMSCLib.gui.panels.stages import show_stage
from HipICMSCLib.gui.panels.target_note import show_target
from HipICMSCLib.gui.running.preflight_watch import Choices, PreflightWatch
from HipICMSCLib.gui.running.segmentation_job import FileJob, NodeJob
from HipICMSCLib.gui.running.segmentation_task import Outcome
from HipICMSCLib.gui.running.ticks import Ticks
from HipICMSCLib.gui.scene.head_points import place_heads
from HipICMSCLib.gui.scene.result import is_of_another_volume, result_of, results_in_scene, volume_of
from HipICMSCLib.gui.scene.sample_data import load_phantom
from HipICMSCLib.gui.scene.surfaces import has_surfaces, surface_steps
from HipICMSCLib.gui.scene.views import centre_views_on, show_alone, show_result_alone
from HipICMSCLib.models.chosen import PHANTOM_MODEL, find_model
from HipICMSCLib.worker.preflight import Remedy


class Panel:
    """Shows the parameter node that :meth:`take` gives it, and does what its buttons say through the logic."""

    def __init__(self, ui, resource_path: Callable[[str], str], logic) -> None:
        """
        Args:
            ui: the named widgets of HipICMSC.ui.
            logic: the HipICMSCLogic.
        """
        self._ui, self._logic = ui, logic
        self._choices = None
        #: The MRI and the result of it that are shown, and whether the user wants another one.
        self._shown, self._wants_again = (None, None), False
        self._viewed = None
        #: The last MRI that was chosen, and the model that was before a click loaded the synthetic one.
        self._chosen, self._model_before = None, ""
        #: What is being segmented, or was last, and the segmentation in which bones were replaced by it.
        self._segmented, self._replaced = None, None
        #: Whether this is the open module, and the outcome that waits until it is.
        self._entered, self._unseen = False, None
        #: Model and device of the batch that runs: all its volumes are segmented alike, whatever is chosen meanwhile.
        self._of_batch = ("", "")
        #: IDs of the results that were there before it.
        self._before_batch: set[str] = set()
        #: Whether a batch has ended since this module was the open one.
        self._batch_is_unseen = False
        self._ticks = Ticks()
        self._watch = PreflightWatch(logic.service)

        self.model_panel = ModelPanel(resource_path)
        self.card = PreflightCard(resource_path)
        self.run_panel = RunPanel(resource_path)
        self.review_panel = ReviewPanel(resource_path)
        self.editor_panel = EditorPanel(resource_path)
        self.export_panel = ExportPanel(resource_path, logic.service.export)
        self.case_panel = CasePanel(resource_path, logic.service.keep_case)
        self.measures_panel = MeasuresPanel(resource_path, logic.service)
        self.batch_panel = BatchPanel(
            resource_path, self._start_node, self._start_file, logic.cancel, logic.service.list_series
        )
        self.set_up_panel = SetUpPanel(resource_path, self._self_test)
        self._button = SegmentButton(ui.segmentButton, self.card, self.model_panel, self.set_up_panel)
        for frame, widgets in (
            (ui.modelFrame, [self.model_panel.widget]),
            (ui.preflightFrame, [self.card.widget]),
            (ui.runFrame, [self.run_panel.widget]),
            (
                ui.resultFrame,
                [
                    self.review_panel.widget,
                    self.editor_panel.widget,
                    self.export_panel.widget,
                    self.case_panel.widget,
                ],
            ),
            (
                ui.panelsFrame,
                [
                    self.measures_panel.widget,
                    self.batch_panel.widget,
                    self.set_up_panel.widget,
                    self.run_panel.log_widget,
                ],
            ),
        ):
            for widget in widgets:
                frame.layout().addWidget(widget)
        self._connect()

    @property
    def settled(self) -> bool:
        """Whether all that is to be seen is seen: nothing runs, and nothing waits for its tick."""
        return not self._logic.busy and not self._ticks.waiting and self.measures_panel.settled

    @property
    def segments_files(self) -> bool:
        """Whether what is being segmented is the files of a folder, to which the scene does not matter."""
        return self.batch_panel.busy and not self.batch_panel.reads_scene

    def take(self, choices) -> None:
        """Show everything that follows from the choices.

        Args:
            choices: the parameter node; None while the panel is not open or there is no scene.
        """
        self._choices = choices
        if choices is None:
            self._watch.forget()
            return
        # The list of models changes, which connectGui does not support.
        self.model_panel.select(choices.model)
        self._ui.sampleButton.visible = choices.inputVolume is None
        show_target(self._ui, choices)
        self._show_volume()
        self._show_result()
        blocking = self.set_up_panel.blocking_sentence()
        self._watch.choose(Choices(choices.inputVolume, choices.heads, choices.model, choices.device, blocking))
        self._show_button()

    def segment(self, volume) -> None:
        """Choose a volume and press the button for the user, if it can be pressed; nothing is replaced in this way."""
        if self._choices is None:
            return
        self._choices.inputVolume = volume
        self._choices.replaceUnlocked = False
        if not self._logic.busy and self._ui.segmentButton.enabled:
            self._on_segment()

    def export(self, result) -> None:
        """Show a result and ask for the file of its DICOM segmentation."""
        if self._choices is not None:
            self._choices.inputVolume, self._choices.segmentation = volume_of(result), result
            self.export_panel.export(result)

    def enter(self) -> None:
        """The module is opened."""
        self._entered = True
        self.editor_panel.enter()
        unseen, self._unseen = self._unseen, None
        if unseen is not None and self._is_viewed(unseen.node):
            self._choices.segmentation = unseen.node
            self._ticks.add(lambda: self._look_at(unseen))
        if self._batch_is_unseen and self._choices is not None:
            self._batch_is_unseen = False
            self._show_what_a_batch_made()

    def exit(self) -> None:
        """Another module is opened, to which the views belong."""
        self._entered = False
        self.editor_panel.exit()

    def take_scene(self) -> None:
        """A scene was loaded."""
        self.measures_panel.take_scene()

    def forget_scene(self) -> None:
        """The scene is closed."""
        self.measures_panel.forget_scene()
        self._ticks.clear()
        self._shown, self._viewed = (None, None), None
        self._chosen, self._model_before = None, ""
        self._unseen, self._batch_is_unseen = None, False
        self.editor_panel.forget_scene()
        self.export_panel.show(None)
        self.case_panel.show(None)
        self.review_panel.show(None)

    def close(self) -> None:
        """Slicer ends or the module is reloaded. A batch would go on with its next volume."""
        self._ticks.clear()
        self._watch.forget()
        for panel in (
            self.editor_panel,
            self.export_panel,
            self.case_panel,
            self.review_panel,
            self.measures_panel,
            self.batch_panel,
            self.set_up_panel,
        ):
            panel.close()

    def _connect(self) -> None:
        logic, ui = self._logic, self._ui
        logic.started.connect(self._on_started)
        logic.progressed.connect(self._on_progress)
        logic.warned.connect(self.run_panel.warn)
        logic.aboutToChange.connect(self._on_about_to_change)
        logic.finished.connect(self._on_finished)
        logic.failed.connect(self._on_failed)
        self._watch.found.connect(self._on_found)
        self._watch.nothing_to_look_at.connect(self._on_nothing_to_look_at)
        self._watch.outdated.connect(self._on_outdated)
        self.card.insisted.connect(self._on_insisted)
        self.card.remedy_wanted.connect(self._on_remedy)
        self.model_panel.chosen.connect(self._on_model_chosen)
        self.batch_panel.about_to_start.connect(self._keep_choices_of_batch)
        self.batch_panel.changed.connect(self._on_batch_changed)
        self.batch_panel.volume_chosen.connect(self._on_volume_of_batch)
        self.set_up_panel.checked.connect(lambda: self.take(self._choices))
        self.set_up_panel.about_to_install.connect(self._end_worker)
        self.set_up_panel.changed.connect(self._begin_anew)
        logic.service.did_not_load.connect(self.set_up_panel.look_closer)
        ui.segmentButton.connect("clicked(bool)", self._on_segment)
        ui.againButton.connect("clicked(bool)", self._on_again)
        ui.backButton.connect("clicked(bool)", self._on_back)
        ui.sampleButton.connect("clicked(bool)", self._on_sample)

    def _end_worker(self) -> None:
        """Files in use cannot be replaced, and what was replaced must be loaded anew. A batch would start it again."""
        self.batch_panel.stop()
        self._watch.forget()
        self._logic.close()

    def _begin_anew(self) -> None:
        """What is known of the MRI was found out by what segmented before."""
        self._end_worker()
        self.take(self._choices)

    # What is seen.

    def _show_volume(self) -> None:
        """Another MRI comes into the views with its own result; where the first one lies is the user's."""
        volume, before = self._choices.inputVolume, self._viewed
        self._viewed = volume
        if volume is not None and volume is not self._chosen:
            self._choose_anew(volume)
        if None not in (volume, before) and volume is not before:
            self._show_alone(volume)

    def _choose_anew(self, volume) -> None:
        """What was chosen for the MRI before, which may be gone, is not meant for this one."""
        choices, before, self._chosen = self._choices, self._chosen, volume
        if is_of_another_volume(choices.segmentation, volume):
            choices.segmentation = None
        if before is None:
            return
        choices.heads = None
        if self._model_before:
            choices.model, self._model_before = self._model_before, ""

    def _show_alone(self, volume) -> None:
        result = result_of(volume, self._choices.segmentation)
        show_alone(volume, result)
        if result is not None and not has_surfaces(result):
            self._ticks.add(*surface_steps(result))

    def _show_result(self) -> None:
        volume = self._choices.inputVolume
        shown = (volume, result_of(volume, self._choices.segmentation))
        if shown != self._shown:
            before = self._shown
            self._shown, self._wants_again = shown, False
            if before[0] is volume and None not in (before[1], shown[1]):
                show_result_alone(shown[1])
            # The first editor takes half a second to make.
            self._ticks.add(lambda: self.editor_panel.show(shown[1], shown[1] and volume))
            self.review_panel.show(shown[1])
            self.export_panel.show(shown[1])
            self.case_panel.show(shown[1])
            self.measures_panel.show(shown[1])
            if shown[1] is not None:
                self.run_panel.show_result(shown[1])
            elif not self._is_running:
                self.run_panel.clear()
            self._name_shown()
        elif not self._wants_again and self._choices.segmentation is not shown[1] is not None:
            # Chosen was where another one goes.
            self._on_again()
        self._show_stage()

    def _name_shown(self) -> None:
        """Where it is not the user who chooses the result that is shown, nothing in it is to be replaced."""
        result = self._shown[1]
        if self._choices.segmentation is not result is not None:
            self._choices.segmentation = result
            self._choices.replaceUnlocked = False

    def _show_stage(self) -> None:
        if self._is_running:
            show_stage(self._ui, "running")
        else:
            show_stage(self._ui, "before" if self._shown[1] is None or self._wants_again else "after")
        self._ui.backButton.visible = self._wants_again and not self._is_running

    def _show_button(self) -> None:
        if self._is_running:
            self._button.offer_cancel(self._logic.service.cancelling)
        elif self.batch_panel.busy:
            self._button.refuse(_("Several MRIs are being segmented below; wait for them or cancel them."))
        else:
            self._button.offer_segment(self._choices)
        self.measures_panel.set_available(
            _("A segmentation is still running.") if self._logic.busy else self.set_up_panel.blocking_sentence()
        )
        self.batch_panel.set_available(
            _("Another segmentation is still running.") if self._is_running else self._button.reason_of_set_up()
        )
        self._show_stage()

    @property
    def _is_running(self) -> bool:
        """A segmentation that is not one of many."""
        return self._logic.busy and not self.batch_panel.busy

    # Before the click.

    def _on_found(self, findings, pending: bool) -> None:
        self.card.show(findings, pending)
        self._show_button()

    def _on_insisted(self) -> None:
        if self.card.insists:
            self._watch.look_on()
        self._show_button()

    def _on_outdated(self) -> None:
        self.card.clear(_("Looking at the MRI …"), pending=True)
        self._show_button()

    def _on_nothing_to_look_at(self) -> None:
        self.card.clear(_("Load an MRI of the hips to see whether it can be segmented."))
        self._show_button()

    def _on_remedy(self, remedy: Remedy) -> None:
        if remedy == "install":
            self.set_up_panel.mend()
        elif remedy == "mark_heads" and self._choices is not None:
            self._choices.heads = place_heads(self._choices.heads)

    def _on_model_chosen(self, name: str) -> None:
        if self._choices is not None:
            self._choices.model, self._model_before = name, ""

    def _on_sample(self, checked: bool = False) -> None:
        volume = load_phantom("MR")
        if volume is not None and self._choices is not None:
            # Which may bring back the model from before another synthetic one.
            self._choices.inputVolume = volume
            self._model_before = self._choices.model
            self._choices.model = PHANTOM_MODEL

    def _on_again(self, checked: bool = False) -> None:
        self._wants_again = True
        self._watch.look_again()
        self._show_stage()

    def _on_back(self, checked: bool = False) -> None:
        self._wants_again = False
        self._name_shown()
        self._show_stage()

    # Segmenting.

    def _on_segment(self, checked: bool = False) -> None:
        if self._logic.busy:
            # What has not begun ends at once, and says so.
            self.run_panel.cancelling()
            self._logic.cancel()
        else:
            self._segment()
        self._show_button()

    def _segment(self) -> None:
        choices = self._choices
        self._segmented = choices.inputVolume
        try:
            self._logic.segment(
                choices.inputVolume,
                choices.segmentation,
                choices.model,
                waitForCompletion=False,
                replaceUnlocked=choices.replaceUnlocked,
                headsNode=choices.heads,
                device=choices.device,
                insist=self.card.insists,
            )
        except HipError as error:
            self._on_failed(error)
        else:
            # While the worker computes nobody minds.
            self._ticks.add(self.editor_panel.prepare)

    def _on_started(self, volume, model: str, device: str) -> None:
        """By a click here, or by somebody's Python."""
        self._segmented, self._replaced = volume, None
        self.run_panel.start(_("Segmenting with {model} on {device}.").format(model=model, device=device))
        self._ticks.add(self._show_button)

    def _on_progress(self, stage: str, share: float) -> None:
        if not self._logic.service.cancelling:
            self.run_panel.progress(stage, share, self._name_of_other(self._segmented))

    def _on_about_to_change(self, segmentation_node) -> None:
        self._replaced = segmentation_node
        self.editor_panel.save_state(segmentation_node)

    def _on_finished(self, outcome: Outcome) -> None:
        node, viewed = outcome.node, self._is_viewed(outcome.node)
        # The same node may hold another result now.
        self._shown = (None, None)
        if self._choices is not None:
            if viewed:
                # Beside a former result that was chosen there is a new one, which is meant from now on.
                self._choices.segmentation = node
            self.take(self._choices)
        if viewed:
            self.run_panel.finish(node.GetName())
            self._ticks.add(lambda: self._look_at(outcome))
            self._ticks.add(*surface_steps(node))
        else:
            # The views show another MRI.
            self.run_panel.finish_unseen(self._name_of_other(volume_of(node)))
        # In another module a new result waits unseen, and bones that were replaced may be what the user edits there.
        waits = not viewed if self._entered else node is not self._replaced
        if waits:
            node.GetDisplayNode().SetVisibility(False)
        self._say_elsewhere(_("The segmentation {name} is ready; open HipICMSC to see it.").format(name=node.GetName()))

    def _say_elsewhere(self, sentence: str) -> None:
        """To who has opened another module meanwhile."""
        if not self._entered:
            slicer.util.showStatusMessage(sentence)

    def _is_viewed(self, segmentation_node) -> bool:
        """Whether the MRI of a result is the one that is shown."""
        return self._viewed is volume_of(segmentation_node) is not None

    def _name_of_other(self, volume) -> str:
        """What an MRI is called that is not the one that is shown; empty for that one, and for one that is gone."""
        return "" if volume is self._viewed or volume is None or volume.GetScene() is None else volume.GetName()

    def _look_at(self, outcome: Outcome) -> None:
        """Show the result over its MRI, with the joints in the middle of all views; who is in another module must come
        back first."""
        if outcome.node.GetScene() is None:
            return
        if not self._entered:
            self._unseen = outcome
            return
        show_alone(volume_of(outcome.node), outcome.node)
        heads = [head for head in outcome.report["femoral_heads_lps_mm"].values() if head is not None]
        x, y, z = (sum(axis) / len(heads) for axis in zip(*heads, strict=True))
        slicer.util.resetThreeDViews()
        centre_views_on((-x, -y, z))

    def _on_failed(self, error: HipError) -> None:
        self.run_panel.fail(error, self._name_of_other(self._segmented))
        self.set_up_panel.last_error_kind = error.kind
        if error.kind != "cancelled":
            self._say_elsewhere(_("A segmentation has failed; open HipICMSC to see why."))
        self._show_button()

    # What the sections ask for.

    def _keep_choices_of_batch(self) -> None:
        choices = self._logic.getParameterNode()
        self._of_batch = (choices.model, choices.device)
        self._before_batch = {node.GetID() for node in results_in_scene()}

    def _start_node(self, volume, on_progress: OnProgress, on_end: OnEnd) -> None:
        service, (model, device) = self._logic.service, self._of_batch
        service.check_free()
        job = NodeJob(volume, None, find_model(model), device, shown=False)
        service.start_one_of_many(job, on_progress, on_end)

    def _start_file(self, path: Path, output: Path, series: str | None, on_progress: OnProgress, on_end: OnEnd) -> None:
        service, (model, device) = self._logic.service, self._of_batch
        service.check_free()
        job = FileJob(path, output, find_model(model), device, series)
        service.start_one_of_many(job, on_progress, on_end)

    def _on_batch_changed(self) -> None:
        if not self.batch_panel.busy:
            self._batch_is_unseen = self._choices is None
            self._say_elsewhere(_("Several MRIs: {counts}").format(counts=self.batch_panel.counts))
            if self._choices is not None:
                self._show_what_a_batch_made()
        self._show_button()

    def _show_what_a_batch_made(self) -> None:
        """The MRI that is chosen may have a result by now, or a newer one."""
        before, newest = self._shown[1], result_of(self._choices.inputVolume)
        is_new = newest is not None and newest.GetID() not in self._before_batch
        if is_new:
            self._choices.segmentation = newest
        self._show_result()
        result = self._shown[1]
        if result is not None and (is_new or result is not before):
            show_result_alone(result)
            self._ticks.add(*surface_steps(result))

    def _on_volume_of_batch(self, volume) -> None:
        if self._choices is not None:
            self._viewed = volume
            self._choices.inputVolume = volume
            self._show_alone(volume)

    def _self_test(self, on_report, on_error) -> None:
        choices = self._logic.getParameterNode()
        self._logic.service.self_test(choices.model, choices.device, on_report, on_error)
