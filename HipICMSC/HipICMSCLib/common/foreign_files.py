"""Opens files that may be anybody's, such as those of a run's folder: within bounds, and without waiting.

Without torch, because Slicer's own process, which watches runs, must not load it.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from HipICMSCLib.common.errors import HipError

#: Ten thousand cases take 5 MB of run.json.
_LARGEST_OBJECT = 64 * 2**20


def open_file(path: Path, largest_bytes: int | None = None) -> BinaryIO:
    """Open a file to read; what is no file, such as a pipe whose other end nobody holds, is never waited for.

    Raises:
        OSError: also where it is no file, or has more bytes than that.
    """
    # O_NONBLOCK matters to pipes alone.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode) or (largest_bytes is not None and state.st_size > largest_bytes):
        file.close()
        raise OSError(f"{path} is no file, or too large")
    return file


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: if there is none.
        OSError, ValueError: if it cannot be read or holds anything else.
    """
    with open_file(path, _LARGEST_OBJECT) as file:
        data = file.read()
    try:
        values = json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"a {type(values).__name__} in place of an object")
    return values


def refuse_links(folder: Path) -> None:
    """Refuse a run that has links in it: what a training writes would land in some other place.

    Raises:
        HipError: ``linked_run``.
    """
    places = [folder, *(folder / name for name in ("cache", "checkpoints", "previews"))]
    inside = [path for place in places if place.is_dir() for path in place.iterdir()]
    links = sorted(path for path in inside if path.is_symlink())
    if links:
        raise HipError(
            "linked_run",
            f"{links[0]} is a link to another place, where a training would write; put the file or folder itself "
            "there, or delete the link.",
        )
