"""Reads the label map of a case, whatever its values are, as the classes that the networks learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import difference, on_voxels_of, within_voxels_of
from HipICMSCLib.reading.segmentation import ENDING, read_segments
from HipICMSCLib.reading.volume import read_with_notes

from HipICMSCTrainingLib.data.bone_names import class_of_name
from HipICMSCTrainingLib.data.dataset import Case

CLASSES = {HIP_BONE: "acetabulum", FEMUR: "femur"}
#: So many of the unknown values of a label map are named.
NAMED_VALUES = 5
#: So near to a whole number a value is that number.
NEAR_WHOLE = 0.01


def read_labels(case: Case, image: sitk.Image) -> sitk.Image:
    """The label map of a case, checked against its image.

    Returns:
        uint8 on the image's voxels: 0 background, 1 hip bone, 2 proximal femur.

    Raises:
        HipError: ``geometry_mismatch``, ``unknown_labels``, ``empty_labels``, or as for reading a volume.
    """
    read, meanings = _named_classes(case)
    if read is None:
        read, notes = read_with_notes(Path(case.label))
        if notes:
            raise HipError("not_finite", f"The label map of {case.name} contains voxels that are not numbers.")
    # Slicer may leave out of a segmentation what lies beyond its segments.
    placed = within_voxels_of if case.label.lower().endswith(ENDING) else on_voxels_of
    labels = placed(image, whole_numbers(read))
    if labels is None:
        raise HipError(
            "geometry_mismatch",
            f"The label map of {case.name} does not lie on the same voxels as its {case.modality}: it "
            f"{difference(image, read)}; resample it to the {case.modality} first.",
        )
    values = sitk.GetArrayViewFromImage(labels)
    present = np.unique(values).tolist()
    unknown = [value for value in present if value not in meanings]
    if unknown and not case.label_values.ignore_others:
        raise HipError("unknown_labels", _about_unknown(case, unknown))
    of_class = {meanings[value] for value in present if value in meanings}
    missing = [name for number, name in {0: "background", **CLASSES}.items() if number not in of_class]
    if 0 not in of_class and unknown:
        missing.remove("background")
    if missing:
        raise HipError("empty_labels", f"The label map of {case.name} has no voxel of {' and none of '.join(missing)}.")
    classes = np.zeros(values.shape, np.uint8)
    for value in present:
        if meanings.get(value):
            classes[values == value] = meanings[value]
    read = sitk.GetImageFromArray(classes)
    read.CopyInformation(labels)
    return read


def _named_classes(case: Case) -> tuple[sitk.Image | None, dict[int, int]]:
    """The classes by the names of segments, and which value means which class; values alone where nothing is named.

    Segments of other names are as other values: nothing, or an error.
    """
    values = {0: 0} | {value: number for number, name in CLASSES.items() for value in getattr(case.label_values, name)}
    if not case.label.lower().endswith(ENDING):
        return None, values
    stored, segments = read_segments(Path(case.label))
    if not segments:
        return None, values
    unknown = [segment.name for segment in segments if class_of_name(segment.name) is None]
    if unknown and not case.label_values.ignore_others:
        raise HipError(
            "unknown_labels",
            f"The segment '{unknown[0]}' of {case.name} is neither a hip bone nor a femur by its name; rename or "
            "remove it.",
        )
    classes = np.zeros(stored.size[::-1], np.uint8)
    for segment in segments:
        number = class_of_name(segment.name)
        if number is None:
            continue
        if (segment.voxels & (classes > 0) & (classes != number)).any():
            raise HipError("overlapping_segments", f"Hip bone and femur of {case.name} overlap; save them without.")
        classes[segment.voxels] = number
    return replace(stored, voxels=lambda: classes, texts={}).image(), {0: 0} | {number: number for number in CLASSES}


def whole_numbers(labels: sitk.Image) -> sitk.Image:
    """Values within a hundredth of a whole number are that number: floats that were saved as bytes become 0.996."""
    values = sitk.GetArrayViewFromImage(labels)
    if values.dtype.kind != "f":
        return labels
    whole = np.rint(values)
    near = sitk.GetImageFromArray(np.where(np.abs(values - whole) < NEAR_WHOLE, whole, values))
    near.CopyInformation(labels)
    return near


def _about_unknown(case: Case, unknown: list[float]) -> str:
    named = ", ".join(f"{value:g}" for value in unknown[:NAMED_VALUES])
    more = len(unknown) - NAMED_VALUES
    values = f"the value{'s' if len(unknown) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"
    bones = [" or ".join(map(str, getattr(case.label_values, name))) for name in CLASSES.values()]
    return (
        f"The label map of {case.name} has {values}; only 0 background, {bones[0]} hip bone and {bones[1]} proximal "
        "femur are known."
    )
