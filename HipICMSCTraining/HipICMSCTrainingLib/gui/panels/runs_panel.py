"""The collapsible section "Runs": all trainings of a folder, how they go, and the buttons that pause and stop them.

It reads the folders of the runs; nothing else is state. A training goes on whatever happens here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.setup.installation import python_interpreter
from HipICMSCLib.models.chosen import user_folder
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.dataset_file import unchecked_dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.gui.panels.runs_table import RunRow, RunsTable, in_words
from HipICMSCTrainingLib.gui.panels.settings_panel import SettingsPanel
from HipICMSCTrainingLib.gui.running import training_process
from HipICMSCTrainingLib.gui.running.training_process import is_run
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below

REFRESH_MILLISECONDS = 1000
#: Where runs are is a matter of this computer, not of a scene.
_FOLDER_SETTING = "HipICMSCTraining/RunsFolder"
#: States of a run that has a process.
_GOING_ON = ("starting", "running", "pausing", "paused", "stopping", "stalled")
_BUTTONS = ("runsPauseButton", "runsStopButton", "runsDuplicateButton", "runsShowFolderButton")


def runs_folder() -> Path:
    """Where the user's trainings are, and new ones begin; it may have to be made."""
    chosen = qt.QSettings().value(_FOLDER_SETTING, "")
    return Path(chosen) if chosen else user_folder() / "runs"


