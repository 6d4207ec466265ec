"""The lock of a run: the system lets go of it when the process dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.foreign_files import open_file


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``.

    Raises:
        HipError: ``run_in_use``; ``read_only`` … as for any file.
    """
    with _opened(path) as file:
        # Whoever only asks whether the run is in use holds the lock for an instant.
        attempts = 5
        while not _lock(file):
            attempts -= 1
            if not attempts:
                raise HipError("run_in_use", f"Another process is training in {path.parent}; stop it first.")
            time.sleep(0.1)
        yield


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "a+b")
    except OSError as error:
        raise storage_error(error, path) from error


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at ``path``.

    Raises:
        HipError: ``unreadable``.
    """
    try:
        # Only to read: whoever watches may not be allowed to write here.
        with open_file(path) as file:
            return not _lock(file)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HipError("unreadable", f"{path} cannot be read.", str(error)) from error


def _lock(file: BinaryIO) -> bool:
    """Take an exclusive lock on an open file without waiting."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
