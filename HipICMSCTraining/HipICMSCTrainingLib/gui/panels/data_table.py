"""The rows of a data set: a volume each, with its kind, labels, role and patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qt
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.panels.shared_columns import SharedColumns
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case, only_measures
from HipICMSCTrainingLib.data.dataset_problems import Problem

_NAME, _KIND, _LABELS, _ROLE, _PATIENT = _COLUMNS = range(5)
_ROLES = ("train", "val", "test")
_MOST_ROWS = 8
#: Letters; names take what is left. Whole texts are in the tool tips.
_WIDEST_PATIENT = 10


class DataTable:
    """Fills a QTableWidget of five columns.

    Attributes:
        role_chosen: signal of a case and the role that the user gave it.
        patient_entered: signal of a case and the patient that the user typed.
        selection_changed: signal without values.
    """

    def __init__(self, table) -> None:
        self.role_chosen, self.patient_entered, self.selection_changed = Signal(), Signal(), Signal()
        self._table = table
        self._cases: list[Case] = []
        self._combos: list = []
        self._filling = False
        self._shared_columns = SharedColumns(table, _NAME, {_PATIENT: _WIDEST_PATIENT}, whole=[_ROLE])
        table.connect("itemChanged(QTableWidgetItem*)", self._on_changed)
        table.connect("itemSelectionChanged()", self.selection_changed.emit)

    def show(self, cases: Sequence[Case], stops: Sequence[Problem], labelled_mri: bool) -> None:
        """Show these cases; a row whose name a stop has says in its tool tips why it is incomplete.

        Args:
            labelled_mri: the method is trained on labelled MRIs.
        """
        self._filling = True
        self._cases = list(cases)
        self._set_row_count(len(cases))
        for row, case in enumerate(cases):
            reasons = [f"{stop.sentence} {stop.fix}" for stop in stops if stop.case == case.name]
            self._show_row(row, case, "\n".join(reasons), labelled_mri)
        self._shared_columns.fit()
        self._filling = False

    def selected(self) -> list[Case]:
        rows = sorted({item.row() for item in self._table.selectedItems()})
        return [self._cases[row] for row in rows]

    def select(self, name: str) -> None:
        """Select the row of a case; none where there is no such case."""
        rows = [row for row, case in enumerate(self._cases) if case.name == name]
        self._table.clearSelection()
        if rows:
            self._table.selectRow(rows[0])
            self._table.scrollToItem(self._table.item(rows[0], _NAME))

    def _set_row_count(self, count: int) -> None:
        """Rows that stay keep their widgets, because one of them may just be telling us of a choice."""
        self._table.setRowCount(count)
        fit_height(self._table, count, _MOST_ROWS, header=True)
        del self._combos[count:]
        for row in range(len(self._combos), count):
            for column in _COLUMNS:
                item = qt.QTableWidgetItem("")
                flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
                item.setFlags(flags | qt.Qt.ItemIsEditable if column == _PATIENT else flags)
                self._table.setItem(row, column, item)
            self._combos.append(self._role_combo(row))
            self._table.setCellWidget(row, _ROLE, self._combos[row])

    def _role_combo(self, row: int):
        combo = qt.QComboBox()
        combo.addItems([_("Training"), _("Validation"), _("Test")])
        combo.connect("currentIndexChanged(int)", lambda index: self._on_role(row, index))
        return combo

    def _show_row(self, row: int, case: Case, reasons: str, labelled_mri: bool) -> None:
        labels = _labels(case, labelled_mri)
        texts = {
            _NAME: (case.name, f"{case.name}\n{case.image}"),
            _KIND: (_("CT") if case.modality == "CT" else _("MRI"), case.corrected or ""),
            _LABELS: (labels, f"{labels}\n{case.label or ''}".strip()),
            _PATIENT: (
                case.patient,
                _("{patient}\nDouble-click to change it; all volumes of a person must have one patient.").format(
                    patient=case.patient
                ),
            ),
        }
        for column, (text, tip) in texts.items():
            item = self._table.item(row, column)
            item.setText(text)
            item.setToolTip("\n".join(filter(None, [reasons, tip])))
        combo, is_measured = self._combos[row], only_measures(case, labelled_mri)
        combo.currentIndex = _ROLES.index(case.role)
        combo.enabled = not (is_measured and case.role == "test")
        combo.toolTip = (
            _("A labelled MRI is only measured, so its role is test.")
            if is_measured
            else _("What the volumes of this patient are for; all of them change together.")
        )
        combo.accessibleName = _("Role of {name}").format(name=case.name)

    def _on_role(self, row: int, index: int) -> None:
        if not self._filling:
            self.role_chosen.emit(self._cases[row], _ROLES[index])

    def _on_changed(self, item) -> None:
        if not self._filling and item.column() == _PATIENT:
            self.patient_entered.emit(self._cases[item.row()], item.text().strip())


def _labels(case: Case, labelled_mri: bool) -> str:
    needs_labels = case.modality == "CT" or (labelled_mri and case.role != "test")
    if not Path(case.image).exists():
        return _("volume missing")
    if case.corrected:
        return _("corrected")
    if case.label is None:
        return _("missing") if needs_labels else _("not needed")
    if not Path(case.label).exists():
        return _("file missing")
    return _("measuring only") if only_measures(case, labelled_mri) else _("present")
