"""The list that only the user has: which case was made of what. It lies in the user's own folder, not by the cases."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path

from HipICMSCLib.cases.corrected_case import folder_name
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import creating, storage_error
from HipICMSCLib.common.tables import as_text
from HipICMSCLib.models.chosen import personal_folder

NAME = "cases.csv"
_COLUMNS = ("case", "folder", "source", "date")
#: Nobody else may read whose MRI a case is.
_ONLY_MINE = 0o600


def source_list() -> Path:
    """The file; it may not exist until a case is kept."""
    return personal_folder() / NAME


def add_to_list(number: int, folder: Path, source: str) -> None:
    """Note down whose case it is, at the end of the list; what is there stays to the byte.

    Args:
        folder: that holds the case folders.
        source: what the user calls the MRI: a file, a DICOM folder, a volume of a scene.

    Raises:
        HipError: as `files.replacing`.
    """
    path = source_list()
    row = (folder_name(number), _cell(str(folder.resolve())), _cell(source), time.strftime("%Y-%m-%d"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _begin(path)
        # One write at the end of the file: two processes that do so at once do not mix their lines.
        file = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
        try:
            os.write(file, (_lacking_end(file) + _line(row)).encode())
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise storage_error(error, path) from error


def numbers_given(folder: Path) -> set[int]:
    """The numbers of all cases that the user ever kept in ``folder``, also of those that are gone.

    Raises:
        HipError: ``unreadable``.
    """
    path = source_list()
    try:
        # A spreadsheet may have saved it, with a mark at its beginning.
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace").replace("\0", "")))
        if tuple(rows.fieldnames or _COLUMNS) != _COLUMNS:
            raise ValueError(f"Its columns are {rows.fieldnames}, not {_COLUMNS}.")
        mine = [row["case"] or "" for row in rows if row["folder"] == _cell(str(folder.resolve()))]
    except FileNotFoundError:
        return set()
    except (OSError, csv.Error, ValueError) as error:
        sentence = (
            f"Your list of cases, {path}, cannot be read as a table with the columns {', '.join(_COLUMNS)}; mend it or "
            "move it away."
        )
        raise HipError("unreadable", sentence, str(error)) from error
    return {int(case.removeprefix("case-")) for case in mine if case.removeprefix("case-").isdecimal()}


def _begin(path: Path) -> None:
    try:
        with creating(path) as beside:
            beside.touch(_ONLY_MINE)
            beside.write_text(_line(_COLUMNS), encoding="utf-8")
    except HipError as error:
        if error.kind != "exists":  # another process was quicker
            raise


def _lacking_end(file: int) -> str:
    """The end of a line that was cut off, as where a disk was full."""
    size = os.fstat(file).st_size
    if not size:
        return _line(_COLUMNS)
    os.lseek(file, size - 1, os.SEEK_SET)
    return "" if os.read(file, 1) == b"\n" else "\n"


def _cell(text: str) -> str:
    """A file's name may be no text."""
    return as_text(text.encode("utf-8", "replace").decode())


def _line(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
