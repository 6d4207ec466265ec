"""Which files of a folder may be volumes, by their names and first bytes; without any library, for Slicer itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: Endings of the files that are picked up from a folder; of two files the one with the header.
VOLUME_ENDINGS = (".nii.gz", ".nii", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd")


def volume_stem(path: Path) -> str:
    """The file's name without its ending, ``.nii.gz`` counting as one."""
    name = path.name
    ending = next((ending for ending in VOLUME_ENDINGS if name.lower().endswith(ending)), path.suffix)
    return name[: len(name) - len(ending)] if ending else name


def volume_files(folder: Path) -> list[Path]:
    """The volumes in ``folder``, sorted by name; hidden files are half-written ones of ours or of somebody else."""
    return sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(VOLUME_ENDINGS) and path.name[0] != "."
    )


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False also for what no system takes for a name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, with a preamble or, as old archives write it, without.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(132)
    # Without a preamble: an element of the group 0008, of a type in two capitals or of a length below 256.
    bare = head[:2] == b"\x08\0" and head[3:4] == b"\0" and (head[4:6].isupper() or head[5:8] == b"\0\0\0")
    return head[128:] == b"DICM" or bare


def is_dicom_file(path: Path) -> bool:
    """Whether it is a file with voxels or the like, begins as DICOM does, and can be read."""
    try:
        # DICOMDIR is a table of contents. A pipe or a device never ends.
        return path.name.upper() != "DICOMDIR" and path.is_file() and is_dicom(path)
    except OSError:
        return False


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files in a folder and in the folders below it, whatever they are called; no link is followed to a
    folder, and what cannot be read is left out."""
    return filter(None, dicom_files_in_steps(folder))


def dicom_files_in_steps(folder: Path) -> Iterator[Path | None]:
    """As :func:`dicom_files`, with None for each folder and each other file that was looked at: who may not keep others
    waiting until one is found can pause there, or give up."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield None
        for path in (Path(parent, name) for name in sorted(names)):
            yield path if is_dicom_file(path) else None
