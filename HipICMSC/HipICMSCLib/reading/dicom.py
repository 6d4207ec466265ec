"""Reads a DICOM series, or a file of many frames, and refuses what its library would make up.

That library fills missing voxels with whatever it finds, takes axes and scales that are none for others, keeps silent
about slices that lie askew, and loses slices where a link in the folder leads nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.dicom_elements import about_file, bytes_of_voxels
from HipICMSCLib.reading.header_check import (
    LARGEST_DISAGREEMENT_MM,
    are_numbers,
    check_length,
    check_size,
    not_oriented,
    not_scalar,
    refused,
)

#: Distances between slices may differ by this share (positions are rounded).
LARGEST_UNEVENNESS = 0.1
#: What a voxel takes after reading, at most.
_BYTES_AT_MOST = 4
#: Numbers of a direction may differ by so much.
_ROUNDING = 1e-3
#: SOP classes with the place of each frame: Enhanced CT and MR, and what was converted to them.
_WITH_PLACES_OF_FRAMES = {f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2.1", "2.2", "4.1", "4.4")}
#: SOP classes of files without an image that lie beside images: waveforms, presentation states, registrations,
#: reports, documents, structures and plans of radiotherapy, tables of contents.
_NO_IMAGES = (
    *(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("9.", "11.", "66", "67", "88.", "104.", "481.3", "481.5")),
    "1.2.840.10008.1.3.10",
)
#: Tag of the SOP class among what a file says about itself.
_CLASS = b"\x02\x00\x02\x00"


@dataclass(frozen=True)
class _Header:
    """What a file says before its voxels are read.

    Attributes:
        size: columns, rows and frames.
        tags: texts by tag, such as ``0020|0032``.
    """

    path: Path
    size: tuple[int, ...]
    tags: dict[str, str]

    def numbers(self, tag: str, count: int) -> list[float] | None:
        """The values of a tag, or None unless there are so many numbers."""
        words = [word.strip() for word in self.tags.get(tag, "").split("\\")]
        return [float(word) for word in words] if are_numbers(words, count) else None

    def count(self, tag: str) -> int:
        """The value of a tag that is a whole number; -1 for none."""
        text = self.tags.get(tag, "")
        return int(text) if text.isdecimal() else -1


def is_dicom(path: Path) -> bool:
    """Whether a file says so.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_series(folder: Path) -> sitk.Image:
    """The one series of a folder.

    Raises:
        HipError: ``unreadable``, ``several_series``, ``bad_geometry``, ``not_scalar`` or ``too_large``.
        RuntimeError, OSError: it cannot be read.
    """
    headers = _headers(folder)
    series = {header.tags.get("0020|000e", "") for header in headers}
    if not series:
        raise HipError("unreadable", f"The folder {folder} holds no DICOM series.")
    if len(series) > 1:
        raise HipError(
            "several_series",
            f"The folder {folder} holds {len(series)} DICOM series; put the one to segment into a folder of its own.",
        )
    if len(headers) == 1:
        return read_frames(headers[0].path)
    for header in headers:
        _check_voxels(folder, header)
    _check_alike(folder, headers)
    headers = _in_order(folder, headers)
    check_size(folder, (*headers[0].size[:2], len(headers)), _BYTES_AT_MOST)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(header.path) for header in headers])
    if any(_scale(header) != (1.0, 0.0) for header in headers):
        reader.SetOutputPixelType(sitk.sitkFloat32)  # or else a slice would be rounded to the type of the first
    image = reader.Execute()
    _check_place(folder, image, headers)
    return image


def read_frames(path: Path) -> sitk.Image:
    """A file of many frames.

    Raises:
        HipError: ``unreadable``, ``bad_geometry``, ``not_scalar`` or ``too_large``.
        RuntimeError, OSError: it cannot be read.
    """
    try:
        header = _header(path)
    except ValueError as error:
        raise refused(path, "the file is cut off or damaged", str(error)) from error
    _check_voxels(path, header)
    frames = header.size[2] if len(header.size) > 2 else 1
    if frames > 1 and header.tags.get("0008|0016", "") not in _WITH_PLACES_OF_FRAMES:
        raise not_oriented(path)
    return sitk.ReadImage(str(path), imageIO="GDCMImageIO")


def _headers(folder: Path) -> list[_Header]:
    """Of the images in a folder; other files, and what is no file, are left out."""
    found = []
    for path in sorted(folder.iterdir()):
        # DICOMDIR is a table of contents. A pipe or a device never ends.
        if path.name.upper() == "DICOMDIR" or not path.is_file() or not is_dicom(path):
            continue
        try:
            found.append(_header(path))
        except (RuntimeError, ValueError) as error:
            # A slice that is left out unseen would make a smaller volume of the series.
            if not about_file(path, _CLASS).startswith(_NO_IMAGES):
                raise refused(folder, f"its file {path.name} is cut off or damaged", str(error)) from error
    return found


