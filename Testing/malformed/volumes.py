"""Small sound volumes as bytes, in formats whose every field the cases can set."""

from __future__ import annotations

import gzip
import struct
from functools import cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from ball_hips import ball_image

#: Offset and type of each field of a NIfTI-1 header.
NIFTI_FIELDS = {
    "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "intent_code": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"),
    "pixdim": (76, "8f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"),
    "qoffset": (268, "3f"), "srow": (280, "12f"), "magic": (344, "4s"), "extension": (348, "4s"),
}  # fmt: skip


@cache
def balls() -> sitk.Image:
    """Hips that the engine finds."""
    return ball_image()


@cache
def voxels() -> np.ndarray:
    """Of :func:`balls`, (z, y, x), int16; not to be changed."""
    array = sitk.GetArrayFromImage(balls())
    array.flags.writeable = False
    return array


def nifti_header(**fields: Any) -> bytearray:
    """352 bytes of a sound NIfTI-1 header of :func:`balls` with some fields set; ``order`` is its byte order."""
    order = fields.pop("order", "<")
    (x, y, z), (dx, dy, dz) = balls().GetOrigin(), balls().GetSpacing()
    values = {
        "sizeof_hdr": 348, "dim": (3, *balls().GetSize(), 1, 1, 1, 1), "datatype": 4, "bitpix": 16,
        "pixdim": (1, dx, dy, dz, 0, 0, 0, 0), "vox_offset": 352, "scl_slope": 1, "scl_inter": 0, "xyzt_units": 2,
        "qform_code": 1, "sform_code": 1, "quatern": (0, 0, 1), "qoffset": (-x, -y, z),
        "srow": (-dx, 0, 0, -x, 0, -dy, 0, -y, 0, 0, dz, z), "magic": b"n+1\0",
    } | fields  # fmt: skip
    header = bytearray(352)
    for name, value in values.items():
        offset, form = NIFTI_FIELDS[name]
        struct.pack_into(order + form, header, offset, *(value if isinstance(value, tuple | list) else (value,)))
    return header


def nifti(array: np.ndarray | None = None, **fields: Any) -> bytes:
    """A whole file with these voxels, or those of :func:`balls`."""
    array = voxels() if array is None else array
    return bytes(nifti_header(**fields)) + array.astype(array.dtype.newbyteorder(fields.get("order", "<"))).tobytes()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def nrrd_fields(**fields: str | None) -> dict[str, str]:
    """The fields of a sound header of :func:`balls`, some of them set or, where None, left out.

    In names of fields ``_`` stands for a space.
    """
    x, y, z = balls().GetOrigin()
    dx, dy, dz = balls().GetSpacing()
    values = {
        "type": "short", "dimension": "3", "space": "left-posterior-superior",
        "sizes": " ".join(map(str, balls().GetSize())),
        "space directions": f"({dx},0,0) (0,{dy},0) (0,0,{dz})", "kinds": "domain domain domain",
        "endian": "little", "encoding": "raw", "space origin": f"({x},{y},{z})",
    } | {name.replace("_", " "): value for name, value in fields.items()}  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}


def nrrd(body: bytes | None = None, *, first: str = "NRRD0004", **fields: str | None) -> bytes:
    """A whole file with this body, or the voxels of :func:`balls`, raw."""
    lines = [first, *(f"{name}: {value}" for name, value in nrrd_fields(**fields).items()), "", ""]
    return "\n".join(lines).encode() + (voxels().tobytes() if body is None else body)


def meta(body: bytes | None = None, **fields: str | None) -> bytes:
    """A whole MetaImage with this body, or the voxels of :func:`balls`, raw; a field that is None is left out."""
    values = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": " ".join(map(str, balls().GetOrigin())), "CenterOfRotation": "0 0 0",
        "ElementSpacing": " ".join(map(str, balls().GetSpacing())), "DimSize": " ".join(map(str, balls().GetSize())),
        "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    } | fields  # fmt: skip
    # What names the voxels comes last.
    values["ElementDataFile"] = values.pop("ElementDataFile")
    text = "".join(f"{name} = {value}\n" for name, value in values.items() if value is not None)
    return text.encode() + (voxels().tobytes() if body is None else body)
