"""NRRD, by pynrrd, and MetaImage, whose header says the same under other names: text, and voxels behind or beside it.

For MetaImage there is no library but ITK, which follows a header to any file and makes up what it leaves out.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import nrrd
import numpy as np

from HipICMSCLib.preprocessing.image_check import not_3d, not_scalar
from HipICMSCLib.reading.refusals import LONGEST_HEADER_BYTES, check_size, cut_off, not_oriented, refused
from HipICMSCLib.reading.stored import UNPACKING, Stored, bytes_of_files, files_beside

_NRRD_FIELDS = {
    "axis maxs", "axis mins", "axismaxs", "axismins", "block size", "blocksize", "byte skip", "centerings", "centers",
    "content", "data file", "dimension", "encoding", "endian", "kinds", "labels", "line skip", "max",
    "measurement frame", "min", "number", "old max", "old min", "oldmax", "oldmin", "sample units", "sampleunits",
    "sizes", "space", "space dimension", "space directions", "space origin", "space units", "spacings", "thicknesses",
    "type", "units",
}  # fmt: skip
_SYNONYMS = {
    "byteskip": "byte skip", "datafile": "data file", "lineskip": "line skip",
    "Rotation": "TransformMatrix", "Orientation": "TransformMatrix", "Position": "Offset", "Origin": "Offset",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB", "ElementSize": "ElementSpacing",
}  # fmt: skip
#: Signs of x, y and z from a space to LPS.
_SPACES = {"left-posterior-superior": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
           "left-anterior-superior": (1, -1, 1)}  # fmt: skip
_SPACES |= {"".join(word[0] for word in name.split("-")): signs for name, signs in _SPACES.items()}
_META_TYPES = {
    "MET_CHAR": "int8", "MET_UCHAR": "uint8", "MET_SHORT": "int16", "MET_USHORT": "uint16", "MET_INT": "int32",
    "MET_UINT": "uint32", "MET_FLOAT": "float", "MET_LONG_LONG": "int64", "MET_ULONG_LONG": "uint64",
    "MET_DOUBLE": "double",
}  # fmt: skip
_MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}
_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}

_META_VOXELS = "ElementDataFile"
#: Encodings in which numbers are written out.
_TEXT = {"ascii", "text", "txt"}
_EXPORT = "export it again, in one file"
_MOST_AXES = 16


def read_nrrd(path: Path, layers: bool = False) -> Stored:
    """A volume, or with ``layers`` also several in one file, as Slicer stores segments that overlap.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``not_3d``, ``bad_geometry`` or ``too_large``.
        OSError: it cannot be read.
    """
    text, start = _header(path, rb"\n\r?\n")
    magic, *lines = [
        line for line in text[:start].decode("utf-8", "replace").splitlines() if line.strip() and line[0] != "#"
    ] or [""]
    texts = dict(tuple(part.strip() for part in line.split(":=", 1)) for line in lines if ":=" in line)
    fields, listed = _fields(path, [line for line in lines if ":=" not in line], ": ")
    if not fields.keys() <= _NRRD_FIELDS:
        raise refused(path, f"its header has an unknown field, {min(fields.keys() - _NRRD_FIELDS)[:60]!r}")
    if "data file" not in fields and path.name.lower().endswith(".nhdr"):
        raise refused(path, "its header does not name the file that holds its voxels", remedy=_EXPORT)
    for name, value in fields.items():
        if name in ("encoding", "endian", "space", "type"):
            fields[name] = value.lower()
        elif name.startswith("space "):
            fields[name] = re.sub(r"\s+(?=[^()]*\))", "", value)  # pynrrd parts vectors by the spaces between them
    return _stored(path, magic, fields, listed, start, texts, layers)


def read_metaimage(path: Path) -> Stored:
    """As :func:`read_nrrd`."""
    text, start = _header(path, rb"(?m)^ElementDataFile.*\n?")
    said, listed = _fields(path, [line for line in text.decode("utf-8", "replace").split("\n") if line.strip()], "=")
    if not said.keys() >= {"TransformMatrix", "ElementSpacing"}:
        raise not_oriented(path)
    try:
        axes = int(said["NDims"])
        if not 0 < axes <= _MOST_AXES:
            raise ValueError(f"{axes} axes")
        spacing, matrix, origin = (
            _numbers(said.get(name, "0 " * axes), count)
            for name, count in (("ElementSpacing", axes), ("TransformMatrix", axes * axes), ("Offset", axes))
        )
        binary, big, packed = (
            _FLAGS[said.get(name, unsaid).lower()]
            for name, unsaid in (("BinaryData", "t"), ("BinaryDataByteOrderMSB", "f"), ("CompressedData", "f"))
        )
        length = int(said["CompressedDataSize"]) if packed and "CompressedDataSize" in said else None
        directions = matrix.reshape(axes, axes)[:3, :3]  # the axes stand one after the other
        channels = int(said.get("ElementNumberOfChannels", 1))
        if channels > 1:
            raise not_scalar(path)
        if said.get("ObjectType", "Image") != "Image" or not binary or channels < 1:
            raise ValueError("it declares no image in bytes")
        if not np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-3):
            raise ValueError("the directions of its axes are not of the length 1")
        fields = {
            "type": _META_TYPES[said["ElementType"]], "endian": "big" if big else "little", "space": "lps",
            "dimension": said["NDims"], "sizes": said["DimSize"], "encoding": "zlib" if packed else "raw",
            "byte skip": said.get("HeaderSize", "0"), "space origin": _vector(origin[:3]),
            "space directions": " ".join([*map(_vector, directions * spacing[:3, None]), *["none"] * (axes - 3)]),
            "space units": f'"{said.get("DistanceUnits", "mm").lower().strip("?")}"',
        } | ({} if said[_META_VOXELS].upper() == "LOCAL" else {"data file": said[_META_VOXELS]})  # fmt: skip
    except (KeyError, ValueError) as error:
        raise refused(path, f"its header lacks a field or has a wrong one: {error}", repr(error)) from error
    return _stored(path, "NRRD0005", fields, listed, start, length=length)


def _header(path: Path, end: bytes) -> tuple[bytes, int]:
    """The bytes at the beginning of a file, and how many of them are its header."""
    with open(path, "rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    found = re.search(end, text)
    if found is None and len(text) == LONGEST_HEADER_BYTES:
        raise refused(path, "its header has no end")
    return text, found.end() if found else len(text)


def _fields(path: Path, lines: list[str], parting: str) -> tuple[dict[str, str], list[str]]:
    """The fields by their names, and the lines after the one that says where the voxels are, where it is the last."""
    fields: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, found, value = line.partition(parting)
        name = name.lower() if parting == ": " else name.strip()
        name = _SYNONYMS.get(name, name)
        if not found or not name.isprintable() or name in fields:
            raise refused(path, f"its header has a line that is not understood, or twice: {line[:60]!r}")
        fields[name] = value.strip()
        if name == _META_VOXELS or (name == "data file" and value.split()[:1] == ["LIST"]):
            return fields, [line.strip() for line in lines[number:]]
    return fields, []


def _stored(
    path: Path, magic: str, said: dict[str, str], listed: list[str], start: int, texts: dict[str, str] | None = None,
    layers: bool = False, length: int | None = None,
) -> Stored:  # fmt: skip
    """By the fields of an NRRD header; axes of no direction and one voxel do not count."""
    if not all(word.isdecimal() for word in said.get("sizes", "").split()):  # pynrrd takes 1e2 for one, too
        raise refused(path, f"its header declares the size {said['sizes'][:60]!r}")
    try:
        # pynrrd takes a list of lines for a file.
        fields = nrrd.read_header([magic, *map(": ".join, said.items())])
        sizes, encoding = fields["sizes"].tolist(), fields["encoding"]
        if encoding not in UNPACKING and encoding not in _TEXT:
            raise refused(path, f"its voxels are encoded as {encoding[:40]!r}, which is not known here", remedy=_EXPORT)
        one = {name: fields[name] for name in ("type", "endian") if name in fields}
        one |= {"dimension": 1, "sizes": np.array([1]), "encoding": "raw"}
        if encoding in _TEXT:
            one["endian"] = "little"  # said of bytes alone
        kind = nrrd.read_data(one, io.BytesIO(bytes(8))).dtype
        if fields["dimension"] != len(sizes):
            raise refused(path, f"its header declares {len(sizes)} sizes of {fields['dimension']} axes")
        check_size(path, sizes, kind.itemsize)
        if len(sizes) < 3:
            raise not_3d(path, sizes)
        axes = fields.get("space directions")
        if axes is None or len(axes) != len(sizes) or fields.get("space") not in _SPACES:
            raise not_oriented(path)
        if not {unit.lower() for unit in fields.get("space units", [])} <= _MILLIMETRES:
            raise refused(path, "its header does not measure in millimetres", remedy="save it again in millimetres")
        apart = np.isnan(axes).all(axis=1)
        if apart[0] and sizes[0] > 1 and not layers:
            raise not_scalar(path)
        size = [count for count, alone in zip(sizes, apart, strict=True) if not alone]
        if len(size) != 3 or math.prod(sizes) != math.prod(size) * (sizes[0] if apart[0] else 1):
            raise not_3d(path, sizes)
        to_lps = np.eye(4)
        to_lps[:3, :3], to_lps[:3, 3] = axes[~apart].T, fields.get("space origin", np.zeros(3))
    except (nrrd.NRRDError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise refused(path, "its header lacks a field or has a wrong one", str(error)) from error
    skipped = fields.get("byte skip", 0)
    if fields.get("line skip", 0) or skipped < -1 or (skipped and encoding != "raw"):
        raise refused(path, "its header skips a part of the file that holds its voxels", remedy=_EXPORT)

    def voxels() -> np.ndarray:
        beside = "data file" in fields
        files = files_beside(path, fields["data file"], listed) if beside else [path]
        at = -1 if skipped == -1 else skipped + (0 if beside else start)
        if encoding in _TEXT:
            values = _from_text(path, files, at, kind, math.prod(sizes))
        else:
            values = np.frombuffer(
                bytes_of_files(path, files, at, encoding, math.prod(sizes) * kind.itemsize, length), kind
            )
        return values.reshape(*size[::-1], *([sizes[0]] if layers and apart[0] else []))

    return Stored(path, tuple(size), np.diag([*_SPACES[fields["space"]], 1]) @ to_lps, voxels, texts or {})


def _from_text(path: Path, files: list[Path], start: int, kind: np.dtype, count: int) -> np.ndarray:
    """So many numbers that are written out, an equal share of them in each file."""
    parts = []
    try:
        for file in files:
            with open(file, "rb") as stream:
                stream.seek(start)
                parts.append(np.fromfile(stream, kind.newbyteorder("="), count // len(files), sep=" "))
    except ValueError as error:
        raise cut_off(path, str(error)) from error
    values = np.concatenate(parts)
    if len(values) != count:
        raise cut_off(path, f"{count} numbers are declared, {len(values)} are there")
    return values


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(map(repr, numbers.tolist()))})"


def _numbers(text: str, count: int) -> np.ndarray:
    numbers = np.array([float(word) for word in text.split()])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{text[:60]!r}")
    return numbers
