"""Writes measures as a table (CSV), one row a measure and side; an empty value is one that could not be known."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.tables import MARK_OF_UTF8, as_text
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.measures.alpha import hour_of
from HipICMSCLib.measures.morphometry import Morphometry, Row

COLUMNS = (
    "Side", "Measure", "Name", "Value", "Unit", "Auto value", "CI low", "CI high", "Frame", "Tilt slope",
    "Tilt 5 back", "Tilt 5 forward", "Status", "Reason", "Sentence", "Cautions", "Definition", "Definition version",
    "Reference low", "Reference high", "Reference source", "Spacing mm", "Segmentation", "Software",
)  # fmt: skip
_SIDE_WIDTH = 30


def table(morphometry: Morphometry, segmentation: str) -> str:
    """The table as CSV text.

    Args:
        segmentation: what the segmentation's file or node is called.
    """
    return as_csv(cells(morphometry, segmentation))


def cells(morphometry: Morphometry, segmentation: str) -> list[list[str]]:
    """The table's cells, row by row in the order of `COLUMNS`; ``segmentation`` as of `table`."""
    spacing = " x ".join(f"{step:g}" for step in morphometry.hips.spacing)
    return [_cells(row, spacing, segmentation) for row in morphometry.rows]


def as_csv(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells in the order of `COLUMNS` as CSV text with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def write_table(morphometry: Morphometry, segmentation: str, path: Path) -> None:
    """Write the table so that it appears whole, as UTF-8 that Excel recognises.

    Raises:
        HipError: as `HipICMSCLib.common.files.write_text`.
    """
    write_text(path, MARK_OF_UTF8 + table(morphometry, segmentation))


def in_words(morphometry: Morphometry) -> str:
    """The values as lines for a terminal, both sides beside each other, and each refusal and caution once."""
    sides = list(morphometry.hips.sides)
    rows = {(row.side, row.definition.id): row for row in morphometry.rows}
    lines = [f"Frame of the pelvis: {morphometry.hips.frame.name}. {morphometry.hips.frame.caution}".rstrip()]
    cautions = numbered_cautions(morphometry)
    lines.append(f"{'':42}" + "".join(f"{side:>{_SIDE_WIDTH}}" for side in sides))
    for definition in dict.fromkeys(row.definition for row in morphometry.rows):
        found = [rows[side, definition.id] for side in sides]
        if all(math.isnan(row.value) for row in found):
            continue
        values = "".join(f"{_short(row, cautions):>{_SIDE_WIDTH}}" for row in found)
        lines.append(f"{definition.name:36}{definition.unit:>5} {values}")
    lines += [f"({number}) {caution}" for caution, number in cautions.items()]
    refused: dict[str, list[str]] = {}
    for row in morphometry.rows:
        if row.sentence:
            refused.setdefault(f"{row.side}: {row.sentence}", []).append(row.definition.id)
    return "\n".join((*lines, *(f"Note, {text} ({few(ids)})" for text, ids in refused.items())))


def numbered_cautions(morphometry: Morphometry) -> dict[str, int]:
    """Each caution of the values once, and the number that stands for it beside a value.

    That of the frame is not among them: it holds for nearly all, and is said where the frame is named.
    """
    said = morphometry.hips.frame.caution
    cautions = dict.fromkeys(caution for row in morphometry.rows for caution in row.cautions if caution != said)
    return {caution: place for place, caution in enumerate(cautions, start=1)}


def cautions_of(row: Row, numbered: Mapping[str, int]) -> str:
    """The numbers of a value's cautions, e.g. ``"1, 3"``; empty where there are none.

    Args:
        numbered: of :func:`numbered_cautions`.
    """
    return ", ".join(str(numbered[caution]) for caution in dict.fromkeys(row.cautions) if caution in numbered)


def shown(row: Row) -> str:
    """A value that is known as a reader sees it, with a question mark before one that is not to be relied on."""
    return f"{'? ' if row.status == 'uncertain' else ''}{in_digits(row.value, row.definition.unit)}"


def in_digits(value: float, unit: str) -> str:
    """A number in as many digits as are of use; of hours, as a clock shows them."""
    if unit == "h":
        return hour_of(30 * value)
    digits = 1 if unit in ("deg", "%", "mm") else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"  # plus nothing, because -0.0 would puzzle


def few(names: list[str]) -> str:
    """The first names of a list and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _short(row: Row, numbered: Mapping[str, int]) -> str:
    if math.isnan(row.value):
        return "–"
    unit, cautions = row.definition.unit, cautions_of(row, numbered)
    interval = "" if math.isnan(row.low) else f" [{in_digits(row.low, unit)}, {in_digits(row.high, unit)}]"
    return shown(row) + interval + (f" ({cautions})" if cautions else "")


def _cells(row: Row, spacing: str, segmentation: str) -> list[str]:
    definition = row.definition
    reference = definition.reference
    return [
        row.side, definition.id, definition.name, number(row.value), definition.unit, number(row.auto_value),
        number(row.low), number(row.high), row.frame, number(row.tilt_slope), number(row.tilt_back),
        number(row.tilt_forward), row.status, row.reason, row.sentence, " ".join(row.cautions), definition.text,
        str(definition.version), f"{reference.low:g}" if reference else "", f"{reference.high:g}" if reference else "",
        reference.source if reference else "", spacing, as_text(segmentation), f"HipICMSC {VERSION}",
    ]  # fmt: skip


def number(value: float) -> str:
    """As it stands in a cell; nothing for one that is not known."""
    return "" if math.isnan(value) else f"{value:.4f}"
