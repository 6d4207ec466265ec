"""What MetaImage libraries do not tell: whether a header says all that matters, and whether its voxels are there."""

from __future__ import annotations

import math
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
    not_scalar,
    refused,
)

ENDINGS = (".mha", ".mhd")

#: Bytes of the voxel types.
TYPES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_FLOAT": 4,
    "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_DOUBLE": 8,
}  # fmt: skip
#: Names of the same thing; of each set a header may have one.
_SYNONYMS = (
    ("TransformMatrix", "Rotation", "Orientation"),
    ("Offset", "Position", "Origin"),
    ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"),
)


def check(path: Path) -> None:
    """Refuse a file that would be misread, or read although it is not whole.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``bad_geometry`` or ``too_large``.
        OSError: the file cannot be read.
    """
    fields, end = _read(path)
    if fields.get("ObjectType", "Image") != "Image":
        raise refused(path, f"it holds no image but an object of the type {fields['ObjectType'][:40]!r}")
    for field in ("NDims", "DimSize", "ElementType"):
        if field not in fields:
            raise refused(path, f"its header lacks the field {field}")
    voxel_bytes = TYPES.get(fields["ElementType"])
    if voxel_bytes is None:
        raise refused(path, f"its header declares voxels of the unknown type {fields['ElementType'][:40]!r}")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise not_scalar(path)
    size = _size(path, fields)
    check_size(path, size, voxel_bytes)
    _check_place(path, fields, len(size))
    _is_true(path, fields, "BinaryDataByteOrderMSB")
    if not _is_true(path, fields, "BinaryData", default=True):
        raise refused(path, "its voxels are written as text, which is not known here")
    _check_voxels(path, fields, end, math.prod(size) * voxel_bytes)


def _read(path: Path) -> tuple[dict[str, str], int]:
    """The fields by name, and the byte after the header's last line, which names the file of the voxels."""
    with open(path, "rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    fields: dict[str, str] = {}
    position = 0
    while position < len(text):
        line_end = text.find(b"\n", position)
        line_end = len(text) if line_end < 0 else line_end
        line = text[position:line_end].decode("utf-8", "replace")
        position = line_end + 1
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.isprintable():
            raise refused(path, "it is no MetaImage file")
        name = next((names[0] for names in _SYNONYMS if name in names), name)
        if name in fields:
            raise refused(path, f"its header says twice what the field {name[:40]} is")
        fields[name] = value
        if name == "ElementDataFile":
            return fields, position
    raise refused(path, "its header does not say where its voxels are")


def _size(path: Path, fields: dict[str, str]) -> list[int]:
    words = fields["DimSize"].split()
    if fields["NDims"] != str(len(words)) or not all(map(is_count, words)):
        raise refused(path, f"its header declares the size {fields['DimSize'][:60]!r} of {fields['NDims'][:20]!r} axes")
    return [int(word) for word in words]


def _check_place(path: Path, fields: dict[str, str], axes: int) -> None:
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    if "TransformMatrix" not in fields or spacing is None:
        raise not_oriented(path)
    if fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        raise refused(path, "its header does not measure in millimetres")
    for text, count in (
        (spacing, axes),
        (fields["TransformMatrix"], axes * axes),
        (fields.get("Offset", "0 " * axes), axes),
    ):
        if not are_numbers(text.split(), count):
            raise refused(path, f"its header gives a spacing, axes or an origin that are not numbers: {text[:60]!r}")


def _is_true(path: Path, fields: dict[str, str], name: str, default: bool = False) -> bool:
    value = fields.get(name, str(default)).lower()
    if value not in ("true", "false", "1", "0", "t", "f"):
        raise refused(path, f"its header says {value[:40]!r} for {name}, which is neither True nor False")
    return value in ("true", "1", "t")


def _check_voxels(path: Path, fields: dict[str, str], end: int, declared: int) -> None:
    named = fields["ElementDataFile"]
    if named.upper() == "LOCAL":
        file, start = path, end
    else:
        file, start = data_file(path, named), 0
    compressed = _is_true(path, fields, "CompressedData")
    skipped = fields.get("HeaderSize", "0")
    if not (is_count(skipped) or skipped == "-1") or (compressed and skipped != "0"):
        raise refused(path, "its header skips a part of the file that holds its voxels")
    found = file.stat().st_size - start
    if not compressed:
        check_length(path, declared, found - max(0, int(skipped)))
        return
    packed = fields.get("CompressedDataSize", str(found))
    if not is_count(packed):
        raise refused(path, f"its header declares {packed[:40]!r} packed bytes")
    check_length(path, int(packed), found)
    check_packed(path, file, start, int(packed), declared)
