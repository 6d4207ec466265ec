"""The area in which the volumes of a folder are taken into a data set; the files stay where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.cases_of_folders import cases_of_folder, corrected_cases
from HipICMSCTrainingLib.data.dataset import Case, LabelValues
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.panels.label_values import last_values, remember_values

_CT, _MRI, _LABELLED_MRI, _CORRECTED = range(4)


class FolderArea:
    """Attributes:
    changed: signal without values: what is chosen is another, and so may be :meth:`reason_against`.
    """

    def __init__(self, ui) -> None:
        self.changed = Signal()
        self._ui = ui
        self._labelled_mri = False
        values = last_values()
        ui.dataHipBoneValuesEdit.text = ", ".join(map(str, values.acetabulum))
        ui.dataFemurValuesEdit.text = ", ".join(map(str, values.femur))
        ui.dataFolderEdit.connect("currentPathChanged(QString)", self._on_text)
        ui.dataHipBoneValuesEdit.connect("textChanged(QString)", self._on_text)
        ui.dataFemurValuesEdit.connect("textChanged(QString)", self._on_text)
        ui.dataFolderKindComboBox.connect("currentIndexChanged(int)", self._on_kind)
        self.refresh()

    def set_labelled_mri(self, labelled_mri: bool) -> None:
        """Say whether the method is trained on labelled MRIs; otherwise they are for measuring only."""
        self._labelled_mri = labelled_mri
        text = _("MRIs with label maps") if labelled_mri else _("MRIs with label maps, for measuring only")
        self._ui.dataFolderKindComboBox.setItemText(_LABELLED_MRI, text)
        self.refresh()

    def refresh(self) -> None:
        """Look at the folder again."""
        kind = self._ui.dataFolderKindComboBox.currentIndex
        has_labels = kind not in (_MRI, _CORRECTED)
        # A case is called as its folder, which names nobody.
        self._ui.dataFolderNamesLabel.visible = self._ui.dataFolderNamesComboBox.visible = kind != _CORRECTED
        for name in ("HipBoneValuesLabel", "HipBoneValuesEdit", "FemurValuesLabel", "FemurValuesEdit",
                     "OtherValuesCheckBox"):  # fmt: skip
            getattr(self._ui, f"data{name}").visible = has_labels
        self._ui.dataFolderNoteLabel.text = self.reason_against() or self._what_it_holds()
        self.changed.emit()

    def reason_against(self) -> str:
        """Why nothing can be added; empty if something can."""
        try:
            cases = self._cases()
            self._values()
        except HipError as error:
            return error.sentence
        if cases:
            return ""
        if self._ui.dataFolderKindComboBox.currentIndex == _LABELLED_MRI:
            return _("This folder has no volume X with a label map X_label beside it.")
        return _("This folder has no volumes (NIfTI, NRRD, MetaImage).")

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

    def _cases(self) -> list[Case]:
        """
        Raises:
            HipError: ``missing_folder``, or as :func:`corrected_cases`.
        """
        path = self._ui.dataFolderEdit.currentPath
        if not path:
            raise HipError("missing_folder", _("Choose a folder."))
        if not Path(path).is_dir():
            raise HipError("missing_folder", _("There is no such folder; choose another one."))
        kind = self._ui.dataFolderKindComboBox.currentIndex
        if kind == _CORRECTED:
            return corrected_cases(Path(path))
        if kind == _CT:
            return cases_of_folder(Path(path), "CT", "train")
        if kind == _MRI:
            return [replace(case, label=None) for case in cases_of_folder(Path(path), "MR", "train")]
        role = "train" if self._labelled_mri else "test"
        return [case for case in cases_of_folder(Path(path), "MR", role) if case.label]

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

    def _what_it_holds(self) -> str:
        cases = self._cases()
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
        self.refresh()

    def _on_kind(self, index: int) -> None:
        self.refresh()
