"""Reads a MetaImage, and refuses a header that does not say all that matters.

There is no library for it but ITK, which follows a header to any file and makes up what it leaves out.
"""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path

import numpy as np

from HipICMSCLib.preprocessing.image_check import not_3d, not_scalar
from HipICMSCLib.reading.refusals import LONGEST_HEADER_BYTES, check_size, cut_off, not_oriented, refused
from HipICMSCLib.reading.voxel_bytes import bytes_of_files, files_beside

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_DOUBLE": "f8",
}  # fmt: skip
#: Other names of a field; of each set a header may have one.
_SYNONYMS = {"Rotation": "TransformMatrix", "Orientation": "TransformMatrix", "Position": "Offset", "Origin": "Offset",
             "ElementByteOrderMSB": "BinaryDataByteOrderMSB", "ElementSize": "ElementSpacing"}  # fmt: skip
_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (z, y, x) and the matrix (4, 4) from indices to LPS mm.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``not_3d``, ``bad_geometry`` or ``too_large``.
        OSError, zlib.error: it cannot be read.
    """
    fields, listed, end = _fields(path)
    if not fields.keys() >= {"TransformMatrix", "ElementSpacing"}:
        raise not_oriented(path)
    try:
        axes = int(fields["NDims"])
        size = [int(word) if word.isdecimal() else -1 for word in fields["DimSize"].split()]
        kind = np.dtype(("<>"[_FLAGS[fields["BinaryDataByteOrderMSB"].lower()]]) + _TYPES[fields["ElementType"]])
        packed, binary = (_FLAGS[fields[name].lower()] for name in ("CompressedData", "BinaryData"))
        spacing, matrix, origin, skipped = (
            _numbers(fields.get(name, default), count)
            for name, default, count in (("ElementSpacing", "", axes), ("TransformMatrix", "", axes * axes),
                                         ("Offset", "0 " * axes, axes), ("HeaderSize", "0", 1))
        )  # fmt: skip
        length = int(fields["CompressedDataSize"]) if "CompressedDataSize" in fields else None
        channels = int(fields.get("ElementNumberOfChannels", 1))
    except (KeyError, ValueError) as error:
        raise refused(path, f"its header lacks a field or has a wrong one: {error}", repr(error)) from error
    if axes != len(size) or fields.get("ObjectType", "Image") != "Image" or not binary:
        raise refused(path, "its header declares no image in bytes, or not so many sizes as axes")
    if fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        raise refused(path, "its header does not measure in millimetres")
    check_size(path, size, kind.itemsize)
    if channels != 1:
        raise not_scalar(path)
    if axes < 3 or any(count > 1 for count in size[3:]):
        raise not_3d(path, size)
    if skipped[0] < -1 or (packed and skipped[0]):
        raise refused(path, "its header skips a part of the file that holds its voxels")
    files, start = [path], end
    if fields["ElementDataFile"].upper() != "LOCAL":
        files, start = files_beside(path, fields["ElementDataFile"], listed), 0
    start = -1 if skipped[0] == -1 else start + int(skipped[0])
    count = math.prod(size) * kind.itemsize
    if packed:
        data = _unpacked(path, files[0], start, length, count)
    else:
        data = bytes_of_files(path, files, start, "raw", count)
    if not np.allclose(np.linalg.norm(matrix.reshape(axes, axes)[:3, :3], axis=1), 1, atol=1e-3):
        raise refused(path, "the directions of its axes are not of the length 1")
    to_lps = np.eye(4)
    # The axes stand one after the other.
    to_lps[:3, :3] = matrix.reshape(axes, axes).T[:3, :3] * spacing[:3]
    to_lps[:3, 3] = origin[:3]
    return np.frombuffer(data, kind).reshape(size[2::-1]), to_lps


def _unpacked(path: Path, file: Path, start: int, length: int | None, count: int) -> bytes:
    with open(file, "rb") as stream:
        stream.seek(start)
        packed = stream.read()
    if length is not None and not 0 < length <= len(packed):
        raise cut_off(path, f"{length} packed bytes are declared, {len(packed)} are there")
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed[:length], count + 1)
    if len(data) != count or not unpacker.eof:
        raise cut_off(path, f"{count} bytes are declared, {len(data)} are there")
    return data


def _numbers(text: str, count: int) -> np.ndarray:
    numbers = np.array([float(word) for word in text.split()])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{text[:60]!r}")
    return numbers


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """The fields by name, the lines after them, and the byte after the line that names where the voxels are."""
    with open(path, "rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    fields: dict[str, str] = {}
    stream = io.BytesIO(text)
    for line in stream:
        name, equals, value = (part.strip() for part in line.decode("utf-8", "replace").partition("="))
        name = _SYNONYMS.get(name, name)
        if line.strip() and (not equals or not name.isprintable() or name in fields):
            raise refused(path, f"its header has a line that is not understood, or twice: {name[:60]!r}")
        if equals:
            fields[name] = value
        if name == "ElementDataFile":
            break
    if "ElementDataFile" not in fields:
        raise refused(path, "it is no MetaImage file, or its header does not say where its voxels are")
    unsaid = {"BinaryDataByteOrderMSB": "False", "CompressedData": "False", "BinaryData": "True"}
    return unsaid | fields, text[stream.tell() :].decode("utf-8", "replace").split("\n"), stream.tell()
