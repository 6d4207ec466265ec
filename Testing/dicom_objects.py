"""Writes DICOM of any kind for tests: slices, enhanced objects, and what lies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
#: Axial slices: rows to the left, columns to the back.
AXIAL = (1, 0, 0, 0, 1, 0)
SPACING = (2.0, 1.5, 4.0)
ORIGIN = (-60.0, -40.0, 10.0)


def header(sop_class: str, instance: str, **elements: Any) -> Dataset:
    """What every object has; elements by keyword, None for none."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = instance
    values = {
        "StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.8", "Modality": "MR",
        "SeriesNumber": 3, "SeriesDescription": "t1_tse", "PatientID": "P", "PatientName": "Doe^Jane",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "StudyDate": "20200101", "StudyTime": "120000",
    } | elements  # fmt: skip
    for keyword, value in values.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def with_voxels(made: Dataset, voxels: np.ndarray) -> Dataset:
    made.Rows, made.Columns = voxels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * voxels.dtype.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(voxels.dtype.kind == "i")
    made.PixelData = voxels.tobytes()
    return made


def slices(voxels: np.ndarray, series: str = "1.2.3", **elements: Any) -> list[Dataset]:
    """A slice a file, from foot to head."""
    made = []
    for number, pixels in enumerate(voxels):
        own = {
            "InstanceNumber": number + 1, "ImageOrientationPatient": list(AXIAL),
            "PixelSpacing": [SPACING[1], SPACING[0]],
            "ImagePositionPatient": [ORIGIN[0], ORIGIN[1], ORIGIN[2] + SPACING[2] * number],
            "SeriesInstanceUID": series,
        }  # fmt: skip
        made.append(with_voxels(header(MR, f"{series}.{number + 1}", **own | elements), pixels))
    return made


def write(folder: Path, objects: Sequence[Dataset], name: str = "IM{:04d}", preamble: bool = True) -> Path:
    """Without suffixes and in disorder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, made in enumerate(objects):
        made.save_as(folder / name.format(number * 7 % 1000), enforce_file_format=preamble)
    return folder


def enhanced(voxels: np.ndarray, frames: Sequence[dict[str, Any]], **elements: Any) -> Dataset:
    """One object of many frames.

    Args:
        frames: of each its ``place`` (LPS mm), and where it has them ``scale``, ``axes``, ``stack``, ``echo``.
    """
    made = header(ENHANCED_MR, "1.2.3.0", **elements)
    made.NumberOfFrames = len(voxels)
    groups = []
    for frame in frames:
        group = Dataset()
        group.PlanePositionSequence = [_item(ImagePositionPatient=list(frame["place"]))]
        group.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(frame.get("axes", AXIAL)))]
        slope, intercept = frame.get("scale", (1, 0))
        group.PixelValueTransformationSequence = [_item(RescaleSlope=slope, RescaleIntercept=intercept)]
        if "echo" in frame:
            group.MREchoSequence = [_item(EffectiveEchoTime=frame["echo"])]
        if "stack" in frame:
            group.FrameContentSequence = [_item(StackID=frame["stack"])]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2])]
    made.SharedFunctionalGroupsSequence = [shared]
    return with_voxels(made, voxels)


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
