"""What DICOM files say before their voxels are read: every frame with its place, whichever kind of object it is in."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.memory import free_bytes
from HipICMSCLib.preprocessing.image_check import not_scalar
from HipICMSCLib.reading.refusals import cut_off, not_oriented, refused

#: SOP classes of CT and MR, classic, enhanced and converted to enhanced: an image of these has a place.
_PLACED = {f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
#: Secondary captures, presentation states, segmentations and other objects derived from images.
_ASIDE = tuple(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("7", "11.", "66", "67", "30", "481", "88.", "104."))
_VOXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_LARGE_FILE = 1 << 26
_LARGEST_INFLATED = 1 << 29


@dataclass(frozen=True)
class Voxels:
    """Where the voxels of a file lie.

    Attributes:
        start: their first byte.
        plain: whether they lie in the file as in memory.
        shape: frames, rows and columns.
        lowest: the lowest bit of a value.
    """

    start: int
    plain: bool
    kind: np.dtype
    shape: tuple[int, int, int]
    lowest: int


@dataclass(frozen=True)
class Frame:
    """A slice: a file of its own, or a frame of a file of many.

    Attributes:
        number: of the frame in its file, from 0.
        header: of the file, without the voxels.
        values: by keyword, what its functional groups say of the frame alone.
    """

    path: Path
    number: int
    header: Dataset
    voxels: Voxels
    values: dict[str, Any]

    @cached_property
    def place(self) -> np.ndarray | None:
        """Of the first voxel, LPS mm."""
        return self.numbers("ImagePositionPatient", 3)

    @cached_property
    def axes(self) -> np.ndarray | None:
        """Directions of rows and of columns, LPS."""
        return self.numbers("ImageOrientationPatient", 6)

    @cached_property
    def pixels(self) -> np.ndarray | None:
        """Distances between rows and between columns, mm."""
        return self.numbers("PixelSpacing", 2)

    def get(self, keyword: str) -> Any:
        return self.values[keyword] if keyword in self.values else self.header.get(keyword)

    def numbers(self, keyword: str, count: int) -> np.ndarray | None:
        """The values of an element, or None unless there are so many finite numbers."""
        value = self.get(keyword)
        try:
            found = np.array([float(number) for number in ([value] if count == 1 else value)])
        except (TypeError, ValueError):
            return None
        return found if len(found) == count and np.isfinite(found).all() else None

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept from stored values to true ones; None if they are no scale."""
        pair = [
            np.array([default]) if self.get(keyword) in (None, "") else self.numbers(keyword, 1)
            for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        ]
        if pair[0] is None or pair[1] is None or pair[0][0] == 0 or "ModalityLUTSequence" in self.header:
            return None
        return float(pair[0][0]), float(pair[1][0])


def frames_of(shown: Path, files: Iterable[Path]) -> tuple[list[Frame], list[Path]]:
    """The frames of all images, each SOP instance once, and the files that hold no slices.

    Args:
        shown: what the user chose.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``bad_geometry`` or ``too_large``.
    """
    frames: list[Frame] = []
    aside: list[Path] = []
    coloured = False
    seen: set[str] = set()
    for path in files:
        name = "the file" if path == shown else f"its file {path.name}"
        size = path.stat().st_size
        if size > _LARGE_FILE and 2 * size > (free_bytes() or math.inf):
            raise MemoryError(f"{path.name} has {size} bytes")
        try:
            header, element = _header(path)
            sop_class, instance = str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")) or str(path)
            placed = sop_class in _PLACED or "ImagePositionPatient" in header
            placed = placed and not sop_class.startswith(_ASIDE)
            scalar = not placed or _is_scalar(header)
            coloured = coloured or not scalar
            found = list(_frames(path, header, _voxels(shown, name, header, element))) if placed and scalar else []
        except HipError:
            raise
        except Exception as error:  # pydicom raises many kinds for a damaged file
            raise refused(shown, f"{name} is cut off or damaged", repr(error)) from error
        if not found:
            aside.append(path)
        elif instance not in seen:
            seen.add(instance)
            if len(found) == 1 and found[0].voxels.shape[0] > 1:
                raise not_oriented(shown)
            frames += found
    if coloured and not frames:
        raise not_scalar(shown)
    return frames, aside


