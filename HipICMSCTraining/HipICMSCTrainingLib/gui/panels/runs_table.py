"""The list of trainings: a row a run, with its state in words."""

from __future__ import annotations

import calendar
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import qt
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_text import tool_tip
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.panels.shared_columns import SharedColumns
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.running.training_process import RunState, is_run, state_of
from HipICMSCTrainingLib.run.folder import RunFolder

_NAME, _STATE, _STEP, _TIME_LEFT, _STARTED = _COLUMNS = range(5)
#: Rows that are seen at once.
_MOST_ROWS = 6


@dataclass(frozen=True)
class RunRow:
    """What the list shows of a run.

    Attributes:
        started: in UTC, as the run has it.
        note: what the run says of itself, for a person.
    """

    run: RunFolder
    state: RunState
    step: str = ""
    time_left: str = ""
    method: str = ""
    started: str = ""
    note: str = ""

    @classmethod
    def of(cls, run: RunFolder) -> RunRow:
        """As its folder says now."""
        state = state_of(run)
        if not is_run(run.path):
            return cls(run, state)
        try:
            description, status = run.description(), run.status()
        except HipError as error:
            return cls(run, state, note=error.sentence)
        return cls(
            run,
            state,
            step=f"{status.step} / {status.total_steps}" if status.total_steps else "",
            time_left=duration(status.seconds_left) if status.seconds_left is not None and state == "running" else "",
            method=str(description.get("method", "")),
            started=str(description.get("created", "")),
            note=status.sentence,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Short, so that all of them are seen in a narrow panel."""
        return (
            self.run.path.name,
            in_words(self.state),
            self.step,
            self.time_left,
            _local_time(self.started, "%d %b %H:%M"),
        )

    @property
    def tip(self) -> str:
        started = _local_time(self.started, "%Y-%m-%d %H:%M")
        return "\n".join(
            filter(
                None,
                [
                    self.run.path.name,
                    self.note,
                    self.method and _("Method: {name}").format(name=self.method),
                    started and _("Started: {time}").format(time=started),
                ],
            )
        )


class RunsTable:
    """Fills a QTableWidget of five columns.

    Attributes:
        selected: signal of the folder of the run that the user selected, None when none is.
    """

    def __init__(self, table) -> None:
        self.selected = Signal()
        self._table = table
        self._rows: list[RunRow] = []
        self._is_filling = False
        self._shared_columns = SharedColumns(table, _NAME)
        fit_height(table, 0, _MOST_ROWS, header=True)
        table.connect("itemSelectionChanged()", self._on_selection)

    def show(self, rows: Sequence[RunRow], selected: Path | None) -> None:
        """List these; ``selected`` is not emitted."""
        self._is_filling = True
        try:
            before, self._rows = self._rows, list(rows)
            if [row.run.path for row in before] != [row.run.path for row in rows]:
                self._table.setRowCount(0)
                self._table.setRowCount(len(rows))
                fit_height(self._table, len(rows), _MOST_ROWS, header=True)
                for number in range(len(rows)):
                    for column in _COLUMNS:
                        self._table.setItem(number, column, qt.QTableWidgetItem(""))
                before = []
            if before != self._rows:
                self._write()
            self._select(selected)
        finally:
            self._is_filling = False

    def _write(self) -> None:
        for number, row in enumerate(self._rows):
            for column, text in enumerate(row.texts):
                cell = self._table.item(number, column)
                cell.setText(text)
                cell.setToolTip(tool_tip(row.tip))
        # Names need the room where nothing is going on.
        self._table.setColumnHidden(_TIME_LEFT, not any(row.time_left for row in self._rows))
        self._shared_columns.fit()

    def _select(self, path: Path | None) -> None:
        if path == self._selected():
            return
        self._table.clearSelection()
        paths = [row.run.path for row in self._rows]
        if path in paths:
            self._table.selectRow(paths.index(path))

    def _selected(self) -> Path | None:
        return next((self._rows[cell.row()].run.path for cell in self._table.selectedItems()), None)

    def _on_selection(self) -> None:
        if not self._is_filling:
            self.selected.emit(self._selected())


def in_words(state: RunState) -> str:
    return {
        "starting": _("Starting"),
        "running": _("Running"),
        "pausing": _("Pausing"),
        "paused": _("Paused"),
        "stopping": _("Stopping"),
        "stopped": _("Stopped"),
        "stalled": _("Stalled"),
        "lost": _("Lost"),
        "finished": _("Finished"),
        "failed": _("Failed"),
        "unreadable": _("Unreadable"),
    }[state]


def _local_time(utc: str, how: str) -> str:
    try:
        seconds = calendar.timegm(time.strptime(utc, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return utc
    return time.strftime(how, time.localtime(seconds))
