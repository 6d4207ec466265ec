"""What came of a batch as a table: one row an item, the most doubtful result first, for a spreadsheet (CSV) or for a
program (JSON)."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from HipICMSCLib.anatomy.segments import SEGMENTS, Segment
from HipICMSCLib.batch.queue import BatchItem, notes, worst_first
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.tables import MARK_OF_UTF8, as_text
from HipICMSCLib.results.research_use import RESEARCH_USE


def write_summary(path: Path, items: list[BatchItem]) -> None:
    """Write what the ending of ``path`` says.

    Raises:
        HipError: ``unknown_format``, or as `files.replacing`.
    """
    {".csv": write_csv, ".json": write_json}[check_table_ending(path)](path, items)


def check_table_ending(path: Path) -> str:
    """The ending of a table's name, in small letters.

    Raises:
        HipError: ``unknown_format``.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".json"):
        raise HipError("unknown_format", f"{path.name} cannot be written; let its name end in .csv or .json.")
    return ending


def write_csv(path: Path, items: list[BatchItem]) -> None:
    """Write a table with a heading, separated by commas, as UTF-8 that Excel recognises.

    Raises:
        HipError: as `files.replacing`.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for item in worst_first(items):
        table.writerow({column: _cell(value) for column, value in _row(item).items()})
    write_text(path, MARK_OF_UTF8 + text.getvalue())


def write_json(path: Path, items: list[BatchItem]) -> None:
    """Write a list of objects with the columns of the table as keys; what is unknown is null.

    Raises:
        HipError: as `files.replacing`.
    """
    write_text(path, json.dumps([_row(item) for item in worst_first(items)], indent=2, ensure_ascii=False) + "\n")


def _row(item: BatchItem) -> dict[str, Any]:
    row = dict.fromkeys(_COLUMNS) | {
        "name": item.name,
        "state": item.state,
        "sentence": _without_folder(item),
        "sides_found": [],
        "warnings": [],
        "doubt": item.doubt,
        "seconds": None if item.seconds is None else round(item.seconds, 1),
        "use": RESEARCH_USE,
    }
    if item.report is not None:
        row |= {_volume_column(segment): item.report["volumes_ml"][segment.name] for segment in SEGMENTS}
        row |= {
            "sides_found": [side for side, head in item.report["femoral_heads_lps_mm"].items() if head is not None],
            "warnings": notes(item.report),
            "model": item.report["model"]["name"],
            "model_sha256": item.report["model"]["sha256"],
            "device": item.report["device"],
            "date": item.report["date"],
        }
    return row


def _without_folder(item: BatchItem) -> str:
    """Folders have patients' names; what the item is called suffices to find it."""
    path = getattr(item.source, "path", None)  # a node has none
    return item.sentence.replace(str(path), item.name) if path else item.sentence


def _volume_column(segment: Segment) -> str:
    return f"{segment.short_name.replace(' ', '_')}_ml"


_COLUMNS = (
    "name", "state", "sentence", "doubt", *map(_volume_column, SEGMENTS), "sides_found", "warnings", "model",
    "model_sha256", "device", "seconds", "date", "use",
)  # fmt: skip


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(value)
    return as_text(value) if isinstance(value, str) else value
