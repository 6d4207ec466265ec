"""Cells of tables that a spreadsheet opens."""

from __future__ import annotations

#: What a text file begins with, so that Excel reads it as UTF-8.
MARK_OF_UTF8 = "\ufeff"
#: A spreadsheet leaves a tab or a line's end away, and reads on.
_BEGINNINGS_OF_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_text(cell: str) -> str:
    """A spreadsheet takes the name "+C T1" for a formula unless an apostrophe says that it is text."""
    return f"'{cell}" if cell.startswith(_BEGINNINGS_OF_A_FORMULA) else cell
