"""Malformed DICOM, read and segmented as other volumes are."""

from malformed import dicom_folders
from malformed.images import attempt

__all__ = ["MAKERS", "attempt"]

MAKERS = dicom_folders.MAKERS
