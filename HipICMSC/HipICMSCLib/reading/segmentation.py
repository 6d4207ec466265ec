"""Reads a segmentation file of the hips, also one that was corrected in Slicer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_volume


def read_segmentation(path: Path) -> sitk.Image:
    """The label image with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`.

    In a ``.seg.nrrd`` the segments are known by their identifier or name, whatever value or layer Slicer gave them;
    segments of other names are left out. In a plain label map the values must be ours.

    Raises:
        HipError: ``no_segments`` where a segmentation has none of ours, or as `read_volume`.
    """
    if not str(path).lower().endswith(".seg.nrrd") or not Path(path).is_file():
        return read_volume(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise HipError("unreadable", f"{Path(path).name} cannot be read as a segmentation.", str(error)) from error
    if image.GetDimension() != 3:
        raise HipError("not_3d", f"{Path(path).name} is no segmentation of a volume.")
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("Segment")}
    array = sitk.GetArrayViewFromImage(image)
    layers = array[..., None] if array.ndim == 3 else array
    found = np.zeros(layers.shape[:3], np.uint8)
    known = False
    for number in range(sum(key.endswith("_LabelValue") for key in fields)):
        about = {name: fields.get(f"Segment{number}_{name}", "") for name in ("ID", "Name", "LabelValue", "Layer")}
        segment = next((s for s in SEGMENTS if s.segment_id == about["ID"] or s.name == about["Name"]), None)
        if segment is None or not about["LabelValue"].isdigit():
            continue
        layer = int(about["Layer"] or 0)
        if layer < layers.shape[-1]:
            known = True
            found[layers[..., layer] == int(about["LabelValue"])] = segment.value
    if not known:
        names = ", ".join(segment.name for segment in SEGMENTS)
        raise HipError(
            "no_segments", f"{Path(path).name} has none of the segments {names}; rename its segments, or give --values."
        )
    labels = sitk.GetImageFromArray(found)
    labels.SetSpacing(image.GetSpacing())
    labels.SetOrigin(image.GetOrigin())
    labels.SetDirection(image.GetDirection())
    return labels
