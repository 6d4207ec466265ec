"""Which volumes of a folder are segmented, and where their results go."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from HipICMSCLib.batch.queue import BatchItem
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable
from HipICMSCLib.common.volume_names import is_dicom, volume_files, volume_stem
from HipICMSCLib.results.segmentation_file import SEGMENTATION_ENDING

#: So many files of a folder are looked at to tell whether it holds DICOM: others may lie among them.
_FILES_LOOKED_AT = 50


@dataclass(frozen=True)
class FileSource:
    """A volume file or DICOM folder, and the file that its result becomes."""

    path: Path
    output: Path


def items_of_folder(folder: Path, output: Path) -> list[BatchItem]:
    """What a batch of a folder consists of, each with a :class:`FileSource`; what has a result is skipped.

    Args:
        folder: as for :func:`volumes_of`.
        output: the folder of the results, which need not exist yet.

    Raises:
        HipError: ``no_folder``, ``unreadable``, ``no_volumes`` or ``same_name``.
    """
    volumes = volumes_of(folder)
    if not volumes:
        raise HipError("no_volumes", f"The folder {folder} holds neither volumes nor folders with a DICOM series.")
    items = []
    for path, result in zip(volumes, result_paths(volumes, output), strict=True):
        items.append(BatchItem(path.name, FileSource(path, result)))
        if result.exists():
            items[-1].skip("There is a result already.")
    return items


def volumes_of(folder: Path) -> list[Path]:
    """The volume files of a folder and those of its subfolders that hold DICOM, or the folder itself if it does.

    Results of ours are no volumes. Subfolders of subfolders are not looked into.

    Raises:
        HipError: ``no_folder`` or ``unreadable``.
    """
    if not folder.is_dir():
        raise HipError("no_folder", f"There is no folder {folder}.")
    try:
        files = [path for path in volume_files(folder) if not path.name.lower().endswith(SEGMENTATION_ENDING)]
        if not files and _holds_dicom(folder):
            return [folder]
        folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."]
    except OSError as error:
        raise HipError("unreadable", f"The folder {folder} cannot be read: {error.strerror}.", str(error)) from error
    return files + [path for path in folders if path not in files and _may_hold_dicom(path)]


def result_paths(inputs: list[Path], folder: Path) -> list[Path]:
    """The file of each input's result.

    Raises:
        HipError: ``same_name`` if two would be the same file.
    """
    stems = [source.name if source.is_dir() else volume_stem(source) for source in inputs]
    names = [f"{stem}{SEGMENTATION_ENDING}" for stem in stems]
    # Windows and macOS do not tell capitals apart.
    lower = [name.lower() for name in names]
    twice = sorted(name for name in names if lower.count(name.lower()) > 1)
    if twice:
        raise HipError("same_name", f"Two inputs would both be written as {twice[0]}; segment them separately.")
    return [folder / name for name in names]


def make_result_folder(folder: Path) -> None:
    """Make a folder, if it is not there, and see whether it takes results.

    Raises:
        HipError: ``no_folder``, or as `files.check_writable`.
    """
    if folder.is_file():
        raise HipError("no_folder", f"{folder} is a file, but several results need a folder.")
    if not folder.is_dir():
        check_writable(folder)
        folder.mkdir(exist_ok=True)  # another shard may have been quicker
    check_writable(folder / "result")


def _may_hold_dicom(folder: Path) -> bool:
    try:
        return _holds_dicom(folder)
    except OSError:
        # What belongs to the system, as on every USB stick, must not hide the folders beside it.
        return False


def _holds_dicom(folder: Path) -> bool:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name.upper() != "DICOMDIR")
    return any(is_dicom(path) for path in islice(files, _FILES_LOOKED_AT))
