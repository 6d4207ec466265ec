"""Columns of a table in a panel of any width: one takes what the others leave, and the widest of these give way first.

Words are longer in other languages. Without this the last columns would lie out of view.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import qt

from HipICMSCLib.gui.panels.list_height import letters

#: Letters of the column that takes what is left: it is never narrower.
_LEAST = 10


class SharedColumns:
    """Keeps the columns of a QTableWidget within its width, also when the panel becomes wider or narrower."""

    def __init__(
        self, table, stretched: int, widest: Mapping[int, int] | None = None, whole: Collection[int] = ()
    ) -> None:
        """
        Args:
            stretched: the column that takes what is left.
            widest: letters of columns that are never wider, however long their texts are.
            whole: columns that never give way, since widgets in cells do not end a text that is cut with dots.
        """
        self._table, self._stretched, self._widest, self._whole = table, stretched, widest or {}, whole
        self._room = 0
        header = table.horizontalHeader()
        header.setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
        header.connect("sectionResized(int,int,int)", self._on_resized)
        # The header tells of one column while it still gives the others their widths, over any that are set meanwhile.
        self._afterwards = qt.QTimer(table)
        self._afterwards.setSingleShot(True)
        self._afterwards.setInterval(0)
        self._afterwards.connect("timeout()", self.fit)

    def fit(self) -> None:
        """Texts have changed."""
        self._room = self._present_room()
        others = [
            column
            for column in range(self._table.columnCount)
            if column != self._stretched and not self._table.isColumnHidden(column)
        ]
        for column in others:
            self._table.resizeColumnToContents(column)
        room = self._room - sum(self._table.columnWidth(column) for column in self._whole)
        others = [column for column in others if column not in self._whole]
        for column, width in zip(others, shared([*map(self._wanted, others)], room), strict=True):
            self._table.setColumnWidth(column, width)

    def _wanted(self, column: int) -> int:
        # A table that nobody has seen yet takes no heed of its headings.
        width = max(self._table.columnWidth(column), self._table.horizontalHeader().sectionSizeHint(column))
        return min(width, letters(self._table, self._widest[column])) if column in self._widest else width

    def _present_room(self) -> int:
        """Pixels for all but the stretched column, beside a scroll bar."""
        bar = self._table.style().pixelMetric(qt.QStyle.PM_ScrollBarExtent)
        return self._table.maximumViewportSize().width() - bar - letters(self._table, _LEAST)

    def _on_resized(self, column: int, before: int, now: int) -> None:
        """The stretched column follows the table's width, but also another column that the user makes wider."""
        if column == self._stretched and self._present_room() != self._room:
            self._afterwards.start()


def shared(wanted: Sequence[int], room: int) -> list[int]:
    """These widths, the widest of them cut to one width where together they are more than the room."""
    left = room
    for number, width in enumerate(sorted(wanted)):
        share = max(left, 0) // (len(wanted) - number)
        if width > share:
            return [min(width, share) for width in wanted]
        left -= width
    return list(wanted)
