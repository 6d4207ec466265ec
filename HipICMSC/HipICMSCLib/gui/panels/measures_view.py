"""The table of measures as the panel shows it: a row a measure, a column a side, the selected one's words below."""

from __future__ import annotations

import math

import qt
from slicer.i18n import tr as _

from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.contrast import weak_colour
from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.scene.measures_table import MeasureRow
from HipICMSCLib.results.morphometry_table import in_digits

_NAME, _RIGHT, _LEFT, _UNIT = range(4)
_COLUMN_OF = {"right": _RIGHT, "left": _LEFT}
_MOST_ROWS = 6
_UNITS = {"deg": "°", "h": _("o'clock")}
#: What is not to be relied on as it stands.
_WEAK = ("uncertain", "outdated", "stale", "refused")


class MeasuresView:
    """Fills a QTableWidget of four columns, and a label with all that is to be said of the selected value.

    Attributes:
        selected: signal of the `MeasureRow` that the user selected.
    """

    def __init__(self, table, note_label) -> None:
        self.selected = Signal()
        self._table, self._note_label = table, note_label
        #: By measure, then by side.
        self._rows: dict[str, dict[str, MeasureRow]] = {}
        header = table.horizontalHeader()
        header.setSectionResizeMode(_NAME, qt.QHeaderView.Stretch)
        # Names wrap: their height follows the width that is left for them.
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.connect("itemSelectionChanged()", self._on_selection)
        # A value that is selected already, after the user has moved the views away from it.
        table.connect("itemClicked(QTableWidgetItem*)", self._on_clicked)
        self.show([])

    def show(self, rows: list[MeasureRow]) -> None:
        """List these; what was selected stays selected."""
        measures: dict[str, dict[str, MeasureRow]] = {}
        for row in rows:
            measures.setdefault(row.id, {})[row.side] = row
        self._table.blockSignals(True)
        if list(measures) != list(self._rows):
            self._table.setRowCount(0)
            self._table.setRowCount(len(measures))
            for index in range(len(measures)):
                for column in range(4):
                    self._table.setItem(index, column, qt.QTableWidgetItem(""))
        self._rows = measures
        for index, sides in enumerate(measures.values()):
            self._show_row(index, sides)
        for column in (_RIGHT, _LEFT, _UNIT):
            self._table.resizeColumnToContents(column)
        self._table.blockSignals(False)
        self._table.visible = bool(measures)
        fit_height(self._table, len(measures), _MOST_ROWS, lines=2, header=True)
        self._show_note()

    @property
    def current(self) -> MeasureRow | None:
        """The value that is selected; of a measure's name or unit, the first side that is known."""
        cells = self._table.selectedItems()
        if not cells:
            return None
        sides = list(self._rows.values())[cells[0].row()]
        side = {column: side for side, column in _COLUMN_OF.items()}.get(cells[0].column())
        if side in sides:
            return sides[side]
        return next((row for row in sides.values() if not math.isnan(row.value)), next(iter(sides.values())))

    def _show_row(self, index: int, sides: dict[str, MeasureRow]) -> None:
        first = next(iter(sides.values()))
        self._set(index, _NAME, first.name, first.definition, weak=False)
        self._set(index, _UNIT, "°" if first.unit == "deg" else first.unit, "", weak=False)
        for side, column in _COLUMN_OF.items():
            row = sides.get(side)
            if row is None:
                self._set(index, column, "", _("This side is not in the segmentation."), weak=True)
            else:
                self._set(index, column, in_cell(row), in_words(row), weak=row.status in _WEAK)

    def _set(self, index: int, column: int, text: str, tip: str, weak: bool) -> None:
        cell = self._table.item(index, column)
        cell.setText(text)
        cell.setToolTip(tip)
        cell.setForeground(qt.QBrush(weak_colour(self._table)) if weak else qt.QBrush())

    def _on_selection(self) -> None:
        self._show_note()
        if self.current is not None:
            self.selected.emit(self.current)

    def _on_clicked(self, item=None) -> None:
        self._on_selection()

    def _show_note(self) -> None:
        row = self.current
        side = {"right": _("right"), "left": _("left")}
        self._note_label.text = "" if row is None else f"{row.name}, {side[row.side]}: {in_words(row)}"
        self._note_label.visible = row is not None


def frame_in_words(name: str) -> str:
    """What the axes of the pelvis rest on, before the short name that tables and files give them."""
    known = {
        "APP": _("anterior pelvic plane"),
        "BIHEAD": _("both femoral heads as found automatically"),
        "IMAGE": _("axes of the image"),
        "USER": _("set by hand"),
    }
    return f"{known[name]} ({name})" if name in known else name


def in_cell(row: MeasureRow) -> str:
    """Value and interval, and in a word what is to be known of them."""
    if math.isnan(row.value):
        return "–"
    value = in_digits(row.value, row.unit)
    if row.status in ("outdated", "stale"):
        return f"{value}\n{_('out of date')}"
    # A word beside each number would leave no room for the measures' names.
    first = f"? {value}" if row.status == "uncertain" else value
    if row.is_edited:
        first += f" {_('edited')}"
    if math.isnan(row.low):
        return first
    interval = _("{low} to {high}").format(low=in_digits(row.low, row.unit), high=in_digits(row.high, row.unit))
    return f"{first}\n{interval}"


def in_words(row: MeasureRow) -> str:
    """All that is known of a value, in sentences."""
    if math.isnan(row.value):
        return " ".join((_("Not measured."), row.sentence))
    unit = _UNITS.get(row.unit, row.unit)
    sentences = [f"{in_digits(row.value, row.unit)}{unit if unit == '°' else f' {unit}'.rstrip()}."]
    if not math.isnan(row.low):
        sentences.append(
            _("95 % interval for a wavering boundary: {low} to {high}.").format(
                low=in_digits(row.low, row.unit), high=in_digits(row.high, row.unit)
            )
        )
    if row.is_edited:
        sentences.append(
            _("Edited; found automatically: {value}.").format(
                value=_("not known") if math.isnan(row.auto_value) else in_digits(row.auto_value, row.unit)
            )
        )
    if row.status == "stale":
        sentences.append(_("The segmentation was changed since; measure again."))
    sentences.append(row.sentence)
    if row.frame:
        sentences.append(_("Frame of the pelvis: {frame}.").format(frame=frame_in_words(row.frame)))
    if not math.isnan(row.tilt_slope):
        sentences.append(_("{slope} per degree of forward tilt.").format(slope=f"{row.tilt_slope:+.2f}"))
    sentences.append(row.cautions)
    if not math.isnan(row.reference_low):
        sentences.append(
            _("Reference {low} to {high}: {source}.").format(
                low=f"{row.reference_low:g}", high=f"{row.reference_high:g}", source=row.reference_source
            )
        )
    sentences.append(row.definition)
    return " ".join(filter(None, sentences))
