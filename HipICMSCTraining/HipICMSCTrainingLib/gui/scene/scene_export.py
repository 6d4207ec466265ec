"""Writes volumes of the scene, and what is drawn on them, as cases of a data set, where they are displayed.

What is written holds voxels and geometry alone: neither names nor DICOM tags of the scene go along.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.images import write_image
from HipICMSCLib.gui.scene.mrml import image_of, parent_to_world
from HipICMSCLib.preprocessing.geometry import Grid, same_geometry
from HipICMSCLib.preprocessing.image_check import check_volume, looks_like_ct
from slicer.i18n import tr as _
from vtkmodules.vtkCommonCore import reference

from HipICMSCTrainingLib.data.label_maps import CLASSES
from HipICMSCTrainingLib.gui.scene.label_mapping import Mapping

ENDING = ".nrrd"
#: Voxels that are drawn as both bones, as happens along a joint, as share of the smaller bone; more is a mistake.
LARGEST_OVERLAP = 0.01
#: To tell CT from MRI, so many voxels along each axis are enough.
_SAMPLES = 64


@dataclass(frozen=True)
class LabelPart:
    """A segment, or a value of a label map.

    Attributes:
        name: the segment's name, or the value in digits.
        key: the segment's identifier, or the value in digits.
        terminology: Slicer's entry; empty for a value.
    """

    name: str
    key: str
    terminology: str = ""


def guessed_modality(volume_node) -> str:
    """CT or MR, by the intensities."""
    voxels = slicer.util.arrayFromVolume(volume_node)
    sparse = voxels[tuple(slice(None, None, max(1, size // _SAMPLES)) for size in voxels.shape)]
    return "CT" if looks_like_ct(sitk.GetImageFromArray(np.ascontiguousarray(sparse))) else "MR"


def parts_of(label_node) -> list[LabelPart]:
    """The segments of a segmentation node, or the values but 0 of a label map node, in their order."""
    if label_node.IsA("vtkMRMLSegmentationNode"):
        segmentation = label_node.GetSegmentation()
        return [_part(segmentation.GetSegment(segment_id), segment_id) for segment_id in segmentation.GetSegmentIDs()]
    if label_node.GetImageData() is None:
        return []
    values: set[float] = set()
    for slice_ in slicer.util.arrayFromVolume(label_node):
        # Where a voxel is as the one before it, it is no news; sorting all of them keeps the user waiting.
        voxels = slice_.ravel()
        news = voxels[1:][voxels[1:] != voxels[:-1]]
        values.update(voxels[:1].tolist(), np.unique(news).tolist())
    return [LabelPart(f"{value:g}", f"{value:g}") for value in sorted(values - {0})]


def classes_of(label_node, volume_node, mapping: Mapping, resample: bool = False) -> sitk.Image:
    """What is drawn on a volume, on the volume's voxels as displayed.

    Args:
        label_node: vtkMRMLSegmentationNode, whose segments are sampled at the volume's voxels as Slicer shows them, or
            vtkMRMLLabelMapVolumeNode.
        mapping: class by the name of a part; several parts may be one class.
        resample: take a label map that lies on other voxels than the volume with nearest neighbours. That two grids
            differ is often a mistake, so it must be asked for.

    Returns:
        uint8: 0 background, 1 hip bone, 2 proximal femur. Where both are drawn, it is femur.

    Raises:
        HipError: ``no_mapping``, ``geometry_mismatch``, ``empty_labels``, ``overlapping_labels``, ``not_exported``, or
            as for converting a volume.
    """
    image = image_of(volume_node)
    drawn = {number: _drawn(label_node, volume_node, image, mapping, number, resample) for number in CLASSES}
    for number, voxels in drawn.items():
        if not voxels.any():
            raise HipError(
                "empty_labels",
                _("{label} shows no {bone} within {volume}; choose other segments or another volume.").format(
                    label=label_node.GetName(), bone=CLASSES[number], volume=volume_node.GetName()
                ),
            )
    _check_overlap(label_node, drawn)
    classes = np.zeros(image.GetSize()[::-1], np.uint8)
    for number, voxels in drawn.items():
        classes[voxels] = number
    return Grid.of(image).image(classes)


def export_case(
    folder: Path, name: str, volume_node, label_node=None, mapping: Mapping | None = None, resample: bool = False
) -> tuple[Path, Path | None]:
    """Write a volume node as ``name.nrrd`` and what is drawn on it as ``name_label.nrrd`` into an existing folder.

    Args:
        name: of the case; the node's own name, which may name a patient, appears nowhere.
        label_node, mapping, resample: as for :func:`classes_of`; without a label node only the volume is written.

    Returns:
        The paths of the volume and of its label map.

    Raises:
        HipError: as :func:`classes_of`, ``check_volume`` and for any file. No file is left unless all could be written.
    """
    image = image_of(volume_node)
    check_volume(image, volume_node.GetName())
    labels = None if label_node is None else classes_of(label_node, volume_node, mapping or {}, resample)
    image_path, label_path = folder / f"{name}{ENDING}", folder / f"{name}_label{ENDING}"
    with ExitStack() as undone:
        for voxels, path in ((labels, label_path), (image, image_path)):
            if voxels is not None:
                _write(voxels, path)
                undone.callback(path.unlink)
        # Both are there.
        undone.pop_all()
    return image_path, label_path if labels is not None else None


def missing_classes(parts: list[LabelPart], mapping: Mapping) -> list[str]:
    """The classes that no part has."""
    found = {mapping.get(part.name) for part in parts}
    return [name for name in CLASSES.values() if name not in found]


def _part(segment, segment_id: str) -> LabelPart:
    terminology = reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), terminology)
    return LabelPart(segment.GetName(), segment_id, str(terminology))


def _drawn(label_node, volume_node, image: sitk.Image, mapping: Mapping, number: int, resample: bool) -> np.ndarray:
    """(z, y, x) of the volume: where a class is drawn."""
    parts = [part for part in parts_of(label_node) if mapping.get(part.name) == CLASSES[number]]
    if not parts:
        raise HipError(
            "no_mapping",
            _("Say which segments or values of {label} are the {bone}.").format(
                label=label_node.GetName(), bone=CLASSES[number]
            ),
        )
    parent_to_world(label_node)
    if label_node.IsA("vtkMRMLSegmentationNode"):
        return _drawn_as_segments(label_node, volume_node, image, parts)
    labels = image_of(label_node)
    if not same_geometry(labels, image):
        if not resample:
            raise HipError(
                "geometry_mismatch",
                _(
                    "The label map {label} does not lie on the voxels of {volume}; look at both together, and let it "
                    "be resampled if they fit."
                ).format(label=label_node.GetName(), volume=volume_node.GetName()),
            )
        labels = Grid.of(image).resample(labels, sitk.sitkNearestNeighbor, 0)
    return np.isin(sitk.GetArrayViewFromImage(labels), [float(part.key) for part in parts])


def _drawn_as_segments(segmentation_node, volume_node, image: sitk.Image, parts: list[LabelPart]) -> np.ndarray:
    drawn = np.zeros(image.GetSize()[::-1], bool)
    for part in parts:
        try:
            voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, part.key, volume_node)
        except RuntimeError as error:
            raise HipError(
                "not_exported",
                _("The segment {segment} of {label} could not be sampled at the voxels of {volume}.").format(
                    segment=part.name, label=segmentation_node.GetName(), volume=volume_node.GetName()
                ),
                str(error),
            ) from error
        drawn |= voxels > 0
    return drawn


def _check_overlap(label_node, drawn: dict[int, np.ndarray]) -> None:
    both = int(np.logical_and(*drawn.values()).sum())
    if both > LARGEST_OVERLAP * min(int(voxels.sum()) for voxels in drawn.values()):
        raise HipError(
            "overlapping_labels",
            _(
                "In {label}, {count} voxels are both hip bone and femur; separate the segments in the Segment Editor, "
                "or correct what they mean."
            ).format(label=label_node.GetName(), count=both),
        )


def _write(image: sitk.Image, path: Path) -> None:
    # The lightest compression: a large CT is written while the user waits.
    write_image(image, path, compression=1)
