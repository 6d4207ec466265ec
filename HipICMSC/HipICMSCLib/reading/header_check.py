"""What every header of a volume file must satisfy before a library is let loose on the file.

The libraries that read volumes reserve what a header asks for before they look whether it is there, follow a header to
any file that it names, and make up what it leaves out. A file from a stranger may therefore pass only if its header
says what is understood here, and if the file holds what the header says.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.memory import free_bytes

#: More than a CT of the whole body has: 512 × 512 × 2048.
MOST_VOXELS = 2**29
#: A voxel may have been read to lie this far from where its header says (numbers are rounded).
LARGEST_DISAGREEMENT_MM = 0.5
#: No header of text is longer.
LONGEST_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20
# As C reads numbers, and not Python, which knows many more.
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_COUNT = re.compile(r"[0-9]{1,18}")


def are_numbers(words: Sequence[str], count: int) -> bool:
    """Whether these are so many finite numbers."""
    return len(words) == count and all(_NUMBER.fullmatch(word) and math.isfinite(float(word)) for word in words)


def is_count(word: str) -> bool:
    """Whether it is a whole number from 0 on."""
    return bool(_COUNT.fullmatch(word))


def refused(path: Path, reason: str, detail: str = "") -> HipError:
    """The error for a file that is no image to rely on; ``reason`` goes on with "the file …" or "its header …"."""
    return HipError("unreadable", f"{path} cannot be read as an image: {reason}.", detail)


def not_scalar(path: Path | str) -> HipError:
    return HipError("not_scalar", f"{path} has colours or several channels; a volume with one value a voxel is needed.")


def not_oriented(path: Path) -> HipError:
    """The error for a file that leaves open where the patient's right and left are."""
    return HipError(
        "bad_geometry",
        f"{path} does not say how its voxels lie in the patient, so that left and right cannot be told apart; export "
        "it again with its orientation.",
    )


def check_size(path: Path, size: Sequence[int], voxel_bytes: int) -> None:
    """Refuse a size that no volume of a pelvis has, or that this computer has no memory for.

    Args:
        size: voxels along each axis.
        voxel_bytes: what a voxel takes.

    Raises:
        HipError: ``unreadable`` or ``too_large``.
    """
    shown = " × ".join(map(str, size))
    if any(count < 1 for count in size):
        raise refused(path, f"its header declares {shown} voxels")
    voxels = math.prod(size)
    if voxels > MOST_VOXELS:
        raise HipError("too_large", f"{path} declares {shown} voxels, more than any volume of a pelvis has.")
    free = free_bytes()
    if free is not None and voxels * voxel_bytes > free // 2:
        raise HipError(
            "too_large",
            f"{path} declares {shown} voxels, which need {2 * voxels * voxel_bytes / 2**30:.1f} GB of memory, but only "
            f"{free / 2**30:.1f} GB are free; close other programs or crop the volume.",
        )


def check_length(path: Path, declared: int, found: int) -> None:
    """Refuse a file that does not hold the voxels of its header.

    Args:
        declared: bytes of all voxels, as they are written.
        found: bytes that are there for them.

    Raises:
        HipError: ``unreadable``.
    """
    if found < declared:
        raise _cut_off(path, f"{declared} bytes are declared, {found} are there")


def check_packed(path: Path, file: Path, start: int, length: int, declared: int) -> None:
    """Refuse a file whose packed part (zlib or gzip) is damaged or does not hold the voxels of its header.

    No more is unpacked than is declared.

    Args:
        path: the file with the header.
        file: the one with the voxels, packed from byte ``start`` on in ``length`` bytes.
        declared: bytes of all voxels, unpacked.

    Raises:
        HipError: ``unreadable``.
        OSError: the file cannot be read.
    """
    unpacker, unpacked = zlib.decompressobj(wbits=47), 0
    with open(file, "rb") as stream:
        stream.seek(start)
        try:
            while not unpacker.eof and unpacked <= declared:
                block = unpacker.unconsumed_tail
                if not block:
                    block = stream.read(min(length, _BLOCK_BYTES))
                    length -= len(block)
                if not block:
                    raise _cut_off(path, "the packed voxels have no end")
                unpacked += len(unpacker.decompress(block, _BLOCK_BYTES))
        except zlib.error as error:
            raise _cut_off(path, str(error)) from error
    check_length(path, declared, unpacked)


def _cut_off(path: Path, detail: str) -> HipError:
    return refused(path, "the file is cut off or damaged", detail)


def data_file(header: Path, name: str) -> Path:
    """The file beside ``header`` that it names for its voxels; a header may not reach out of its folder.

    Raises:
        HipError: ``unreadable``.
    """
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name or not name.isprintable():
        raise refused(header, "its header names a file outside of its own folder for the voxels")
    path = header.parent / name
    if not path.is_file() or path.resolve().parent != header.parent.resolve():
        raise refused(header, f"the file {name}, which holds its voxels, is not beside it")
    return path
