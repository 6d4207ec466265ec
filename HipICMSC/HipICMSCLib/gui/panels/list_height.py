"""How high a list, table or box of text is, and how wide a column: in lines and letters of the font that is in use,
never in pixels, which are tiny where the font is large.

Qt's own way to a height, AdjustToContents, makes a size hint that also follows the list's width; where a column takes
what is left, the list then asks for more with each layout pass, and Slicer's window grows without end.
"""

from __future__ import annotations

#: What a row of a table and of a list, and a box of text, have above and below their text, and the frame around all.
_TABLE_PADDING, _LIST_PADDING, _TEXT_PADDING, _FRAME = 14, 3, 10, 4


def fit_height(view, rows: int, most: int, lines: int = 1, header: bool = False) -> None:
    """Give a list the height of its rows.

    Args:
        rows: how many it has; one is shown at least.
        most: rows that are shown at once; the rest is scrolled to.
        lines: of text in a row.
        header: whether it is a table, with a line of headings.
    """
    row = lines * view.fontMetrics().height() + (_TABLE_PADDING if header else _LIST_PADDING)
    if header:
        for number in range(rows):
            view.setRowHeight(number, row)
    view.setFixedHeight((min(max(rows, 1), most) + header) * row + _FRAME)


def fit_lines(text, lines: int) -> None:
    """Give a box of text the height of so many lines; what is more is scrolled to."""
    text.setFixedHeight(lines * text.fontMetrics().height() + _TEXT_PADDING)


def letters(widget, count: int) -> int:
    """The width of so many letters of usual width."""
    return count * widget.fontMetrics().averageCharWidth()
