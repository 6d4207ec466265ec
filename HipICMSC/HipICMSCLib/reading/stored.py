"""A volume whose header is read and checked, and the bytes of its voxels: never more than are declared."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.preprocessing.geometry import image_at
from HipICMSCLib.reading.refusals import cut_off, refused

#: So much may follow the voxels; somebody who appends more than that means to fill a disk or a day.
MOST_TRAILING_BYTES = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A volume in a file or folder.

    Attributes:
        size: voxels along x, y and z.
        to_lps: (4, 4), from indices to LPS mm.
        voxels: reads them, (z, y, x).
        texts: what others put into the header.
        notes: sentences about what a user should know of how it is read.
    """

    path: Path
    size: tuple[int, ...]
    to_lps: np.ndarray
    voxels: Callable[[], np.ndarray]
    texts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def image(self) -> sitk.Image:
        """Raises:
        HipError: ``bad_geometry``, or what :attr:`voxels` raises.
        """
        image = image_at(self.voxels(), self.to_lps, str(self.path))
        for name, text in self.texts.items():
            image.SetMetaData(name, text)
        return image


class _Inflated:
    """A stream without the names and times of gzip, as MetaImage packs it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._packed, self._unpacker = stream.read(), zlib.decompressobj()

    def read(self, count: int) -> bytes:
        data = self._unpacker.decompress(self._packed, count)
        self._packed = self._unpacker.unconsumed_tail
        if len(data) < count and not self._unpacker.eof:
            raise EOFError("the packed data have no end")
        return data


#: Streams of what is packed in a stream, by the names of packings in headers.
UNPACKING: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    "raw": lambda stream: stream, "gzip": gzip.open, "gz": gzip.open, "bzip2": bz2.open, "bz2": bz2.open,
    "zlib": _Inflated,
}  # fmt: skip


def read_bytes(path: Path, stream: BinaryIO, count: int) -> bytes:
    """So many bytes of an open file or of one that unpacks itself: no more memory is taken than is really there.

    Raises:
        HipError: ``unreadable`` where they are not all there, or far more than that.
        EOFError, OSError, zlib.error: what is packed is damaged.
    """
    data = bytearray()
    while len(data) < count and (block := stream.read(min(count - len(data), 1 << 20))):
        data += block
    if len(data) < count:
        raise cut_off(path, f"{count} bytes are declared, {len(data)} are there")
    try:
        following = len(stream.read(MOST_TRAILING_BYTES + 1))
    except OSError as error:
        # What follows a packed file and is none itself is passed over, as gzip does.
        if not str(error).startswith("Not a gzipped file"):
            raise
        following = 0
    if following > MOST_TRAILING_BYTES:
        raise refused(path, "the file goes on for long after its voxels")
    return data


def bytes_of_files(
    header: Path, files: Sequence[Path], start: int, encoding: str, count: int, packed: int | None = None
) -> bytes:
    """So many bytes, an equal share of them in each file.

    Args:
        header: the file that names these.
        start: the first byte in each file; -1 for the last bytes, as many as are needed.
        encoding: one of :data:`UNPACKING`.
        packed: so many bytes are packed, where that is said.

    Raises:
        HipError, EOFError, OSError, zlib.error: as :func:`read_bytes`.
    """
    share = count // max(1, len(files))
    data = b""
    for file in files:
        with open(file, "rb") as stream:
            stream.seek(max(0, file.stat().st_size - share) if start == -1 else start)
            if packed is not None:
                body = stream.read()
                if not 0 < packed <= len(body):
                    raise cut_off(header, f"{packed} packed bytes are declared, {len(body)} are there")
                stream = io.BytesIO(body[:packed])
            data += read_bytes(header, UNPACKING[encoding](stream), share)
    if len(data) != count:
        raise cut_off(header, f"{count} bytes are declared, {len(data)} are there")
    return data


def files_beside(header: Path, named: str, listed: Sequence[str] = ()) -> list[Path]:
    """The files that a header names for its voxels: one name, a pattern with its first and last number and step, or
    a list. A header may not reach out of its folder.

    Raises:
        HipError: ``unreadable``.
    """
    words = named.split()
    names = [named]
    if words == ["LIST"]:
        names = [line.strip() for line in listed if line.strip()]
    elif len(words) == 4 and words[0].count("%") == 1 and all(word.isdecimal() for word in words[1:]):
        first, last, step = map(int, words[1:])
        try:
            names = [words[0] % number for number in range(first, min(last + 1, first + 10_000), step)]
        except (ValueError, TypeError) as error:
            raise refused(header, f"its header names its files by {named[:60]!r}", str(error)) from error
    files = [header.parent / name.removeprefix("./") for name in names]
    for name, file in zip(names, files, strict=True):
        plain = Path(name).name == name.removeprefix("./") and "\\" not in name and name.isprintable()
        if not plain or name in ("", ".", ".."):
            raise refused(
                header, "its header names a file outside of its own folder for the voxels", remedy="put both into one"
            )
        if not file.is_file() or file.resolve().parent != header.parent.resolve():
            raise refused(header, f"the file {name}, which holds its voxels, is not beside it", remedy="put it there")
    return files