class RunsPanel:
    """Reads again and again between :meth:`enter` and :meth:`exit`.

    Attributes:
        widget: the section.
        attached: signal of the RunFolder to watch, None for none, whenever it is another one.
        refreshed: signal without values, whenever the folders were read.
    """

    def __init__(
        self,
        resource_path: Callable[[str], str],
        settings: SettingsPanel,
        dataset: Callable[[], Path],
        choose_dataset: Callable[[Path], None],
    ) -> None:
        """
        Args:
            settings: what the next run is started with; its runs folder should be :func:`runs_folder`.
            dataset: the dataset.json to train on; raises a HipError that says why there is none.
            choose_dataset: shows another dataset.json.
        """
        self.attached, self.refreshed = Signal(), Signal()
        self._settings, self._dataset, self._choose_dataset = settings, dataset, choose_dataset
        self._selected: Path | None = None
        self._attached: Path | None = None
        #: The last run that was named to :meth:`select` or by ``attached``.
        self._told: Path | None = None
        self._rows: list[RunRow] = []
        #: What went wrong last, until the user does something else.
        self._trouble: HipError | None = None
        #: A folder with a run that was named to :meth:`select`, for as long as it is; nothing is written there.
        self._elsewhere: Path | None = None
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Runs.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._usual_tips = {name: getattr(self.ui, name).toolTip for name in _BUTTONS}
        self._table = RunsTable(self.ui.runsTable)
        self._timer = RepeatingTimer(REFRESH_MILLISECONDS, self.refresh)
        self.ui.runsFolderEdit.currentPath = str(runs_folder())
        self._folder_text = self.ui.runsFolderEdit.currentPath
        # Of a path that is emptied, ctk says only the second.
        for signal in ("currentPathChanged(QString)", "validInputChanged(bool)"):
            self.ui.runsFolderEdit.connect(signal, self._on_folder)
        self.ui.runsPauseButton.connect("clicked(bool)", self._on_pause)
        self.ui.runsStopButton.connect("clicked(bool)", self._on_stop)
        self.ui.runsDuplicateButton.connect("clicked(bool)", self._on_duplicate)
        self.ui.runsShowFolderButton.connect("clicked(bool)", self._on_show_folder)
        self._table.selected.connect(self._on_selected)
        settings.changed.connect(self._show_buttons)
        settings.start_wanted.connect(self._start)
        self.refresh()

    @property
    def selected(self) -> RunFolder | None:
        """The run in whose row the user is; it may be one that is only starting."""
        return None if self._selected is None else RunFolder(self._selected)

    def select(self, path: Path | None) -> None:
        """Attach to a run, wherever it is; None attaches to none. To say the same again changes nothing, so that a run
        which is only starting, and cannot be attached to yet, stays selected meanwhile."""
        path = None if path is None else Path(path).absolute()
        told, self._told = self._told, path
        if path in (told, self._attached):
            return
        self._selected, self._trouble = path, None
        if path is None or is_run(path):
            self._show_folder(runs_folder() if path is None else path.parent)
        self.refresh()

    def enter(self) -> None:
        """The module is shown."""
        self._timer.start()
        self.refresh()

    def exit(self) -> None:
        """Another module is shown; nothing is read until the next :meth:`enter`."""
        self._timer.stop()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; trainings go on."""
        self._timer.stop()

    def refresh(self) -> None:
        """Show what the folders say now."""
        for run, error in training_process.failures():
            name = run.path.name
            sentence = _("The training {name} ended: {reason}").format(name=name, reason=error.sentence)
            self._trouble = HipError(error.kind, sentence, error.detail)
        folder = self._elsewhere or runs_folder()
        try:
            starting = [run for run in training_process.starting_runs(folder) if not is_run(run.path)]
            self._rows = [RunRow.of(run) for run in [*starting, *runs_below(folder)]]
        except HipError as error:
            self._rows, self._trouble = [], error
        if self._selected not in [row.run.path for row in self._rows]:
            self._selected = None
        self._table.show(self._rows, self._selected)
        self._settings.refresh()
        self._show_note()
        self._show_buttons()
        self._attach()
        self.refreshed.emit()

    def sentence(self) -> str:
        """What goes on in the folder of the runs, in a sentence."""
        going_on = [row for row in self._rows if row.state in _GOING_ON]
        if not going_on:
            return _("Nothing is running.")
        described = [
            _("{name}: {state}{step}").format(
                name=row.run.path.name, state=in_words(row.state).lower(), step=row.step and f", {row.step}"
            )
            for row in going_on
        ]
        return "; ".join(described) + "."

    def _attach(self) -> None:
        """To the selected run as soon as there is something to watch."""
        path = self._selected if self._selected is not None and is_run(self._selected) else None
        if path != self._attached:
            self._attached = path
            self._told = path or self._told
            self.attached.emit(None if path is None else RunFolder(path))

    def _show_folder(self, folder: Path) -> None:
        """List the runs of this folder; where the user's own are stays as it was."""
        self._elsewhere = None if folder == runs_folder() else folder
        self._folder_text = str(folder)
        self.ui.runsFolderEdit.currentPath = self._folder_text

    # What the user does.

    def _on_folder(self, value: object) -> None:
        path = self.ui.runsFolderEdit.currentPath.strip()
        if path == self._folder_text:
            return
        self._folder_text, self._elsewhere = path, None
        if path:
            qt.QSettings().setValue(_FOLDER_SETTING, str(Path(path).absolute()))
        else:
            qt.QSettings().remove(_FOLDER_SETTING)
        self._trouble = None
        self.refresh()

    def _on_selected(self, path: Path | None) -> None:
        self._selected, self._trouble = path, None
        self.refresh()

    def _start(self) -> None:
        def start() -> None:
            run = training_process.start(
                self._settings.run_path(), self._dataset(), self._settings.arguments(), python_interpreter()
            )
            self._settings.forget_name()
            self._show_folder(run.path.parent)
            self._selected = run.path

        self._do(start)

    def _on_pause(self, checked: bool = False) -> None:
        row = self._row()
        if row.state == "running":
            self._do(lambda: training_process.pause(row.run))
        else:
            self._do(lambda: training_process.resume(row.run, python_interpreter()))

    def _on_stop(self, checked: bool = False) -> None:
        self._do(lambda: training_process.stop(self._row().run))

    def _on_duplicate(self, checked: bool = False) -> None:
        def duplicate() -> None:
            run = self._row().run
            description = run.description()
            self._settings.take(description, run.path.name)
            self._choose_dataset(_dataset_file_of(run, runs_folder()))

        self._do(duplicate)

    def _on_show_folder(self, checked: bool = False) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._selected)))

    def _do(self, action: Callable[[], None]) -> None:
        self._trouble = None
        try:
            action()
        except HipError as error:
            self._trouble = error
        self.refresh()

    # What the user sees.

    def _row(self) -> RunRow | None:
        return next((row for row in self._rows if row.run.path == self._selected), None)

    def _show_note(self) -> None:
        label, row = self.ui.runsNoteLabel, self._row()
        label.toolTip = ""
        if self._trouble is not None:
            label.text, label.toolTip = self._trouble.sentence, self._trouble.detail
        elif row is not None:
            text = _("{name}: {state}. {note}")
            label.text = text.format(name=row.run.path.name, state=in_words(row.state), note=_note(row)).strip()
        elif self._rows:
            label.text = _("Select a run to watch it.")
        else:
            label.text = _("There are no runs in this folder yet.")

    def _show_buttons(self) -> None:
        row = self._row()
        state = None if row is None else row.state
        nothing = _("Select a run first.") if row is None else ""
        self._enable("runsPauseButton", nothing or _reason_against_pause(state))
        self._enable("runsStopButton", nothing or _reason_against_stop(state))
        self._enable("runsDuplicateButton", nothing or self._reason_against_duplicate(row))
        self._enable("runsShowFolderButton", nothing)
        pause = self.ui.runsPauseButton
        resumes = state not in (None, "running", "stalled", "starting", "stopping")
        pause.text = _("&Resume") if resumes else _("Pa&use")
        if pause.enabled:
            pause.toolTip = (
                _("Go on where the training left off.")
                if resumes
                else _("Let the training wait after the step at hand; its process keeps its memory.")
            )

    def _reason_against_duplicate(self, row: RunRow) -> str:
        if not is_run(row.run.path):
            return _("The training is starting; wait a moment.")
        if row.state == "unreadable":
            return row.note
        return self._settings.reason_against_taking()

    def _enable(self, name: str, reason: str) -> None:
        widget = getattr(self.ui, name)
        widget.enabled, widget.toolTip = not reason, reason or self._usual_tips[name]


