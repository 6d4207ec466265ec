"""The image that a ``.seg.nrrd`` was drawn on: it may go on where the voxels end that Slicer saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.refusals import check_size

_STATED = re.compile(r"Reference image geometry\|([^|&]*)\|")
#: So many voxels apart two grids are the same: some versions of Slicer write six digits.
_NEAR = 0.1
#: No index is greater.
_GREATEST = 2**31


def up_to_reference(
    path: Path, labels: np.ndarray, to_lps: np.ndarray, texts: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels with empty voxels about them, as far as the image goes that they were drawn on, and their new matrix.

    Where the image ends counts: a bone that it cuts is not measured. Labels stay as they are where the header states no
    image, one on other voxels, or one larger than what would be read.

    Args:
        labels: (z, y, x), as they are stored.
        to_lps: (4, 4), from their indices (x, y, z) to mm.
        texts: of the file's header, whoever wrote them.
    """
    stated = _stated(texts)
    if stated is None:
        return labels, to_lps
    image_to_lps, low, high = stated
    size = np.array(labels.shape[::-1])
    try:
        with np.errstate(all="ignore"):
            to_labels = np.linalg.solve(to_lps, image_to_lps)
            start = np.rint(to_labels[:3, 3])
            apart = np.abs(to_labels[:3, 3] - start) + np.abs(to_labels[:3, :3] - np.eye(3)) @ np.maximum(size, high)
    except np.linalg.LinAlgError:  # whoever makes an image of the labels says so
        return labels, to_lps
    if not (apart < _NEAR).all():
        return labels, to_lps
    before = [int(count) for count in np.maximum(-(start + low), 0)]
    after = [int(count) for count in np.maximum(start + high + 1 - size, 0)]
    try:
        check_size(path, [sum(counts) for counts in zip(labels.shape[::-1], before, after, strict=True)], 1)
    except HipError:
        return labels, to_lps
    moved = to_lps.copy()
    moved[:3, 3] -= to_lps[:3, :3] @ before
    return np.pad(labels, list(zip(before, after, strict=True))[::-1]), moved


def _stated(texts: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """From the image's indices to LPS mm (4, 4), and its first and last index; None where that is not to be relied on.

    Slicer writes the matrix to RAS row by row, then the first and last index along each axis.
    """
    found = _STATED.search(texts.get("Segmentation_ConversionParameters", ""))
    try:
        numbers = np.array([float(number) for number in found[1].rstrip(";").split(";")] if found else [])
    except ValueError:
        return None
    if len(numbers) != 22 or not np.isfinite(numbers).all():
        return None
    to_ras, (low, high) = numbers[:16].reshape(4, 4), numbers[16:].reshape(3, 2).T
    if not np.array_equal(to_ras[3], [0, 0, 0, 1]) or (low > high).any() or (np.abs(numbers[16:]) > _GREATEST).any():
        return None
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_ras, low, high
