"""The elements of a DICOM file by their lengths alone: are they all within the file, and how long are the voxels?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

_SYNTAX = b"\x02\x00\x10\x00"
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_PREAMBLE_BYTES = 132

#: Value representations with a length of four bytes after two that are reserved.
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_UNDEFINED = 0xFFFFFFFF
_VOXELS, _ITEM, _END_OF_SEQUENCE = 0x7FE00010, 0xFFFEE000, 0xFFFEE0DD
_GROUP_OF_DELIMITERS, _GROUP_ABOUT_FILE = 0xFFFE, 0x0002


def about_file(path: Path, tag: bytes) -> str:
    """A number of the group that every file begins with; empty where it is not there.

    Args:
        tag: as it stands in the file, four bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        about = file.read(4096)
    place = about.find(tag + b"UI")
    length = int.from_bytes(about[place + 6 : place + 8], "little")
    return about[place + 8 : place + 8 + length].decode("ascii", "replace").rstrip("\0 ") if place >= 0 else ""


def bytes_of_voxels(path: Path) -> int | None:
    """How many bytes a file has for its voxels, 0 for none; None where they are packed.

    Raises:
        ValueError: an element reaches beyond the end of the file, or the whole file is packed.
        OSError: the file cannot be read.
    """
    syntax = about_file(path, _SYNTAX)
    if syntax == _DEFLATED:
        raise ValueError("a packed file")
    with open(path, "rb") as file:
        for tag, length in _elements(file, syntax):
            if tag == _VOXELS:
                return None if length == _UNDEFINED or syntax not in (_IMPLICIT, _EXPLICIT, _BIG_ENDIAN) else length
    return 0


def _elements(file: BinaryIO, syntax: str) -> Iterator[tuple[int, int]]:
    """Tag and length of each element up to the voxels; what lies within sequences comes after these."""
    size = os.fstat(file.fileno()).st_size
    # Of the sequences that only a delimiter ends, whether elements in them have no value representation.
    implicit = [syntax == _IMPLICIT]
    file.seek(_PREAMBLE_BYTES)
    while len(head := file.read(8)) == 8:
        about = head[:2] == _GROUP_ABOUT_FILE.to_bytes(2, "little")
        order: Literal["little", "big"] = "big" if syntax == _BIG_ENDIAN and not about else "little"
        group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
        kind = b"" if group == _GROUP_OF_DELIMITERS or (implicit[-1] and not about) else head[4:6]
        if kind in _LONG:
            length = int.from_bytes(file.read(4), order)
        else:
            length = int.from_bytes(head[6:] if kind else head[4:], order)
        if length != _UNDEFINED and file.tell() + length > size:
            raise ValueError(f"the element {group:04x},{element:04x} has {length} bytes, which are not there")
        tag = group << 16 | element
        yield tag, length
        if tag == _VOXELS and length == _UNDEFINED:
            return
        if tag == _END_OF_SEQUENCE:
            implicit = implicit[:-1] or implicit
        elif length == _UNDEFINED and tag != _ITEM:
            # What was unknown to whoever copied it is always written so.
            implicit.append(implicit[-1] or kind == b"UN")
        elif kind != b"SQ" and tag != _ITEM:
            file.seek(length, os.SEEK_CUR)
