"""Image files that appear whole or not at all."""

from __future__ import annotations

import errno
import gzip
import math
import os
from pathlib import Path

import SimpleITK as sitk

from HipICMSCLib.common.files import replacing


def write_image(image: sitk.Image, path: Path, compression: int | None = -1) -> None:
    """Write an image in the format that the ending of its name says, in capitals or not.

    Args:
        compression: 0 to 9, -1 for the format's own choice; None to leave it unpacked.

    Raises:
        HipError: as `files.replacing`.
    """
    with replacing(path) as beside:
        level = {} if compression is None else {"compressionLevel": compression}
        sitk.WriteImage(image, str(beside), useCompression=compression is not None, **level)
        if beside.name.endswith((".nii", ".nii.gz")):
            _check_whole(beside, image)


def _check_whole(path: Path, image: sitk.Image) -> None:
    """The NIfTI writer alone ends without a word where the disk was full."""
    voxels = math.prod(image.GetSize()) * image.GetNumberOfComponentsPerPixel()
    written = 0
    try:
        with gzip.open(path) if path.name.endswith(".gz") else open(path, "rb") as file:
            while block := file.read(1 << 20):
                written += len(block)
    except EOFError:
        written = 0
    if written < 352 + voxels * image.GetSizeOfPixelComponent():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
