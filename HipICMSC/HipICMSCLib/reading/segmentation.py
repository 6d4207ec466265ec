"""Reads segmentations as Slicer saves them: segments known by their names, whatever value or layer each has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.stored import Stored
from HipICMSCLib.reading.volume import found, read_volume

ENDING = ".seg.nrrd"


@dataclass(frozen=True)
class NamedMask:
    """A segment.

    Attributes:
        identifier: as Slicer calls it within; users see and change the name.
        voxels: where it is, (z, y, x).
    """

    identifier: str
    name: str
    voxels: np.ndarray


def read_segments(path: Path) -> tuple[Stored, list[NamedMask]]:
    """The segments of a ``.seg.nrrd`` that have a name, and the grid that they lie on.

    Raises:
        HipError: as `volume.found`.
    """
    with found(path, layers=True) as stored:
        voxels, texts = stored.voxels(), stored.texts
    layers = voxels[..., None] if voxels.ndim == 3 else voxels
    segments = []
    for number in range(sum(key.endswith("_LabelValue") for key in texts)):
        identifier, name, value, layer = (
            texts.get(f"Segment{number}_{of}", "") for of in ("ID", "Name", "LabelValue", "Layer")
        )
        place = int(layer) if layer.isdecimal() else 0
        if (name or identifier) and value.isdecimal() and place < layers.shape[-1]:
            segments.append(NamedMask(identifier, name, layers[..., place] == int(value)))
    return stored, segments


def read_segmentation(path: Path) -> sitk.Image:
    """The label image with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`.

    In a ``.seg.nrrd`` the segments are known by their identifier or name; segments of other names are left out. In a
    plain label map the values must be ours.

    Raises:
        HipError: ``no_segments`` where a segmentation has none of ours, or as `read_volume`.
    """
    if not Path(path).name.lower().endswith(ENDING):
        return read_volume(path)
    stored, masks = read_segments(path)
    labels = np.zeros(stored.size[::-1], np.uint8)
    ours = [
        (s.value, mask) for mask in masks for s in SEGMENTS if s.segment_id == mask.identifier or s.name == mask.name
    ]
    if not ours:
        names = ", ".join(segment.name for segment in SEGMENTS)
        raise HipError(
            "no_segments",
            f"{Path(path).name} has none of the segments {names}; rename its segments, or give --values.",
        )
    for value, mask in ours:
        labels[mask.voxels] = value
    return replace(stored, voxels=lambda: labels, texts={}).image()
