"""The area in which the volumes of a folder are taken into a data set; the files stay where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.running.look import unreadable
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.cases_of_folders import cases_in_steps, corrected_cases
from HipICMSCTrainingLib.data.dataset import Case, LabelValues, Role
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.panels.label_values import last_values, remember_values
from HipICMSCTrainingLib.gui.running.folder_look import FolderLook

_CT, _MRI, _LABELLED_MRI, _CORRECTED = range(4)


class FolderArea:
    """Attributes:
    changed: signal without values: what is chosen is another, and so may be :meth:`reason_against`.
    """

    def __init__(self, ui) -> None:
        self.changed = Signal()
        self._ui = ui
        self._labelled_mri = False
        self._look = FolderLook()
        self._look.ended.connect(self._show)
        values = last_values()
        ui.dataHipBoneValuesEdit.text = ", ".join(map(str, values.acetabulum))
        ui.dataFemurValuesEdit.text = ", ".join(map(str, values.femur))
        ui.dataFolderEdit.connect("currentPathChanged(QString)", self._on_text)
        ui.dataHipBoneValuesEdit.connect("textChanged(QString)", self._on_text)
        ui.dataFemurValuesEdit.connect("textChanged(QString)", self._on_text)
        ui.dataFolderKindComboBox.connect("currentIndexChanged(int)", self._on_kind)
        self._show()

    def set_labelled_mri(self, labelled_mri: bool) -> None:
        """Say whether the method is trained on labelled MRIs; otherwise they are for measuring only."""
        self._labelled_mri = labelled_mri
        text = _("MRIs with label maps") if labelled_mri else _("MRIs with label maps, for measuring only")
        self._ui.dataFolderKindComboBox.setItemText(_LABELLED_MRI, text)
        self._show()

    def refresh(self) -> None:
        """Look at the folder again, for what lies in the folders below it may have changed."""
        self._look.forget()
        self._show()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._look.forget()

    def _show(self) -> None:
        kind = self._ui.dataFolderKindComboBox.currentIndex
        has_labels = kind not in (_MRI, _CORRECTED)
        # A case is called as its folder, which names nobody.
        self._ui.dataFolderNamesLabel.visible = self._ui.dataFolderNamesComboBox.visible = kind != _CORRECTED
        for name in ("HipBoneValuesLabel", "HipBoneValuesEdit", "FemurValuesLabel", "FemurValuesEdit",
                     "OtherValuesCheckBox"):  # fmt: skip
            getattr(self._ui, f"data{name}").visible = has_labels
        cases, reason = self._found()
        self._ui.dataFolderNoteLabel.text = reason or self._what_it_holds(cases)
        self.changed.emit()

    def reason_against(self) -> str:
        """Why nothing can be added; empty if something can."""
        return self._found()[1]

    def add_to(self, file: DatasetFile) -> int:
        """Add the volumes that are not in the data set yet.

        Returns:
            How many were added.

        Raises:
            HipError: as ``DatasetFile.add`` and for a folder or values that cannot be used.
        """
        is_numbered = self._ui.dataFolderNamesComboBox.currentIndex == 0
        present, values, added = {case.image for case in file.cases}, self._values(), []
        for case in self._cases():
            if case.image in present:
                continue
            wanted = "" if is_numbered and not case.corrected else case.name
            name = file.free_name(case.modality, wanted, [other.name for other in added])
            added.append(replace(case, name=name, patient=name, label_values=values if case.label else LabelValues()))
        file.add(added)
        if any(case.label for case in added):
            remember_values(values)
        return len(added)

    def _found(self) -> tuple[list[Case], str]:
        """The folder's cases, and why nothing can be added; empty if something can."""
        try:
            cases = self._cases()
            self._values()
        except HipError as error:
            return [], error.sentence
        if cases:
            return cases, ""
        if self._ui.dataFolderKindComboBox.currentIndex == _LABELLED_MRI:
            return [], _("This folder has no volume X with a label map X_label beside it.")
        return [], _("This folder has no volumes (NIfTI, NRRD, MetaImage).")

    def _cases(self) -> list[Case]:
        """
        Raises:
            HipError: ``missing_folder``, or as :meth:`FolderLook.cases`.
        """
        if not self._ui.dataFolderEdit.currentPath:
            raise HipError("missing_folder", _("Choose a folder."))
        folder = Path(self._ui.dataFolderEdit.currentPath)
        try:
            if not folder.is_dir():
                raise HipError("missing_folder", _("There is no such folder; choose another one."))
            changed = os.stat(folder).st_mtime_ns
        except OSError as error:
            raise unreadable(folder, error) from error
        kind = self._ui.dataFolderKindComboBox.currentIndex
        role = "test" if kind == _LABELLED_MRI and not self._labelled_mri else "train"
        return self._look.cases(folder, (folder, changed, kind, role), _steps(folder, kind, role))

    def _values(self) -> LabelValues:
        """
        Raises:
            HipError: ``bad_label_values``.
        """
        edits = (self._ui.dataHipBoneValuesEdit, self._ui.dataFemurValuesEdit)
        try:
            hip_bone, femur = (tuple(int(word) for word in edit.text.replace(",", " ").split()) for edit in edits)
        except ValueError as error:
            raise HipError(
                "bad_label_values", _("Give the label values as whole numbers, separated by commas."), str(error)
            ) from error
        return LabelValues(hip_bone, femur, self._ui.dataOtherValuesCheckBox.checked)

    def _what_it_holds(self, cases: list[Case]) -> str:
        labelled = sum(case.label is not None for case in cases)
        kind = self._ui.dataFolderKindComboBox.currentIndex
        if kind == _MRI:
            return _("Volumes in this folder: {count}.").format(count=len(cases))
        if kind == _CORRECTED:
            return _("Corrected cases: {count}.").format(count=len(cases))
        if kind == _LABELLED_MRI:
            if self._labelled_mri:
                counts = _("Volumes with label maps: {count}, for the training.")
            else:
                counts = _("Volumes with label maps: {count}. They are for measuring only, not for the training.")
            return counts.format(count=len(cases))
        counts = _("Volumes in this folder: {count}, with label maps: {labelled}.")
        return counts.format(count=len(cases), labelled=labelled)

    def _on_text(self, text: str) -> None:
        self._show()

    def _on_kind(self, index: int) -> None:
        self._show()


def _steps(folder: Path, kind: int, role: Role) -> Iterator[Case | None]:
    """The cases of a kind, and None in between, as :func:`cases_in_steps`."""
    if kind == _CORRECTED:
        yield from corrected_cases(folder)
        return
    for case in cases_in_steps(folder, "CT" if kind == _CT else "MR", role):
        if case and kind == _MRI:
            yield replace(case, label=None)
        else:
            yield case if case and (kind == _CT or case.label) else None
