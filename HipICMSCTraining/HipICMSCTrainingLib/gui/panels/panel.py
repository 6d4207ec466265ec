"""The panel of HipICMSC Training: its sections, from data to finished model, and what they tell one another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.panels.data_panel import DataPanel
from HipICMSCTrainingLib.gui.panels.finish_panel import FinishPanel
from HipICMSCTrainingLib.gui.panels.live_panel import LivePanel
from HipICMSCTrainingLib.gui.panels.runs_panel import RunsPanel, runs_folder
from HipICMSCTrainingLib.gui.panels.settings_panel import SettingsPanel
from HipICMSCTrainingLib.gui.running.activity import Activity
from HipICMSCTrainingLib.gui.running.training_news import TrainingNews
from HipICMSCTrainingLib.gui.running.training_process import runs_started_here, stop_all

_FINISH_MILLISECONDS = 3000


class Panel:
    """Shows the parameter node that :meth:`take` gives it."""

    def __init__(self, ui, resource_path: Callable[[str], str], logic) -> None:
        """
        Args:
            ui: the named widgets of HipICMSCTraining.ui.
            logic: the HipICMSCTrainingLogic.
        """
        self._ui, self._logic = ui, logic
        self._choices = None
        self._sample = None
        self.activity = Activity()
        self.data_panel = DataPanel(resource_path, self.activity)
        self.settings_panel = SettingsPanel(
            resource_path, self.activity, self._read_choices, self._write_choices, self._dataset_file, runs_folder
        )
        self.runs_panel = RunsPanel(
            resource_path, self.settings_panel, self._dataset_file, self.data_panel.set_dataset_file
        )
        self.live_panel = LivePanel(resource_path)
        self.finish_panel = FinishPanel(resource_path, logic.useInHipICMSC)
        self._panels = (self.data_panel, self.settings_panel, self.runs_panel, self.live_panel, self.finish_panel)
        for panel in self._panels:
            ui.panelsFrame.layout().addWidget(panel.widget)

        self.activity.changed.connect(self._show_state)
        self.data_panel.changed.connect(self._on_data_changed)
        self.settings_panel.changed.connect(self._on_settings_changed)
        self.settings_panel.described.connect(self._on_described)
        if self.settings_panel.description is not None:  # it was read before
            self._on_described(self.settings_panel.description)
        self.runs_panel.attached.connect(self._on_run_attached)
        self.runs_panel.refreshed.connect(self._show_state)
        # The other sections look after themselves.
        self._finish_timer = RepeatingTimer(_FINISH_MILLISECONDS, self.finish_panel.refresh)
        self._news = TrainingNews()
        ui.sampleDataButton.connect("clicked(bool)", self._on_sample_data)
        self._show_state()

    def take(self, choices) -> None:
        """Show the choices that connectGui knows no widget for.

        Args:
            choices: the parameter node; None while the panel is not open or there is no scene.
        """
        self._choices = choices
        if choices is None:
            return
        if _chosen(choices.datasetFile) != self.data_panel.chosen:
            self.data_panel.set_dataset_file(_chosen(choices.datasetFile))
        self.settings_panel.show()
        self._on_settings_changed()
        self.runs_panel.select(_chosen(choices.runFolder))

    def enter(self) -> None:
        """The module is opened."""
        self._news.stop()
        self.data_panel.refresh()
        self.settings_panel.enter()
        self.runs_panel.enter()
        self.live_panel.enter()
        self.finish_panel.refresh()
        self._finish_timer.start()

    def exit(self) -> None:
        """Another module is opened."""
        self._finish_timer.stop()
        self.runs_panel.exit()
        self.live_panel.exit()
        self._news.start()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; trainings go on, what only looks at data or exports ends."""
        self._finish_timer.stop()
        self._news.stop()
        for panel in self._panels:
            panel.close()
        if self._sample is not None:
            self._sample.close()

    def stop_trainings(self) -> None:
        """Ask those that were started here to save and end; nobody looks at the panel any more."""
        try:
            stop_all(runs_started_here())
        except HipError as error:
            logging.warning("HipICMSC Training: %s", error.sentence)

    def _show_state(self) -> None:
        """What goes on, wherever in the panel it was begun."""
        self._ui.activityLabel.text = self.activity.sentence or self.runs_panel.sentence()
        reason = self.activity.reason_against()
        self._ui.sampleDataButton.enabled = not reason

    # What is kept with the scene.

    def _read_choices(self) -> str:
        return self._logic.getParameterNode().choices

    def _write_choices(self, text: str) -> None:
        self._logic.getParameterNode().choices = text

    def _dataset_file(self) -> Path:
        """
        Raises:
            HipError: ``no_data``.
        """
        reason = self.data_panel.blocking_sentence()
        if reason:
            raise HipError("no_data", reason)
        return self.data_panel.dataset_file

    # What one section tells the others.

    def _on_data_changed(self) -> None:
        if self._choices is not None:
            self._choices.datasetFile = self.data_panel.chosen or Path()
        self.runs_panel.refresh()

    def _on_settings_changed(self) -> None:
        """What the data must be like depends on the method, and on what of them is read."""
        try:
            arguments = self.settings_panel.arguments()
        except HipError:  # the section of the settings says it
            arguments = []
        self.data_panel.set_training(self.settings_panel.method, self.settings_panel.reads_mr_labels, arguments)

    def _on_described(self, description) -> None:
        self._on_settings_changed()
        self.live_panel.know_methods(description.methods)
        self.finish_panel.know_methods(description.methods)

    def _on_run_attached(self, run) -> None:
        self.live_panel.attach(run)
        self.finish_panel.attach(run)
        if run is not None:
            # What was to come next has come.
            self._ui.sampleDataLabel.visible = False
        if self._choices is not None and run is not None:
            self._choices.runFolder = run.path

    # To try things out.

    def _on_sample_data(self, checked: bool = False) -> None:
        """Make a small synthetic data set beside the runs and choose it."""
        folder = runs_folder().parent / "synthetic-data"
        if (folder / "dataset.json").exists():
            self._choose_sample_data(folder)
            return
        self._ui.sampleDataLabel.visible = False
        self.activity.say(_("Synthetic CTs and MRIs are being made; this takes less than a minute."))
        self._sample = self._logic.makeSyntheticData(folder, self._on_sample_data_made)

    def _on_sample_data_made(self, error: HipError | None, folder: Path) -> None:
        self._sample = None
        self.activity.end()
        if error is None:
            self._choose_sample_data(folder)
        else:
            self._ui.sampleDataLabel.text, self._ui.sampleDataLabel.visible = error.sentence, True

    def _choose_sample_data(self, folder: Path) -> None:
        self._ui.sampleDataLabel.text = _(
            "The synthetic data set is chosen. Next: Check data, then Start training with the preset smoke."
        )
        self._ui.sampleDataLabel.visible = True
        self.data_panel.set_dataset_file(folder / "dataset.json")


def _chosen(path) -> Path | None:
    """A parameter that nobody set reads as the current folder."""
    return None if path is None or str(path) in ("", ".") else Path(path)
