"""DICOM slices whose every element the cases can set, and malformed folders of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from malformed.case import Case, Maker, Verdict
from malformed.reading import Reading
from malformed.volumes import balls, voxels

Random = np.random.Generator
#: Elements by keyword: tag and value representation.
ELEMENTS = {
    "SOPClassUID": (0x00080016, "UI"), "SOPInstanceUID": (0x00080018, "UI"), "Modality": (0x00080060, "CS"),
    "ReferencedImageSequence": (0x00081140, "SQ"), "Private": (0x00091001, "UN"),
    "SliceThickness": (0x00180050, "DS"), "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"), "InstanceNumber": (0x00200013, "IS"),
    "ImagePositionPatient": (0x00200032, "DS"), "ImageOrientationPatient": (0x00200037, "DS"),
    "SamplesPerPixel": (0x00280002, "US"), "PhotometricInterpretation": (0x00280004, "CS"),
    "NumberOfFrames": (0x00280008, "IS"), "Rows": (0x00280010, "US"), "Columns": (0x00280011, "US"),
    "PixelSpacing": (0x00280030, "DS"), "BitsAllocated": (0x00280100, "US"), "BitsStored": (0x00280101, "US"),
    "HighBit": (0x00280102, "US"), "PixelRepresentation": (0x00280103, "US"), "RescaleIntercept": (0x00281052, "DS"),
    "RescaleSlope": (0x00281053, "DS"), "PixelData": (0x7FE00010, "OW"),
}  # fmt: skip
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

_ITEM, _DELIMITED_ITEM = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0"
_DELIMITED_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"

Elements = dict[str, Any]


def slices(**changes: Any) -> list[Elements]:
    """The elements of each slice of the balls, with some of them set in all, or left out where None."""
    x, y, z = balls().GetOrigin()
    dx, dy, dz = balls().GetSpacing()
    made = []
    for number, pixels in enumerate(voxels()):
        made.append(
            {
                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "SOPInstanceUID": f"1.2.3.1.{number + 1}",
                "Modality": "MR", "SliceThickness": str(dz), "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": "1.2.3.1",
                "InstanceNumber": str(number + 1), "ImagePositionPatient": f"{x}\\{y}\\{z + number * dz}",
                "ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "Rows": pixels.shape[0], "Columns": pixels.shape[1],
                "PixelSpacing": f"{dy}\\{dx}", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
                "PixelRepresentation": 1, "PixelData": pixels.tobytes(),
            } | changes
        )  # fmt: skip
    return made


def file_of(elements: Elements, syntax: str = _EXPLICIT_LITTLE) -> bytes:
    """A DICOM file."""
    about = _encoded(0x00020001, "OB", b"\0\1")
    about += _encoded(0x00020002, "UI", str(elements.get("SOPClassUID") or "1.2.3"))
    about += _encoded(0x00020003, "UI", str(elements.get("SOPInstanceUID") or "1.2.3"))
    about += _encoded(0x00020010, "UI", syntax) + _encoded(0x00020012, "UI", "1.2.3.4")
    ordered = sorted((*ELEMENTS[name], value) for name, value in elements.items() if value is not None)
    body = b"".join(_encoded(*element) for element in ordered)
    return bytes(128) + b"DICM" + _encoded(0x00020000, "UL", len(about)) + about + body


def _items(*elements: bytes) -> bytes:
    """An item of a length, and one with a delimiter, of the same elements."""
    content = b"".join(elements)
    return _ITEM + struct.pack("<I", len(content)) + content + _ITEM + b"\xff" * 4 + content + _DELIMITED_ITEM


def _encoded(tag: int, kind: str, value: Any) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8")
        value += (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    elif isinstance(value, int):
        value = struct.pack("<I" if kind == "UL" else "<H", value)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode()
    if kind in ("SQ", "UN"):
        return head + b"\0\0" + b"\xff" * 4 + value + _DELIMITED_SEQUENCE
    if kind in ("OB", "OW"):
        return head + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def _written(folder: Path, files: list[bytes], rng: Random, verdict: Verdict) -> Case:
    """Under names that say nothing about their order."""
    series = folder / "series"
    series.mkdir()
    for place, data in zip(rng.permutation(len(files)), files, strict=True):
        (series / f"I{place:04d}{['', '.dcm'][int(place) % 2]}").write_bytes(data)
    return Case(series, verdict)


def _series(change: Callable[[list[Elements], Random], Any], verdict: Verdict = "refuse") -> Maker:
    """A series whose slices ``change`` changes in place."""

    def make(folder: Path, rng: Random) -> Case:
        made = slices()
        change(made, rng)
        return _written(folder, [file_of(elements) for elements in made], rng, verdict)

    return make


def _all(verdict: Verdict = "refuse", **choices: tuple) -> Maker:
    """One of the given elements has, in all slices, one of its values."""

    def change(made: list[Elements], rng: Random) -> None:
        name = list(choices)[int(rng.integers(len(choices)))]
        value = choices[name][int(rng.integers(len(choices[name])))]
        for elements in made:
            elements[name] = value

    return _series(change, verdict)


def _one(verdict: Verdict = "refuse", **choices: tuple) -> Maker:
    """As `_all`, but in one slice, and not the first or the last."""

    def change(made: list[Elements], rng: Random) -> None:
        name = list(choices)[int(rng.integers(len(choices)))]
        _inner(made, rng)[name] = choices[name][int(rng.integers(len(choices[name])))]

    return _series(change, verdict)


def _inner(made: list[Elements], rng: Random) -> Elements:
    return made[int(rng.integers(1, len(made) - 1))]


def _shift(made: list[Elements], rng: Random, each: bool) -> None:
    """Slices shifted against each other: one, or each by a little more than the one before (gantry tilt)."""
    one, by = int(rng.integers(1, len(made) - 1)), float(rng.uniform(0.3, 2)) if each else float(rng.uniform(5, 60))
    for number, elements in enumerate(made):
        x, y, z = map(float, elements["ImagePositionPatient"].split("\\"))
        shift = by * number if each else by * (number == one)
        elements["ImagePositionPatient"] = f"{x}\\{y + shift}\\{z}"


def _scale(made: list[Elements], rng: Random) -> None:
    slope, intercept = f"{rng.uniform(0.5, 2):.3f}", f"{rng.uniform(0, 100):.1f}"
    for elements in made:
        elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept}


def _twice(made: list[Elements], rng: Random) -> None:
    made.append(_inner(made, rng) | {"SOPInstanceUID": "1.2.3.1.999"})


def _second_series(made: list[Elements], rng: Random) -> None:
    for number in range(0, len(made), 2):
        made.append(made[number] | {"SeriesInstanceUID": "1.2.3.9", "SOPInstanceUID": f"1.2.3.9.{number + 1}"})


def _bytes(place: Callable[[bytes, Random], int], verdict: Verdict = "either") -> Maker:
    """Some bytes of one file changed, at places of its own choice."""

    def make(folder: Path, rng: Random) -> Case:
        files = [file_of(elements) for elements in slices()]
        which = int(rng.integers(len(files)))
        data = bytearray(files[which])
        for _ in range(int(rng.integers(1, 9))):
            data[place(data, rng)] = int(rng.integers(256))
        files[which] = bytes(data)
        return _written(folder, files, rng, verdict)

    return make


def _with_sequences(folder: Path, rng: Random) -> Case:
    """Sequences within sequences, explicit, and implicit where a copier knew no better."""
    referenced = _items(_encoded(0x00081155, "UI", "1.2.3"), _encoded(0x00081140, "SQ", _items()))
    inner = struct.pack("<HHI", 9, 0x1003, 0xFFFFFFFF) + _items() + _DELIMITED_SEQUENCE
    private = _items(struct.pack("<HHI", 9, 0x1002, 4) + b"abcd", inner)
    made = slices(ReferencedImageSequence=referenced, Private=private)
    case = _written(folder, [file_of(elements) for elements in made], rng, "read")
    return replace(case, truth=Reading(voxels(), _to_lps()))


def _to_lps() -> np.ndarray:
    matrix = np.diag([*balls().GetSpacing(), 1.0])
    matrix[:3, 3] = balls().GetOrigin()
    return matrix


def _cut(folder: Path, rng: Random) -> Case:
    files = [file_of(elements) for elements in slices()]
    which = int(rng.integers(len(files)))
    # More than the 132 bytes that say that it is a DICOM file at all.
    files[which] = files[which][: 132 + int(rng.integers(len(files[which]) - 133))]
    return _written(folder, files, rng, "refuse")


def _cut_all(folder: Path, rng: Random) -> Case:
    length = int(rng.integers(200, 2000))
    return _written(folder, [file_of(elements)[:length] for elements in slices()], rng, "refuse")


def _other_syntax(folder: Path, rng: Random) -> Case:
    """The voxels are said to be packed in a way in which they are not, or in one that nobody knows."""
    number = rng.choice(["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3.4.5",
                         "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])  # fmt: skip
    return _written(folder, [file_of(elements, str(number)) for elements in slices()], rng, "either")


def _odd_company(folder: Path, rng: Random) -> Case:
    """Things beside the slices that are no files, or no slices; the series is sound."""
    case = _written(folder, [file_of(elements) for elements in slices()], rng, "read")
    odd = case.path / "odd"
    company: list[Callable[[], Any]] = [
        lambda: os.mkfifo(odd), lambda: odd.symlink_to("/dev/zero"), lambda: odd.symlink_to("odd"),
        lambda: odd.symlink_to("gone"), lambda: odd.symlink_to(case.path), odd.mkdir, lambda: odd.write_bytes(b""),
        lambda: odd.write_bytes(bytes(128) + b"DIC"), lambda: odd.write_text("notes"),
        lambda: odd.write_bytes(rng.bytes(3000)), lambda: (case.path / "DICOMDIR").write_bytes(bytes(128) + b"DICM"),
    ]  # fmt: skip
    company[int(rng.integers(len(company)))]()
    return case


def _single_file(folder: Path, rng: Random) -> Case:
    """One slice, or many frames in a file of a kind that does not say where each lies."""
    elements = slices()[0]
    if rng.random() < 0.5:
        elements |= {"NumberOfFrames": str(len(voxels())), "PixelData": voxels().tobytes()}
    path = folder / "mri.dcm"
    path.write_bytes(file_of(elements))
    return Case(path)


def _single_huge(folder: Path, rng: Random) -> Case:
    elements = slices()[0] | {"NumberOfFrames": str(rng.choice(["99999999", "2147483647", "4000", "-1", "0", "x"]))}
    if rng.random() < 0.5:
        elements |= {"Rows": 65535, "Columns": 65535}
    path = folder / "mri.dcm"
    path.write_bytes(file_of(elements))
    return Case(path)


def _empty_folder(folder: Path, rng: Random) -> Case:
    path = folder / "series"
    path.mkdir()
    if rng.random() < 0.7:
        (path / "notes.txt").write_bytes(rng.bytes(int(rng.integers(500))))
    return Case(path)


_NO_NUMBERS = ("", "a\\b", "nan\\nan", "inf\\inf", "0\\0", "-3\\3", "3", "1e30\\1e30", "3\\3\\3", "1e-12\\1e-12")
_NO_POSITIONS = ("", "0\\0", "nan\\0\\0", "inf\\0\\0", "x\\y\\z", "0\\0\\0\\0", "1e400\\0\\0")
_NO_AXES = (
    "",
    "1\\0\\0",
    "nan\\0\\0\\0\\1\\0",
    "0\\0\\0\\0\\0\\0",
    "1\\0\\0\\1\\0\\0",
    "2\\0\\0\\0\\1\\0",
    "a\\b\\c\\d\\e\\f",
)

MAKERS: dict[str, Maker] = {
    "sound series": _series(lambda made, rng: None, "read"),
    "sound series with sequences": _with_sequences,
    "series scaled": _series(_scale, "read"),
    "slice missing": _series(lambda made, rng: made.pop(int(rng.integers(2, len(made) - 2)))),
    "slice missing at an end": _series(lambda made, rng: made.pop(int(rng.choice([0, -1]))), "read"),
    "slice twice": _series(_twice),
    "slice shifted": _series(lambda made, rng: _shift(made, rng, each=False)),
    "gantry tilt": _series(lambda made, rng: _shift(made, rng, each=True)),
    "slice turned": _one(
        ImageOrientationPatient=("0\\1\\0\\-1\\0\\0", "1\\0\\0\\0\\0\\-1", "0.9\\0.4359\\0\\-0.4359\\0.9\\0")
    ),
    "slice of other pixels": _one(PixelSpacing=("1\\1", "3\\6", "0.5\\0.5")),
    "slice of another size": _one(Rows=(49, 25, 1), Columns=(99, 10)),
    "slice without a place": _one(
        ImagePositionPatient=(None, *_NO_POSITIONS), ImageOrientationPatient=(None, *_NO_AXES)
    ),
    "no places": _all(ImagePositionPatient=(None, *_NO_POSITIONS)),
    "no axes": _all(ImageOrientationPatient=(None, *_NO_AXES)),
    "pixel spacing": _all(PixelSpacing=(None, *_NO_NUMBERS)),
    "rows and columns": _all(Rows=(0, 65535, 51, None), Columns=(0, 65535, 101, None)),
    "rows and columns huge": _series(lambda made, rng: [e.update(Rows=65535, Columns=65535) for e in made]),
    "bits": _all(
        "either",
        BitsAllocated=(0, 1, 8, 12, 32, 64, 65535),
        BitsStored=(0, 8, 17, 32),
        HighBit=(0, 31, 65535),
        PixelRepresentation=(2, 65535),
    ),
    "channels": _all(SamplesPerPixel=(0, 3, 4, 65535)),
    "colours": _all("either", PhotometricInterpretation=("RGB", "PALETTE COLOR", "YBR_FULL", "", "MONOCHROME9")),
    "frames": _all("either", NumberOfFrames=("40", "999999999", "-1", "0", "x", "2147483648")),
    "rescale": _all(RescaleSlope=("0", "nan", "inf", "x", "1e400")),
    "rescale of one slice": _one(
        "either", RescaleSlope=("2", "0.5", "nan", "0"), RescaleIntercept=("-1000", "nan", "x")
    ),
    "series number missing": _one("either", SeriesInstanceUID=(None, "", "x" * 70)),
    "pixel data missing": _one(PixelData=(None, b"", b"\0\0")),
    "pixel data missing everywhere": _all(PixelData=(None, b"", b"\0\0")),
    "two series": _series(_second_series),
    "other syntax": _other_syntax,
    "DICOM cut off": _cut,
    "DICOM cut off everywhere": _cut_all,
    "odd company": _odd_company,
    "single file": _single_file,
    "single file of many frames": _single_huge,
    "no DICOM in the folder": _empty_folder,
    "bytes of a DICOM header": _bytes(lambda data, rng: int(rng.integers(132, data.index(b"\xe0\x7f\x10\0")))),
    "bytes of DICOM voxels": _bytes(lambda data, rng: int(rng.integers(data.index(b"\xe0\x7f\x10\0") + 12, len(data)))),
}