def _header(path: Path) -> _Header:
    """
    Raises:
        RuntimeError, ValueError: it is no image, or damaged.
    """
    bytes_of_voxels(path)  # the library reserves whatever the length of an element asks for
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    tags = {tag: reader.GetMetaData(tag).strip("\0 ") for tag in reader.GetMetaDataKeys()}
    return _Header(path, tuple(reader.GetSize()), tags)


def _check_voxels(shown: Path, header: _Header) -> None:
    """Refuse voxels that are not one number each, and a file that does not hold them.

    Args:
        shown: what the user chose.
    """
    kind = header.tags.get("0028|0004", "")
    if header.count("0028|0002") != 1 or not kind.startswith("MONOCHROME"):
        raise not_scalar(shown)
    allocated, stored, high, signed = (header.count(f"0028|010{number}") for number in range(4))
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or high != stored - 1 or signed not in (0, 1):
        raise refused(shown, f"a voxel is said to have {stored} of {allocated} bits")
    if _scale(header) is None:
        raise refused(shown, "its values are scaled by what is no number, or by 0")
    check_size(shown, header.size, _BYTES_AT_MOST)
    found = bytes_of_voxels(header.path)
    if found is not None:
        check_length(shown, math.prod(header.size) * allocated // 8, found)


def _scale(header: _Header) -> tuple[float, float] | None:
    """Slope and intercept; None if they are no scale."""
    values = []
    for tag, default in (("0028|1053", 1.0), ("0028|1052", 0.0)):
        found = header.numbers(tag, 1) if tag in header.tags else [default]
        if found is None:
            return None
        values += found
    slope, intercept = values
    return (slope, intercept) if slope != 0 else None


def _check_alike(folder: Path, headers: Sequence[_Header]) -> None:
    kinds = {(*header.size, *(header.tags[f"0028|010{number}"] for number in range(4))) for header in headers}
    if len(kinds) > 1 or headers[0].size[2:] not in ((), (1,)):
        raise refused(folder, "its DICOM slices are not all of one size and type")


def _in_order(folder: Path, headers: Sequence[_Header]) -> list[_Header]:
    """The slices one behind the other, if that is how they lie.

    Raises:
        HipError: ``bad_geometry``.
    """
    axes = _numbers(folder, headers, "0020|0037", 6)
    pixels = _numbers(folder, headers, "0028|0030", 2)
    if pixels.min() <= 0:
        raise _without_place(folder, "a distance of pixels is 0 or negative")
    positions = _numbers(folder, headers, "0020|0032", 3)
    right, down = axes[0].reshape(2, 3)
    if not np.allclose([right @ right, down @ down, right @ down], [1, 1, 0], atol=2 * _ROUNDING):
        raise _without_place(folder, "the axes are no unit vectors at right angles")
    if np.ptp(axes, axis=0).max() > _ROUNDING or np.ptp(pixels, axis=0).max() > _ROUNDING:
        raise _askew(folder)
    order = np.argsort(positions @ np.cross(right, down))
    steps = np.linalg.norm(np.diff(positions[order], axis=0), axis=1)
    if np.abs(steps - np.median(steps)).max() > LARGEST_UNEVENNESS * np.median(steps):
        raise HipError(
            "bad_geometry",
            f"The slices of the DICOM series in {folder} are not evenly spaced; one of them may be missing.",
            f"steps of {steps.min():g} to {steps.max():g} mm",
        )
    return [headers[number] for number in order]


def _numbers(folder: Path, headers: Sequence[_Header], tag: str, count: int) -> np.ndarray:
    """The values (slices, count) of a tag."""
    rows = [header.numbers(tag, count) for header in headers]
    if None in rows:
        raise _without_place(folder, f"the tag {tag}")
    return np.array(rows)


def _check_place(folder: Path, image: sitk.Image, headers: Sequence[_Header]) -> None:
    """Refuse slices that are shifted against each other, which were read as if they were not."""
    said = _numbers(folder, headers, "0020|0032", 3)
    read = np.array([image.TransformIndexToPhysicalPoint((0, 0, number)) for number in range(len(headers))])
    allowed = max(LARGEST_DISAGREEMENT_MM, LARGEST_UNEVENNESS * image.GetSpacing()[2])
    rows, columns = _numbers(folder, headers, "0028|0030", 2)[0]
    if np.abs(read - said).max() > allowed or not np.allclose(image.GetSpacing()[:2], (columns, rows), rtol=1e-3):
        raise _askew(folder)


def _without_place(folder: Path, detail: str) -> HipError:
    return HipError(
        "bad_geometry",
        f"The DICOM series in {folder} does not say for each slice where it lies; export it again.",
        detail,
    )


def _askew(folder: Path) -> HipError:
    return HipError(
        "bad_geometry",
        f"The slices of the DICOM series in {folder} do not lie one behind the other (gantry tilt, or slices of "
        "several series?); resample it or export it again.",
    )
