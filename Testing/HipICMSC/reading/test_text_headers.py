"""NRRD and MetaImage as other programs write them: in any packing, in several files, with an axis of one volume."""

from __future__ import annotations

import bz2
import gzip
import zlib

import nrrd as pynrrd
import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_volume

VOXELS = np.random.default_rng(0).integers(-500, 1000, (30, 40, 50)).astype(np.int16)  # z, y, x
_NRRD = {
    "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "50 40 30",
    "space directions": "(2,0,0) (0,1.5,0) (0,0,2.5)", "kinds": "domain domain domain", "endian": "little",
    "encoding": "raw", "space origin": "(-10,20,30)",
}  # fmt: skip
_META = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-10 20 30",
    "ElementSpacing": "2 1.5 2.5", "DimSize": "50 40 30", "ElementType": "MET_SHORT",
}  # fmt: skip


def nrrd(body: bytes = VOXELS.tobytes(), after: str = "", **fields: str) -> bytes:
    values = _NRRD | {name.replace("_", " "): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in values.items() if value is not None)
    return f"NRRD0005\n{lines}{after}\n".encode() + body


def meta(body: bytes = VOXELS.tobytes(), data_file: str = "LOCAL", **fields: str) -> bytes:
    lines = "".join(f"{name} = {value}\n" for name, value in (_META | fields).items())
    return f"{lines}ElementDataFile = {data_file}\n".encode() + body


def assert_sound(image: sitk.Image) -> None:
    assert (sitk.GetArrayFromImage(image) == VOXELS).all()
    assert image.TransformIndexToPhysicalPoint((3, 4, 5)) == pytest.approx((-10 + 6, 20 + 6, 30 + 12.5))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("bzip2", bz2.compress), ("bz2", bz2.compress), ("gzip", gzip.compress), ("GZ", gzip.compress), ("raw", bytes)],
)
def test_nrrd_in_every_packing(tmp_path, encoding, pack):
    packed = pack(VOXELS.tobytes())
    (tmp_path / "a.nrrd").write_bytes(nrrd(packed, encoding=encoding))
    assert_sound(read_volume(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").write_bytes(nrrd(packed[:-20], encoding=encoding))
    with pytest.raises(HipError, match=r"cut off or damaged|damaged or of another kind"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("encoding", ["ascii", "text", "TXT"])
def test_nrrd_whose_numbers_are_written_out(tmp_path, encoding):
    text = "\n".join(" ".join(map(str, row)) for row in VOXELS.reshape(-1, VOXELS.shape[-1])).encode()
    (tmp_path / "a.nrrd").write_bytes(nrrd(text + b"\n", encoding=encoding).replace(b"endian: little\n", b""))
    assert_sound(read_volume(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").write_bytes(nrrd(text[: len(text) // 2], encoding=encoding))
    with pytest.raises(HipError, match="cut off or damaged; copy or export it again"):
        read_volume(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(nrrd(text.replace(b" ", b" one ", 1), encoding=encoding))
    with pytest.raises(HipError, match="cut off or damaged"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("place", [0, 1, 3])
def test_an_nrrd_axis_of_one_volume_is_none_wherever_it_stands(tmp_path, place):
    def put(words: str, word: str) -> str:
        return " ".join([*words.split()[:place], word, *words.split()[place:]])

    four = {"dimension": "4", "sizes": put("50 40 30", "1"), "kinds": put("domain domain domain", "list"),
            "space_directions": put(_NRRD["space directions"], "none")}  # fmt: skip
    (tmp_path / "a.nrrd").write_bytes(nrrd(**four))
    assert_sound(read_volume(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").write_bytes(nrrd(VOXELS.tobytes() * 2, **four | {"sizes": put("50 40 30", "2")}))
    with pytest.raises(HipError) as raised:
        read_volume(tmp_path / "a.nrrd")
    assert raised.value.kind in ("not_3d", "not_scalar")


def test_a_header_apart_from_its_voxels(tmp_path):
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(VOXELS.tobytes()))
    for named in ("a.raw.gz", "./a.raw.gz"):
        (tmp_path / "a.nhdr").write_bytes(nrrd(b"", data_file=named, encoding="gzip"))
        assert_sound(read_volume(tmp_path / "a.nhdr"))
    for number, half in enumerate((VOXELS[:15], VOXELS[15:]), start=1):
        (tmp_path / f"half{number:02}.raw").write_bytes(b"head" + half.tobytes())
    for fields in ({"data_file": "half%02d.raw 1 2 1"}, {"data_file": "LIST", "after": "half01.raw\nhalf02.raw\n"}):
        (tmp_path / "b.nhdr").write_bytes(nrrd(b"", byte_skip="4", **fields) if "after" not in fields else nrrd(
            b"", byte_skip="4", data_file="LIST", after=fields["after"]))  # fmt: skip
        assert_sound(read_volume(tmp_path / "b.nhdr"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "c.nhdr").write_bytes(nrrd(b"", data_file="../a.raw.gz", encoding="gzip"))
    with pytest.raises(HipError, match="outside of its own folder"):
        read_volume(tmp_path / "c" / "c.nhdr")


def test_nrrd_as_pynrrd_writes_it_in_ras_with_spaces_in_vectors(tmp_path):
    header = {"space": "right-anterior-superior", "space directions": np.diag([-2, -1.5, 2.5]),
              "space origin": [10, -20, 30], "encoding": "bzip2"}  # fmt: skip
    pynrrd.write(str(tmp_path / "a.nrrd"), VOXELS.T, header)
    assert_sound(read_volume(tmp_path / "a.nrrd"))
    (tmp_path / "b.nrrd").write_bytes(nrrd(space_origin="( -10, 20, 30 )", space_units='"mm" "mm" "mm"'))
    assert_sound(read_volume(tmp_path / "b.nrrd"))


def test_metaimage_lists_and_a_fourth_axis_of_one_volume(tmp_path):
    for number, pixels in enumerate(VOXELS):
        (tmp_path / f"s{number:02}.raw").write_bytes(pixels.tobytes())
    names = "\n".join(f"s{number:02}.raw" for number in range(30))
    (tmp_path / "a.mhd").write_bytes(meta(names.encode(), "LIST"))
    assert_sound(read_volume(tmp_path / "a.mhd"))
    (tmp_path / "b.mhd").write_bytes(meta(b"", "s%02d.raw 0 29 1"))
    assert_sound(read_volume(tmp_path / "b.mhd"))
    four = {"NDims": "4", "DimSize": "50 40 30 1", "ElementSpacing": "2 1.5 2.5 1", "Offset": "-10 20 30 0",
            "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"}  # fmt: skip
    (tmp_path / "c.mha").write_bytes(meta(**four))
    assert_sound(read_volume(tmp_path / "c.mha"))
    packed = zlib.compress(VOXELS.tobytes())
    (tmp_path / "d.mha").write_bytes(meta(packed, CompressedData="True", CompressedDataSize=str(len(packed)), **four))
    assert_sound(read_volume(tmp_path / "d.mha"))
    (tmp_path / "s07.raw").unlink()
    with pytest.raises(HipError, match=r"s07\.raw"):
        read_volume(tmp_path / "a.mhd")
