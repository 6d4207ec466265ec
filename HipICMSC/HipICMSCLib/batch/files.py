"""Which volumes of a folder are segmented, and where their results go."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import SegmentationStorage

from HipICMSCLib.batch.queue import BatchItem
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable, is_dicom_within
from HipICMSCLib.common.volume_names import dicom_files_in_steps, exists, is_dicom, volume_files, volume_stem
from HipICMSCLib.reading.label_map import is_label_map
from HipICMSCLib.results.segmentation_file import SEGMENTATION_ENDING

#: So many files of a folder are looked at to tell whether it holds DICOM: others may lie among them.
_FILES_LOOKED_AT = 50
#: A longer name, which those of deep folders give, is cut: systems take 255 bytes, of which ending and what lies beside
#: a result need some.
_LONGEST_NAME_BYTES = 180


@dataclass(frozen=True)
class FileSource:
    """A volume file or DICOM folder, the file that its result becomes, and whether that may replace another."""

    path: Path
    output: Path
    overwrite: bool = False


def items_in_steps(
    folder: Path, output: Path, ending: str = SEGMENTATION_ENDING, overwrite: bool = False
) -> Iterator[BatchItem | None]:
    """What a batch of a folder consists of, each with a :class:`FileSource`; what has a result is skipped. None in
    between, as for :func:`volumes_in_steps`.

    Args:
        folder: as for :func:`volumes_of`.
        output: the folder of the results, which need not exist yet.
        ending: of the results.
        overwrite: whether the user said that results may be replaced.

    Raises:
        HipError: ``no_folder``, ``unreadable`` or ``no_volumes``; as :func:`items_of`.
    """
    volumes = []
    for path in volumes_in_steps(folder, output):
        volumes += [path] if path else []
        yield None
    if not volumes:
        raise HipError("no_volumes", f"The folder {folder} holds neither volumes nor folders with a DICOM series.")
    yield from _items_of_in_steps(volumes, output, ending, overwrite, folder)


def items_of(
    volumes: list[Path], output: Path, ending: str, overwrite: bool, folder: Path | None = None
) -> list[BatchItem]:
    """As :func:`items_in_steps` of these volumes, which lie in ``folder`` or anywhere.

    Raises:
        HipError: ``same_file`` where a result would replace what is read, ``not_a_result`` where it would replace
            another file, or take it for a result.
    """
    return list(filter(None, _items_of_in_steps(volumes, output, ending, overwrite, folder)))


def _items_of_in_steps(
    volumes: list[Path], output: Path, ending: str, overwrite: bool, folder: Path | None
) -> Iterator[BatchItem | None]:
    read = set()
    for path in volumes:
        yield None
        read |= {_identity(path)} if exists(path) else set()
    for path, result in zip(volumes, result_paths(volumes, output, ending, folder), strict=True):
        within = folder is not None and path != folder and path.is_relative_to(folder)
        item = BatchItem(str(path.relative_to(folder)) if within else path.name, FileSource(path, result, overwrite))
        is_there = exists(result)
        if is_there and (_identity(result) in read or is_dicom_within(result, path)):
            raise HipError("same_file", f"{result} is what is read; choose another folder for the results.")
        if is_there and not _is_segmentation(result):
            raise HipError(
                "not_a_result",
                f"{result} is no segmentation of HipICMSC, so it stays; choose another folder for the results.",
            )
        if is_there and not overwrite:
            item.skip("There is a result already.")
        yield item


def _is_segmentation(file: Path) -> bool:
    """Whether a file that is called like a result is one, and not the MRI of somebody else."""
    if file.name.lower().endswith(SEGMENTATION_ENDING):
        return True
    if file.is_file() and _is_readable_dicom(file):
        about = dcmread(file, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return about.get("SOPClassUID") == SegmentationStorage
    return is_label_map(file)


def volumes_of(folder: Path, output: Path | None = None) -> list[Path]:
    """The volume files of a folder and of all folders below it, and those of its subfolders that hold DICOM anywhere;
    the folder itself, too, or alone, if DICOM lies in it.

    Results of ours are no volumes, nor are label maps like them, and the folder of results is not looked into.

    Raises:
        HipError: ``no_folder`` or ``unreadable``.
    """
    return list(filter(None, volumes_in_steps(folder, output)))


def volumes_in_steps(folder: Path, output: Path | None = None) -> Iterator[Path | None]:
    """As :func:`volumes_of`, with None for each file and folder that was looked at: who may not keep others waiting,
    because a folder may be large or far away, can pause there, or give up."""
    if not folder.is_dir():
        raise HipError("no_folder", f"There is no folder {folder}.")
    try:
        holds_volumes = False
        for path in _volume_files(folder):
            holds_volumes |= path is not None
            yield path
        is_dicom_too = yield from _holds_dicom(folder)
        if is_dicom_too:
            yield folder
            if not holds_volumes:
                return
        # A link to the folder itself, or to one about it, would bring everything once more.
        about, below = folder.resolve(), []
        for path in sorted(folder.iterdir()):
            yield None
            if path.is_dir() and path.name[0] != "." and not about.is_relative_to(path.resolve()):
                below.append(path)
    except OSError as error:
        raise HipError("unreadable", f"The folder {folder} cannot be read: {error.strerror}.", str(error)) from error
    for subfolder in below:
        if not _is_same(subfolder, output):
            yield from _volumes_below(subfolder, output)


def _volumes_below(subfolder: Path, output: Path | None) -> Iterator[Path | None]:
    for parent, folders, _ in os.walk(subfolder):
        yield None
        among, folders[:] = sorted(folders), []
        for name in among:
            yield None
            # What belongs to the system, as on every USB stick, must not hide the folders beside it.
            if name[0] != "." and not _is_same(Path(parent, name), output):
                folders.append(name)
        yield from _volume_files(Path(parent))
    for file in dicom_files_in_steps(subfolder):
        yield None
        if file is not None:
            yield subfolder
            return


def _is_same(folder: Path, output: Path | None) -> bool:
    return output is not None and output.exists() and folder.samefile(output)


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


def _volume_files(folder: Path) -> Iterator[Path | None]:
    """None for what is called like one and is none."""
    for path in volume_files(folder):
        is_none = path.is_dir() or path.name.lower().endswith(SEGMENTATION_ENDING) or is_label_map(path)
        yield None if is_none else path


def _holds_dicom(folder: Path) -> Generator[None, None, bool]:
    """Whether one of the first files of a folder is DICOM; others may lie among them."""
    looked_at = 0
    for path in folder.iterdir():
        yield
        if path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        looked_at += 1
        if _is_readable_dicom(path):
            return True
        if looked_at == _FILES_LOOKED_AT:
            break
    return False


def _is_readable_dicom(path: Path) -> bool:
    """What may not be opened is left out, as among the files of a series."""
    try:
        return is_dicom(path)
    except OSError:
        return False


def result_paths(
    inputs: list[Path], folder: Path, ending: str = SEGMENTATION_ENDING, base: Path | None = None
) -> list[Path]:
    """The file of each input's result, each with a name of its own.

    The name is the input's without its ending, after the names of the folders between ``base`` and it. Where two
    inputs would share it they keep their endings; where these are equal, too, they are numbered.
    """
    plain = [_bounded(_name_of_result(source, base)) for source in inputs]
    # Windows and macOS do not tell capitals apart.
    often = Counter(name.lower() for name in plain)
    names: list[str] = []
    # The names that are given, and for each that was wanted the numbers that are left: the others are given for ever.
    given: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    for source, name in zip(inputs, plain, strict=True):
        if often[name.lower()] > 1 and not source.is_dir():
            name += source.name[len(volume_stem(source)) :]
        unlike = name
        while unlike.lower() in given:
            unlike = f"{name}-{next(numbers[name.lower()])}"
        given.add(unlike.lower())
        names.append(unlike)
    return [folder / f"{name}{ending}" for name in names]


def _bounded(name: str) -> str:
    """A name that a file may have; of what is cut off, enough is said that other names stay unlike it."""
    whole = name.encode("utf-8", "surrogateescape")
    if len(whole) <= _LONGEST_NAME_BYTES:
        return name
    mark = f"-{blake2b(whole, digest_size=4).hexdigest()}"
    return whole[: _LONGEST_NAME_BYTES - len(mark)].decode("utf-8", "ignore") + mark


def _name_of_result(source: Path, base: Path | None) -> str:
    stem = source.name if source.is_dir() else volume_stem(source)
    within = base is not None and source != base and source.is_relative_to(base)
    return "-".join([*source.relative_to(base).parts[:-1], stem]) if within else stem


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
