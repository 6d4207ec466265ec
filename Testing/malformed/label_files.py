"""Malformed label maps of a small sound image of one hip."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from malformed.case import Case, Maker, Verdict
from malformed.volumes import nifti

Random = np.random.Generator
SPACING, SIZE = (3.0, 3.0, 3.0), (32, 32, 32)
_GEOMETRY = {
    "dim": (3, *SIZE, 1, 1, 1, 1), "pixdim": (1, *SPACING, 0, 0, 0, 0), "qoffset": (48, 48, -48),
    "srow": (-3, 0, 0, 48, 0, -3, 0, 48, 0, 0, 3, -48),
}  # fmt: skip


@cache
def _distances() -> np.ndarray:
    """Of each voxel from the middle, mm, (z, y, x)."""
    offsets = np.stack(np.meshgrid(*(np.arange(size) * 3 - 46.5 for size in SIZE), indexing="ij"))
    return np.linalg.norm(offsets, axis=0)


def image() -> bytes:
    """A ball in an MRI, as a NIfTI."""
    noise = np.random.default_rng(0).normal(200, 10, SIZE)
    return nifti((noise + 800 * (_distances() < 24)).astype(np.int16), **_GEOMETRY)


@cache
def labels() -> np.ndarray:
    """2 in the ball, 1 in a shell about its upper half, (z, y, x), uint8; not to be changed."""
    values = np.where(_distances() < 24, 2, 0).astype(np.uint8)
    values[17:][(_distances()[17:] >= 24) & (_distances()[17:] < 36)] = 1
    values.flags.writeable = False
    return values


def _file(change: Callable[[np.ndarray, Random], Any], verdict: Verdict = "refuse", **fields: Any) -> Maker:
    """The label map with voxels, and fields of its header, that ``change`` gives."""

    def make(folder: Path, rng: Random) -> Case:
        values = change(labels().copy(), rng)
        values, own = values if isinstance(values, tuple) else (values, {})
        code, bits = {"u1": (2, 8), "i2": (4, 16), "u2": (512, 16), "i4": (8, 32), "u4": (768, 32), "f4": (16, 32),
                      "f8": (64, 64), "i1": (256, 8)}[values.dtype.str[1:]]  # fmt: skip
        data = nifti(values, **_GEOMETRY | {"datatype": code, "bitpix": bits} | fields | own)
        return _placed(folder, data, verdict)

    return make


def _bytes(change: Callable[[bytes, Random], bytes], verdict: Verdict = "either") -> Maker:
    """The file with bytes that ``change`` gives."""

    def make(folder: Path, rng: Random) -> Case:
        return _placed(folder, change(nifti(labels(), **_GEOMETRY | {"datatype": 2, "bitpix": 8}), rng), verdict)

    return make


def _placed(folder: Path, data: bytes, verdict: Verdict) -> Case:
    (folder / "mri.nii").write_bytes(image())
    path = folder / "mri_label.nii.gz"
    path.write_bytes(gzip.compress(data, 1))
    return Case(path, verdict)


def _some(values: np.ndarray, rng: Random, value: float, kind: str) -> np.ndarray:
    """A few voxels of another value."""
    values = values.astype(kind)
    values.flat[rng.integers(0, values.size, int(rng.integers(1, 50)))] = value
    return values


def _damaged(data: bytes, rng: Random, first: int, last: int) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(first, last, int(rng.integers(1, 9))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _shifted(values: np.ndarray, rng: Random) -> tuple[np.ndarray, dict[str, Any]]:
    x = 48 + float(rng.choice([-300, -3, -1.5, 0.5, 3, 1000]))
    return values, {"qoffset": (x, 48, -48), "srow": (-3, 0, 0, x, 0, -3, 0, 48, 0, 0, 3, -48)}


def _spaced(values: np.ndarray, rng: Random) -> tuple[np.ndarray, dict[str, Any]]:
    dx = float(rng.choice([1.5, 2.9, 3.1, 6]))
    return values, {"pixdim": (1, dx, 3, 3, 0, 0, 0, 0), "srow": (-dx, 0, 0, 48, 0, -3, 0, 48, 0, 0, 3, -48)}


def _turned(values: np.ndarray, rng: Random) -> tuple[np.ndarray, dict[str, Any]]:
    return values, {"srow": (3, 0, 0, 48, 0, -3, 0, 48, 0, 0, 3, -48), "qform_code": 0}


def _sized(values: np.ndarray, rng: Random) -> tuple[np.ndarray, dict[str, Any]]:
    size = (32, 32, int(rng.integers(14, 32)))
    return values[: size[2]], {"dim": (3, *size, 1, 1, 1, 1)}


def _seg_nrrd(folder: Path, rng: Random) -> Case:
    """As Slicer writes a segmentation."""
    case = _placed(folder, nifti(labels(), **_GEOMETRY | {"datatype": 2, "bitpix": 8}), "read")
    path = folder / "mri_label.seg.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(case.path)), str(path), useCompression=True)
    case.path.unlink()
    if rng.random() < 0.5:
        return Case(path, "read")
    path.write_bytes(_damaged(path.read_bytes(), rng, 0, 400))
    return Case(path, "either")


def _not_there(folder: Path, rng: Random) -> Case:
    case = _placed(folder, b"", "refuse")
    case.path.unlink()
    if rng.random() < 0.5:
        case.path.symlink_to(case.path.name)
    return case


MAKERS: dict[str, Maker] = {
    "sound labels": _file(lambda v, rng: v.astype(str(rng.choice(["u1", "i2", "i4", "f4", "f8"]))), "read"),
    "labels scaled": _file(lambda v, rng: (v * 2, {"scl_slope": 0.5}), "read"),
    "labels scaled to fractions": _file(lambda v, rng: (v, {"scl_slope": float(rng.uniform(0.2, 0.9))})),
    "labels of another size": _file(_sized),
    "labels shifted": _file(_shifted),
    "labels of another spacing": _file(_spaced),
    "labels mirrored": _file(_turned),
    "labels unknown": _file(lambda v, rng: _some(v, rng, float(rng.choice([3, 4, 99, 254, 255])), "u1")),
    "labels unknown, large": _file(lambda v, rng: _some(v, rng, float(rng.choice([300, 70_000, 2**31 - 1])), "i4")),
    "labels negative": _file(lambda v, rng: _some(v, rng, float(rng.choice([-1, -2, -1024])), "i2")),
    "labels fractional": _file(lambda v, rng: _some(v, rng, float(rng.choice([0.5, 1.5, 1.2, 0.02, 1e30])), "f4")),
    "labels not finite": _file(lambda v, rng: _some(v, rng, float(rng.choice([np.nan, np.inf, -np.inf])), "f4")),
    "labels of all values": _file(lambda v, rng: rng.integers(0, 2**16, v.shape).astype("u2")),
    "labels that are an image": _file(lambda v, rng: rng.normal(200, 10, v.shape).astype("f4")),
    "labels empty": _file(lambda v, rng: v * 0),
    "labels of hip bone alone": _file(lambda v, rng: np.where(v == 2, 0, v).astype("u1")),
    "labels of femur alone": _file(lambda v, rng: np.where(v == 1, 0, v).astype("u1")),
    "labels without background": _file(lambda v, rng: np.where(v == 0, 1, v).astype("u1")),
    "labels of one value": _file(lambda v, rng: v * 0 + np.uint8(rng.choice([1, 2, 7]))),
    "labels swapped": _file(lambda v, rng: (3 - v.astype("i2")) % 3, "read"),
    "labels of four dimensions": _file(lambda v, rng: (np.stack([v, v]), {"dim": (4, *SIZE, 2, 1, 1, 1)})),
    "labels huge": _file(lambda v, rng: (v, {"dim": (3, 30000, 30000, 30000, 1, 1, 1, 1)})),
    "labels cut off": _bytes(lambda data, rng: data[: int(rng.integers(len(data)))], "refuse"),
    "bytes of a label header": _bytes(lambda data, rng: _damaged(data, rng, 0, 352)),
    "bytes of label voxels": _bytes(lambda data, rng: _damaged(data, rng, 352, len(data))),
    "labels of a segmentation file": _seg_nrrd,
    "labels not there": _not_there,
}
