"""How high a list or table is: as its rows need, between bounds.

Qt's own way to that, AdjustToContents, makes a size hint that also follows the list's width; where a column takes what
is left, the list then asks for more with each layout pass, and Slicer's window grows without end.
"""

from __future__ import annotations

#: What a row of a table and of a list have above and below their text, and the frame around all, pixels.
_TABLE_PADDING, _LIST_PADDING, _FRAME = 14, 3, 4


def fit_height(view, rows: int, most: int, lines: int = 1, header: bool = False) -> None:
    """Give a list the height of its rows.

    Args:
        rows: how many it has; one is shown at least.
        most: rows that are shown at once; the rest is scrolled to.
        lines: of text in a row.
        header: whether it is a table, with a line of headings.
    """
    row = lines * view.fontMetrics().height() + (_TABLE_PADDING if header else _LIST_PADDING)
    view.setFixedHeight((min(max(rows, 1), most) + header) * row + _FRAME)
