"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import is_dicom

_DOUBLE_ENDINGS = (".nii.gz", ".seg.nrrd")
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
#: On Windows what somebody reads at this moment, such as a virus scanner, cannot be moved; a moment later it can.
_ATTEMPTS = 20 if os.name == "nt" else 1
_SECONDS_BETWEEN_ATTEMPTS = 0.05


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` (same ending) to write to; on success it becomes ``path`` in one step.

    On any failure the half-written file is removed and ``path`` stays as it was.

    Raises:
        HipError: ``disk_full``, ``read_only`` or ``no_folder``, naming the folder; ``in_use`` where it is the file
            that may not be replaced; ``not_written`` for other reasons.
    """
    with _written_beside(path, move_into_place) as beside:
        yield beside


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """As :func:`replacing`, but nothing is replaced: of several processes that create a file one succeeds.

    Raises:
        HipError: ``exists``; as :func:`replacing`.
    """
    with _written_beside(path, _create) as beside:
        yield beside


@contextlib.contextmanager
def _written_beside(path: Path, put: Callable[[Path, Path], None]) -> Iterator[Path]:
    path = Path(path)
    # Writers such as SimpleITK choose the format by the ending, of which they know one spelling, and look for others
    # in a name that has several.
    ending = next((ending for ending in _DOUBLE_ENDINGS if path.name.lower().endswith(ending)), path.suffix.lower())
    stem = path.name[: len(path.name) - len(ending)].replace(".", "_")[:60]
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{stem}{ending}")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        put(beside, path)
    except FileExistsError as error:
        raise HipError("exists", f"There is a file {path} already; remove it or choose another name.") from error
    except OSError as error:
        raise storage_error(error, path) from error
    except RuntimeError as error:
        # SimpleITK hides the errno of a failed write behind its own exception, so ask the file system again.
        raise _probe(path) or HipError("not_written", f"{path} could not be written.", str(error)) from error
    finally:
        # Where nothing can be written, nothing can be removed either; the error above is the one to tell.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def move_into_place(beside: Path, path: Path) -> None:
    """Rename a file or folder, again and again where it, or a file that it replaces, may be held for a moment.

    Raises:
        OSError: that of the last attempt.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(PermissionError):
            os.replace(beside, path)
            return
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
    os.replace(beside, path)


def _create(beside: Path, path: Path) -> None:
    if os.name == "nt":
        os.rename(beside, path)
        return
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        # FAT and some network drives know no links; on them two processes must not be too quick.
        if path.exists():
            raise FileExistsError(path) from None
        move_into_place(beside, path)


def storage_error(error: OSError, path: Path) -> HipError:
    """Say in one sentence why ``path`` could not be written."""
    if error.errno in _NOT_ALLOWED and Path(path).is_file() and _probe(Path(path)) is None:
        sentence = f"{path} is open in another program, or somebody else's; close it, or choose another name."
        return HipError("in_use", sentence, str(error))
    return _error_of_folder(error, path)


def _error_of_folder(error: OSError, path: Path) -> HipError:
    folder = Path(path).parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        sentence = f"The disk of the folder {folder} is full; nothing was written. Make room there and try again."
        return HipError("disk_full", sentence, str(error))
    if error.errno == errno.ENAMETOOLONG:
        return HipError("not_written", f"The name of {path} is too long; choose a shorter one.", str(error))
    if error.errno in (*_NOT_ALLOWED, errno.EROFS):
        return HipError("read_only", f"The folder {folder} may not be written to; choose another one.", str(error))
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return HipError(
            "no_folder", f"The folder {folder} does not exist; create it or choose another one.", str(error)
        )
    return HipError("not_written", f"{path} could not be written: {error.strerror or error}.", str(error))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 so that a reader sees either the old file or the new one; of a name that is no text, as
    some systems let it be, with question marks."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="replace")


def check_may_write(
    path: Path,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
    remedy: str = "choose another name, or add --overwrite",
) -> None:
    """Find out before a long computation whether its result may and can be written.

    Args:
        overwrite: whether the user said that a file may be replaced.
        inputs: files, and folders with the DICOM that is in them, that are never replaced.
        remedy: what to do about a file that is there.

    Raises:
        HipError: ``same_file`` or ``exists``; as :func:`replacing`.
    """
    path = Path(path)
    if os.path.lexists(path):
        for source in inputs:
            if source.exists() and path.exists() and (source.samefile(path) or is_dicom_within(path, source)):
                raise HipError("same_file", f"{path} is what is read; choose another name for what is written.")
        if path.is_dir() or not overwrite:
            remedy = "choose another name" if path.is_dir() else remedy
            raise HipError("exists", f"There is {path} already; {remedy}.")
    check_writable(path)


def is_dicom_within(path: Path, folder: Path) -> bool:
    """Whether a file is DICOM and lies in a folder or below it."""
    return folder.is_dir() and path.resolve().is_relative_to(folder.resolve()) and path.is_file() and is_dicom(path)


def check_writable(path: Path) -> None:
    """Find out before a long computation whether ``path`` can be written at its end.

    Raises:
        HipError: as :func:`replacing`.
    """
    error = _probe(Path(path))
    if error:
        raise error


def _probe(path: Path) -> HipError | None:
    """Try to write a few kilobytes beside ``path`` to learn why a library's write failed."""
    probe = path.with_name(f".{uuid.uuid4().hex[:8]}-probe")
    try:
        with open(probe, "wb") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _error_of_folder(error, path)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None
