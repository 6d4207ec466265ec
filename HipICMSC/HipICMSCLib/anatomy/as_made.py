"""A bone as the model drew it, short enough to be kept in a tag of its segment.

There it goes wherever the segment goes: through undo and redo, a scene, a file and back. So what a person changed is
known without a second file.
"""

from __future__ import annotations

import base64
import binascii
import lzma
import math

import numpy as np

from HipICMSCLib.anatomy.segments import TAG_PREFIX

#: The name of the tag.
AS_MADE = f"{TAG_PREFIX}AsMade"
_FORMAT = "runs1"


def as_text(mask: np.ndarray) -> str:
    """A mask (z, y, x) in letters that neither a tag nor a header takes for its own.

    Args:
        mask: bool.
    """
    ends = np.flatnonzero(np.diff(mask.ravel().view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    packed = lzma.compress(np.diff(ends, prepend=0).astype("<u4").tobytes(), preset=1)
    return f"{_FORMAT} {'x'.join(map(str, mask.shape))} {base64.b64encode(packed).decode('ascii')}"


def mask_in(text: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of :func:`as_text`; None where the text has none of this shape, (z, y, x), whoever wrote it."""
    form, _, rest = text.partition(" ")
    size, _, letters = rest.partition(" ")
    if form != _FORMAT or size != "x".join(map(str, shape)):
        return None
    voxels = math.prod(shape)
    unpacker = lzma.LZMADecompressor(memlimit=2**28)
    try:
        # Each run has a voxel or more, but for the first and the last.
        packed = unpacker.decompress(base64.b64decode(letters, validate=True), max_length=4 * (voxels + 2))
        lengths = np.frombuffer(packed, "<u4").astype(np.int64)
    except (binascii.Error, lzma.LZMAError, EOFError, ValueError):
        return None
    ends = np.cumsum(lengths)
    if not unpacker.eof or len(ends) % 2 or (len(ends) and ends[-1] > voxels):
        return None
    changes = np.zeros(voxels + 1, np.int8)
    changes[ends[0::2]] += 1
    changes[ends[1::2]] -= 1
    return np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(shape)
