"""The bones as a DICOM segmentation object that refers to the series it was made of, by highdicom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import ANATOMICAL_STRUCTURE, SEGMENTS, Code, Segment
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.common.volume_names import is_dicom
from HipICMSCLib.preprocessing.geometry import on_voxels_of
from HipICMSCLib.reading.volume import read_volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENDING = ".dcm"
#: What an object may leave empty but has to have; where somebody took it out of the images it is empty in the result.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")


def write_dicom_seg(
    labels: sitk.Image,
    path: Path,
    provenance: dict[str, str],
    source: Path,
    series: str | None = None,
    algorithm: str = "AUTOMATIC",
) -> None:
    """Write a label image as a binary DICOM SEG with all four segments and their SNOMED codes, on the image's slices.

    Args:
        labels: uint8 on the grid of the source, with the values of `anatomy.segments.SEGMENTS`.
        provenance: how the result came about; see `provenance.provenance`.
        source: the DICOM file or folder that was segmented, and ``series`` the one that was chosen in it.
        algorithm: AUTOMATIC, or SEMIAUTOMATIC where a person may have corrected it.

    Raises:
        HipError: ``not_dicom`` where the source lacks what a reference needs, or as `files.replacing`.
    """
    import highdicom
    from highdicom.seg import Segmentation

    from HipICMSCLib.reading.dicom import headers

    to_lps = np.eye(4)
    to_lps[:3, :3] = np.array(labels.GetDirection()).reshape(3, 3) * labels.GetSpacing()
    to_lps[:3, 3] = labels.GetOrigin()
    images = headers(source, series)
    for image in images:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in image:
                setattr(image, keyword, "")
        if "SliceThickness" not in image:
            image.SliceThickness = labels.GetSpacing()[2]
    voxels = sitk.GetArrayFromImage(labels)
    try:
        volume = highdicom.Volume(
            voxels,
            to_lps[:, [2, 1, 0, 3]],  # highdicom counts slices first
            coordinate_system="PATIENT",
            frame_of_reference_uid=images[0].FrameOfReferenceUID,
        )
        made = Segmentation(
            images, volume, "BINARY", [_description(segment, provenance, algorithm) for segment in SEGMENTS],
            series_instance_uid=highdicom.UID(), series_number=9000, sop_instance_uid=highdicom.UID(),
            instance_number=1, manufacturer="HipICMSC", manufacturer_model_name=provenance["ModelName"] or "HipICMSC",
            software_versions=VERSION, device_serial_number=provenance["ModelSha256"][:16],
            content_description=provenance["Use"][:64], content_label="HIP_BONES", omit_empty_frames=False,
        )  # fmt: skip
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise HipError(
            "not_dicom",
            f"No DICOM segmentation can refer to {source}, which lacks an element that is needed for it; let the "
            "result's name end in .seg.nrrd.",
            str(error),
        ) from error
    made.SeriesDescription = "Hip bones (HipICMSC), research use only"
    with replacing(path) as beside:
        made.save_as(beside)


def write_corrected(labels: sitk.Image, path: Path, provenance: dict[str, str], source: Path) -> None:
    """As :func:`write_dicom_seg`, of bones that a person may have corrected and whose axes another program may have
    stored in another order or direction.

    Raises:
        HipError: ``wrong_geometry`` where the labels do not lie on the voxels of the source; as
            :func:`write_dicom_seg`.
    """
    check_source(source)
    labels = on_voxels_of(read_volume(source), sitk.Cast(labels, sitk.sitkUInt8))
    if labels is None:
        raise HipError(
            "wrong_geometry",
            "The MRI was moved or changed after its DICOM files were loaded, so the bones do not lie on their voxels; "
            "load them again and segment that, or save the segmentation as .seg.nrrd.",
        )
    write_dicom_seg(labels, path, provenance, source, algorithm="SEMIAUTOMATIC")


def check_source(source: Path, series: str | None = None) -> None:
    """Find out before a long computation whether a DICOM segmentation can refer to what is segmented.

    Raises:
        HipError: ``not_dicom``; as for reading DICOM.
    """
    if source.is_file() and not is_dicom(source):
        raise HipError(
            "not_dicom",
            f"{source} is no DICOM, to which a DICOM segmentation could refer; let the result's name end in .seg.nrrd.",
        )
    from HipICMSCLib.reading.dicom import headers

    missing = sorted({keyword for image in headers(source, series) for keyword in _NEEDED if not image.get(keyword)})
    if missing:
        raise HipError(
            "not_dicom",
            f"{source} lacks the {', '.join(missing)} that a DICOM segmentation refers to; let the result's name end "
            "in .seg.nrrd.",
        )


def _description(segment: Segment, provenance: dict[str, str], algorithm: str) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    described = SegmentDescription(
        segment.value, segment.name, _concept(ANATOMICAL_STRUCTURE), _concept(segment.kind), algorithm,
        AlgorithmIdentificationSequence(
            "HipICMSC", codes.DCM.ArtificialIntelligence, VERSION, parameters={"ModelSha256": provenance["ModelSha256"]}
        ),
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in segment.color)),
    )  # fmt: skip
    described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
        _concept(segment.laterality)
    ]
    return described


def _concept(code: Code) -> Dataset:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
