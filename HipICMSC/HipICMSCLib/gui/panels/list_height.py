"""How high a list or table is: as its rows need, between bounds.

Qt's own way to that, AdjustToContents, makes a size hint that also follows the list's width; where a column takes what
is left, the list then asks for more with each layout pass, and Slicer's window grows without end.
"""

from __future__ import annotations

#: What a row has above and below a line of text, and the frame of the list, pixels.
_ROW_PADDING, _FRAME = 10, 4


def fit_height(view, rows: int, most: int, lines: int = 1, header: bool = False) -> None:
    """Give a list the height of its rows.

    Args:
        rows: how many it has; one is shown at least.
        most: rows that are shown at once; the rest is scrolled to.
        lines: of text in a row.
        header: whether it has a line of headings.
    """
    row = lines * view.fontMetrics().height() + _ROW_PADDING
    heading = view.fontMetrics().height() + _ROW_PADDING if header else 0
    view.setFixedHeight(heading + min(max(rows, 1), most) * row + _FRAME)
