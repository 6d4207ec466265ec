"""The lock of a run: the system lets go of it when the process dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.foreign_files import open_file

#: On Windows, and elsewhere.
_HELD_BY_ANOTHER = (errno.EACCES, errno.EDEADLK, errno.EAGAIN, errno.EWOULDBLOCK)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``.

    Raises:
        HipError: ``run_in_use``; ``no_locks`` where the file system knows none; ``read_only`` … as for any file.
    """
    with _opened(path) as file:
        # Whoever only asks whether the run is in use holds the lock for an instant.
        attempts = 5
        while not _lock(file, path):
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
        HipError: ``unreadable``, or ``no_locks`` where nobody can hold one.
    """
    try:
        # Only to read: whoever watches may not be allowed to write here.
        with open_file(path) as file:
            return not _lock(file, path, shared=True)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HipError("unreadable", f"{path} cannot be read.", str(error)) from error


def _lock(file: BinaryIO, path: Path, shared: bool = False) -> bool:
    """Take a lock on an open file without waiting; NFS gives an exclusive one only to who may write.

    Raises:
        HipError: ``no_locks``.
    """
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            return False
        raise HipError(
            "no_locks",
            f"The file system of {path.parent} knows no locks, by which two trainings keep out of each other's way; "
            "put the run on another one, or have it mounted with them (flock).",
            str(error),
        ) from error
    return True
