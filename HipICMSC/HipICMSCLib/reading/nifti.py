"""Reads NIfTI-1 or NIfTI-2, one file or a pair, by nibabel's account of its header, and refuses what that leaves
open."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import LARGEST_DISAGREEMENT_MM
from HipICMSCLib.preprocessing.image_check import bad_spacing, complex_numbers, not_3d, not_scalar
from HipICMSCLib.reading.refusals import check_size, not_oriented, refused
from HipICMSCLib.reading.stored import UNPACKING, Stored, files_beside, read_bytes

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST_START = 1 << 26


def read(path: Path) -> Stored:
    """Packed or not, whatever the name says; of a pair either file may be named.

    The place is the sform's where there is one, otherwise the qform's, as nibabel takes it.

    Raises:
        HipError: ``unreadable``, ``not_scalar``, ``not_3d``, ``bad_geometry`` or ``too_large``.
        EOFError, OSError, zlib.error: it cannot be read.
    """
    path = _header_file(path)
    with open(path, "rb") as file:
        head = _unpacked(file).read(nibabel.Nifti2Header.template_dtype.itemsize)
    try:
        header = _header(path, head)
        size, to_lps = _size(path, header), _to_lps(path, header)
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise refused(path, "its header is damaged", str(error)) from error

    def voxels() -> np.ndarray:
        kind = header.get_data_dtype()
        with open(_voxel_file(path, header), "rb") as file:
            stream = _unpacked(file)
            stream.seek(int(header["vox_offset"]))
            data = read_bytes(path, stream, math.prod(size) * kind.itemsize)
        values = np.frombuffer(data, kind).reshape(size[::-1])
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        # By the standard a slope of 0 says that nothing is scaled; nibabel writes NaN for that.
        unscaled = slope == 0 or np.isnan(slope) or (slope, intercept) == (1, 0)
        return values if unscaled else values * slope + intercept

    return Stored(path, size, to_lps, voxels)


def _header_file(path: Path) -> Path:
    """The file itself, or of a pair the one with the header."""
    if path.suffix.lower() != ".img":
        return path
    header = path.with_suffix(".HDR" if path.suffix.isupper() else ".hdr")
    if not header.is_file():
        raise refused(path, f"the header that belongs to it, {header.name}, is not beside it", remedy="put it there")
    return header


def _voxel_file(path: Path, header: nibabel.Nifti1Header) -> Path:
    """The file itself, or of a pair the one beside it."""
    if not _is_of_pair(header):
        return path
    ending = ".IMG" if path.suffix.isupper() else ".img"
    packed = path.with_suffix(f"{ending}.gz")
    return files_beside(path, packed.name if packed.is_file() else path.with_suffix(ending).name)[0]


def _is_of_pair(header: nibabel.Nifti1Header) -> bool:
    return bytes(header["magic"])[:2] == b"ni"


def _unpacked(stream: BinaryIO) -> BinaryIO:
    """What a file holds, which may have been packed twice: some programs pack what is packed."""
    for _ in range(2):
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        stream = UNPACKING["gzip" if packed else "raw"](stream)
    return stream


def _header(path: Path, head: bytes) -> nibabel.Nifti1Header:
    """A header whose numbers can be relied on."""
    kinds = (nibabel.Nifti1Header, nibabel.Nifti2Header)
    kind = next((kind for kind in kinds if kind.may_contain_header(head)), None)
    whole = kind is not None and len(head) >= kind.template_dtype.itemsize
    header = kind(head[: kind.template_dtype.itemsize], check=False) if whole else None
    if header is None and nibabel.AnalyzeHeader.may_contain_header(head):
        raise refused(
            path, "an Analyze file does not say where left and right are", remedy="export it again as NIfTI or DICOM"
        )
    if header is None or header["sizeof_hdr"] != header.sizeof_hdr:
        raise refused(path, "it is no NIfTI file, or the file is cut off or damaged")
    dtype = header.get_data_dtype()
    if header["bitpix"] != 8 * dtype.itemsize:
        raise refused(path, f"its header declares voxels of type {dtype} with {header['bitpix']} bits, which is none")
    if dtype.kind == "c":
        raise complex_numbers(path)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise not_scalar(path)
    first = header.pair_vox_offset if _is_of_pair(header) else header.single_vox_offset
    if not first <= header["vox_offset"] <= _LARGEST_START:
        raise refused(path, "its header lets the voxels begin where they cannot be")
    slope, intercept = header["scl_slope"], header["scl_inter"]
    # By the standard a slope of 0 says that nothing is scaled; nibabel writes NaN for that.
    unscaled = slope == 0 or (np.isnan(slope) and (np.isnan(intercept) or intercept == 0))
    if not unscaled and not (np.isfinite(slope) and np.isfinite(intercept)):
        raise refused(path, "its header scales the voxels by what is no number")
    if int(header["xyzt_units"]) & 7 not in (0, 2):
        raise refused(path, "its header does not measure in millimetres", remedy="save it again in millimetres")
    return header


def _size(path: Path, header: nibabel.Nifti1Header) -> tuple[int, ...]:
    """Voxels along x, y and z; further axes of one voxel do not count."""
    if not 1 <= header["dim"][0] <= 7:
        raise refused(path, f"its header declares {header['dim'][0]} axes")
    size = [int(count) for count in header["dim"][1 : header["dim"][0] + 1]]
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    check_size(path, size, header.get_data_dtype().itemsize)
    if len(size) == 5 and size[3] == 1:
        raise not_scalar(path)
    if len(size) != 3 or 1 in size:
        raise not_3d(path, size)
    return tuple(size)


def _check_same_place(path: Path, header: nibabel.Nifti1Header, sform: np.ndarray) -> None:
    """Refuse a file whose two accounts of its place differ: programs take the one or the other, and so do sides."""
    header = header.copy()
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    try:
        qform = header.get_qform()
    except (HeaderDataError, ValueError):  # its numbers are no rotation, so it says nothing
        return
    if not np.isfinite(qform).all():
        return
    size = np.array(header["dim"][1:4])
    corners = np.array([[*(size * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    if np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max() > LARGEST_DISAGREEMENT_MM:
        raise HipError(
            "bad_geometry",
            f"{path} says two things about where its voxels lie (sform and qform), so its sides are not sure; export "
            "it again from its source.",
        )


def _to_lps(path: Path, header: nibabel.Nifti1Header) -> np.ndarray:
    transform = header.get_sform() if header["sform_code"] > 0 else None
    steps = np.abs(header["pixdim"][1:4].astype(float))
    if transform is None and header["qform_code"] > 0:
        transform = header.get_qform()
    if transform is None or not np.isfinite(transform).all():
        raise not_oriented(path)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise bad_spacing(path, header["pixdim"][1:4])
    extent = np.abs(np.linalg.norm(transform[:3, :3], axis=0) - steps) * header["dim"][1:4]
    if extent.max() > LARGEST_DISAGREEMENT_MM:
        raise HipError(
            "bad_geometry", f"{path} says two things about how large its voxels are; export it again from its source."
        )
    if min(header["sform_code"], header["qform_code"]) > 0:
        _check_same_place(path, header, transform)
    return _RAS_TO_LPS @ transform