def _header(path: Path) -> tuple[Dataset, RawDataElement | None]:
    """What a file says, and where its voxels lie in it; from memory, so that no length in it asks for more."""
    data = path.read_bytes()
    if DeflatedExplicitVRLittleEndian.encode() in data[:1024]:
        about = pydicom.filereader.read_file_meta_info(path)
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        inflating.decompress(data[144 + about.FileMetaInformationGroupLength :], _LARGEST_INFLATED)
        if inflating.unconsumed_tail:
            raise ValueError("unpacked, the file is larger than any image")
    header = pydicom.dcmread(io.BytesIO(data), force=True)
    if "TransferSyntaxUID" not in header.file_meta:  # as where there is no preamble
        implicit, _ = header.original_encoding
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    element = header.get_item(_VOXELS) if _VOXELS in header else None
    if element is not None:
        del header[_VOXELS]
    return header, element


def _frames(path: Path, header: Dataset, voxels: Voxels) -> Iterator[Frame]:
    """All frames; one alone where the file does not tell of each."""
    each = header.get("PerFrameFunctionalGroupsSequence")
    if not each:
        yield Frame(path, 0, header, voxels, {})
        return
    if len(each) != int(header.NumberOfFrames):
        raise ValueError(f"{header.NumberOfFrames} frames, {len(each)} of which say where they lie")
    shared = header.get("SharedFunctionalGroupsSequence")
    of_all = _group_values(shared[0]) if shared else {}
    for number, groups in enumerate(each):
        yield Frame(path, number, header, voxels, of_all | _group_values(groups))


def _group_values(groups: Dataset) -> dict[str, Any]:
    items = [element.value[0] for element in groups if element.VR == "SQ" and element.value]
    return {element.keyword: element.value for item in items for element in item if element.keyword}


def _is_scalar(header: Dataset) -> bool:
    kind = str(header.get("PhotometricInterpretation"))
    return header.get("SamplesPerPixel", 1) == 1 and kind.startswith("MONOCHROME")


def _voxels(shown: Path, name: str, header: Dataset, element: RawDataElement | None) -> Voxels:
    """Refuses voxels of other bits than are known, and a file that does not hold them."""
    allocated, stored, high, signed = (
        header.get(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if allocated not in (8, 16, 32) or not 1 <= (stored or 0) <= high + 1 <= allocated or signed not in (0, 1):
        raise refused(shown, f"a voxel is said to have {stored} of {allocated} bits")
    shape = (int(header.get("NumberOfFrames") or 1), header.Rows, header.Columns)
    declared, found = math.prod(shape) * allocated // 8, len(element.value or b"") if element else 0
    syntax = header.file_meta.TransferSyntaxUID
    plain = syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian) and (not element or element.length != _UNDEFINED)
    if min(shape) < 1 or found < (declared if plain else 1):
        raise cut_off(shown, f"{name}: {' × '.join(map(str, shape))} voxels are declared, {found} bytes are there")
    kind = np.dtype("<" + "ui"[signed] + str(allocated // 8))
    return Voxels(element.value_tell, plain, kind, shape, high + 1 - stored)


def stored_values(frames: list[Frame]) -> Iterator[np.ndarray]:
    """The true values (row, column) of frames, each file read once; those of one file follow each other.

    Raises:
        Exception: what is packed is damaged, or packed in a way that is not known here; pydicom raises many kinds.
    """
    last, of_file = None, np.empty(0)
    for frame in frames:
        if frame.path != last:
            last, of_file = frame.path, _of_file(frame.path, frame.voxels)
        yield of_file[frame.number]


def _of_file(path: Path, voxels: Voxels) -> np.ndarray:
    if voxels.plain:
        values = np.fromfile(path, voxels.kind, math.prod(voxels.shape), offset=voxels.start)
    else:
        header = pydicom.dcmread(path, force=True)
        header.BitsStored = header.HighBit + 1  # or else pydicom would take the lowest bits for the value's
        values = pixel_array(header)
    values = values.reshape(voxels.shape)
    return values >> voxels.lowest if voxels.lowest else values
