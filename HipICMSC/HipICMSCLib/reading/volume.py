"""Reads a volume and refuses, in one sentence, what cannot be segmented or trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import VOLUME_ENDINGS, exists, is_dicom
from HipICMSCLib.preprocessing.geometry import image_at
from HipICMSCLib.preprocessing.image_check import check_volume, zero_where_unmeasured
from HipICMSCLib.reading.refusals import in_a_sentence, refused
from HipICMSCLib.reading.stored import Stored


def read_volume(path: Path, series: str | None = None) -> sitk.Image:
    """As :func:`read_with_notes`, for whom the notes do not matter."""
    return read_with_notes(path, series)[0]


def read_with_notes(path: Path, series: str | None = None) -> tuple[sitk.Image, list[str]]:
    """Read an intensity volume: NRRD, NIfTI, MetaImage, or DICOM, a file of many frames or a folder.

    The file may come from a stranger: no more memory is taken than its voxels need that are really there, and no file
    is read that lies elsewhere.

    Args:
        series: which series of a DICOM folder, by its number, UID or description; None where there is one.

    Returns:
        A 3-D scalar image with LPS geometry, checked by :func:`check_volume`, and sentences about what a user should
        know of how it was read.

    Raises:
        HipError: as :func:`found`, or a kind of :func:`check_volume`.
    """
    image, notes = read_image(path, series)
    image, more = zero_where_unmeasured(image)
    check_volume(image, str(path))
    return image, notes + more


def read_image(path: Path, series: str | None = None) -> tuple[sitk.Image, list[str]]:
    """As :func:`read_with_notes`, but whatever its size and its values are, such as an empty label map."""
    with found(path, series) as stored:
        return stored.image(), stored.notes


def read_outline(path: Path) -> sitk.Image:
    """An empty image in the place of a volume whose voxels are not read."""
    with found(path) as stored:
        return image_at(np.zeros(stored.size[::-1], np.uint8), stored.to_lps, str(path))


@contextlib.contextmanager
def found(path: Path, series: str | None = None, layers: bool = False) -> Iterator[Stored]:
    """A volume by the ending of its name, its header checked; what happens while it is read is told in a sentence.

    Args:
        layers: whether the voxels of an NRRD may have several values, (z, y, x, layer).

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``too_large``, ``out_of_memory``, ``several_series``,
            ``unknown_series``, ``not_3d``, ``not_scalar`` or ``bad_geometry``.
    """
    path = Path(path)
    if not exists(path):
        raise HipError("missing_file", f"There is no file {path}.")
    # GDCM and others take text alone.
    if str(path).encode("utf-8", "replace").decode("utf-8") != str(path):
        raise refused(path, "its name, or that of its folder, is no text", remedy="rename it")
    # A pipe or a device never ends.
    if not path.is_dir() and not path.is_file():
        raise refused(path, "it is no file", remedy="choose a file or a folder")
    with in_a_sentence(path):
        yield _stored(path, series, layers)


def _stored(path: Path, series: str | None, layers: bool) -> Stored:
    """The libraries are loaded where they are needed: Slicer's own process has none."""
    ending = path.name.lower() if path.is_file() else ""
    if ending and not path.stat().st_size:
        raise refused(path, "the file is empty")
    if ending.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        from HipICMSCLib.reading import nifti

        return nifti.read(path)
    if ending.endswith((".nrrd", ".nhdr")):
        from HipICMSCLib.reading import text_headers

        return text_headers.read_nrrd(path, layers)
    if ending.endswith((".mha", ".mhd")):
        from HipICMSCLib.reading import text_headers

        return text_headers.read_metaimage(path)
    if path.is_dir() or is_dicom(path):
        from HipICMSCLib.reading import dicom

        return dicom.read(path, series)
    raise refused(
        path,
        f"it is no DICOM, and its name ends in none of {', '.join(VOLUME_ENDINGS)}",
        remedy="rename it if it is one of these, or save it as one",
    )
