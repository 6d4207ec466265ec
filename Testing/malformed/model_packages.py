"""Model packages as somebody who means harm, or whose disk failed, would make them out of a sound one.

Each kind is a recipe; `PackageMaker.make` follows it. What must come of it, `try_package` finds out by doing everything
that is done with a package: looking at it, loading it, computing with it, keeping it among the models.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import hashlib
import json
import lzma
import math
import os
import pickle
import stat
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from malformed.case import Case, Maker, Verdict, Wrong

#: What must come of a package. "either": chance decides whether the damage matters.
Expected = Literal["refused", "right", "either"]

MEMBERS = ("model.json", "weights.safetensors", "card.md", "checksums.json")
#: More than a package may hold unpacked.
BOMB_BYTES = 600 * 2**20

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14


@dataclass(frozen=True)
class Hostile:
    """A file that is, or calls itself, a model package.

    Attributes:
        victim: a file that appears when code in the package was run.
    """

    kind: str
    path: Path
    expected: Expected
    victim: Path


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = str(victim)

    def __reduce__(self):
        return os.mkdir, (self.victim,)


# A zip, byte by byte.


@dataclass(frozen=True)
class Entry:
    """A member as both of its descriptions say it; ``local`` and ``central`` change one of them (see `_described`)."""

    name: bytes
    data: bytes
    method: int = DEFLATED
    flags: int = 0
    attributes: int = 0
    before: bytes = b""
    packed: bytes | None = None
    local: tuple[tuple[str, Any], ...] = ()
    central: tuple[tuple[str, Any], ...] = ()


def zipped(
    entries: list[Entry], *, before: bytes = b"", gap: bytes = b"", after: bytes = b"", comment: bytes = b"",
    middle: bytes = b"", disk: int = 0,
) -> bytes:  # fmt: skip
    """A zip of these members.

    Args:
        before, gap, after: bytes in front of the members, between them and their list, behind everything.
        middle: bytes between the list and its end.
    """
    out, directory = bytearray(before), bytearray()
    for entry in entries:
        out += entry.before
        packed = _packed(entry) if entry.packed is None else entry.packed
        place = len(out) - len(before)
        usual = {
            "name": entry.name, "flags": entry.flags, "method": entry.method, "crc": zlib.crc32(entry.data),
            "packed": len(packed), "size": len(entry.data), "offset": place, "extra": b"",
        }  # fmt: skip
        out += _local(usual | dict(entry.local)) + packed
        directory += _central(usual | dict(entry.central), entry.attributes)
    out += gap
    start = len(out) - len(before)
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", disk, disk, len(entries) & 0xFFFF, len(entries) & 0xFFFF, len(directory), start,
        len(comment),
    )  # fmt: skip
    return bytes(out + directory + middle + end + comment + after)


def _packed(entry: Entry) -> bytes:
    if entry.method == STORED:
        return entry.data
    if entry.method == BZIP2:
        return bz2.compress(entry.data)
    if entry.method == LZMA:
        return b"\x09\x04\x05\x00" + lzma.compress(entry.data, lzma.FORMAT_ALONE)[:5] + b""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(entry.data) + packer.flush()


def _local(said: dict[str, Any]) -> bytes:
    name, extra = said["name"], said["extra"]
    return (
        struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, said["flags"], said["method"], 0, 33, said["crc"], said["packed"],
            said["size"], len(name), len(extra),
        )
        + name
        + extra
    )  # fmt: skip


def _central(said: dict[str, Any], attributes: int) -> bytes:
    name, extra = said["name"], said["extra"]
    return (
        struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", (3 << 8) + 20, 20, said["flags"], said["method"], 0, 33, said["crc"],
            said["packed"], said["size"], len(name), len(extra), 0, 0, 0, attributes, said["offset"],
        )
        + name
        + extra
    )  # fmt: skip


def sealed(members: dict[str, bytes]) -> dict[str, bytes]:
    """The members with checksums that fit them."""
    sums = {name: hashlib.sha256(members[name]).hexdigest() for name in MEMBERS[:3]}
    return members | {"checksums.json": json.dumps(sums).encode()}


def tensors_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and bytes of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors(header: dict[str, Any] | bytes, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file; ``length`` is what it says of its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


class PackageMaker:
    """Makes hostile packages out of a sound one.

    Args:
        folder: where they go, each into a folder of its own.
    """

    def __init__(self, good: Path, folder: Path) -> None:
        import zipfile

        self.good, self.folder = good, folder
        with zipfile.ZipFile(good) as archive:
            self.members = {name: archive.read(name) for name in MEMBERS}
        self._count = 0
        self._bomb: bytes | None = None

    @property
    def kinds(self) -> list[str]:
        return list(RECIPES)

    def make(self, kind: str, random: np.random.Generator) -> Hostile:
        self._count += 1
        place = self.folder / f"{self._count:05d}"
        place.mkdir(parents=True)
        self.victim, self.path, self.random = place / "was run", place / "a.hipmodel", random
        expected, recipe = RECIPES[kind]
        made = recipe(self)
        if isinstance(made, bytes):
            self.path.write_bytes(made)
        return Hostile(kind, made if isinstance(made, Path) else self.path, expected, self.victim)

    # What recipes are made of.

    def entries(self, **changes: bytes) -> list[Entry]:
        """The members, sealed, with some of them changed (by their name up to the dot)."""
        members = sealed(self.members | {self._name(part): data for part, data in changes.items()})
        return [Entry(name.encode(), data) for name, data in members.items()]

    def with_(self, **changes: bytes) -> bytes:
        return zipped(self.entries(**changes))

    def with_json(self, **changes: Any) -> bytes:
        """With some of the description's values changed, ``crop__size`` being within ``crop``."""
        values = json.loads(self.members["model.json"])
        for name, value in changes.items():
            inner, _, last = name.rpartition("__")
            (values[inner] if inner else values)[last] = value
        return self.with_(model=json.dumps(values).encode())

    def altered(self, member: str, **changes: Any) -> bytes:
        """With another description of one member in the list or before the member: ``central=…``, ``local=…``."""
        return zipped(
            [
                Entry(e.name, e.data, **{key: tuple(value.items()) for key, value in changes.items()})
                if e.name == member.encode()
                else e
                for e in self.entries()
            ]
        )

    def replaced(self, member: str, **fields: Any) -> bytes:
        """With some of the fields of one member's `Entry` changed."""
        from dataclasses import replace

        return zipped([replace(e, **fields) if e.name == member.encode() else e for e in self.entries()])

    def tensors(self) -> tuple[dict[str, Any], bytes]:
        return tensors_of(self.members["weights.safetensors"])

    def with_tensor(self, change: Callable[[dict[str, Any]], Any]) -> bytes:
        """With one entry of the weights' header, drawn at random, changed in place."""
        header, data = self.tensors()
        names = [name for name in header if name != "__metadata__"]
        change(header[self.one_of(*names)])
        return self.with_(weights=safetensors(header, data))

    def with_value(self, value: float, name: str = "weight") -> bytes:
        """With one number of a float32 tensor, whose name ends so, changed."""
        header, data = self.tensors()
        named = [n for n, entry in header.items() if n.endswith(name) and entry["dtype"] == "F32"]
        first, last = header[self.one_of(*named)]["data_offsets"]
        place = first + 4 * int(self.random.integers((last - first) // 4))
        altered = data[:place] + struct.pack("<f", value) + data[place + 4 :]
        return self.with_(weights=safetensors(header, altered))

    def one_of(self, *values: Any) -> Any:
        """One of them, drawn at random."""
        return values[int(self.random.integers(len(values)))]

    def flipped(self, data: bytes, times: int = 1) -> bytes:
        """With bits changed at random."""
        altered = bytearray(data)
        for _ in range(times):
            altered[int(self.random.integers(len(altered)))] ^= 1 << int(self.random.integers(8))
        return bytes(altered)

    def cut(self, data: bytes) -> bytes:
        return data[: int(self.random.integers(len(data)))]

    def bomb(self) -> bytes:
        """`BOMB_BYTES` zeros, packed."""
        if self._bomb is None:
            packer, zeros = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(2**20)
            # After a full flush the same zeros are packed into the same bytes again.
            packed = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
            self._bomb = packed * (BOMB_BYTES // len(zeros)) + packer.flush()
        return self._bomb

    def named(self, name: str | bytes) -> Path:
        """The sound package under another name."""
        path = os.fsencode(self.path.parent) + b"/" + (name if isinstance(name, bytes) else name.encode())
        with open(path, "wb") as file:
            file.write(self.good.read_bytes())
        return Path(os.fsdecode(path))

    @staticmethod
    def _name(part: str) -> str:
        return next(name for name in MEMBERS if name.startswith(f"{part}."))


def _saved(maker: PackageMaker, **options: Any) -> bytes:
    import io

    import torch

    file = io.BytesIO()
    torch.save({"weights": Trap(maker.victim)}, file, **options)
    return file.getvalue()


def _bomb(maker: PackageMaker, member: str, claimed: int) -> bytes:
    """A member that unfolds to `BOMB_BYTES` zeros, whatever it says."""
    said = (("size", claimed), ("crc", 0))
    return maker.replaced(member, packed=maker.bomb(), local=said, central=said)


def _larger_kind(maker: PackageMaker) -> bytes:
    """A zip64 whose list of members is said to be as large as the file, which is large."""
    plain = zipped(maker.entries(), gap=bytes(8 * 2**20))
    end, rest = plain[-22:], plain[:-22]
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, len(rest), 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(rest), 1)
    return rest + record + locator + end


def _overlapping(maker: PackageMaker) -> bytes:
    """All members but one lie within each other."""
    entries = maker.entries()
    return zipped([entries[0], *(Entry(e.name, e.data, central=(("offset", 0),)) for e in entries[1:])])


def _fifo(maker: PackageMaker) -> None:
    os.mkfifo(maker.path)


def _link(to: str | None) -> Callable[[PackageMaker], None]:
    def make(maker: PackageMaker) -> None:
        maker.path.symlink_to(maker.good if to is None else to)

    return make


def _sparse(maker: PackageMaker) -> None:
    with open(maker.path, "wb") as file:
        file.write(maker.good.read_bytes()[:100])
        file.truncate(300 * 2**30)  # takes no room on the disk


def _numbers(maker: PackageMaker) -> Any:
    """A number, or what stands in its place, as nobody would set it."""
    values = 10**6, 10**9, 10**18, 2**64, -1, 0, -(10**9), math.nan, math.inf, 1e308, "64", "", None, True, [], {}, [64]
    return maker.one_of(*values)


def _extra_tensor(maker: PackageMaker, name: str) -> bytes:
    header, data = maker.tensors()
    header[name] = {"dtype": "F32", "shape": [2], "data_offsets": [len(data), len(data) + 8]}
    return maker.with_(weights=safetensors(header, data + bytes(8)))


def _empty_tensors(maker: PackageMaker, count: int) -> bytes:
    """Many tensors without a byte; together they are a header of megabytes."""
    header, data = maker.tensors()
    end = len(data)
    header |= {f"F_t/{n}": {"dtype": "F32", "shape": [0], "data_offsets": [end, end]} for n in range(count)}
    return maker.with_(weights=safetensors(header, data))


def _without_tensor(maker: PackageMaker) -> bytes:
    """The last tensor is gone, with its bytes."""
    header, data = maker.tensors()
    name, entry = max(
        ((n, e) for n, e in header.items() if n != "__metadata__"), key=lambda item: item[1]["data_offsets"][1]
    )
    del header[name]
    return maker.with_(weights=safetensors(header, data[: entry["data_offsets"][0]]))


def _other_type(maker: PackageMaker) -> bytes:
    """A tensor of the same shape and another type; all bytes are where they should be."""
    header, data = maker.tensors()
    names = [n for n, e in header.items() if n != "__metadata__" and e["dtype"] == "F32"]
    name = maker.one_of(*names)
    kinds = {"F16": 2, "BF16": 2, "F64": 8, "I32": 4, "I64": 8, "U8": 1, "BOOL": 1, "C64": 8}
    kind = maker.one_of(*kinds)
    out, packed = {}, b""
    for n, e in header.items():
        if n == "__metadata__":
            continue
        first, last = e["data_offsets"]
        part = data[first:last] if n != name else bytes((last - first) // 4 * kinds[kind])
        out[n] = e | {"data_offsets": [len(packed), len(packed) + len(part)]} | ({"dtype": kind} if n == name else {})
        packed += part
    return maker.with_(weights=safetensors(out, packed))


def _said(maker: PackageMaker, part: str, **changes: Any) -> bytes:
    return maker.with_json(**{f"{part}__{name}": value for name, value in changes.items()})


_CARDS = {
    "scripts": "<script>alert(1)</script>\n<img src='http://example.invalid/x.png'>\n<iframe src=file:///etc></iframe>",
    "pictures": "![x](http://example.invalid/x.png) !![y](file:///etc/hostname) ![z][1]\n\n[1]: file:///etc/hostname",
    "commands to a terminal": "\x1b]0;owned\x07\x1b[2J\x9b31m red \u202e desrever \x00 \x08\x08",
    "no text": b"\xff\xfe\x00\xd8 not UTF-8 \xc3",
}

#: By kind: what must come of it, and how it is made: the file's bytes, or another path, or nothing if the recipe wrote
#: it itself.
RECIPES: dict[str, tuple[Expected, Callable[[PackageMaker], bytes | Path | None]]] = {
    # Code.
    "pickle: bare": ("refused", lambda m: pickle.dumps(Trap(m.victim))),
    "pickle: PyTorch's": ("refused", lambda m: _saved(m)),
    "pickle: PyTorch's old": ("refused", lambda m: _saved(m, _use_new_zipfile_serialization=False)),
    "pickle: as weights": ("refused", lambda m: m.with_(weights=pickle.dumps(Trap(m.victim)))),
    "pickle: as description": ("refused", lambda m: m.with_(model=pickle.dumps(Trap(m.victim)))),
    "pickle: as checksums": ("refused", lambda m: m.replaced("checksums.json", data=pickle.dumps(Trap(m.victim)))),
    "pickle: behind": ("refused", lambda m: m.good.read_bytes() + pickle.dumps(Trap(m.victim))),
    # The zip.
    "zip: name with ..": ("refused", lambda m: zipped([*m.entries(), Entry(b"../../evil.txt", b"x")])),
    "zip: absolute name": ("refused", lambda m: zipped([*m.entries(), Entry(b"/tmp/evil.txt", b"x")])),
    "zip: name of Windows": ("refused", lambda m: zipped([*m.entries(), Entry(b"..\\..\\evil.txt", b"x")])),
    "zip: card with ..": ("refused", lambda m: m.replaced("card.md", name=b"../card.md")),
    "zip: name with a zero": ("refused", lambda m: m.replaced("card.md", name=b"card.md\x00.exe")),
    "zip: name in capitals": ("refused", lambda m: m.replaced("card.md", name=b"CARD.MD")),
    "zip: name twice": ("refused", lambda m: zipped([*m.entries(), Entry(b"model.json", b"{}")])),
    "zip: one twice, one missing": ("refused", lambda m: m.replaced("card.md", name=b"model.json")),
    "zip: member missing": ("refused", lambda m: zipped(m.entries()[:-1])),
    "zip: member more": ("refused", lambda m: zipped([*m.entries(), Entry(b"setup.py", b"import os")])),
    "zip: link more": (
        "refused",
        lambda m: zipped([*m.entries(), Entry(b"link", b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)]),
    ),
    "zip: card is a link": ("right", lambda m: m.replaced("card.md", attributes=(stat.S_IFLNK | 0o777) << 16)),
    "zip: encrypted": ("refused", lambda m: m.replaced("weights.safetensors", flags=1)),
    "zip: sizes behind the data": ("refused", lambda m: m.replaced("weights.safetensors", flags=8)),
    "zip: in a zip": ("refused", lambda m: zipped([Entry(b"a.hipmodel", m.good.read_bytes())])),
    "zip: weights are a zip": ("refused", lambda m: m.with_(weights=m.good.read_bytes())),
    "zip: comment": ("refused", lambda m: zipped(m.entries(), comment=b"hello")),
    "zip: data behind": ("refused", lambda m: zipped(m.entries(), after=m.random.bytes(1000))),
    "zip: data in front": ("refused", lambda m: zipped(m.entries(), before=b"#!/bin/sh\nexit\n")),
    "zip: data between": ("refused", lambda m: zipped(m.entries(), gap=m.random.bytes(1000))),
    "zip: data between members": ("refused", lambda m: m.replaced("card.md", before=m.random.bytes(50))),
    "zip: data before the end": ("refused", lambda m: zipped(m.entries(), middle=m.random.bytes(50))),
    "zip: stored": ("right", lambda m: zipped([Entry(e.name, e.data, STORED) for e in m.entries()])),
    "zip: bzip2": ("refused", lambda m: m.replaced("card.md", method=BZIP2)),
    "zip: lzma": ("refused", lambda m: m.replaced("card.md", method=LZMA)),
    "zip: unknown packing": ("refused", lambda m: m.replaced("card.md", method=99, packed=b"x" * 50)),
    "zip: wrong CRC": (
        "refused",
        lambda m: m.replaced("card.md", local=(("crc", 1),), central=(("crc", 1),)),
    ),
    "zip: other name in front": ("refused", lambda m: m.altered("card.md", local={"name": b"CARD.md"})),
    "zip: other size in front": ("refused", lambda m: m.altered("card.md", local={"size": 7})),
    "zip: other packing in front": ("refused", lambda m: m.altered("card.md", local={"method": STORED})),
    "zip: other CRC in front": ("refused", lambda m: m.altered("card.md", local={"crc": 7})),
    "zip: overlapping": ("refused", _overlapping),
    "zip: offset beyond": ("refused", lambda m: m.altered("card.md", central={"offset": 2**31})),
    "zip: several disks": ("refused", lambda m: zipped(m.entries(), disk=1)),
    "zip: zip64 with a huge list": ("refused", _larger_kind),
    "zip: list of 60,000": ("refused", lambda m: zipped([*m.entries(), *[Entry(b"x", b"", STORED)] * 60_000])),
    "zip: claims gigabytes": (
        "refused",
        lambda m: m.replaced("card.md", local=(("size", 2**32 - 2),), central=(("size", 2**32 - 2),)),
    ),
    # Bombs.
    "bomb: weights": ("refused", lambda m: _bomb(m, "weights.safetensors", BOMB_BYTES)),
    "bomb: weights that claim little": ("refused", lambda m: _bomb(m, "weights.safetensors", 1000)),
    "bomb: card": ("refused", lambda m: _bomb(m, "card.md", BOMB_BYTES)),
    "bomb: card that claims little": ("refused", lambda m: _bomb(m, "card.md", 10)),
    "bomb: description": ("refused", lambda m: m.with_(model=b"[" * (2**20 - 1))),
    "bomb: description too long": ("refused", lambda m: m.with_json(training={"x": "y" * 2**21})),
    "bomb: checksums": ("refused", lambda m: _bomb(m, "checksums.json", BOMB_BYTES)),
    # Damage and hashes.
    "damage: a bit": ("either", lambda m: m.flipped(m.good.read_bytes())),
    "damage: bits": ("either", lambda m: m.flipped(m.good.read_bytes(), 20)),
    "damage: cut off": ("refused", lambda m: m.cut(m.good.read_bytes())),
    "damage: noise": ("refused", lambda m: m.random.bytes(5000)),
    "damage: empty": ("refused", lambda m: b""),
    "damage: a bit of a member": (
        "refused",
        lambda m: m.replaced(m.one_of(*MEMBERS[:3]), data=m.flipped(m.members["card.md"])),
    ),
    "hash: of another": ("refused", lambda m: m.replaced("checksums.json", data=m.members["checksums.json"][::-1])),
    "hash: none": ("refused", lambda m: m.replaced("checksums.json", data=b"{}")),
    "hash: no object": ("refused", lambda m: m.replaced("checksums.json", data=b"[" * 50_000)),
    # The weights.
    "weights: header longer than the file": (
        "refused",
        lambda m: m.with_(weights=safetensors(*m.tensors(), length=2 ** int(m.random.integers(24, 64)) - 1)),
    ),
    "weights: header is no JSON": ("refused", lambda m: m.with_(weights=safetensors(b"{" * 500, m.tensors()[1]))),
    "weights: header of megabytes": ("refused", lambda m: _empty_tensors(m, 40_000)),
    "weights: empty tensors": ("refused", lambda m: _empty_tensors(m, 10)),
    "weights: absurd shape": (
        "refused",
        lambda m: m.with_tensor(lambda e: e.update(shape=[10 ** int(m.random.integers(6, 19))] * 3)),
    ),
    "weights: shape that is nothing": ("refused", lambda m: m.with_tensor(lambda e: e.update(shape=[2**62, 0]))),
    "weights: negative shape": ("refused", lambda m: m.with_tensor(lambda e: e.update(shape=[-2, -2]))),
    "weights: other shape": (
        "refused",
        lambda m: m.with_tensor(lambda e: e.update(shape=[math.prod(e["shape"]), 1, 1])),
    ),
    "weights: offsets beyond": (
        "refused",
        lambda m: m.with_tensor(lambda e: e.update(data_offsets=[x + 2**40 for x in e["data_offsets"]])),
    ),
    "weights: offsets backwards": (
        "refused",
        lambda m: m.with_tensor(lambda e: e.update(data_offsets=[e["data_offsets"][1] + 4, e["data_offsets"][0]])),
    ),
    "weights: overlapping": ("refused", lambda m: m.with_tensor(lambda e: e.update(data_offsets=[0, 8], shape=[2]))),
    "weights: unknown type": ("refused", lambda m: m.with_tensor(lambda e: e.update(dtype="OBJECT"))),
    "weights: other type": ("refused", _other_type),
    "weights: one missing": ("refused", _without_tensor),
    "weights: one more": ("refused", lambda m: _extra_tensor(m, "F_t/more")),
    "weights: of another network": ("refused", lambda m: _extra_tensor(m, "D_t/more")),
    "weights: bytes behind": (
        "refused",
        lambda m: m.with_(weights=m.members["weights.safetensors"] + bytes(8)),
    ),
    "weights: cut off": ("refused", lambda m: m.with_(weights=m.cut(m.members["weights.safetensors"]))),
    "weights: a bit, sealed": ("either", lambda m: m.with_(weights=m.flipped(m.members["weights.safetensors"]))),
    "weights: NaN": ("refused", lambda m: m.with_value(math.nan)),
    "weights: infinite": ("refused", lambda m: m.with_value(math.inf)),
    "weights: infinite, negative": ("refused", lambda m: m.with_value(-math.inf)),
    "weights: overflow in use": ("either", lambda m: m.with_value(3e38, "upsample.bias")),
    "weights: negative variance": ("refused", lambda m: m.with_value(-1.0, "running_var")),
    # The description.
    "description: a bit": ("either", lambda m: m.with_(model=m.flipped(m.members["model.json"]))),
    "description: bits": ("either", lambda m: m.with_(model=m.flipped(m.members["model.json"], 10))),
    "description: cut off": ("refused", lambda m: m.with_(model=m.cut(m.members["model.json"]))),
    "description: no object": ("refused", lambda m: m.with_(model=b"[1, 2]")),
    "description: nested": ("refused", lambda m: m.with_(model=b'{"a":' * 50_000)),
    "description: nested training": (
        "either",
        lambda m: m.with_(
            model=m.members["model.json"].rstrip()[:-1] + b',"training":' + b'{"a":' * 900 + b"1" + b"}" * 901
        ),
    ),
    "description: format": ("refused", lambda m: m.with_json(format=_numbers(m))),
    "description: width": ("refused", lambda m: _said(m, "segmenter", width=_numbers(m))),
    "description: width of 512": ("refused", lambda m: _said(m, "segmenter", width=512)),
    "description: a million blocks": ("refused", lambda m: _said(m, "segmenter", dilations=[2] * 10**5)),
    "description: dilation": ("refused", lambda m: _said(m, "segmenter", dilations=[_numbers(m)] * 4)),
    "description: norm": ("refused", lambda m: _said(m, "segmenter", norm="__import__('os')")),
    "description: crop": ("refused", lambda m: _said(m, "crop", size=[_numbers(m), 16, 24])),
    "description: crop of a billion": ("refused", lambda m: _said(m, "crop", size=[10**9] * 3)),
    "description: spacing": ("refused", lambda m: _said(m, "crop", spacing_mm=[m.one_of(-1, 0, 1e9, 1e-9), 8, 8])),
    "description: percentiles": ("refused", lambda m: _said(m, "intensity", mr_percentiles=[99.0, m.one_of(1, 101)])),
    "description: route": (
        "refused",
        lambda m: m.with_json(
            route=m.one_of(["F_t", "F_t"], ["G_ts"], [], ["os.system"], ["E", "S"], "F_t", ["F_t"] * 9999)
        ),
    ),
    "description: translator of a million": (
        "refused",
        lambda m: m.with_json(route=["G_ts", "F_s"], translator={"width": 64, "blocks": 10**6}),
    ),
    "description: labels": ("refused", lambda m: m.with_json(labels=["background", "femur", "acetabulum"])),
    "description: more": ("refused", lambda m: m.with_json(command="rm -r /")),
    "description: of 10000 digits": ("refused", lambda m: m.with_(model=b'{"format": ' + b"9" * 10_000 + b"}")),
    # Names and texts, which are shown and written down but never used as a path.
    "name: a path": ("right", lambda m: m.with_json(name="../../../etc/cron.d/evil")),
    "name: a folder": ("right", lambda m: m.with_json(name="a/b")),
    "name: of a device": ("right", lambda m: m.with_json(name="CON")),
    "name: HTML": ("right", lambda m: m.with_json(name="<img src='file:///etc/hostname'><script>x</script>")),
    "name: commands to a terminal": ("right", lambda m: m.with_json(name="\x1b[2J\u202eevil\x00\n|x:y")),
    "name: half a character": ("right", lambda m: m.with_json(name="a\ud800b")),
    "name: a megabyte": ("refused", lambda m: m.with_json(name="x" * 10**6)),
    "name: empty": ("refused", lambda m: m.with_json(name="")),
    "name: a number": ("refused", lambda m: m.with_json(name=7)),
    **{f"card: {kind}": ("right", lambda m, text=text: m.with_(card=text if isinstance(text, bytes) else text.encode()))
       for kind, text in _CARDS.items()},
    "card: of megabytes": ("refused", lambda m: m.with_(card=b"# x\n" * 10**6)),
    # The file.
    "file: a pipe": ("refused", _fifo),
    "file: a folder": ("refused", lambda m: m.path.mkdir()),
    "file: a link to a sound one": ("right", _link(None)),
    "file: a link to nothing": ("refused", _link("/nowhere/a.hipmodel")),
    "file: a link to itself": ("refused", _link("a.hipmodel")),
    "file: a link to an endless device": ("refused", _link("/dev/zero")),
    "file: of 300 gigabytes": ("refused", _sparse),
    "file name: of a device": ("right", lambda m: m.named("CON.hipmodel")),
    "file name: long": ("refused", lambda m: m.named("x" * 240 + ".hipmodel")),
    "file name: two lines": ("refused", lambda m: m.named("a\nb.hipmodel")),
    "file name: no text": ("refused", lambda m: m.named(b"a\xff.hipmodel")),
    "file name: hidden": ("refused", lambda m: m.named(".a.hipmodel")),
    "file name: HTML": ("right", lambda m: m.named("<img src=x>.hipmodel")),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a file.

    Attributes:
        result: refused or right; else what is wrong with the product.
        error: kind of the HipError that refused it.
        sentence: of that error.
    """

    result: str
    error: str = ""
    sentence: str = ""

    def fits(self, expected: Expected) -> bool:
        return self.result in ("refused", "right") if expected == "either" else self.result == expected


def try_package(hostile: Hostile, good_weights: dict[str, Any]) -> Outcome:
    """Do all that is done with a package, in a home of its own.

    Args:
        good_weights: of the sound package; what is right must compute with the same.
    """
    from HipICMSCLib.common.errors import HipError

    with tempfile.TemporaryDirectory() as home, _home(Path(home)):
        with watched(hostile.path.parent, Path(home)) as done:
            try:
                outcome = _used(hostile, good_weights)
            except HipError as error:
                outcome = Outcome("refused", error.kind, error.sentence)
            except Exception as error:
                return Outcome(f"{type(error).__name__}: {error}"[:300])
        kept = [path for path in Path(home).rglob("*") if path.is_file()]
    if hostile.victim.exists() or done:
        return Outcome(f"code was run or a file written: {done}")
    if outcome.result == "refused" and not is_sentence(outcome.sentence):
        return Outcome(f"no sentence: {outcome.sentence}")
    if kept:
        return Outcome(f"left behind: {kept}")
    strangers = [path for path in hostile.path.parent.iterdir() if path != hostile.path]
    return Outcome(f"written: {strangers}") if strangers else outcome


#: What nothing that is read from a file may make the process do.
_NEVER = ("socket.", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "pickle.find_class")
#: Where files may be written at the moment, and what was done all the same; None while nobody asks.
_watching: tuple[list[str], list[str]] | None = None


@contextlib.contextmanager
def watched(*folders: Path) -> Iterator[list[str]]:
    """What Python is made to do meanwhile that it must not: to start a program, to unpickle, to talk to the network, or
    to write a file that is in none of these folders."""
    global _watching
    if not _hooked:
        sys.addaudithook(_on_event)
        _hooked.append(True)
    done: list[str] = []
    _watching = [str(folder.resolve()) for folder in folders], done
    try:
        yield done
    finally:
        _watching = None


_hooked: list[bool] = []


def _on_event(event: str, arguments: tuple) -> None:
    if _watching is None:
        return
    folders, done = _watching
    if event.startswith(_NEVER):
        done.append(f"{event} {arguments!r}"[:200])
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        # A number is a file that is open already.
        path = "" if isinstance(arguments[0], int) else os.path.realpath(os.fsdecode(arguments[0]))
        # Python keeps what it compiled when a library is first imported.
        if path and "__pycache__" not in path and not any(path.startswith(folder + os.sep) for folder in folders):
            done.append(f"writing {path}")


def is_sentence(text: str) -> bool:
    """Whether it is one line of readable length that ends as a sentence does."""
    return 20 < len(text) <= 2100 and text.isprintable() and text[-1] in ".)"


def _used(hostile: Hostile, good_weights: dict[str, Any]) -> Outcome:
    """
    Raises:
        HipError: for what is refused.
    """
    import torch
    from HipICMSCLib.common.errors import HipError
    from HipICMSCLib.engine import HipSegmenter
    from HipICMSCLib.models.archive import read_details
    from HipICMSCLib.models.chosen import add_model, available_models, remove_model
    from HipICMSCLib.worker.self_test import self_test

    refusal = None
    try:
        details = read_details(hostile.path)
        segmenter = HipSegmenter(hostile.path, "cpu")
        tested = self_test(segmenter)
    except HipError as error:
        refusal = error
    try:
        added = add_model(hostile.path)
    except HipError as error:
        raise refusal or error from error
    # What cannot be seen without torch, such as a weight that is no number, is refused when it is to be used.
    if added not in available_models():
        return Outcome("added, but not listed")
    remove_model(added)
    if refusal is not None:
        raise refusal
    if not (details.sha256 == tested["model"]["sha256"] == hashlib.sha256(hostile.path.read_bytes()).hexdigest()):
        return Outcome("the hash is another")
    same = segmenter.package.weights.keys() == good_weights.keys() and all(
        torch.equal(value, good_weights[name]) for name, value in segmenter.package.weights.items()
    )
    if not same and hostile.expected == "right":
        return Outcome("the weights are others")
    texts = [details.name, details.card, details.licence, details.intended_use, *details.citations]
    if not all(character.isprintable() or character in "\n\t\ufffd" for text in texts for character in text):
        return Outcome("a text commands the terminal")
    return Outcome("right")


@contextlib.contextmanager
def _home(folder: Path):
    before = os.environ.get("HIPICMSC_HOME")
    os.environ["HIPICMSC_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HIPICMSC_HOME"]
        else:
            os.environ["HIPICMSC_HOME"] = before


def area_of(
    recipes: Mapping[str, tuple[Expected, Any]], maker: Callable[[Path], Any], tried: Callable[[Hostile], Outcome]
) -> tuple[dict[str, Maker], Callable[[Case], None]]:
    """Recipes as `malformed.case.Area` wants them: makers by kind, and the function that tries a case.

    A case itself is only its kind and its seed: what it is made of lies in a temporary folder while it is tried,
    because a run that is resumed is written to.

    Args:
        maker: takes that folder and gives a `PackageMaker` or the like.
    """
    verdicts: dict[Expected, Verdict] = {"refused": "refuse", "right": "read", "either": "either"}

    def maker_of(kind: str, expected: Expected) -> Maker:
        def make(folder: Path, rng: np.random.Generator) -> Case:
            path = folder / "case.json"
            path.write_text(json.dumps({"kind": kind, "seed": int(rng.integers(2**31))}))
            return Case(path, verdicts[expected])

        return make

    def attempt(case: Case) -> None:
        from HipICMSCLib.common.errors import HipError

        chosen = json.loads(case.path.read_text())
        with tempfile.TemporaryDirectory() as folder:
            hostile = maker(Path(folder)).make(chosen["kind"], np.random.default_rng(chosen["seed"]))
            outcome = tried(hostile)
        if outcome.result == "refused":
            raise HipError(outcome.error, outcome.sentence)
        if outcome.result != "right":
            raise Wrong(outcome.result)

    return {kind: maker_of(kind, expected) for kind, (expected, _) in recipes.items()}, attempt


def shared_folder() -> Path:
    """Where what all cases are made of is kept: beside the model that `malformed.watch` was given."""
    folder = Path(os.environ["MALFORMED_MODEL"]).parent / "good"
    folder.mkdir(exist_ok=True)
    return folder


@functools.cache
def _good_package() -> tuple[Path, dict[str, Any]]:
    """A sound package that computes in a moment, and its weights."""
    from HipICMSCLib.models.package import read_package

    path = shared_folder() / "good.hipmodel"
    return path, read_package(write_good_package(path)).weights


def write_good_package(path: Path) -> Path:
    """A sound package that computes in a moment."""
    from HipICMSCLib.preprocessing.geometry import CropSettings
    from packages import write_threshold_package

    return write_threshold_package(path, crop=CropSettings((8.0, 8.0, 8.0), (32, 16, 24)))


MAKERS, _attempt = area_of(
    RECIPES,
    lambda folder: PackageMaker(_good_package()[0], folder),
    lambda hostile: try_package(hostile, _good_package()[1]),
)


def attempt(case: Case, output: Path) -> None:
    """As `malformed.case.Area` has it."""
    _attempt(case)
