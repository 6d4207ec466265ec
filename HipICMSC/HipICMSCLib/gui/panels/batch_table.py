"""The list of a batch: a row a volume, with a tick, its state, its doubt, the volumes of its bones, and a note."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.batch.queue import BatchItem, notes
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.contrast import show_boxes
from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.panels.shared_columns import SharedColumns

_NAME, _STATE, _DOUBT, _RIGHT, _LEFT, _NOTE = _COLUMNS = range(6)
#: Letters; the whole name is in the tool tip.
_WIDEST_NAME = 16
#: Rows that are seen at once.
_MOST_ROWS = 8


class BatchTable:
    """Fills a QTableWidget of six columns, and a label with the whole note of the selected row.

    Attributes:
        ticked: signal of an item and whether the user ticked it.
        selected: signal of the item whose row the user selected.
    """

    def __init__(self, table, note_label) -> None:
        self.ticked, self.selected = Signal(), Signal()
        self._table, self._note_label = table, note_label
        self._shared_columns = SharedColumns(table, _NOTE, {_NAME: _WIDEST_NAME})
        show_boxes(table)
        self._items: list[BatchItem] = []
        self._is_ticked: Callable[[BatchItem], bool] = lambda item: False
        self._tickable = True
        table.connect("itemChanged(QTableWidgetItem*)", self._on_changed)
        table.connect("itemSelectionChanged()", self._on_selection)

    def fill(self, items: list[BatchItem], is_ticked: Callable[[BatchItem], bool]) -> None:
        """List these items; ``is_ticked`` is asked whenever one is shown."""
        self._items, self._is_ticked = items, is_ticked
        self._table.blockSignals(True)
        self._table.setRowCount(0)
        self._table.setRowCount(len(items))
        fit_height(self._table, len(items), _MOST_ROWS, header=True)
        for row in range(len(items)):
            for column in _COLUMNS:
                self._table.setItem(row, column, qt.QTableWidgetItem(""))
        self._table.blockSignals(False)
        self._show_all()

    def set_tickable(self, tickable: bool) -> None:
        """While a batch runs, ticks cannot be changed."""
        self._tickable = tickable
        self._show_all()

    def show(self, item: BatchItem) -> None:
        """Its state or share is another now."""
        self._show_row(self._items.index(item))
        self._shared_columns.fit()
        self._show_note()

    def _show_all(self) -> None:
        for row in range(len(self._items)):
            self._show_row(row)
        self._shared_columns.fit()
        self._show_note()

    def _show_row(self, row: int) -> None:
        item = self._items[row]
        texts = {
            _NAME: (item.name, item.name),
            _STATE: (_in_words(item), ""),
            _DOUBT: ("" if item.doubt is None else f"{100 * item.doubt:.0f} %", ""),
            _RIGHT: _volumes(item, "right"),
            _LEFT: _volumes(item, "left"),
            _NOTE: (item.sentence, _whole_note(item)),
        }
        self._table.blockSignals(True)
        for column, (text, tip) in texts.items():
            cell = self._table.item(row, column)
            cell.setText(text)
            cell.setToolTip(tip)
            cell.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        if self._tickable:
            self._table.item(row, _NAME).setFlags(
                qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable
            )
        self._table.item(row, _NAME).setCheckState(qt.Qt.Checked if self._is_ticked(item) else qt.Qt.Unchecked)
        self._table.blockSignals(False)

    def _on_selection(self) -> None:
        self._show_note()
        for item in self._selected()[:1]:
            self.selected.emit(item)

    def _selected(self) -> list[BatchItem]:
        return [self._items[cell.row()] for cell in self._table.selectedItems()]

    def _show_note(self) -> None:
        """With room for whole sentences, and for who uses no mouse."""
        selected = self._selected()
        if selected:
            note = _whole_note(selected[0])
            text = note and f"{selected[0].name}: {note}"
        else:
            has_notes = any(item.state in ("done", "failed") and _whole_note(item) for item in self._items)
            text = _("Select a row to read its note.") if has_notes else ""
        self._note_label.text, self._note_label.visible = text, bool(text)

    def _on_changed(self, cell) -> None:
        self.ticked.emit(self._items[cell.row()], cell.checkState() == qt.Qt.Checked)


def _in_words(item: BatchItem) -> str:
    return {
        "waiting": _("Waiting"),
        "running": _("Running, {percent} %").format(percent=round(100 * item.share)),
        "done": _("Done, check") if item.has_fault else _("Done"),
        "failed": _("Failed"),
        "cancelled": _("Cancelled"),
        "skipped": _("Skipped"),
    }[item.state]


def _volumes(item: BatchItem, side: str) -> tuple[str, str]:
    """Hip bone and femur of a side in ml, short and in whole words."""
    if item.report is None:
        return "", ""
    volumes = {segment: item.report["volumes_ml"][segment.name] for segment in SEGMENTS if segment.side == side}
    short = " / ".join(f"{ml:.0f}" if ml else "–" for ml in volumes.values())
    whole = "\n".join(
        f"{segment.name}: {ml:g} ml" if ml else _("{name}: not found").format(name=segment.name)
        for segment, ml in volumes.items()
    )
    return short, whole


def _whole_note(item: BatchItem) -> str:
    if item.report is not None:
        return " ".join(notes(item.report))
    return f"{item.sentence}\n{item.detail}".strip()
