"""The slices in DICOM files, by pydicom: what each says, whichever kind of object it is in, and its values."""

from __future__ import annotations

import io
import math
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.utils import pixel_dtype
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.memory import free_bytes
from HipICMSCLib.preprocessing.image_check import not_scalar
from HipICMSCLib.reading.refusals import not_oriented, refused

#: SOP classes of CT and MR, classic, enhanced and converted to enhanced: an image of these has a place.
_PLACED = {f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
#: Secondary captures, presentation states, segmentations and other objects derived from images.
_ASIDE = tuple(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("7", "11.", "66", "67", "30", "481", "88.", "104."))
_LARGEST_INFLATED = 1 << 29
#: In so many bytes a file has said of what kind it is.
_LONGEST_BEGINNING = 1 << 20
_POSITION = tag_for_keyword("ImagePositionPatient")
#: What tells volumes apart whose slices lie at the same places.
TELLING_APART = (
    "ImageType", "FrameType", "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers", "InversionTime",
    "DiffusionBValue", "TemporalPositionIdentifier", "TemporalPositionIndex", "NominalCardiacTriggerDelayTime",
    "TriggerTime", "StackID", "FlipAngle", "ContrastBolusAgent", "AcquisitionNumber", "AcquisitionTime",
)  # fmt: skip
#: What matters of a slice; hundreds of other elements would take as long to read again.
_READ = [
    *TELLING_APART, "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelData",
]  # fmt: skip

#: The functional group that alone says where a frame lies and how its values are scaled.
_GROUP_OF = {
    "ImagePositionPatient": "PlanePositionSequence", "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence", "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A slice: a file of its own, or a frame of a file of many.

    Attributes:
        number: of the frame in its file, from 0.
        series: UID, number and description.
        size: columns and rows.
        place: of the first voxel, LPS mm.
        axes: directions of rows and of columns, LPS.
        pixels: distances between rows and between columns, mm. Each is None where it is not said in so many numbers.
        scale: slope and intercept from stored values to true ones; None if they are no scale.
        said: of each of ``TELLING_APART``, several values as DICOM parts them; of what it lacks the empty text.
        stored: (row, column), before it is scaled; None if it is to be read yet.
    """

    path: Path
    number: int
    series: tuple[str, ...]
    image_type: str
    size: tuple[int, int]
    place: np.ndarray | None
    axes: np.ndarray | None
    pixels: np.ndarray | None
    scale: tuple[float, float] | None
    said: tuple[str, ...]
    stored: np.ndarray | None


def frames_of(shown: Path, files: Iterable[Path]) -> tuple[list[Frame], list[Path], list[tuple[str, HipError]]]:
    """The frames of all images, each once where it was copied, the files that hold no slices, and what is damaged.

    Of each damaged file that still says its series there is the UID of the series and the error.

    Args:
        shown: what the user chose.

    Raises:
        HipError: ``unreadable`` where a damaged file may be of any series, ``not_scalar``, ``bad_geometry`` or
            ``too_large``.
    """
    damaged: list[tuple[str, HipError]] = []
    frames: list[Frame] = []
    aside: list[Path] = []
    coloured = placeless = False
    seen: set[tuple] = set()
    free = free_bytes() or math.inf
    read = 0
    for path in files:
        size = path.stat().st_size
        if 2 * size > free:
            if not _may_be_image(path):  # a film of the operation, a slide
                aside.append(path)
                continue
            raise MemoryError(f"{path.name} has {size} bytes")
        read += size
        try:
            header = _dataset(path, _READ)
            sop_class, instance = str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")) or str(path)
            placed = _is_placed(header)
            contents = header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
            if header.preamble and not (sop_class or placed or contents):
                raise ValueError("it ends before it says what it is")
            scalar = not placed or _is_scalar(header)
            coloured = coloured or not scalar
            # Of a large study the values are read again, of the volume that is chosen.
            found = list(_frames(path, header, 4 * read < free)) if placed and scalar else []
            if len(found) == 1 and int(header.get("NumberOfFrames") or 1) > 1:
                placeless, found = True, []
        except Exception as error:  # pydicom raises many kinds for a damaged file
            name = "the file" if path == shown else f"its file {path.name}"
            refusal = refused(shown, f"{name} is cut off or damaged", repr(error))
            series = _series_of_damaged(path)
            if path == shown or not series:
                raise refusal from error
            damaged.append((series, refusal))
            continue
        if not found:
            aside.append(path)
            continue
        shared = instance, _text_of(header, "InstanceNumber"), *map(_shared_with_copies, found)
        if shared not in seen:
            seen.add(shared)
            frames += found
    if (placeless or coloured) and not frames:
        raise (not_oriented if placeless else not_scalar)(shown)
    if damaged and not frames:
        raise damaged[0][1]
    return frames, aside, damaged


def _shared_with_copies(frame: Frame) -> tuple:
    """What a copy of a frame says as well. Equal UIDs alone make none: programs keep the UIDs of images that they
    process, and some anonymizers give one to all."""
    places = (frame.place, frame.axes)
    return frame.series[0], *(None if place is None else tuple(place.tolist()) for place in places), *frame.said


def _may_be_image(path: Path) -> bool:
    """Whether a file that is too large to be read is of a kind that may be slices, by what its beginning says."""
    with path.open("rb") as file:
        beginning = io.BytesIO(file.read(_LONGEST_BEGINNING))
    try:
        header = pydicom.filereader.read_partial(beginning, lambda tag, *_: tag > _POSITION, force=True)
    except Exception:  # pydicom raises many kinds for what is cut off
        return True
    return not header.get("SOPClassUID") or _is_placed(header)


def _is_placed(header: Dataset) -> bool:
    """Whether an object is of a kind that lies in the patient, slice by slice."""
    sop_class = str(header.get("SOPClassUID", ""))
    return (sop_class in _PLACED or "ImagePositionPatient" in header) and not sop_class.startswith(_ASIDE)


def _series_of_damaged(path: Path) -> str:
    """The UID of the series of a file that is damaged further on; empty where it does not say so."""
    try:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Rows"])
    except Exception:  # pydicom raises many kinds for a damaged file
        return ""
    # A UID that is itself cut off would seem to be of another series; the rows come after it.
    return str(header.get("SeriesInstanceUID", "")) if "Rows" in header else ""


def stored_values(frames: Iterable[Frame]) -> Iterator[np.ndarray]:
    """The values of frames, before they are scaled; a file whose frames follow each other is read once.

    Raises:
        Exception: what is packed is damaged, or packed in a way that is not known; pydicom raises many kinds.
    """
    for path, of_file in groupby(frames, lambda frame: frame.path):
        members = list(of_file)
        if members[0].stored is None:
            yield from _values(_dataset(path, _READ), [frame.number for frame in members])
        else:
            yield from (frame.stored for frame in members)


def _dataset(path: Path, keywords: Sequence[str]) -> Dataset:
    """These elements of a file; from memory, so that no length in it asks for more."""
    data = path.read_bytes()
    if DeflatedExplicitVRLittleEndian.encode() in data[:1024]:
        about = pydicom.filereader.read_file_meta_info(path)
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        inflating.decompress(data[144 + about.FileMetaInformationGroupLength :], _LARGEST_INFLATED)
        if inflating.unconsumed_tail:
            raise ValueError("unpacked, the file is larger than any image")
    header = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(keywords))
    if "TransferSyntaxUID" not in header.file_meta:  # as where there is no preamble
        implicit, _ = header.original_encoding
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return header


def _frames(path: Path, header: Dataset, with_values: bool) -> Iterator[Frame]:
    """All frames; one alone where the file does not tell of each."""
    each = header.get("PerFrameFunctionalGroupsSequence")
    if each and len(each) != int(header.NumberOfFrames):
        raise ValueError(f"{header.NumberOfFrames} frames, {len(each)} of which say where they lie")
    shared = header.get("SharedFunctionalGroupsSequence")
    of_all = _group_values(shared[0]) if shared else {}
    owns = [of_all | _group_values(groups) for groups in each] if each else [{}]
    stored: list[Any] = [None] * len(owns)
    if with_values and not header.file_meta.TransferSyntaxUID.is_compressed:
        stored = _values(header, range(len(owns)))
    series = tuple(str(header.get(f"Series{of}") or "") for of in ("InstanceUID", "Number", "Description"))
    image_type, size = str(header.get("ImageType")), (int(header.Columns), int(header.Rows))
    said_of_all = {keyword: _text_of(header, keyword) for keyword in TELLING_APART}
    by_table = "ModalityLUTSequence" in header
    for number, own in enumerate(owns):
        place, axes, pixels, slope, intercept = (
            own[keyword] if keyword in own else header.get(keyword) for keyword in _GROUP_OF
        )
        scale = None if by_table else _scale(slope, intercept)
        placed = _numbers(place, 3), _numbers(axes, 6), _numbers(pixels, 2)
        said = tuple(_text(own[keyword]) if keyword in own else text for keyword, text in said_of_all.items())
        yield Frame(path, number, series, image_type, size, *placed, scale, said, stored[number])


def _text_of(header: Dataset, keyword: str) -> str:
    try:
        return _text(header.get(keyword, ""))
    except Exception:  # pydicom raises many kinds for what is no number, which tells apart all the same
        return str(header.get_item(keyword).value)


def _text(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _group_values(groups: Dataset) -> dict[str, Any]:
    """By keyword, what the functional groups of the standard say: Philips repeats the place of a frame, another one,
    in private sequences."""
    return {
        element.keyword: element.value
        for group in _standard(groups)
        if group.VR == "SQ" and group.value
        for element in _standard(group.value[0])
        if _GROUP_OF.get(element.keyword, group.keyword) == group.keyword
    }


def _standard(dataset: Dataset) -> Iterator[DataElement]:
    """Private elements are not even looked at: they may be damaged."""
    return (dataset[tag] for tag in sorted(dataset.keys()) if not tag.is_private)


def _numbers(value: Any, count: int) -> np.ndarray | None:
    """The values of an element, or None unless they are so many finite numbers."""
    try:
        found = np.array([float(number) for number in value])
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and np.isfinite(found).all() else None


def _scale(slope: Any, intercept: Any) -> tuple[float, float] | None:
    """Of what the elements say, which may be nothing."""
    pair = _numbers([1 if slope in (None, "") else slope, 0 if intercept in (None, "") else intercept], 2)
    return None if pair is None or pair[0] == 0 else (float(pair[0]), float(pair[1]))


def _is_scalar(header: Dataset) -> bool:
    kind = str(header.get("PhotometricInterpretation"))
    return header.get("SamplesPerPixel", 1) == 1 and kind.startswith("MONOCHROME")


def _values(header: Dataset, frames: Iterable[int]) -> list[np.ndarray]:
    """Of frames by their numbers, before they are scaled."""
    syntax, bits, allocated = header.file_meta.TransferSyntaxUID, header.BitsStored, header.BitsAllocated
    lowest = header.get("HighBit", bits - 1) + 1 - bits
    if not 0 <= lowest <= allocated - bits or bits < 1:
        raise ValueError(f"{bits} of {allocated} bits, the lowest of which is {lowest}")
    if not syntax.is_encapsulated and syntax.is_little_endian:
        # As pydicom would, but that it takes three times as long.
        count = int(header.get("NumberOfFrames") or 1) * header.Rows * header.Columns
        kind, data = pixel_dtype(header), header.PixelData
        values = np.frombuffer(data, kind, count).reshape(-1, header.Rows, header.Columns)
    elif get_decoder(syntax).is_available:
        header.BitsStored = bits + lowest  # a value may lie in the upper bits of a word, which pydicom does not know
        values = {number: pixel_array(header, index=number, raw=True) for number in frames}
    else:
        values = _by_gdcm(header)
    found = [values[number] for number in frames]
    if bits == allocated:
        return found
    # The bits above and below may hold overlays, and lack the sign.
    above = 8 * found[0].dtype.itemsize - bits - lowest
    return [value << above >> (above + lowest) for value in found]


def _by_gdcm(header: Dataset) -> np.ndarray:
    """(frame, row, column) by ITK, for packings such as lossless JPEG that pydicom has no decoder for."""
    bare = Dataset()
    bare.file_meta = header.file_meta
    for element in header:
        if not element.keyword.startswith(("Rescale", "ModalityLUT")):
            bare.add(element)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "wb") as nowhere:
        bare.save_as(Path(folder) / "slice", enforce_file_format=True)
        # What its libraries print of damaged data goes nowhere.
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            image = sitk.ReadImage(str(Path(folder) / "slice"), imageIO="GDCMImageIO")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return sitk.GetArrayFromImage(image)
