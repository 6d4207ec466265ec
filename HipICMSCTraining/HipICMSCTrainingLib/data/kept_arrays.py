"""Arrays that were made once and lie in a file of the run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from HipICMSCLib.common.files import replacing
from safetensors.numpy import load_file, save

Arrays = dict[str, np.ndarray]


def kept_arrays(
    file: Path, kinds: dict[str, tuple[int, type]], fit: Callable[[Arrays], bool], make: Callable[[], Arrays]
) -> Arrays:
    """What a file holds; made and written where there is none, or where it is not what would be written there.

    Args:
        kinds: of each array the number of its dimensions and its type.
        fit: whether their shapes and numbers, which are finite, are those of one volume.
    """
    if file.is_file():
        try:
            arrays = load_file(file)
        except Exception:  # safetensors has kinds of its own
            arrays = {}
        found = {name: (array.ndim, array.dtype.type) for name, array in arrays.items()}
        if found == kinds and _all_finite(arrays) and fit(arrays):
            return arrays
    # safetensors writes the memory as it lies, so a transposed view must be laid out first.
    arrays = {name: np.ascontiguousarray(array) for name, array in make().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        beside.write_bytes(save(arrays))
    return arrays


def _all_finite(arrays: Arrays) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
