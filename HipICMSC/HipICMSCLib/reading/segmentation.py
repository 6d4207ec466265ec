"""Reads segmentations as Slicer saves them: segments known by their names, whatever value or layer each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy import named_bones
from HipICMSCLib.anatomy.named_bones import Named
from HipICMSCLib.anatomy.segments import SEGMENTS, Segment, check_values
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import is_dicom
from HipICMSCLib.reading.reference_extent import up_to_reference
from HipICMSCLib.reading.stored import Stored
from HipICMSCLib.reading.volume import found, read_volume

ENDING = ".seg.nrrd"
#: Slicer's tag of what a segment is.
_TERMINOLOGY = "TerminologyEntry"


@dataclass(frozen=True)
class NamedMask:
    """A segment.

    Attributes:
        identifier: as Slicer calls it within; users see and change the name.
        voxels: where it is, (z, y, x).
        tags: what programs note down with it.
    """

    identifier: str
    name: str
    voxels: np.ndarray
    tags: dict[str, str]


def bones_among(name: str, masks: Sequence[NamedMask]) -> dict[Segment, NamedMask]:
    """Which segments are our bones, as `anatomy.named_bones` knows them.

    Args:
        name: of the file, for messages.

    Raises:
        HipError: as `named_bones.check_names`.
    """
    named = [Named(mask.name, mask.identifier, mask.tags.get(_TERMINOLOGY, "")) for mask in masks]
    named_bones.check_names(named, name)
    return {bone: masks[place] for bone, place in named_bones.bones_among(named).items()}


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
            tags = dict(tag.partition(":")[::2] for tag in texts.get(f"Segment{number}_Tags", "").split("|") if tag)
            segments.append(NamedMask(identifier, name, layers[..., place] == int(value), tags))
    return stored, segments


def read_segmentation(path: Path) -> sitk.Image:
    """The label image with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`.

    The segments are known as `anatomy.named_bones` says, in a DICOM SEG by their name; others are left out. In a plain
    label map the values must be ours.

    Raises:
        HipError: ``no_segments`` where a segmentation has none of ours, ``overlapping_segments``, ``bad_labels``, or as
            `bones_among`, `read_volume` and `read_dicom_seg`.
    """
    path = Path(path)
    if path.name.lower().endswith(ENDING):
        stored, masks = read_segments(path)
        return bones_of(path, stored, masks)
    if _is_dicom(path):
        return _of_dicom(path)
    labels = read_volume(path)
    check_values(sitk.GetArrayViewFromImage(labels), path.name, "give them these, or morphometry --values")
    return labels


def bones_of(path: Path, stored: Stored, masks: list[NamedMask]) -> sitk.Image:
    """Our bones among the segments of a file as :func:`read_segments` gives them, on the whole image that they were
    drawn on, where the file states it; errors as of :func:`read_segmentation`."""
    labels = np.zeros(stored.size[::-1], np.uint8)
    ours = bones_among(path.name, masks)
    if not ours:
        raise _no_segments(path)
    for bone, mask in ours.items():
        if labels[mask.voxels].any():
            raise HipError(
                "overlapping_segments",
                f"The segment {mask.name or mask.identifier} of {path.name} overlaps another bone; let Segment Editor "
                "take one from the other (Logical operators, Subtract), and save it again.",
            )
        labels[mask.voxels] = bone.value
    # Slicer may have left out what lies beyond the segments, though the image goes on there.
    labels, to_lps = up_to_reference(path, labels, stored.to_lps, stored.texts)
    size = labels.shape[::-1]
    return replace(stored, size=size, to_lps=to_lps, voxels=lambda: labels, texts={}).image()


def _is_dicom(path: Path) -> bool:
    try:
        return path.is_file() and is_dicom(path)
    except OSError:
        return False


def _of_dicom(path: Path) -> sitk.Image:
    # Loaded here: Slicer's own process has no such library.
    from HipICMSCLib.reading.dicom_seg import read_dicom_seg

    image, names = read_dicom_seg(path, path.name)
    named = [Named(name) for name in names.values()]
    named_bones.check_names(named, path.name)
    ours = {list(names)[place]: bone.value for bone, place in named_bones.bones_among(named).items()}
    if not ours:
        raise _no_segments(path)
    voxels = sitk.GetArrayViewFromImage(image)
    labels = np.zeros(voxels.shape, np.uint8)
    for value, ours_is in ours.items():
        labels[voxels == value] = ours_is
    bones = sitk.GetImageFromArray(labels)
    bones.CopyInformation(image)
    return bones


def _no_segments(path: Path) -> HipError:
    names = ", ".join(segment.name for segment in SEGMENTS)
    return HipError(
        "no_segments",
        f"{path.name} has none of the segments {names}; rename its segments, or give morphometry --values.",
    )
