"""Reads label maps, of either convention, as classes.

Two conventions meet here. The training data say 1 hip bone, 2 femur; the engine says 1 right hip bone, 2 left hip
bone, 3 right femur, 4 left femur. ``read_classes`` brings both to the first, by this rule:

- a ``.seg.nrrd`` or a DICOM SEG goes by the names of its segments (data/bone_names.py), and without names by the
  engine's four values;
- any other label map with a value 3 or 4, or that says in its header that it is a result of ours, has the engine's four
  values;
- any other label map has the two classes. A file where as much of 1 lies to the patient's right as of 2 to the left
  could be either, and is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.voxels import points_of
from HipICMSCLib.reading.dicom_seg import read_dicom_seg
from HipICMSCLib.reading.label_map import is_ours
from HipICMSCLib.reading.volume import read_image
from HipICMSCLib.results.dicom_seg import ENDING as DICOM_ENDING

from HipICMSCTrainingLib.data.bone_names import class_of_name
from HipICMSCTrainingLib.data.label_maps import whole_numbers

_ENGINE_VALUES = {segment.value: segment.bone for segment in SEGMENTS}
_CLASS_VALUES = {HIP_BONE: HIP_BONE, FEMUR: FEMUR}


def read_classes(source: Path | sitk.Image, name: str) -> sitk.Image:
    """Read a label map of either convention as uint8 with 1 hip bone and 2 femur, by the rule at the top of this file.

    Args:
        source: a file, or an image in memory (never a ``.seg.nrrd``, so the values decide).
        name: what messages call it.

    Raises:
        HipError: ``unreadable``, ``overlapping_segments``, ``unknown_label`` or ``ambiguous_labels``.
    """
    image = read_label_map(source, name)
    values = _values(image, name)
    if isinstance(source, Path) and source.name.lower().endswith((".seg.nrrd", DICOM_ENDING)):
        classes = _segment_classes(image, name) or _ENGINE_VALUES
    elif values & {3, 4} or (isinstance(source, Path) and is_ours(source)):
        classes = _ENGINE_VALUES
    else:
        classes = _CLASS_VALUES
        if isinstance(source, Path):
            _refuse_sides(image, name)
    unknown = sorted(values - classes.keys() - {0})
    if unknown:
        raise HipError(
            "unknown_label",
            f"{name} has the label values {', '.join(map(str, unknown))}; known are 1 hip bone and 2 femur, or 1 and 2 "
            "right and left hip bone and 3 and 4 right and left femur.",
        )
    return sitk.ChangeLabel(sitk.Cast(image, sitk.sitkUInt16), {float(k): float(v) for k, v in classes.items()})


def read_label_map(source: Path | sitk.Image, name: str) -> sitk.Image:
    """A 3-D image with one number a voxel; a DICOM SEG has its segments' names as a ``.seg.nrrd`` has them."""
    if isinstance(source, sitk.Image):
        image = source
    elif source.name.lower().endswith(DICOM_ENDING):
        image, segments = read_dicom_seg(source, name)
        for number, (value, segment) in enumerate(segments.items()):
            image.SetMetaData(f"Segment{number}_LabelValue", str(value))
            image.SetMetaData(f"Segment{number}_Name", segment)
    else:
        try:
            read, _ = read_image(source)
        except HipError as error:
            if error.kind in ("not_3d", "not_scalar") and name.lower().endswith(".seg.nrrd"):
                sentence = f"The segments of {name} overlap; save it without overlaps."
                raise HipError("overlapping_segments", sentence) from error
            raise HipError("unreadable", error.sentence, error.detail) from error
        image = whole_numbers(read)
        for key in read.GetMetaDataKeys():
            image.SetMetaData(key, read.GetMetaData(key))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise HipError("unreadable", f"{name} is not a label map: a 3-D volume with one number a voxel is needed.")
    return image


def _values(image: sitk.Image, name: str) -> set[int]:
    values = np.unique(sitk.GetArrayViewFromImage(image))
    if not np.array_equal(values, np.round(values)) or values[0] < 0 or values[-1] > 65535:
        raise HipError("unknown_label", f"{name} is not a label map: it has values other than small whole numbers.")
    return {int(value) for value in values}


def _refuse_sides(image: sitk.Image, name: str) -> None:
    """Where a joint is in view, the hip bone reaches over the femoral head; two hip bones lie side by side and are
    nearly of one size, unlike a hip bone and the little that a bad model calls femur."""
    voxels = sitk.GetArrayViewFromImage(image)
    right, left = (points_of(image, np.argwhere(voxels == value)[:, ::-1])[:, 0] for value in (1, 2))
    if 0 < max(len(right), len(left)) < 2 * min(len(right), len(left)) and right.max() < left.min():
        raise HipError(
            "ambiguous_labels",
            f"{name} has the values 1 and 2 alone, all of 1 to the right of all of 2: either right and left hip bone "
            "or hip bone and femur. Save it as .seg.nrrd, with named segments.",
        )


def _segment_classes(image: sitk.Image, name: str) -> dict[int, int]:
    """Label value → class by the names of the segments, empty where the file names none."""
    classes = {}
    number = 0
    while image.HasMetaDataKey(f"Segment{number}_LabelValue") and image.HasMetaDataKey(f"Segment{number}_Name"):
        value = int(image.GetMetaData(f"Segment{number}_LabelValue"))
        classes[value] = _class_of_segment(image.GetMetaData(f"Segment{number}_Name"), name)
        number += 1
    return classes


def _class_of_segment(segment: str, name: str) -> int:
    number = class_of_name(segment)
    if number is None:
        raise HipError(
            "unknown_label",
            f"The segment '{segment}' of {name} is neither a hip bone nor a femur by its name; rename or remove it.",
        )
    return number
