"""Reads an NRRD file by pynrrd's account of its header, and refuses a header that does not say all that matters."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from HipICMSCLib.preprocessing.image_check import not_3d, not_scalar
from HipICMSCLib.reading.refusals import LONGEST_HEADER_BYTES, check_size, not_oriented, refused
from HipICMSCLib.reading.voxel_bytes import bytes_of_files, files_beside

_FIELDS = {
    "axis maxs", "axis mins", "axismaxs", "axismins", "block size", "blocksize", "byte skip", "centerings", "centers",
    "content", "data file", "dimension", "encoding", "endian", "kinds", "labels", "line skip", "max",
    "measurement frame", "min", "number", "old max", "old min", "oldmax", "oldmin", "sample units", "sampleunits",
    "sizes", "space", "space dimension", "space directions", "space origin", "space units", "spacings", "thicknesses",
    "type", "units",
}  # fmt: skip
_OTHER_NAMES = {"byteskip": "byte skip", "datafile": "data file", "lineskip": "line skip"}
_IN_SMALL_LETTERS = ("encoding", "endian", "space", "type")
#: Signs of x, y and z from a space to LPS.
_SPACES = {"left-posterior-superior": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
           "left-anterior-superior": (1, -1, 1)}  # fmt: skip
_SPACES |= {"".join(word[0] for word in name.split("-")): signs for name, signs in _SPACES.items()}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}


def read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Voxels (z, y, x), the matrix (4, 4) from indices to LPS mm, and the texts that others put into the header.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``not_3d``, ``bad_geometry`` or ``too_large``.
        EOFError, OSError, zlib.error: it cannot be read.
    """
    with open(path, "rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    end = re.search(rb"\n\r?\n", text)
    if end is None and len(text) == LONGEST_HEADER_BYTES:
        raise refused(path, "its header has no end")
    start = end.end() if end else len(text)
    magic, *lines = text[:start].decode("utf-8", "replace").splitlines() or [""]
    fields, texts, listed = _fields(path, lines)
    encoding = fields.get("encoding", "")
    if encoding not in _ENCODINGS:
        raise refused(path, f"its voxels are encoded as {encoding[:40]!r}, which is not known here")
    try:
        # pynrrd takes a list of lines for a file.
        header = nrrd.read_header([magic, *(f"{name}: {value}" for name, value in fields.items())])
        kind = _kind(header)
        size, to_lps = _size(path, fields, kind), _to_lps(path, header)
    except (nrrd.NRRDError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise refused(path, "its NRRD header lacks a field or has a wrong one", str(error)) from error
    if "data file" not in fields and path.name.lower().endswith(".nhdr"):
        raise refused(path, "its header does not name the file that holds its voxels")
    skipped = header.get("byte skip", 0)
    if header.get("line skip", 0) or skipped < -1 or (skipped and encoding != "raw"):
        raise refused(path, "its header skips a part of the file that holds its voxels")
    apart = "data file" in fields
    files = files_beside(path, fields["data file"], listed) if apart else [path]
    start = -1 if skipped == -1 else skipped + (0 if apart else start)
    data = bytes_of_files(path, files, start, _ENCODINGS[encoding], int(np.prod(size)) * kind.itemsize)
    return np.frombuffer(data, kind).reshape(size[::-1]), to_lps, texts


def _fields(path: Path, lines: list[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The fields by their names, the texts of keys, and the files that are listed after the last field."""
    fields: dict[str, str] = {}
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, assigned, text = line.partition(":=")
        name, colon, value = line.partition(": ")
        name = _OTHER_NAMES.get(name.lower(), name.lower())
        if not line.strip() or line.startswith("#"):
            continue
        if assigned:
            texts[key.strip()] = text.strip()
        elif not colon or name not in _FIELDS or name in fields:
            raise refused(path, f"its header has a line that is not understood, or twice: {line[:60]!r}")
        else:
            value = value.strip().lower() if name in _IN_SMALL_LETTERS else value.strip()
            # pynrrd parts vectors by the spaces between them.
            fields[name] = re.sub(r"\s+(?=[^()]*\))", "", value) if name.startswith("space ") else value
        if name == "data file" and value.split()[:1] == ["LIST"]:
            return fields, texts, [line.strip() for line in lines[number:] if line.strip()]
    return fields, texts, []


def _kind(header: dict[str, Any]) -> np.dtype:
    """The type of a voxel, as pynrrd would read one."""
    one = {name: header[name] for name in ("type", "endian") if name in header}
    one |= {"dimension": 1, "sizes": np.array([1]), "encoding": "raw"}
    return nrrd.read_data(one, io.BytesIO(bytes(8))).dtype


def _size(path: Path, fields: dict[str, str], kind: np.dtype) -> tuple[int, ...]:
    """Voxels along x, y and z; further axes of one voxel do not count, wherever they stand."""
    words = fields["sizes"].split()
    if fields["dimension"] != str(len(words)) or not all(word.isdecimal() for word in words):
        raise refused(
            path, f"its header declares the size {fields['sizes'][:60]!r} of {fields['dimension'][:20]!r} axes"
        )
    sizes = [int(word) for word in words]
    check_size(path, sizes, kind.itemsize)
    directions = re.findall(r"none|\([^()]*\)", fields.get("space directions", ""))
    if len(sizes) < 3:
        raise not_3d(path, sizes)
    if len(directions) != len(sizes):
        raise not_oriented(path)
    apart = [size for size, direction in zip(sizes, directions, strict=True) if direction == "none"]
    if any(size > 1 for size in apart[:1]) and directions[0] == "none":
        raise not_scalar(path)
    if len(sizes) - len(apart) != 3 or any(size > 1 for size in apart):
        raise not_3d(path, sizes)
    return tuple(size for size, direction in zip(sizes, directions, strict=True) if direction != "none")


def _to_lps(path: Path, header: dict[str, Any]) -> np.ndarray:
    if header.get("space") not in _SPACES:
        raise not_oriented(path)
    units = {unit.lower() for unit in header.get("space units", [])}
    if not units <= {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}:
        raise refused(path, "its header does not measure in millimetres")
    axes = header["space directions"]
    to_lps = np.eye(4)
    to_lps[:3, :3] = axes[~np.isnan(axes).all(axis=1)].T
    to_lps[:3, 3] = header.get("space origin", np.zeros(3))
    return np.diag([*_SPACES[header["space"]], 1]) @ to_lps
