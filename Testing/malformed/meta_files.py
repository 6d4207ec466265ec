"""Malformed MetaImage files."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from malformed.case import Case, Maker, Verdict
from malformed.making import HUGE, INF, NAN, Random, cut, damaged, one_of, placed, spoiled
from malformed.volumes import meta, voxels


def _meta(data: Callable[[Random], bytes], verdict: Verdict = "refuse") -> Maker:
    return lambda folder, rng: placed(folder, "mri.mha", data(rng), verdict)


def _mhd(folder: Path, rng: Random) -> Case:
    (folder / "mri.raw").write_bytes(voxels().tobytes())
    return placed(folder, "mri.mhd", meta(b"", ElementDataFile="mri.raw"), "read")


def _meta_packed(rng: Random, **fields: str) -> bytes:
    body = zlib.compress(voxels().tobytes(), 1)
    return meta(body, **{"CompressedData": "True", "CompressedDataSize": str(len(body))} | fields)


MAKERS: dict[str, Maker] = {
    "sound MetaImage": _meta(lambda rng: one_of(rng, meta(), _meta_packed(rng), meta(HeaderSize="-1")), "read"),
    "sound MetaImage of big endian": _meta(
        lambda rng: meta(voxels().astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"), "read"
    ),
    "MetaImage field missing": _meta(
        lambda rng: meta(**{one_of(rng, "NDims", "DimSize", "ElementType", "ElementSpacing", "TransformMatrix"): None})
    ),
    "MetaImage field to spare missing": _meta(
        lambda rng: meta(
            **{one_of(rng, "ObjectType", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "Offset"): None}
        ),
        "either",
    ),
    "MetaImage axes": _meta(
        lambda rng: meta(NDims=one_of(rng, "0", "-1", "2", "4", "10", "11", "1000", "x", "2147483648"))
    ),
    "MetaImage sizes": _meta(
        lambda rng: meta(
            DimSize=one_of(
                rng,
                "100 50",
                "100 50 40 1",
                "0 50 40",
                "-100 50 40",
                "1e2 50 40",
                "100 fifty 40",
                "",
                "100 50 41",
                "nan 50 40",
            )
        )
    ),
    "MetaImage sizes huge": _meta(lambda rng: meta(DimSize=f"{one_of(rng, *HUGE)} 50 40")),
    "MetaImage sizes of terabytes": _meta(
        lambda rng: one_of(rng, meta, lambda **f: _meta_packed(rng, **f))(DimSize="40000 40000 4000")
    ),
    "MetaImage type": _meta(
        lambda rng: meta(
            ElementType=one_of(rng, "MET_NONE", "MET_STRING", "MET_OTHER", "MET_CHAR_ARRAY", "short", "", "MET_LONG")
        )
    ),
    "MetaImage type larger than the data": _meta(lambda rng: meta(ElementType=one_of(rng, "MET_DOUBLE", "MET_INT"))),
    "MetaImage spacing": _meta(
        lambda rng: meta(
            ElementSpacing=one_of(
                rng, "3 3", "0 3 4", "-3 3 4", "nan 3 4", "inf 3 4", "1e30 3 4", "1e-9 3 4", "a b c", ""
            )
        )
    ),
    "MetaImage axes directions": _meta(
        lambda rng: meta(
            TransformMatrix=one_of(
                rng,
                "1 0 0 0 1 0 0 0",
                "0 0 0 0 0 0 0 0 0",
                "1 0 0 1 0 0 0 0 1",
                "nan 0 0 0 1 0 0 0 1",
                "2 0 0 0 1 0 0 0 1",
                "1 0.5 0 0 1 0 0 0 1",
                "inf 0 0 0 1 0 0 0 1",
                "a b c d e f g h i",
                "",
            )
        )
    ),
    "MetaImage mirrored or turned": _meta(
        lambda rng: meta(
            TransformMatrix=one_of(rng, "-1 0 0 0 1 0 0 0 1", "0 1 0 1 0 0 0 0 1", "0.8 0.6 0 -0.6 0.8 0 0 0 1")
        ),
        "either",
    ),
    "MetaImage offset": _meta(lambda rng: meta(Offset=one_of(rng, "0 0", "nan 0 0", "inf 0 0", "x y z", ""))),
    "MetaImage units": _meta(lambda rng: meta(DistanceUnits=one_of(rng, "m", "cm", "um", "inch"))),
    "MetaImage channels": _meta(
        lambda rng: meta(ElementNumberOfChannels=one_of(rng, "0", "-1", "3", "1000000000", "x"))
    ),
    "MetaImage of another object": _meta(lambda rng: meta(ObjectType=one_of(rng, "Tube", "Mesh", "Scene", "", "Form"))),
    "MetaImage header size": _meta(lambda rng: meta(HeaderSize=one_of(rng, "-2", "1000", "999999999999", "x"))),
    "MetaImage as text": _meta(lambda rng: meta(BinaryData="False")),
    "MetaImage neither true nor false": _meta(
        lambda rng: meta(
            **{one_of(rng, "BinaryData", "CompressedData", "BinaryDataByteOrderMSB"): one_of(rng, "maybe", "", "2")}
        )
    ),
    "MetaImage packed size": _meta(
        lambda rng: _meta_packed(
            rng, CompressedDataSize=one_of(rng, "0", "-1", "10", "99999999999999", "x", str(2**62))
        )
    ),
    "MetaImage said to be packed": _meta(lambda rng: meta(CompressedData="True")),
    "MetaImage not said to be packed": _meta(lambda rng: _meta_packed(rng, CompressedData="False")),
    "MetaImage field twice": _meta(lambda rng: meta().replace(b"DimSize", b"DimSize = 100 50 20\nDimSize", 1)),
    "MetaImage two origins": _meta(lambda rng: meta().replace(b"DimSize", b"Position = 9 9 9\nDimSize", 1)),
    "MetaImage voxels of another place": _meta(
        lambda rng: meta(
            b"",
            ElementDataFile=one_of(
                rng,
                "/etc/passwd",
                "../../../etc/hostname",
                "/dev/zero",
                "LIST",
                "LIST 2",
                "slice%03d.raw 1 40 1",
                "",
                ".",
                "..",
                "gone.raw",
                "/dev/stdin",
                "\\\\server\\share\\x",
                "mri.mha",
            ),
        )
    ),
    "MetaImage without end of header": _meta(lambda rng: meta(b"").replace(b"ElementDataFile = LOCAL\n", b"")),
    "MetaImage header without end": _meta(lambda rng: b"Comment = " + b"x" * (3 << 20)),
    "MetaImage cut off": _meta(lambda rng: cut(meta(), rng)),
    "MetaImage packed, cut off": _meta(lambda rng: cut(_meta_packed(rng), rng)),
    "MetaImage packed, damaged": _meta(lambda rng: damaged(_meta_packed(rng), rng), "either"),
    "MetaImage extended": _meta(lambda rng: meta() + rng.bytes(1000), "either"),
    "MetaImage bomb": _meta(lambda rng: _meta_packed(rng, ElementType="MET_UCHAR", DimSize="4096 4096 1024")),
    "bytes of the MetaImage header": _meta(lambda rng: damaged(meta(), rng, 350), "either"),
    "bytes anywhere in MetaImage": _meta(lambda rng: damaged(meta(), rng), "either"),
    "MetaImage values not finite": _meta(
        lambda rng: meta(spoiled(rng, one_of(rng, NAN, INF)).tobytes(), ElementType="MET_FLOAT"), "either"
    ),
    "sound MetaImage in two files": _mhd,
}
