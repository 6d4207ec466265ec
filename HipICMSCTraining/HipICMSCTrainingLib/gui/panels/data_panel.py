"""The collapsible section "Data": the volumes of a training, kept in a dataset.json, and what is wrong with them.

The file is the data set. Nothing is kept here, so closing Slicer loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.cases_of_folders import suggest_roles
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.dataset_problems import Problem
from HipICMSCTrainingLib.gui.panels.adding_area import AddingArea
from HipICMSCTrainingLib.gui.panels.case_changes import with_labelled_only_measured, with_patient, with_role
from HipICMSCTrainingLib.gui.panels.check_area import CheckArea
from HipICMSCTrainingLib.gui.panels.check_report import arguments_of_check
from HipICMSCTrainingLib.gui.panels.data_table import DataTable
from HipICMSCTrainingLib.gui.panels.data_words import counts, in_words, no_cases
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.running.activity import Activity

_FILE_NAME = "dataset.json"
#: The same patients are held out each time; who wants others changes roles by hand.
_SEED = 0
_BUTTONS = ("Scene", "Folder", "File", "SceneAdd", "FolderAdd", "Remove", "Roles", "Check", "Measure")


class DataPanel:
    """
    Attributes:
        widget: the section.
        changed: signal without values: another file, other cases or another report; ask :meth:`blocking_sentence`.
    """

    def __init__(self, resource_path: Callable[[str], str], activity: Activity) -> None:
        self.changed = Signal()
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Data.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._activity = activity
        self._file: DatasetFile | None = None
        self._method, self._labelled_mri = "icmsc", False
        self._arguments: list[str] = []
        self._problem = _("Choose the dataset.json of a data set, or make a new one.")
        self._stops: list[Problem] = []
        self._said = ""
        # What the buttons do when they can be used; the .ui file has it, and a reason takes its place.
        self._usual_tips = {name: self._button(name).toolTip for name in _BUTTONS}
        self._table = DataTable(self.ui.dataTable)
        self._check = CheckArea(self.ui, activity, self._in_words)
        self._adding = AddingArea(self.widget, self.ui, activity, lambda: self._file)
        self._connect()
        self._open("")

    @property
    def dataset_file(self) -> Path | None:
        """The dataset.json, which may be still to be made; None where none is chosen or it cannot be read."""
        return self._file.path if self._file else None

    @property
    def chosen(self) -> Path | None:
        """What stands in the field, be it a data set or not; of a folder the dataset.json in it."""
        text = self._text.strip()
        return self.dataset_file or (Path(text) if text else None)

    def set_training(self, method: str, labelled_mri: bool, arguments: Sequence[str] = ()) -> None:
        """Judge the data by what this training needs; ``changed`` is emitted if another one was known before.

        Args:
            labelled_mri: whether the method is trained on labelled MRIs. Any other method must not see them.
            arguments: its settings, as for ``hipicmsc train``.
        """
        needed = method, labelled_mri, arguments_of_check(arguments)
        if needed == (self._method, self._labelled_mri, self._arguments):
            return
        self._method, self._labelled_mri, self._arguments = needed
        self._adding.set_labelled_mri(labelled_mri)
        self._after_change()

    def set_dataset_file(self, path: Path | None) -> None:
        """Show another data set; ``changed`` is emitted."""
        text = "" if path is None else str(path)
        self._text = text
        self.ui.dataPathEdit.currentPath = text
        self._open(text)

    def blocking_sentence(self) -> str:
        """Why no training can start with these data, and what to do; empty if one can.

        Stops of the last check block until the data are checked again or the case is removed; a missing check does
        not block.
        """
        if self._problem:
            return self._problem
        return self._in_words(self._stops[0]) if self._stops else self._check.blocking_sentence()

    def refresh(self) -> None:
        """Look at the files and the scene again, for both may have changed while the module was not shown."""
        if self._file is None:
            self._open(self.ui.dataPathEdit.currentPath)
        else:
            self._try(self._file.reread)
        self._adding.refresh()
        self._show()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; a check that runs is given up."""
        self._adding.close()
        self._check.close()

    def _connect(self) -> None:
        ui = self.ui
        # Of a path that is emptied, ctk says only the second.
        for signal in ("currentPathChanged(QString)", "validInputChanged(bool)"):
            ui.dataPathEdit.connect(signal, self._on_path)
        ui.dataNewButton.connect("clicked(bool)", self._on_new)
        ui.dataRemoveButton.connect("clicked(bool)", self._on_remove)
        ui.dataRolesButton.connect("clicked(bool)", self._on_roles)
        ui.dataCheckButton.connect("clicked(bool)", self._on_check)
        ui.dataMeasureButton.connect("clicked(bool)", self._on_measure)
        self._table.role_chosen.connect(self._on_role)
        self._table.patient_entered.connect(self._on_patient)
        self._table.selection_changed.connect(self._show_buttons)
        self._adding.changed.connect(self._show_areas)
        self._adding.added.connect(self._on_added)
        self._check.changed.connect(self._after_change)
        self._check.problem_chosen.connect(self._table.select)
        self._activity.changed.connect(self._show_buttons)

    # Which file.

    def _on_path(self, value: object) -> None:
        if self.ui.dataPathEdit.currentPath != self._text:
            self._open(self.ui.dataPathEdit.currentPath)

    def _open(self, path: str) -> None:
        self._check.cancel()
        self._text = path
        self._file, self._said, self._problem = None, "", ""
        try:
            self._file = DatasetFile(_dataset_path(path))
        except HipError as error:
            self._problem = error.sentence
        self._after_change()

    def _on_new(self, checked: bool = False) -> None:
        beside = self.dataset_file.parent.parent if self.dataset_file else Path.home()
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder for the new data set"), str(beside))
        if not folder:
            return
        self.set_dataset_file(Path(folder) / _FILE_NAME)
        if self._file is not None and self._file.cases:
            self._said = _("This folder has a data set already; it was opened.")
            self._show_state()

    # What is in it.

    def _on_added(self, sentence: str) -> None:
        self._said = sentence
        self._after_change()

    def _on_remove(self, checked: bool = False) -> None:
        self._change(lambda: self._file.remove(self._table.selected()))

    def _on_roles(self, checked: bool = False) -> None:
        self._change(lambda: self._file.change(suggest_roles(self._file.cases, _SEED, self._labelled_mri)))

    def _on_measure(self, checked: bool = False) -> None:
        self._change(lambda: self._file.change(with_labelled_only_measured(self._file.cases)))

    def _on_role(self, chosen: Case, role: str) -> None:
        self._change(lambda: self._file.change(with_role(self._file.cases, chosen, role, self._labelled_mri)))

    def _on_patient(self, chosen: Case, patient: str) -> None:
        role = self._file.role_of(patient or chosen.name)
        self._change(
            lambda: self._file.change(with_patient(self._file.cases, chosen, patient, role, self._labelled_mri))
        )

    def _on_check(self, checked: bool = False) -> None:
        self._check.start(self._file, self._method, self._arguments)
        self._show()

    def _change(self, action: Callable[[], None]) -> None:
        self._said = ""
        self._try(action)
        self._after_change()

    def _try(self, action: Callable[[], None]) -> None:
        """What keeps it from being done, the user is told."""
        try:
            action()
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)

    def _after_change(self) -> None:
        self._show()
        self.changed.emit()

    # What the user sees.

    def _show(self) -> None:
        cases = self._cases
        self._stops = [] if self._file is None else self._file.stops(self._labelled_mri) if cases else [no_cases()]
        self._check.read(self._file, self._arguments)
        self._table.show(cases, self._stops, self._labelled_mri)
        self.ui.dataMeasureButton.visible = any(stop.kind == "labelled_mri_in_training" for stop in self._stops)
        self._show_state()
        self._check.show(self._file, self._stops)
        self._show_areas()

    @property
    def _cases(self) -> tuple[Case, ...]:
        return self._file.cases if self._file else ()

    def _show_areas(self) -> None:
        self.ui.dataSceneFrame.visible = self.ui.dataSceneButton.checked and self._file is not None
        self.ui.dataFolderFrame.visible = self.ui.dataFolderButton.checked and self._file is not None
        self._show_buttons()

    def _show_state(self) -> None:
        self.ui.dataStateLabel.text = "\n".join(filter(None, [self._said, *self._state()]))

    def _state(self) -> list[str]:
        if self._problem:
            return [self._problem]
        if not self._cases:
            return [self._in_words(stop) for stop in self._stops]
        lines = counts(self._cases, self._labelled_mri)
        if self.blocking_sentence():
            return [*lines, _("A training cannot start yet: first mend what is marked as a stop below.")]
        return [*lines, _("A training can start with these data.")]

    def _in_words(self, problem: Problem) -> str:
        return in_words(problem, self._cases, self._labelled_mri)

    def _show_buttons(self) -> None:
        busy = _("Volumes are being written.") if self._adding.is_adding else self._problem
        without_cases = "" if self._cases else _("The data set has no volumes yet.")
        against_scene, against_folder = self._adding.reasons_against()
        for name, reason in (
            ("Scene", ""),
            ("Folder", ""),
            ("File", ""),
            ("SceneAdd", against_scene),
            ("FolderAdd", against_folder),
            ("Remove", "" if self._table.selected() else _("Select rows of the table first.")),
            ("Roles", without_cases),
            ("Check", without_cases or self._activity.reason_against()),
            ("Measure", ""),
        ):
            button = self._button(name)
            button.enabled = not (busy or reason)
            button.toolTip = busy or reason or self._usual_tips[name]
        if self._check.is_running:
            self.ui.dataCheckButton.enabled = True
            self.ui.dataCheckButton.toolTip = _("Give the check up; nothing is changed.")
        self.ui.dataCheckButton.text = _("Cancel check") if self._check.is_running else _("Check data")
        self.ui.dataPathEdit.enabled = self.ui.dataNewButton.enabled = not self._adding.is_adding

    def _button(self, name: str):
        return getattr(self.ui, f"data{name}Button")


def _dataset_path(text: str) -> Path:
    """
    Raises:
        HipError: ``no_dataset`` for what cannot be the file of a data set.
    """
    if not text.strip():
        raise HipError("no_dataset", _("Choose the dataset.json of a data set, or make a new one."))
    path = Path(text.strip()).expanduser()
    if os.path.isdir(path):
        return path / _FILE_NAME
    if path.suffix.lower() != ".json" or not path.is_absolute():
        raise HipError("no_dataset", _("Choose a file whose name ends in .json, or a folder."))
    return path
