"""The DICOM files that a volume of the scene was loaded from, and a result on their voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.mrml import LPS_FROM_RAS
from HipICMSCLib.gui.scene.named_bones import bones_in, check_names
from HipICMSCLib.gui.scene.result import volume_of
from HipICMSCLib.preprocessing.geometry import image_at

#: Slicer's DICOM module keeps here, parted by spaces, which objects of its database a volume was loaded from.
_INSTANCES = "DICOM.instanceUIDs"


def comes_from_dicom(volume_node) -> bool:
    """Whether Slicer's DICOM module loaded it."""
    return volume_node is not None and bool(volume_node.GetAttribute(_INSTANCES))


def dicom_files_of(volume_node) -> list[Path]:
    """The files in Slicer's DICOM database that a volume was loaded from.

    Raises:
        HipError: ``not_dicom``, or ``input_gone`` where they are not in the database any more.
    """
    if not comes_from_dicom(volume_node):
        raise HipError("not_dicom", _("The MRI was not loaded by Slicer's DICOM module."))
    uids = volume_node.GetAttribute(_INSTANCES).split()
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids]
    # Several frames may share a file.
    found = [Path(file) for file in dict.fromkeys(files) if file and Path(file).is_file()]
    if len(found) < len(set(files)):
        raise HipError(
            "input_gone",
            _("The DICOM files of {name} are not in Slicer's DICOM database any more; import them again.").format(
                name=volume_node.GetName()
            ),
        )
    return found


def labels_of(segmentation_node) -> sitk.Image:
    """Our bones in a result as they are now, with the values of `anatomy.segments.SEGMENTS`, on the voxels that its
    volume had when it was loaded: no transform of the scene moves them.

    Raises:
        HipError: ``nothing_found`` where all are empty, or as `named_bones.check_names`.
    """
    check_names(segmentation_node)
    volume_node = volume_of(segmentation_node)
    labels = np.zeros(volume_node.GetImageData().GetDimensions()[::-1], np.uint8)
    for bone, segment_id in bones_in(segmentation_node).items():
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, segment_id, volume_node)
        labels[voxels > 0] = bone.value
    if not labels.any():
        raise HipError(
            "nothing_found", _("There is no bone of ours in {name}.").format(name=segmentation_node.GetName())
        )
    matrix = vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return image_at(labels, LPS_FROM_RAS @ slicer.util.arrayFromVTKMatrix(matrix), segmentation_node.GetName())