def _note(row: RunRow) -> str:
    """What the run says, or what it will do next."""
    return {
        "starting": _("Its process loads its libraries; this can take a minute."),
        "pausing": _("It will wait after the step at hand."),
        "stopping": _("It will save itself and end after the step at hand."),
        "stopped": _("Resume goes on where it left off."),
    }.get(row.state, row.note)


def _reason_against_pause(state: str) -> str:
    return {
        "starting": _("The training is starting; wait a moment."),
        "stopping": _("The training is about to stop; it can be resumed then."),
        "finished": _("This run is finished; duplicate it to train anew."),
        "stalled": _("The process does not answer; stop it first."),
        "unreadable": _("The folder of this run is damaged."),
    }.get(state, "")


def _reason_against_stop(state: str) -> str:
    if state in ("starting", "running", "pausing", "paused", "stalled"):
        return ""
    return _("It is about to stop.") if state == "stopping" else _("No training is running in this folder.")


def _dataset_file_of(run: RunFolder, folder: Path) -> Path:
    """A file that names the run's cases: the one that it was started with, if that still says the same, or else one in
    ``folder``.

    Raises:
        HipError: ``damaged_run``, or as for any file.
    """
    description = run.description()
    try:
        dataset = from_json(Dataset, description["dataset"])
        command = [str(part) for part in description["command"]]
    except (KeyError, TypeError) as error:
        raise HipError("damaged_run", _("The folder of this run does not say its data."), repr(error)) from error
    if "--dataset" in command[:-1]:
        named = Path(command[command.index("--dataset") + 1])
        if named.is_absolute() and _says(named, dataset):
            return named
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    paths = (folder / f"{run.path.name}{ending}.dataset.json" for ending in endings)
    path = next(path for path in paths if not path.exists() or _says(path, dataset))
    if not path.exists():
        write_dataset_file(dataset, path)
    return path


def _says(file: Path, dataset: Dataset) -> bool:
    try:
        return unchecked_dataset_from_file(file) == dataset
    except HipError:
        return False
