"""Reads a volume and refuses, in one sentence, what cannot be segmented or trained on."""

from __future__ import annotations

import contextlib
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import exists, is_dicom
from HipICMSCLib.preprocessing.geometry import image_at
from HipICMSCLib.preprocessing.image_check import check_volume, zero_where_unmeasured
from HipICMSCLib.reading.refusals import cut_off, refused


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
        HipError: as :func:`read_image`, or a kind of :func:`check_volume`.
    """
    image, notes = read_image(path, series)
    image, more = zero_where_unmeasured(image)
    check_volume(image, str(path))
    return image, notes + more


def read_image(path: Path, series: str | None = None) -> tuple[sitk.Image, list[str]]:
    """As :func:`read_with_notes`, but whatever its size and its values are, such as an empty label map.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``too_large``, ``several_series``, ``unknown_series``, ``not_3d``,
            ``not_scalar`` or ``bad_geometry``.
    """
    path = Path(path)
    if not exists(path):
        raise HipError("missing_file", f"There is no file {path}.")
    # SimpleITK takes text alone, and ends the process where a name is none.
    if str(path).encode("utf-8", "replace").decode("utf-8") != str(path):
        raise refused(path, "its name, or that of its folder, is no text; rename it")
    try:
        with _without_warnings():
            return _read(path, series)
    except MemoryError as error:
        raise _too_little_memory(path, str(error)) from error
    except (EOFError, zlib.error) as error:
        raise cut_off(path, str(error)) from error
    except (RuntimeError, OSError) as error:
        raise _unreadable(path, str(error)) from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What libraries would print is either an error, which is raised below in one sentence, or of no use."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _read(path: Path, series: str | None) -> tuple[sitk.Image, list[str]]:
    """By the ending of the name. The libraries are loaded where they are needed: Slicer's own process has none."""
    ending = path.name.lower()
    # A pipe or a device never ends.
    if not path.is_dir() and not path.is_file():
        raise refused(path, "it is no file")
    if path.is_file() and ending.endswith((".nii", ".nii.gz")):
        from HipICMSCLib.reading import nifti

        return image_at(*nifti.read(path), str(path)), []
    if path.is_file() and ending.endswith((".nrrd", ".nhdr")):
        from HipICMSCLib.reading import nrrd

        voxels, to_lps, fields = nrrd.read(path)
        image = image_at(voxels, to_lps, str(path))
        for name, text in fields.items():
            image.SetMetaData(name, text)
        return image, []
    if path.is_file() and ending.endswith((".mha", ".mhd")):
        from HipICMSCLib.reading import metaimage

        return image_at(*metaimage.read(path), str(path)), []
    if path.is_dir() or is_dicom(path):
        from HipICMSCLib.reading import dicom

        (voxels, to_lps), notes = dicom.read(path, series)
        return image_at(voxels, to_lps, str(path)), notes
    raise refused(path, "it is neither NIfTI, NRRD, MetaImage nor DICOM")


def _too_little_memory(path: Path, detail: str) -> HipError:
    return HipError(
        "out_of_memory", f"This computer has too little memory for {path}; close other programs and try again.", detail
    )


def _unreadable(path: Path, detail: str) -> HipError:
    if "Failed to allocate memory" in detail or "bad_alloc" in detail:
        return _too_little_memory(path, detail)
    return refused(path, "the file is damaged or of another kind", detail)
