"""What a segmentation says of its correction: what is completed, which model made it, and what that had drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.as_made import AS_MADE, mask_in
from HipICMSCLib.anatomy.segments import SEGMENTS, TAG_PREFIX
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.reading.segmentation import (
    ENDING,
    NamedMask,
    bones_among,
    bones_of,
    read_segmentation,
    read_segments,
)

#: Slicer's tag of the flag that a user sets in the list of segments.
_STATUS, _COMPLETED = "Segmentation.Status", "completed"


@dataclass(frozen=True)
class Correction:
    """A segmentation that somebody may have corrected, as `keep.keep_case` takes it.

    Attributes:
        labels: values of `anatomy.segments.SEGMENTS`.
        original_labels: what the model drew; None where nobody knows.
        of_unknown_origin: ``segment_id`` of what ``original_labels`` does not know.
        completed: ``segment_id`` of what the user marked as completed.
        made_by: provenance of the result, see `results.provenance`; empty where nobody knows.
    """

    labels: sitk.Image
    original_labels: sitk.Image | None
    of_unknown_origin: frozenset[str]
    completed: frozenset[str]
    made_by: dict[str, str]


def read_correction(path: Path, image: sitk.Image) -> Correction:
    """All that a file of a segmentation says. Only a ``.seg.nrrd`` knows what was completed and what the model drew.

    Args:
        image: the MRI that it was made of.

    Raises:
        HipError: as `segmentation.read_segmentation`.
    """
    path = Path(path)
    if not path.name.lower().endswith(ENDING):
        labels = read_segmentation(path)
        return Correction(labels, None, frozenset(), frozenset(), _provenance(_texts(labels)))
    stored, masks = read_segments(path)
    labels = bones_of(path, stored, masks)
    ours = {bone.segment_id: mask for bone, mask in bones_among(path.name, masks).items()}
    texts = {name: mask.tags[AS_MADE] for name, mask in ours.items() if AS_MADE in mask.tags}
    # Slicer may save less than the whole grid on which the model drew.
    for grid in (labels, image):
        original, unknown = labels_as_made(texts, Grid.of(grid))
        if original is not None and (grid is labels or _same_axes(image, labels)):
            break
    else:
        original, unknown = None, frozenset()
    completed = frozenset(name for name, mask in ours.items() if mask.tags.get(_STATUS) == _COMPLETED)
    return Correction(labels, original, unknown, completed, _latest(list(ours.values())))


def labels_as_made(texts: Mapping[str, str], grid: Grid) -> tuple[sitk.Image | None, frozenset[str]]:
    """What the model drew, and which segments are not known; None where none is.

    Args:
        texts: of `anatomy.as_made.as_text`, by ``segment_id``.
        grid: on which the model drew.
    """
    voxels = np.zeros(grid.size[::-1], np.uint8)
    unknown = set()
    for segment in SEGMENTS:
        mask = mask_in(texts.get(segment.segment_id, ""), voxels.shape)
        if mask is None:
            unknown.add(segment.segment_id)
        else:
            voxels[mask] = segment.value
    if len(unknown) == len(SEGMENTS):
        return None, frozenset()
    return grid.image(voxels), frozenset(unknown)


def _same_axes(first: sitk.Image, second: sitk.Image) -> bool:
    return np.allclose(first.GetDirection(), second.GetDirection(), atol=1e-3)


def _latest(masks: list[NamedMask]) -> dict[str, str]:
    """The provenance of the bones that were made last; the others were kept when these were made again."""
    made = [_provenance(mask.tags) for mask in masks]
    return max(made, key=lambda provenance: provenance.get("Date", ""), default={})


def _texts(image: sitk.Image) -> dict[str, str]:
    return {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}


def _provenance(texts: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(TAG_PREFIX): text for key, text in texts.items() if key.startswith(TAG_PREFIX)}
