"""The collapsible section "Data": the volumes of a training, kept in a dataset.json, and what is wrong with them.

The file is the data set. Nothing is kept here, so closing Slicer loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.list_height import fit_height
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case, Problem, only_measures, suggest_roles, unchecked_dataset_from_file
from HipICMSCTrainingLib.gui.panels.check_report import CheckReport, fingerprint, read_report, write_report
from HipICMSCTrainingLib.gui.panels.data_table import DataTable
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.panels.folder_area import FolderArea
from HipICMSCTrainingLib.gui.panels.scene_area import SceneArea
from HipICMSCTrainingLib.gui.running.command import Command

_FILE_NAME = "dataset.json"
#: The same patients are held out each time; who wants others changes roles by hand.
_SEED = 0
#: That are seen at once.
_MOST_PROBLEMS = 4
_BUTTONS = ("Scene", "Folder", "File", "SceneAdd", "FolderAdd", "Remove", "Roles", "Check", "Measure")


class DataPanel:
    """
    Attributes:
        widget: the section.
        changed: signal without values: another file, other cases or another report; ask :meth:`blocking_sentence`.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.changed = Signal()
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Data.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._file: DatasetFile | None = None
        self._method, self._labelled_mri = "icmsc", False
        self._problem = _("Choose the dataset.json of a data set, or make a new one.")
        self._stops: list[Problem] = []
        self._report: CheckReport | None = None
        self._listed: list[Problem] = []
        self._check: Command | None = None
        self._said = ""
        self._is_adding = self._is_listing = False
        # What the buttons do when they can be used; the .ui file has it, and a reason takes its place.
        self._usual_tips = {name: self._button(name).toolTip for name in _BUTTONS}
        self._table = DataTable(self.ui.dataTable)
        self._scene_area, self._folder_area = SceneArea(self.ui), FolderArea(self.ui)
        self._connect()
        self._open("")

    @property
    def dataset_file(self) -> Path | None:
        """The dataset.json, which may be still to be made; None where none is chosen or it cannot be read."""
        return self._file.path if self._file else None

    def set_method(self, name: str, labelled_mri: bool) -> None:
        """Judge the data by what this method needs; ``changed`` is emitted if another one was known before.

        Args:
            labelled_mri: whether it is trained on labelled MRIs. Any other method must not see them.
        """
        if (name, labelled_mri) == (self._method, self._labelled_mri):
            return
        self._method, self._labelled_mri = name, labelled_mri
        self._scene_area.set_labelled_mri(labelled_mri)
        self._folder_area.set_labelled_mri(labelled_mri)
        self._after_change()

    def set_dataset_file(self, path: Path | None) -> None:
        """Show another data set; ``changed`` is emitted."""
        text = "" if path is None else str(path)
        self.ui.dataPathEdit.blockSignals(True)
        self.ui.dataPathEdit.currentPath = text
        self.ui.dataPathEdit.blockSignals(False)
        self._open(text)

    def blocking_sentence(self) -> str:
        """Why no training can start with these data, and what to do; empty if one can.

        Stops of the last check block until the data are checked again or the case is removed; a missing check does
        not block.
        """
        if self._problem:
            return self._problem
        if self._stops:
            return self._in_words(self._stops[0])
        if self._report is None or not self._report.stops:
            return ""
        found = self._in_words(self._report.stops[0])
        if self._report.is_current:
            return found
        return _("The last check of the data found: {found} If that is done, check the data again.").format(found=found)

    def refresh(self) -> None:
        """Look at the files and the scene again, for both may have changed while the module was not shown."""
        if self._file is None:
            self._open(self.ui.dataPathEdit.currentPath)
        else:
            self._try(self._file.reread)
        if self.ui.dataSceneButton.checked:
            self._scene_area.refresh()
        self._folder_area.refresh()
        self._show()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; a check that runs is given up."""
        self._scene_area.close()
        if self._check is not None:
            self._check.close()
            self._check = None

    def _connect(self) -> None:
        ui = self.ui
        ui.dataPathEdit.connect("currentPathChanged(QString)", self._open)
        ui.dataNewButton.connect("clicked(bool)", self._on_new)
        ui.dataSceneButton.connect("toggled(bool)", self._on_scene)
        ui.dataFolderButton.connect("toggled(bool)", self._on_folder)
        ui.dataFileButton.connect("clicked(bool)", self._on_file)
        ui.dataSceneAddButton.connect("clicked(bool)", self._on_add_from_scene)
        ui.dataFolderAddButton.connect("clicked(bool)", self._on_add_from_folder)
        ui.dataRemoveButton.connect("clicked(bool)", self._on_remove)
        ui.dataRolesButton.connect("clicked(bool)", self._on_roles)
        ui.dataCheckButton.connect("clicked(bool)", self._on_check)
        ui.dataMeasureButton.connect("clicked(bool)", self._on_measure)
        ui.dataProblemsList.connect("itemSelectionChanged()", self._on_problem)
        self._table.role_chosen.connect(self._on_role)
        self._table.patient_entered.connect(self._on_patient)
        self._table.selection_changed.connect(self._show_buttons)
        self._scene_area.changed.connect(self._show_buttons)
        self._folder_area.changed.connect(self._show_buttons)

    # Which file.

    def _open(self, path: str) -> None:
        if self._check is not None:
            self._check.cancel()
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
            self._say(_("This folder has a data set already; it was opened."))

    # What is in it.

    def _on_scene(self, shown: bool) -> None:
        if shown:
            self.ui.dataFolderButton.checked = False
        self._scene_area.show(shown)
        self._show()

    def _on_folder(self, shown: bool) -> None:
        if shown:
            self.ui.dataSceneButton.checked = False
            self._folder_area.refresh()
        self._show()

    def _on_add_from_scene(self, checked: bool = False) -> None:
        before = len(self._file.cases)
        self._is_adding = True
        self._show_buttons()
        try:
            self._try(lambda: self._scene_area.add_to(self._file, self._say))
        finally:
            self._is_adding = False
            count = len(self._file.cases) - before
            self._said = _("Volumes added: {count}.").format(count=count) if count else ""
            self._after_change()

    def _on_add_from_folder(self, checked: bool = False) -> None:
        count = self._try(lambda: self._folder_area.add_to(self._file))
        if count is not None:
            self._after_adding(count)

    def _on_file(self, checked: bool = False) -> None:
        kind = _("Data set (*.json)")
        chosen = qt.QFileDialog.getOpenFileName(self.widget, _("Add the volumes of a data set"), "", kind)
        if chosen:
            count = self._try(lambda: self._add_file(Path(chosen)))
            if count is not None:
                self._after_adding(count)

    def _add_file(self, path: Path) -> int:
        present, added = {case.image for case in self._file.cases}, []
        for case in unchecked_dataset_from_file(path).cases:
            if case.image not in present:
                name = self._file.free_name(case.modality, case.name, [other.name for other in added])
                added.append(replace(case, name=name))
        self._file.add(added)
        return len(added)

    def _after_adding(self, count: int) -> None:
        if count:
            self._said = _("Volumes added: {count}.").format(count=count)
        else:
            self._said = _("Nothing was added; these volumes are in the data set already.")
        self._after_change()

    def _on_remove(self, checked: bool = False) -> None:
        self._change(lambda: self._file.remove(self._table.selected()))

    def _on_roles(self, checked: bool = False) -> None:
        self._change(lambda: self._file.change(suggest_roles(self._file.cases, _SEED, self._labelled_mri)))

    def _on_measure(self, checked: bool = False) -> None:
        patients = {case.patient for case in self._file.cases if only_measures(case)}
        changed = [replace(case, role="test") if case.patient in patients else case for case in self._file.cases]
        self._change(lambda: self._file.change(changed))

    def _on_role(self, chosen: Case, role: str) -> None:
        def changed(case: Case) -> Case:
            # What only measures stays what it is.
            is_measured = only_measures(case, self._labelled_mri) and case != chosen
            return replace(case, role=role) if case.patient == chosen.patient and not is_measured else case

        self._change(lambda: self._file.change(map(changed, self._file.cases)))

    def _on_patient(self, chosen: Case, patient: str) -> None:
        patient = patient or chosen.name
        role = None if only_measures(chosen, self._labelled_mri) else self._file.role_of(patient)
        changed = replace(chosen, patient=patient, role=role or chosen.role)
        self._change(lambda: self._file.change(changed if case == chosen else case for case in self._file.cases))

    def _change(self, action: Callable[[], None]) -> None:
        self._said = ""
        self._try(action)
        self._after_change()

    def _try(self, action: Callable[[], Any]) -> Any:
        """What the action gives; None if it failed, which the user is told."""
        try:
            return action()
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            return None

    def _after_change(self) -> None:
        self._show()
        self.changed.emit()

    # The check.

    def _on_check(self, checked: bool = False) -> None:
        if self._check is not None:
            self._check.cancel()
            return
        path, cases = self._file.path, self._file.cases
        before, reports = fingerprint(path, cases), []

        def on_line(line: dict[str, Any]) -> None:
            if "report" in line:
                reports.append(line["report"])
            else:
                self.ui.dataCheckProgressBar.value = round(100 * line.get("progress", 0))
                self.ui.dataCheckLabel.text = _("Checking {name} …").format(name=line.get("case", ""))

        def on_end(error: HipError | None) -> None:
            self._check = None
            if reports:
                self._try(lambda: write_report(path, before, reports[0]))
            elif error is not None and error.kind != "cancelled":
                slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            self._after_change()

        self.ui.dataCheckProgressBar.value = 0
        command = ["check", "--dataset", str(path), "--method", self._method, "--progress"]
        self._check = Command(command, on_line, on_end)
        self._show()
        self.ui.dataCheckLabel.text = _("The check is starting …")

    def _on_problem(self) -> None:
        items = self.ui.dataProblemsList.selectedItems()
        if items and not self._is_listing:
            self._table.select(self._listed[self.ui.dataProblemsList.row(items[0])].case)

    # What the user sees.

    def _show(self) -> None:
        cases = self._file.cases if self._file else ()
        self._stops = self._file.stops(self._labelled_mri) if cases else self._no_cases()
        self._report = read_report(self._file.path, cases) if self._file else None
        self._table.show(cases, self._stops, self._labelled_mri)
        self.ui.dataMeasureButton.visible = any(stop.kind == "labelled_mri_in_training" for stop in self._stops)
        self.ui.dataSceneFrame.visible = self.ui.dataSceneButton.checked and self._file is not None
        self.ui.dataFolderFrame.visible = self.ui.dataFolderButton.checked and self._file is not None
        self.ui.dataStateLabel.text = "\n".join(filter(None, [self._said, *self._state(cases)]))
        self.ui.dataCheckProgressBar.visible = self._check is not None
        self._list_problems()
        if self._check is None:
            self.ui.dataCheckLabel.text = self._state_of_check()
            self.ui.dataCheckLabel.visible = bool(self.ui.dataCheckLabel.text)
        else:
            self.ui.dataCheckLabel.visible = True
        self._show_buttons()

    def _no_cases(self) -> list[Problem]:
        if self._file is None:
            return []
        add = _("Add labelled CTs and MRIs from the scene or from folders.")
        return [Problem("stop", "no_cases", "", _("The data set has no volumes yet."), add)]

    def _state(self, cases) -> list[str]:
        if self._problem:
            return [self._problem]
        if not cases:
            return [self._in_words(stop) for stop in self._stops]
        ct, mr = ([case.role for case in cases if case.modality == modality] for modality in ("CT", "MR"))
        lines = [
            _("CTs: {train} to train on, {val} held out for validation.").format(
                train=ct.count("train"), val=ct.count("val")
            ),
            _("MRIs: {train} to train on, {val} held out for validation.").format(
                train=mr.count("train"), val=mr.count("val")
            ),
        ]
        if self._labelled_mri:
            lines.append(_("The chosen method learns from labelled MRIs; those with the role test only measure."))
        elif any(map(only_measures, cases)):
            lines.append(
                _(
                    "Labelled MRIs are for measuring only: they may take no part in the training, because the chosen "
                    "method does not learn from labels of MRIs."
                )
            )
        if self.blocking_sentence():
            return [*lines, _("A training cannot start yet; first solve what is called a stop below.")]
        return [*lines, _("A training can start with these data.")]

    def _state_of_check(self) -> str:
        if self._report is None:
            return _("The volumes have not been checked yet.") if self._file and self._file.cases else ""
        cautions = len(self._report.problems) - len(self._report.stops)
        found = _("Last check: stops {stops}, cautions {cautions}.").format(
            stops=len(self._report.stops), cautions=cautions
        )
        if not self._report.problems:
            found = _("Last check: nothing was found.")
        if self._report.is_current:
            return found
        return f"{found} {_('The data have changed since; this is out of date.')}"

    def _list_problems(self) -> None:
        """What can be told at once, then what the last check found."""
        known = {stop.sentence for stop in self._stops}
        of_check = self._report.problems if self._report else ()
        self._listed = [*(stop for stop in self._stops if stop.kind != "no_cases"),
                        *(problem for problem in of_check if problem.sentence not in known)]  # fmt: skip
        texts = [self._line(problem) for problem in self._listed]
        problems_list = self.ui.dataProblemsList
        problems_list.visible = bool(texts)
        if texts != [problems_list.item(row).text() for row in range(problems_list.count)]:
            self._is_listing = True
            problems_list.clear()
            problems_list.addItems(texts)
            fit_height(problems_list, len(texts), _MOST_PROBLEMS, lines=2)
            self._is_listing = False

    def _line(self, problem: Problem) -> str:
        level = _("Stop") if problem.level == "stop" else _("Caution")
        return f"{level}: {self._in_words(problem)}"

    def _in_words(self, problem: Problem) -> str:
        return " ".join(filter(None, [problem.sentence, problem.fix, self._hint(problem)]))

    def _hint(self, problem: Problem) -> str:
        if problem.kind == "labelled_mri_in_training":
            return _("The button Only measure with labelled MRIs does that for all of them.")
        if problem.kind != "too_few_volumes":
            return ""
        if self._labelled_mri and any(case.role == "test" and only_measures(case) for case in self._file.cases):
            return _("Labelled MRIs that are now for testing can be given another role in the table.")
        patients = [{case.patient for case in self._file.cases if case.modality == kind} for kind in ("CT", "MR")]
        return _("Press Suggest roles to hold some out.") if min(map(len, patients)) > 1 else ""

    def _show_buttons(self) -> None:
        busy = _("Volumes are being written.") if self._is_adding else self._problem
        for name, reason in (
            ("Scene", ""),
            ("Folder", ""),
            ("File", ""),
            ("SceneAdd", self._scene_area.reason_against() if self.ui.dataSceneButton.checked else ""),
            ("FolderAdd", self._folder_area.reason_against() if self.ui.dataFolderButton.checked else ""),
            ("Remove", "" if self._table.selected() else _("Select rows of the table first.")),
            ("Roles", self._reason_without_cases()),
            ("Check", self._reason_without_cases()),
            ("Measure", ""),
        ):
            button = self._button(name)
            button.enabled = not (busy or reason)
            button.toolTip = busy or reason or self._usual_tips[name]
        if self._check is not None:
            self.ui.dataCheckButton.enabled = True
            self.ui.dataCheckButton.toolTip = _("Give the check up; nothing is changed.")
        self.ui.dataCheckButton.text = _("Check data") if self._check is None else _("Cancel check")
        self.ui.dataPathEdit.enabled = self.ui.dataNewButton.enabled = not self._is_adding

    def _reason_without_cases(self) -> str:
        return "" if self._file and self._file.cases else _("The data set has no volumes yet.")

    def _button(self, name: str):
        return getattr(self.ui, f"data{name}Button")

    def _say(self, sentence: str) -> None:
        self._said = sentence
        self.ui.dataStateLabel.text = sentence


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
