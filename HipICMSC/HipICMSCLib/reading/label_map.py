"""Tells label maps of our bones from MRIs, by as few bytes as that takes; without any library, for Slicer itself."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from HipICMSCLib.anatomy.segments import SEGMENTS

#: So begins what our label maps say of themselves: a field of a header of text, the description in a NIfTI.
MARK = "HipICMSC"
_VALUES = (0, *(segment.value for segment in SEGMENTS))
_HEADER_BYTES = _BLOCK_BYTES = 1 << 16
#: More is no label map of a pelvis, but may take long to unpack.
_MOST_BYTES = 1 << 30
_FILES_REMEMBERED = 10_000
#: What a file raises that cannot be opened, is cut off, or holds something else.
_UNREADABLE = (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError)
#: numpy's names of the types of NIfTI.
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


def is_label_map(path: Path) -> bool:
    """Whether a file says that it is a label map of ours, or is a NIfTI of no other values than these have.

    An MRI is read up to its first other value, which is near its beginning; a label map to its end, but only once as
    long as the file stays as it is. An empty image is no label map, nor is what cannot be read: whoever takes it for an
    MRI says what is wrong with it.
    """
    with suppress(*_UNREADABLE):
        file = path.stat()
        return _is_label_map(path.absolute(), file.st_size, file.st_mtime_ns)
    return False


def is_ours(path: Path) -> bool:
    """Whether a file says that it is a label map of ours: its values are those of `anatomy.segments.SEGMENTS`."""
    with suppress(*_UNREADABLE):
        return _told(path, _is_marked)
    return False


@lru_cache(_FILES_REMEMBERED)
def _is_label_map(path: Path, size: int, modified_ns: int) -> bool:
    """Remembered for a file of this size and time; what cannot be read now may be read later."""
    return _told(path, lambda stream, is_nifti: _is_marked(stream, is_nifti) or (is_nifti and _has_our_values(stream)))


def _told(path: Path, tell: Callable[[BinaryIO, bool], bool]) -> bool:
    """What is told of a file's content, unpacked, and whether it is a NIfTI.

    Raises:
        any of _UNREADABLE.
    """
    # A pipe or a device never ends.
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
        is_packed = is_nifti and file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return tell(gzip.GzipFile(fileobj=file) if is_packed else file, is_nifti)


def _is_marked(stream: BinaryIO, is_nifti: bool) -> bool:
    if is_nifti:
        return stream.read(228)[148:].startswith(MARK.encode())
    return re.search(rb"(?m)^%b\." % MARK.encode(), stream.read(_HEADER_BYTES)) is not None


def _has_our_values(stream: BinaryIO) -> bool:
    stream.seek(0)
    head = stream.read(348)
    order = "<" if head[:4] == struct.pack("<i", 348) else ">"
    axes, *sizes = struct.unpack(f"{order}8h", head[40:56])
    code, *_ = struct.unpack(f"{order}h", head[70:72])
    start, slope, intercept = struct.unpack(f"{order}3f", head[108:120])
    is_scaled = not (slope == 0 or math.isnan(slope) or (slope, intercept) == (1, 0))
    if code not in _TYPES or is_scaled or not 0 <= start <= _HEADER_BYTES:
        return False
    kind = np.dtype(order + _TYPES[code])
    left, is_empty = math.prod(sizes[:axes]) * kind.itemsize, True
    if not 0 < left <= _MOST_BYTES:
        return False
    stream.seek(int(start))
    while left:
        values = np.frombuffer(stream.read(min(left, _BLOCK_BYTES)), kind)
        if not values.size or not np.isin(values, _VALUES).all():
            return False
        is_empty &= not values.any()
        left -= values.nbytes
    return not is_empty
