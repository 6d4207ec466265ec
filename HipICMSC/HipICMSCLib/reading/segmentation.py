"""Reads a segmentation file of the hips, also one that was corrected in Slicer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import found, read_volume


def read_segmentation(path: Path) -> sitk.Image:
    """The label image with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`.

    In a ``.seg.nrrd`` the segments are known by their identifier or name, whatever value or layer Slicer gave them;
    segments of other names are left out. In a plain label map the values must be ours.

    Raises:
        HipError: ``no_segments`` where a segmentation has none of ours, or as `read_volume`.
    """
    if not Path(path).name.lower().endswith(".seg.nrrd"):
        return read_volume(path)
    with found(path, layers=True) as stored:
        layers, texts = stored.voxels(), stored.texts
        layers = layers[..., None] if layers.ndim == 3 else layers
        labels = np.zeros(layers.shape[:3], np.uint8)
        known = False
        for number in range(sum(key.endswith("_LabelValue") for key in texts)):
            about = {name: texts.get(f"Segment{number}_{name}", "") for name in ("ID", "Name", "LabelValue", "Layer")}
            segment = next((s for s in SEGMENTS if s.segment_id == about["ID"] or s.name == about["Name"]), None)
            layer = int(about["Layer"]) if about["Layer"].isdecimal() else 0
            if segment is not None and about["LabelValue"].isdecimal() and layer < layers.shape[-1]:
                known = True
                labels[layers[..., layer] == int(about["LabelValue"])] = segment.value
        if not known:
            names = ", ".join(segment.name for segment in SEGMENTS)
            raise HipError(
                "no_segments",
                f"{Path(path).name} has none of the segments {names}; rename its segments, or give --values.",
            )
        return replace(stored, voxels=lambda: labels, texts={}).image()
