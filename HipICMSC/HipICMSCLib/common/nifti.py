"""What NIfTI libraries do not tell: whether a file is whole, and what its header really says.

They fill a file that was cut off with zeros, put 1 mm in the place of a spacing of 0 and 0 in the place of NaN, mirror
a volume of negative spacing, take axes that the header does not give, and keep silent when a disk is full. In a volume
that a result rests on none of it may pass.
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
#: Types of one real number a voxel, and how numpy calls them.
SCALAR_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
#: Types of several numbers a voxel (complex, RGB, RGBA), and their bits.
OTHER_TYPES = {32: 64, 128: 24, 1792: 128, 2304: 32}

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
#: So much may follow the voxels; somebody who appends more than that means to fill a disk or a day.
_MOST_TRAILING_BYTES = 1 << 20
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NiftiHeader:
    """What the header says of the unpacked file.

    Attributes:
        magic: the format's signature.
        dimensions: as written; the first says how many of the others count.
        kind: code of the voxels' type.
        bits: of a voxel.
        spacing: as written, mm for the first three axes.
        start: the first voxel's byte.
        file_bytes: how many bytes the whole has.
        float_type: how numpy calls the voxels' type if it is one that can hold NaN.
        slope, intercept: from stored values to true ones; a slope of 0 or NaN means none.
        in_millimetres: whether lengths are, or are not said to be anything else.
        transforms: from voxel indices to LPS (mm), (4, 4) each: the sform and the qform, those that are there.
    """

    magic: bytes
    dimensions: tuple[int, ...]
    kind: int
    bits: int
    spacing: tuple[float, ...]
    start: int
    file_bytes: int
    float_type: str | None
    slope: float
    intercept: float
    in_millimetres: bool
    transforms: tuple[np.ndarray, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along the axes that count; trailing axes of one voxel do not."""
        size = list(self.dimensions[1 : self.dimensions[0] + 1])
        while len(size) > 3 and size[-1] == 1:
            size.pop()
        return tuple(size)


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


def what_is_wrong(header: NiftiHeader) -> str | None:
    """Why a header is none to rely on, to go on with "its header …" or "the file …"; None for a sound one."""
    if header.magic not in (b"n+1\0", b"n+2\0"):
        return "it is no single-file NIfTI; an Analyze file or a pair of files does not say where left and right are"
    if not 1 <= header.dimensions[0] <= 7:
        return f"its header declares {header.dimensions[0]} axes"
    known_bits = {kind: 8 * np.dtype(name).itemsize for kind, name in SCALAR_TYPES.items()} | OTHER_TYPES
    if known_bits.get(header.kind) != header.bits:
        return f"its header declares voxels of type {header.kind} with {header.bits} bits, which is none"
    if header.start < (544 if header.magic == b"n+2\0" else 352):
        return "its header lets the voxels begin within the header"
    # Where neither is a number (nibabel) or both are 0, nothing is scaled.
    unscaled = (math.isnan(header.slope) or header.slope == 0) and (
        math.isnan(header.intercept) or header.intercept == 0
    )
    if not unscaled and not (header.slope != 0 and math.isfinite(header.slope) and math.isfinite(header.intercept)):
        return "its header scales the voxels by 0 or by what is no number"
    if not header.in_millimetres:
        return "its header does not measure in millimetres"
    return None


def is_whole(path: Path) -> bool:
    """Whether a single-file NIfTI has all of its voxels, undamaged as far as its packing can tell.

    A file that goes on for long after its voxels is not taken for whole.

    Raises:
        OSError: the file cannot be read.
    """
    header = read_header(path)
    if header is None:
        return False
    found = 0
    try:
        with _unpacked(path) as file:
            while found <= header.file_bytes + _MOST_TRAILING_BYTES and (block := file.read(1 << 20)):
                found += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return header.file_bytes <= found <= header.file_bytes + _MOST_TRAILING_BYTES


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
            steps = struct.unpack_from(order + "8f", data, 76)
            start = int(struct.unpack_from(order + "f", data, 108)[0])
            slope, intercept = struct.unpack_from(order + "2f", data, 112)
            units = data[123]
            codes = struct.unpack_from(order + "2h", data, 252)
            quaternion = struct.unpack_from(order + "6f", data, 256)
            rows = struct.unpack_from(order + "12f", data, 280)
            magic = data[344:348]
        elif size == 540:
            dimensions = struct.unpack_from(order + "8q", data, 16)
            kind, bits = struct.unpack_from(order + "2h", data, 12)
            steps = struct.unpack_from(order + "8d", data, 104)
            start = struct.unpack_from(order + "q", data, 168)[0]
            slope, intercept = struct.unpack_from(order + "2d", data, 176)
            units = struct.unpack_from(order + "i", data, 500)[0]
            codes = struct.unpack_from(order + "2i", data, 344)
            quaternion = struct.unpack_from(order + "6d", data, 352)
            rows = struct.unpack_from(order + "12d", data, 400)
            magic = data[4:8]
        else:
            continue
        voxels = math.prod(max(n, 1) for n in dimensions[1 : dimensions[0] + 1])
        float_type = {16: order + "f4", 64: order + "f8"}.get(kind)
        transforms = []
        with np.errstate(all="ignore"):  # of numbers that are none
            if codes[1] > 0:
                transforms.append(_RAS_TO_LPS @ np.array([*np.reshape(rows, (3, 4)), [0, 0, 0, 1]]))
            if codes[0] > 0:
                transforms.append(_RAS_TO_LPS @ _of_quaternion(*quaternion, steps))
        return NiftiHeader(
            magic, dimensions, kind, bits, steps[1:4], start, start + voxels * bits // 8, float_type, slope, intercept,
            units & 7 in (0, 2), tuple(transforms),
        )  # fmt: skip
    return None


def _of_quaternion(b: float, c: float, d: float, x: float, y: float, z: float, steps: tuple[float, ...]) -> np.ndarray:
    """The matrix (4, 4) from voxel indices to RAS of a qform."""
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handedness = -1.0 if steps[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = turn * (steps[1], steps[2], steps[3] * handedness)
    matrix[:3, 3] = x, y, z
    return matrix
