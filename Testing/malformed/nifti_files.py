"""Malformed NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from malformed.case import Case, Maker, Verdict
from malformed.making import INF, NAN, Random, bomb, cut, damaged, one_of, placed, spoiled
from malformed.volumes import balls, nifti, packed, voxels


def _nifti(data: Callable[[Random], bytes], verdict: Verdict = "refuse") -> Maker:
    """A NIfTI, at random packed or not."""

    def make(folder: Path, rng: Random) -> Case:
        content = data(rng)
        return placed(folder, *one_of(rng, ("mri.nii", content), ("mri.nii.gz", packed(content))), verdict)

    return make


def _with(values: tuple, place: int, value) -> tuple:
    return (*values[:place], value, *values[place + 1 :])


def _dim(rng: Random, value: int) -> tuple:
    return _with((3, *balls().GetSize(), 1, 1, 1, 1), int(rng.integers(1, 4)), value)


def _pixdim(rng: Random, value: float) -> tuple:
    return _with((1, *balls().GetSpacing(), 0, 0, 0, 0), int(rng.integers(1, 4)), value)


def _sform(rng: Random, value: float) -> tuple:
    """One number of the matrix changed; a shift (places 3, 7, 11) stays a shift."""
    (x, y, z), (dx, dy, dz) = balls().GetOrigin(), balls().GetSpacing()
    matrix = (-dx, 0, 0, -x, 0, -dy, 0, -y, 0, 0, dz, z)
    return _with(matrix, int(one_of(rng, 0, 1, 2, 4, 5, 6, 8, 9, 10)), value)


#: Codes of types and their bits.
_OTHER_TYPES = [(0, 0), (1, 1), (32, 64), (128, 24), (1536, 128), (1792, 128), (2048, 256), (2304, 32), (255, 16)]


def _scaled_type(rng: Random) -> bytes:
    code, kind = one_of(rng, (2, "u1"), (8, "i4"), (16, "f4"), (64, "f8"), (512, "u2"), (768, "u4"), (256, "i1"))
    array = (voxels() // 16).astype(kind)
    return nifti(array, datatype=code, bitpix=8 * array.dtype.itemsize, order=one_of(rng, "<", ">"))


MAKERS: dict[str, Maker] = {
    "sound NIfTI of any type and byte order": _nifti(_scaled_type, "read"),
    "dim negative": _nifti(lambda rng: nifti(dim=_dim(rng, -int(rng.integers(1, 200))))),
    "dim zero": _nifti(lambda rng: nifti(dim=_dim(rng, 0))),
    "dim huge": _nifti(lambda rng: nifti(dim=(3, *(int(n) for n in rng.integers(5000, 32768, 3)), 1, 1, 1, 1))),
    "dim larger than the data": _nifti(lambda rng: nifti(dim=_dim(rng, int(rng.integers(101, 3000))))),
    "number of axes": _nifti(
        lambda rng: nifti(dim=(int(one_of(rng, -1, 0, 1, 2, 8, 100, 32767)), *balls().GetSize(), 1, 1, 1, 1))
    ),
    "4-D to 7-D of one time": _nifti(
        lambda rng: nifti(dim=(int(rng.integers(4, 8)), *balls().GetSize(), 1, 1, 1, 1)), "either"
    ),
    "4-D to 7-D of several": _nifti(
        lambda rng: nifti(np.stack([voxels()] * 2), dim=(int(rng.integers(4, 8)), *balls().GetSize(), 2, 1, 1, 1))
    ),
    "vectors": _nifti(
        lambda rng: nifti(np.stack([voxels()] * 3), dim=(5, *balls().GetSize(), 1, 3, 1, 1), intent_code=1007)
    ),
    "unknown type": _nifti(
        lambda rng: (lambda code, bits: nifti(datatype=code, bitpix=bits))(*one_of(rng, *_OTHER_TYPES))
    ),
    "bitpix contradicts type": _nifti(lambda rng: nifti(bitpix=int(one_of(rng, 0, 1, 8, 32, 64, -16, 17)))),
    "type larger than the data": _nifti(lambda rng: nifti(datatype=64, bitpix=64)),
    "vox_offset": _nifti(lambda rng: nifti(vox_offset=one_of(rng, 0, -1, 348, 100, NAN, INF, -INF, 1e30, 1e9, 400000))),
    "vox_offset a little late": _nifti(
        lambda rng: nifti(vox_offset=352 + 16 * int(rng.integers(1, 9))) + bytes(200), "either"
    ),
    "pixdim zero": _nifti(lambda rng: nifti(pixdim=_pixdim(rng, 0))),
    "pixdim negative": _nifti(lambda rng: nifti(pixdim=_pixdim(rng, -3)), "either"),
    "pixdim not finite": _nifti(lambda rng: nifti(pixdim=_pixdim(rng, one_of(rng, NAN, INF, -INF)))),
    "pixdim absurd": _nifti(lambda rng: nifti(pixdim=_pixdim(rng, one_of(rng, 1e-30, 1e-3, 1e3, 1e30)))),
    "pixdim contradicts both forms": _nifti(lambda rng: nifti(pixdim=_pixdim(rng, rng.uniform(5, 12)), qform_code=0)),
    "qfac odd": _nifti(
        lambda rng: nifti(pixdim=(one_of(rng, 0, -1, 5, NAN), *balls().GetSpacing(), 0, 0, 0, 0)), "either"
    ),
    "scl_slope not finite": _nifti(lambda rng: nifti(scl_slope=one_of(rng, INF, -INF))),
    "scl_slope that is no number": _nifti(lambda rng: nifti(scl_slope=NAN, scl_inter=one_of(rng, NAN, 0)), "read"),
    "scl_slope that is no number, but a shift": _nifti(lambda rng: nifti(scl_slope=NAN, scl_inter=one_of(rng, 5, INF))),
    "scl_slope zero": _nifti(lambda rng: nifti(scl_slope=0, scl_inter=rng.normal()), "read"),
    "scl_inter not finite": _nifti(lambda rng: nifti(scl_inter=one_of(rng, NAN, INF, -INF))),
    "scaled": _nifti(lambda rng: nifti(scl_slope=rng.uniform(0.1, 3), scl_inter=rng.uniform(0, 50)), "read"),
    "scaled beyond all numbers": _nifti(lambda rng: nifti(scl_slope=3e38, scl_inter=3e38), "either"),
    "units of metres or microns": _nifti(lambda rng: nifti(xyzt_units=one_of(rng, 1, 3))),
    "units odd": _nifti(lambda rng: nifti(xyzt_units=int(rng.integers(256))), "either"),
    "no orientation": _nifti(lambda rng: nifti(qform_code=0, sform_code=0)),
    "negative codes": _nifti(lambda rng: nifti(qform_code=-1, sform_code=int(rng.integers(-9, 1)))),
    "unknown codes": _nifti(
        lambda rng: nifti(qform_code=int(rng.integers(5, 99)), sform_code=int(rng.integers(5, 99))), "either"
    ),
    "sform singular": _nifti(lambda rng: nifti(srow=(0,) * 12, qform_code=0)),
    "sform sheared": _nifti(lambda rng: nifti(srow=_sform(rng, rng.uniform(5, 9)), qform_code=0)),
    "sform not finite": _nifti(lambda rng: nifti(srow=_sform(rng, one_of(rng, NAN, INF, -INF)), qform_code=0)),
    "sform contradicts qform": _nifti(lambda rng: nifti(srow=_sform(rng, rng.uniform(5, 9))), "either"),
    "sform elsewhere than qform": _nifti(
        lambda rng: nifti(qoffset=tuple(float(n) for n in rng.uniform(-400, 400, 3))), "either"
    ),
    "quaternion too long": _nifti(lambda rng: nifti(quatern=tuple(rng.uniform(1, 5, 3)), sform_code=0)),
    "quaternion not finite": _nifti(lambda rng: nifti(quatern=(one_of(rng, NAN, INF), 0, 0), sform_code=0)),
    "turned by qform alone": _nifti(lambda rng: nifti(quatern=tuple(rng.uniform(-0.2, 0.2, 3)), sform_code=0), "read"),
    "wrong magic": _nifti(lambda rng: nifti(magic=one_of(rng, b"ni1\0", b"\0\0\0\0", b"n+9\0", b"n+2\0", b"abcd"))),
    "wrong sizeof_hdr": _nifti(lambda rng: nifti(sizeof_hdr=int(rng.integers(0, 2**31)))),
    "damaged extension": _nifti(lambda rng: nifti(extension=b"\1\1\1\1"), "either"),
    "cut off": _nifti(lambda rng: cut(nifti(), rng)),
    "gzip cut off": lambda folder, rng: placed(folder, "mri.nii.gz", cut(packed(nifti()), rng)),
    "gzip damaged": lambda folder, rng: placed(folder, "mri.nii.gz", damaged(packed(nifti()), rng), "either"),
    "extended": _nifti(lambda rng: nifti() + rng.bytes(int(rng.integers(1, 5000))), "either"),
    "extended beyond measure": lambda folder, rng: placed(folder, "mri.nii.gz", packed(nifti()) + bomb(1 << 24, 400)),
    "gzip bomb": lambda folder, rng: placed(
        folder,
        "mri.nii.gz",
        packed(nifti(dim=(3, 4096, 4096, 1024, 1, 1, 1, 1), datatype=2, bitpix=8)) + bomb(1 << 24, 1024),
    ),
    "bytes of the header": _nifti(lambda rng: damaged(nifti(), rng, 352), "either"),
    "bytes anywhere": _nifti(lambda rng: damaged(nifti(), rng), "either"),
    "values not finite": _nifti(
        lambda rng: nifti(spoiled(rng, one_of(rng, NAN, INF, -INF)), datatype=16, bitpix=32), "either"
    ),
    "all values NaN": _nifti(lambda rng: nifti(spoiled(rng, 0) * NAN, datatype=16, bitpix=32)),
    "all values zero": _nifti(lambda rng: nifti(voxels() * 0)),
    "all values the same": _nifti(lambda rng: nifti(voxels() * 0 + int(rng.integers(1, 3000)))),
    "values beyond single precision": _nifti(
        lambda rng: nifti(voxels() * 10.0 ** float(rng.uniform(36, 300)), datatype=64, bitpix=64), "either"
    ),
    "noise": _nifti(lambda rng: nifti(rng.integers(-(2**15), 2**15, voxels().shape).astype(np.int16)), "either"),
    "not a hip": _nifti(lambda rng: nifti(rng.integers(0, 500, voxels().shape).astype(np.int16)), "either"),
    "one slice": _nifti(lambda rng: nifti(dim=(3, 100, 50, 1, 1, 1, 1, 1))),
    "tiny": _nifti(lambda rng: nifti(dim=(3, 4, 4, 4, 1, 1, 1, 1))),
}
