"""What NIfTI libraries do not tell: whether a file is whole, and what its header really says.

They fill a file that was cut off with zeros, put 1 mm in the place of a spacing of 0 and 0 in the place of NaN, and
keep silent when a disk is full. In a volume that a result rests on none of it may pass.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

ENDINGS = (".nii.gz", ".nii")
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348


@dataclass(frozen=True)
class NiftiHeader:
    """What the header says of the unpacked file.

    Attributes:
        spacing: as written, mm for the first three axes.
        start: the first voxel's byte.
        file_bytes: how many bytes the whole has.
        float_type: how numpy calls the voxels' type if it is one that can hold NaN.
    """

    spacing: tuple[float, ...]
    start: int
    file_bytes: int
    float_type: str | None


def is_nifti(path: Path) -> bool:
    """Whether the name says so."""
    return Path(path).name.lower().endswith(ENDINGS)


def read_header(path: Path) -> NiftiHeader | None:
    """The header of a single-file NIfTI, packed or not; None if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with _unpacked(path) as file:
            return _parse(file.read(_HEADER_BYTES))
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error, ValueError, OverflowError):
        return None


def is_whole(path: Path) -> bool:
    """Whether a single-file NIfTI has all of its voxels, undamaged as far as its packing can tell.

    Raises:
        OSError: the file cannot be read.
    """
    header = read_header(path)
    if header is None:
        return False
    found = 0
    try:
        with _unpacked(path) as file:
            while block := file.read(1 << 20):
                found += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return found >= header.file_bytes


def is_finite(path: Path) -> bool:
    """Whether no voxel of a whole single-file NIfTI is NaN or infinite.

    Raises:
        OSError: the file cannot be read.
    """
    header = read_header(path)
    if header is None or header.float_type is None:
        return True
    with _unpacked(path) as file:
        file.seek(header.start)
        left = header.file_bytes - header.start
        while block := file.read(min(left, 1 << 20)):
            if not np.isfinite(np.frombuffer(block, header.float_type)).all():
                return False
            left -= len(block)
    return True


def _unpacked(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _parse(data: bytes) -> NiftiHeader | None:
    """Offsets as in nifti1.h and nifti2.h."""
    for order in "<>":
        size = struct.unpack_from(order + "i", data)[0]
        if size == 348:
            dimensions = struct.unpack_from(order + "8h", data, 40)
            kind, bits = struct.unpack_from(order + "2h", data, 70)
            spacing = struct.unpack_from(order + "3f", data, 80)
            start = int(struct.unpack_from(order + "f", data, 108)[0])
        elif size == 540:
            dimensions = struct.unpack_from(order + "8q", data, 16)
            kind, bits = struct.unpack_from(order + "2h", data, 12)
            spacing = struct.unpack_from(order + "3d", data, 112)
            start = struct.unpack_from(order + "q", data, 168)[0]
        else:
            continue
        voxels = math.prod(max(n, 1) for n in dimensions[1 : dimensions[0] + 1])
        float_type = {16: order + "f4", 64: order + "f8"}.get(kind)
        return NiftiHeader(spacing, start, start + voxels * bits // 8, float_type)
    return None
