"""Cells of tables that a spreadsheet opens."""

from __future__ import annotations


def as_text(cell: str) -> str:
    """A spreadsheet takes the name "+C T1" for a formula unless an apostrophe says that it is text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
