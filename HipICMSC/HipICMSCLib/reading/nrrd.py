"""What NRRD libraries do not tell: whether a header says all that matters, and whether its voxels are there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from HipICMSCLib.reading.header_check import (
    LONGEST_HEADER_BYTES,
    are_numbers,
    check_length,
    check_packed,
    check_size,
    data_file,
    is_count,
    not_oriented,
    refused,
)

ENDINGS = (".nrrd", ".nhdr")

#: Bytes of the voxel types, by all of their names.
TYPES = {
    name: size
    for size, names in (
        (1, "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t"),
        (2, "short|short int|signed short|signed short int|int16|int16_t"),
        (2, "ushort|unsigned short|unsigned short int|uint16|uint16_t"),
        (4, "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float"),
        (8, "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t"),
        (8, "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t|double"),
    )
    for name in names.split("|")
}
#: Fields that say nothing about which voxels there are and where they lie.
_IRRELEVANT = {
    "axismaxs", "axismins", "axis maxs", "axis mins", "block size", "blocksize", "centerings", "centers", "content",
    "kinds", "labels", "max", "measurement frame", "min", "number", "old max", "old min", "oldmax", "oldmin",
    "sample units", "sampleunits", "space dimension", "space units", "spacings", "thicknesses", "units",
}  # fmt: skip
_RELEVANT = {
    "byte skip", "data file", "dimension", "encoding", "endian", "line skip", "sizes", "space", "space directions",
    "space origin", "type",
}  # fmt: skip
_OTHER_NAMES = {"byteskip": "byte skip", "datafile": "data file", "lineskip": "line skip"}
_SPACES = (
    "left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las",
)  # fmt: skip
_TEXT_ENCODINGS = ("ascii", "text", "txt")
_PACKED_ENCODINGS = ("gzip", "gz")
_ENCODINGS = ("raw", "hex", *_TEXT_ENCODINGS, *_PACKED_ENCODINGS)


@dataclass(frozen=True)
class _Header:
    """The fields by their names in small letters, and the byte after the empty line that ends the header."""

    fields: dict[str, str]
    end: int


def check(path: Path) -> None:
    """Refuse a file that would be misread, or read although it is not whole.

    Raises:
        HipError: ``unreadable``, ``bad_geometry`` or ``too_large``.
        OSError: the file cannot be read.
    """
    header = _read(path)
    fields = header.fields
    for field in ("dimension", "encoding", "sizes", "type"):
        if field not in fields:
            raise refused(path, f"its header lacks the field {field}")
    voxel_bytes = TYPES.get(fields["type"].lower())
    if voxel_bytes is None:
        raise refused(path, f"its header declares voxels of the unknown type {fields['type'][:40]!r}")
    encoding = fields["encoding"].lower()
    if encoding not in _ENCODINGS:
        raise refused(path, f"its voxels are encoded as {fields['encoding'][:40]!r}, which is not known here")
    in_bytes = voxel_bytes > 1 and encoding not in _TEXT_ENCODINGS
    if in_bytes and fields.get("endian", "").lower() not in ("little", "big"):
        raise refused(path, "its header does not say in which order the bytes of a voxel are")
    size = _size(path, fields)
    check_size(path, size, voxel_bytes)
    if len(size) > 2:  # a picture is refused by whoever wants a volume
        _check_place(path, fields)
    _check_voxels(path, header, encoding, math.prod(size), voxel_bytes)


def _read(path: Path) -> _Header:
    with open(path, "rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    if not re.match(rb"NRRD000[1-5]\r?\n", text):
        raise refused(path, "it is no NRRD file")
    end_of_header = re.search(rb"\n\r?\n", text)
    if end_of_header is None and len(text) == LONGEST_HEADER_BYTES:
        raise refused(path, "its header has no end")
    end = end_of_header.end() if end_of_header else len(text)
    fields: dict[str, str] = {}
    for line in text[:end].decode("utf-8", "replace").splitlines()[1:]:
        if not line.strip() or line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(": ")
        name = name.strip().lower()
        name = _OTHER_NAMES.get(name, name)
        if not colon or name not in _RELEVANT | _IRRELEVANT:
            raise refused(path, f"its header has a line that is not understood: {line[:60]!r}")
        if name in fields:
            raise refused(path, f"its header says twice what the field {name} is")
        fields[name] = value.strip()
    return _Header(fields, end)


def _size(path: Path, fields: dict[str, str]) -> list[int]:
    words = fields["sizes"].split()
    if not all(map(is_count, words)) or fields["dimension"] != str(len(words)):
        raise refused(
            path, f"its header declares the size {fields['sizes'][:60]!r} of {fields['dimension'][:20]!r} axes"
        )
    return [int(word) for word in words]


def _check_place(path: Path, fields: dict[str, str]) -> None:
    """Axes in patient coordinates, each of three numbers, or none for an axis that is not of space."""
    if "space" not in fields or "space directions" not in fields:
        raise not_oriented(path)
    if fields["space"].lower() not in _SPACES:
        raise not_oriented(path)
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if any(unit.lower() not in ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "") for unit in units):
        raise refused(path, "its header does not measure in millimetres")
    axes = re.findall(r"none|\([^()]*\)", fields["space directions"])
    vectors = [axis for axis in axes if axis != "none"]
    origin = fields.get("space origin", "(0,0,0)")
    if len(axes) != len(fields["sizes"].split()) or not all(map(_is_vector, [*vectors, origin])):
        raise refused(path, "its header gives axes or an origin that are not three numbers each")


def _is_vector(text: str) -> bool:
    inside = re.fullmatch(r"\(([^()]*)\)", text)
    return inside is not None and are_numbers([word.strip() for word in inside[1].split(",")], 3)


def _check_voxels(path: Path, header: _Header, encoding: str, voxels: int, voxel_bytes: int) -> None:
    named = header.fields.get("data file")
    if named is None and path.name.lower().endswith(".nhdr"):
        raise refused(path, "its header does not name the file that holds its voxels")
    file, start = (path, header.end) if named is None else (data_file(path, named), 0)
    skipped = header.fields.get("byte skip", "0")
    skips = skipped != "0" and encoding != "raw"
    if skips or not is_count(skipped) or header.fields.get("line skip", "0") != "0":
        raise refused(path, "its header skips a part of the file that holds its voxels")
    found = file.stat().st_size - start
    if encoding in _PACKED_ENCODINGS:
        check_packed(path, file, start, found, voxels * voxel_bytes)
    elif encoding == "raw":
        check_length(path, voxels * voxel_bytes, found - int(skipped))
    else:
        # In hexadecimal a byte is two characters; in a text a number is one or more, with a space between.
        check_length(path, 2 * voxels * voxel_bytes if encoding == "hex" else 2 * voxels - 1, found)
