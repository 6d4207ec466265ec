"""What a volume file says, by the letter of its format: a reader that shares no code with the product.

It reads what is needed to judge the product and is strict: of a file with no valid reading it says so.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

#: A voxel may lie this far from where the file says, for files round.
TOLERANCE_MM = 0.5


@dataclass(frozen=True)
class Reading:
    """A volume.

    Attributes:
        voxels: (z, y, x).
        to_lps: (4, 4), from indices x, y, z to LPS in mm.
    """

    voxels: np.ndarray
    to_lps: np.ndarray


def agrees(image: sitk.Image, reading: Reading) -> bool:
    """Whether an image has the voxels of a reading, where the reading has them."""
    if image.GetSize() != reading.voxels.shape[::-1]:
        return False
    last = np.array(image.GetSize()) - 1
    for corner in np.ndindex(2, 2, 2):
        index = last * corner
        expected = (reading.to_lps @ [*index, 1.0])[:3]
        if np.abs(image.TransformIndexToPhysicalPoint(index.tolist()) - expected).max() > TOLERANCE_MM:
            return False
    found, voxels = sitk.GetArrayViewFromImage(image).astype(float), reading.voxels.astype(float)
    # What was not measured is 0.
    return bool(np.allclose(found, np.where(np.isfinite(voxels), voxels, 0), rtol=1e-4, atol=1e-6))


def readings(path: Path) -> list[Reading]:
    """All that a file may be read as: none for a damaged one, two where it says two things of equal weight."""
    name = path.name.lower()
    try:
        if path.is_dir():
            return _dicom(path)
        if name.endswith((".nii", ".nii.gz")):
            return _nifti(path.read_bytes())
        if name.endswith((".nrrd", ".nhdr")):
            return _nrrd(path)
        if name.endswith((".mha", ".mhd")):
            return _meta(path)
    except (ValueError, KeyError, IndexError, EOFError, OSError, zlib.error, OverflowError, StopIteration):
        pass
    return []


# NIfTI


def _nifti_fields(wide: bool) -> np.dtype:
    if wide:
        return np.dtype(
            [("sizeof_hdr", "i4"), ("magic", "S4"), ("signature", "S4"), ("datatype", "i2"), ("bitpix", "i2"),
             ("dim", "i8", 8), ("intent", "f8", 3), ("pixdim", "f8", 8), ("vox_offset", "i8"), ("slope", "f8"),
             ("inter", "f8"), ("cal", "f8", 4), ("slices", "i8", 2), ("text", "V104"), ("qform_code", "i4"),
             ("sform_code", "i4"), ("quatern", "f8", 6), ("srow", "f8", (3, 4)), ("slice_code", "i4"), ("units", "i4")]
        )  # fmt: skip
    return np.dtype(
        [("sizeof_hdr", "i4"), ("old", "V36"), ("dim", "i2", 8), ("intent", "f4", 3), ("intent_code", "i2"),
         ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8), ("vox_offset", "f4"),
         ("slope", "f4"), ("inter", "f4"), ("slice_end", "i2"), ("slice_code", "i1"), ("units", "i1"),
         ("cal", "V128"), ("qform_code", "i2"), ("sform_code", "i2"), ("quatern", "f4", 6), ("srow", "f4", (3, 4)),
         ("intent_name", "V16"), ("magic", "S4")]
    )  # fmt: skip


_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


def _nifti(data: bytes) -> list[Reading]:
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for wide, length in ((False, 348), (True, 540)):
        for order in "<>":
            if np.frombuffer(data, order + "i4", 1)[0] == length:
                fields = _nifti_fields(wide).newbyteorder(order)
                header = np.frombuffer(data, fields, 1)[0]
                return _nifti_readings(header, order, data, b"n+2" if wide else b"n+1", 544 if wide else 352)
    return []


def _nifti_readings(header: np.void, order: str, data: bytes, magic: bytes, least_start: int) -> list[Reading]:
    dim = [int(n) for n in header["dim"]]
    axes = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    kind = np.dtype(order + _NIFTI_TYPES[int(header["datatype"])])
    steps, start = header["pixdim"].astype(float), int(header["vox_offset"])
    slope, inter = float(header["slope"]), float(header["inter"])
    if math.isnan(slope) and (math.isnan(inter) or inter == 0):
        slope = inter = 0.0  # as nibabel says that there is no scale
    sound = (
        header["magic"] == magic
        and len(axes) == 3
        and min(axes) > 0
        and header["bitpix"] == 8 * kind.itemsize
        and start >= least_start
        and (steps[1:4] != 0).all()
        and np.isfinite(steps[1:4]).all()
        and math.isfinite(slope)
        and (slope == 0 or math.isfinite(inter))
        and int(header["units"]) & 7 in (0, 2)
    )
    if not sound or len(data) < start + math.prod(axes) * kind.itemsize:
        return []
    voxels = np.frombuffer(data, kind, math.prod(axes), start).reshape(axes[::-1])
    if slope != 0:
        voxels = voxels * slope + inter
    transforms = []
    if header["sform_code"] > 0 and _measures(header["srow"].astype(float), steps):
        transforms.append(np.array([*header["srow"].astype(float), [0, 0, 0, 1]]))
    if (
        header["qform_code"] > 0
        and (steps[1:4] > 0).all()
        and (header["quatern"][:3].astype(float) ** 2).sum() <= 1.0001
    ):
        transforms.append(_of_quaternion(header["quatern"].astype(float), steps))
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return [Reading(voxels, flip @ transform) for transform in transforms]


def _measures(rows: np.ndarray, steps: np.ndarray) -> bool:
    """Whether a matrix has the voxel sizes that the header gives beside it, whatever their signs."""
    return bool(np.allclose(np.linalg.norm(rows[:, :3], axis=0), np.abs(steps[1:4]), rtol=0.01))


def _of_quaternion(numbers: np.ndarray, steps: np.ndarray) -> np.ndarray:
    b, c, d = numbers[:3]
    handedness = np.array([1, 1, -1 if steps[0] < 0 else 1])
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(b, c, d) * steps[1:4] * handedness
    matrix[:3, 3] = numbers[3:]
    return matrix


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """By Rodrigues' formula: a turn about (b, c, d) by twice the angle whose sine is that vector's length."""
    sine = min(1.0, math.sqrt(b * b + c * c + d * d))
    if sine == 0:
        return np.eye(3)
    angle = 2 * math.asin(sine)
    x, y, z = np.array([b, c, d]) / math.sqrt(b * b + c * c + d * d)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


# NRRD

_NRRD_TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "uint16_t": "u2", "int": "i4", "signed int": "i4",
    "int32": "i4", "int32_t": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "longlong": "i8", "long long": "i8", "int64": "i8", "int64_t": "i8", "ulonglong": "u8", "unsigned long long": "u8",
    "uint64": "u8", "uint64_t": "u8", "float": "f4", "double": "f8",
}  # fmt: skip
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip


def _nrrd(path: Path) -> list[Reading]:
    head, body = re.split(rb"\r?\n\r?\n", path.read_bytes(), maxsplit=1) if path.suffix == ".nrrd" else (
        path.read_bytes(), b""
    )  # fmt: skip
    lines = head.decode("latin-1").splitlines()
    if not re.fullmatch(r"NRRD000[1-5]", lines[0]):
        return []
    fields = {}
    for line in lines[1:]:
        if ": " in line and ":=" not in line and not line.startswith("#"):
            key, value = line.split(": ", 1)
            fields[key.lower().replace(" ", "")] = value.strip()
    if path.suffix == ".nhdr":
        named = fields["datafile"]
        if "/" in named:
            return []
        body = (path.parent / named).read_bytes()
    size = [int(word) for word in fields["sizes"].split()]
    if int(fields["dimension"]) != 3 or len(size) != 3 or min(size) < 1:
        return []
    kind = np.dtype(_NRRD_TYPES[fields["type"].lower()])
    encoding = fields["encoding"].lower()
    if encoding not in ("ascii", "text", "txt"):
        order = {"little": "<", "big": ">"}[fields["endian"].lower()] if kind.itemsize > 1 else "|"
        kind = kind.newbyteorder(order)
        if encoding in ("gzip", "gz"):
            unpacker = zlib.decompressobj(31)
            body = unpacker.decompress(body)
            if not unpacker.eof and len(body) <= math.prod(size) * kind.itemsize:
                return []
        elif encoding == "hex":
            body = bytes.fromhex(re.sub(r"\s", "", body.decode("ascii")))
        elif encoding != "raw":
            return []
        skipped = int(fields.get("byteskip", "0"))
        start = len(body) - math.prod(size) * kind.itemsize if skipped == -1 else skipped
        voxels = np.frombuffer(body, kind, math.prod(size), start)
    else:
        voxels = np.array(body.split()[: math.prod(size)]).astype(float).astype(kind)
    to_lps = np.eye(4)
    axes = re.findall(r"\(([^)]*)\)", fields["spacedirections"])
    signs = np.array(_TO_LPS[fields["space"].lower()])
    for axis, text in enumerate(axes):
        to_lps[:3, axis] = np.array([float(word) for word in text.split(",")]) * signs
    to_lps[:3, 3] = np.array([float(w) for w in fields.get("spaceorigin", "(0,0,0)").strip("()").split(",")]) * signs
    return [Reading(voxels.reshape(size[::-1]), to_lps)]


# MetaImage

_META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def _meta(path: Path) -> list[Reading]:
    head, named, body = re.split(rb"^ElementDataFile *= *([^\r\n]*)\r?\n?", path.read_bytes(), maxsplit=1, flags=re.M)
    fields = {}
    for line in head.decode("latin-1").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip()
    if named.strip() != b"LOCAL":
        if b"/" in named:
            return []
        body = (path.parent / named.decode().strip()).read_bytes()
    size = [int(word) for word in fields["DimSize"].split()]
    if fields["NDims"] != "3" or len(size) != 3 or min(size) < 1 or fields.get("ElementNumberOfChannels", "1") != "1":
        return []
    kind = np.dtype(_META_TYPES[fields["ElementType"]])
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower()
    kind = kind.newbyteorder(">" if big in ("true", "1", "t") else "<")
    count, skipped = math.prod(size), int(fields.get("HeaderSize", "0"))
    if fields.get("CompressedData", "False").lower() in ("true", "1", "t"):
        body = zlib.decompress(body[: int(fields.get("CompressedDataSize", len(body)))])
    elif skipped == -1:
        body = body[len(body) - count * kind.itemsize :]
    else:
        body = body[skipped:]
    voxels = np.frombuffer(body, kind, count)
    matrix = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    spacing = _first(fields, "ElementSpacing", "ElementSize")
    offset = _first(fields | {"": "0 0 0"}, "Offset", "Position", "Origin", "")
    to_lps = np.eye(4)
    # MetaImage writes the axes one after the other.
    to_lps[:3, :3] = matrix.reshape(3, 3).T * spacing
    to_lps[:3, 3] = offset
    return [Reading(voxels.reshape(size[::-1]), to_lps)]


def _first(fields: dict[str, str], *names: str) -> np.ndarray:
    """The numbers of the first of these fields that there is."""
    return np.array([float(word) for word in next(fields[name] for name in names if name in fields).split()])


# DICOM


def _dicom(folder: Path) -> list[Reading]:
    """Of plain slices, explicit and little-endian; files that are no such slices are left out."""
    found = [elements for path in sorted(folder.iterdir()) if path.is_file() and (elements := _elements(path))]
    if len({elements.get(0x0020000E) for elements in found}) != 1:
        return []
    turn = [_numbers(elements[0x00200037]) for elements in found]
    place = [_numbers(elements[0x00200032]) for elements in found]
    if not np.allclose(turn, turn[0], atol=1e-3):
        return []
    right, down = np.reshape(turn[0], (2, 3))
    normal = np.cross(right, down)
    order = np.argsort(np.array(place) @ normal)
    place = np.array(place)[order]
    voxels = np.stack([_pixels(found[number]) for number in order])
    steps = np.diff(place, axis=0)
    # Even steps along the normal.
    step = (place[-1] - place[0]) / (len(place) - 1)
    if np.abs(steps - step).max() > 0.1 * np.linalg.norm(step) or np.linalg.norm(np.cross(step, normal)) > 0.05:
        return []
    between_rows, between_columns = _numbers(found[0][0x00280030])
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.stack([right * between_columns, down * between_rows, step], axis=1)
    to_lps[:3, 3] = place[0]
    return [Reading(voxels, to_lps)]


def _elements(path: Path) -> dict[int, bytes]:
    """The elements by tag; none if it is no file of that kind."""
    data = path.read_bytes()
    elements: dict[int, bytes] = {}
    if data[128:132] != b"DICM":
        return {}
    position = 132
    while position + 8 <= len(data):
        group, element = np.frombuffer(data, "<u2", 2, position)
        kind = data[position + 4 : position + 6]
        if kind in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"UC", b"UR"):
            length, start = int(np.frombuffer(data, "<u4", 1, position + 8)[0]), position + 12
        else:
            length, start = int(np.frombuffer(data, "<u2", 1, position + 6)[0]), position + 8
        elements[int(group) << 16 | int(element)] = data[start : start + length]
        position = start + length
    return elements if position == len(data) else {}


def _numbers(value: bytes) -> list[float]:
    return [float(word) for word in value.decode("ascii").strip("\0 ").split("\\")]


def _pixels(elements: dict[int, bytes]) -> np.ndarray:
    rows, columns, allocated, stored, high, signed = (
        int(np.frombuffer(elements[tag], "<u2", 1)[0])
        for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
    )
    if allocated != 16 or not 1 <= stored <= high + 1 <= 16 or signed not in (0, 1):
        raise ValueError("not as it was written")
    values = np.frombuffer(elements[0x7FE00010], ("<u2", "<i2")[signed], rows * columns).reshape(rows, columns)
    values = values >> (high + 1 - stored)
    slope = _numbers(elements.get(0x00281053, b"1"))[0]
    intercept = _numbers(elements.get(0x00281052, b"0"))[0]
    if not (slope and math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueError("no scale")
    return values * slope + intercept
