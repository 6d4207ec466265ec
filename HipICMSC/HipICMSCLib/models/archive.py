"""The file of a model package, without torch, so that Slicer's own process can look at models and keep them.

It is a zip archive with exactly four members: ``model.json``, ``weights.safetensors``, ``card.md`` and
``checksums.json`` (SHA-256 of the other three). Nothing in it is ever executed, unpickled or written to a file.

It may come from anybody, so the archive is read into memory as a whole, within bounds that stand before anything is
unpacked, and every byte of it must belong to one of the four members: nothing hides before, between or behind them.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import struct
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.common.foreign_text import harmless, harmless_values
from HipICMSCLib.common.settings import from_json

FORMAT = 1

#: The members and how large each may be. A full-size F and G together take 70 MB; a card is shown as a whole.
_LARGEST_MEMBERS = {
    "model.json": 2**20,
    "weights.safetensors": 512 * 2**20,
    "card.md": 2**18,
    "checksums.json": 2**16,
}
_MEMBERS = tuple(_LARGEST_MEMBERS)
_LARGEST_BYTES = sum(_LARGEST_MEMBERS.values())
#: Of a name, in characters: it goes into every result.
LONGEST_NAME = 200

#: As APPNOTE.TXT of PKWARE has them: the header before each member, the end of the list of members, and what stands
#: before that end in the larger kind of zip.
_LOCAL_HEADER, _LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\x03\x04"
_END, _END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
_ZIP64_LOCATOR_BYTES, _ZIP64_SIGNATURE = 20, b"PK\x06\x07"
#: Of the list of members; four of ours take 300 bytes.
_LARGEST_DIRECTORY = 4096
_UTF8_NAME = 0x800


@dataclass(frozen=True)
class ModelArchive:
    """A package whose archive is sound; what stands in ``manifest`` and ``weights`` is not looked into.

    Attributes:
        sha256: of the whole file.
        manifest: model.json.
        card: Markdown.
        weights: in the safetensors format.
    """

    path: Path
    sha256: str
    manifest: dict[str, Any]
    card: str
    weights: bytes


@dataclass(frozen=True)
class ModelDetails:
    """What a person wants to know about a package before using it.

    Attributes:
        name: as its makers call it; the file may have another name.
        sha256: of the whole file.
        method: how it was trained; empty where model.json does not say.
        ct_volumes, mr_volumes: how many labelled CTs and unlabelled MRIs it was trained on, where model.json says so.
        card: Markdown.
    """

    name: str
    file_name: str
    sha256: str
    size_bytes: int
    licence: str
    intended_use: str
    citations: tuple[str, ...]
    method: str
    ct_volumes: int | None
    mr_volumes: int | None
    card: str


def read_archive(path: Path) -> ModelArchive:
    """Read a package's file and check it as an archive.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``not_a_package`` (a pickle, a checkpoint, anything else),
            ``newer_format``, or ``damaged_model`` (altered, cut off).
    """
    path = Path(path)
    _check_file(path)
    data = _bytes_of(path)
    contents = _members(path, data)
    _check_sums(path, contents)
    manifest = _manifest(path, contents["model.json"])
    card = harmless(contents["card.md"].decode("utf-8", "replace"))
    return ModelArchive(path, hashlib.sha256(data).hexdigest(), manifest, card, contents["weights.safetensors"])


def write_archive(path: Path, manifest: dict[str, Any], weights: bytes, card: str) -> None:
    """Write a package's file; the same contents give the same bytes.

    Raises:
        HipError: ``too_large`` for what :func:`read_archive` would refuse; as for any file.
    """
    contents = {
        "model.json": json.dumps(manifest, indent=2).encode(),
        "weights.safetensors": weights,
        "card.md": card.encode(),
    }
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents["checksums.json"] = json.dumps(checksums, indent=2).encode()
    for name, most in _LARGEST_MEMBERS.items():
        if len(contents[name]) > most:
            raise HipError(
                "too_large", f"The part {name} of a model package may have {most} bytes at most; make it shorter."
            )
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _MEMBERS:
            # A fixed date: the same contents give the same file and so the same hash.
            archive.writestr(zipfile.ZipInfo(name), contents[name], zipfile.ZIP_DEFLATED)


def read_details(path: Path) -> ModelDetails:
    """What a package says of itself; a file that did not change since is not read again.

    Raises:
        HipError: as :func:`read_archive`.
    """
    path = Path(path)
    state = _check_file(path)
    return _read_details(path, state.st_mtime_ns, state.st_size)


@dataclass(frozen=True)
class _Description:
    """The part of model.json that a person reads, as in package.ModelManifest."""

    name: str
    licence: str
    intended_use: str
    citations: tuple[str, ...] = ()
    training: dict = field(default_factory=dict)


@functools.lru_cache(maxsize=16)
def _read_details(path: Path, mtime_ns: int, size_bytes: int) -> ModelDetails:
    archive = read_archive(path)
    try:
        known = {part.name for part in fields(_Description)} & set(archive.manifest)
        said = from_json(_Description, {name: archive.manifest[name] for name in known})
    except (HipError, TypeError) as error:
        raise damaged(path, str(error)) from error
    method, ct_volumes, mr_volumes = (said.training.get(key) for key in ("method", "ct_volumes", "mr_volumes"))
    return ModelDetails(
        name=said.name,
        file_name=path.name,
        sha256=archive.sha256,
        size_bytes=size_bytes,
        licence=said.licence,
        intended_use=said.intended_use,
        citations=said.citations,
        # What stands below "training" is free, so that it may be anything.
        method=method if isinstance(method, str) else "",
        ct_volumes=ct_volumes if isinstance(ct_volumes, int) else None,
        mr_volumes=mr_volumes if isinstance(mr_volumes, int) else None,
        card=archive.card,
    )


def damaged(path: Path, detail: str) -> HipError:
    """The error of a package that is not as it was written."""
    return HipError("damaged_model", f"The model file {path} is damaged or was altered; get it again.", detail)


def _check_file(path: Path) -> os.stat_result:
    try:
        # A folder, or a pipe that somebody would have to write into.
        if not path.is_file():
            raise HipError("missing_file", f"There is no model file {path}.")
        with open(path, "rb") as file:
            file.read(1)
            state = os.fstat(file.fileno())
    except OSError as error:
        raise HipError("unreadable", f"The model file {path} cannot be read.", str(error)) from error
    if state.st_size > _LARGEST_BYTES:
        raise HipError(
            "not_a_package", f"{path} is larger than any model package of HipICMSC.", f"{state.st_size} bytes"
        )
    return state


def _bytes_of(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            # No more than there is: room for all that is asked for is taken before anything is read.
            return file.read(min(os.fstat(file.fileno()).st_size, _LARGEST_BYTES))
    except OSError as error:
        raise HipError("unreadable", f"The model file {path} cannot be read.", str(error)) from error


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    if not _has_plain_directory(data):
        raise damaged(path, "it does not end as a package does") if _begins_as_ours(data) else _not_a_package(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.orig_filename: entry for entry in archive.infolist()}
            if len(archive.infolist()) != len(_MEMBERS) or set(entries) != set(_MEMBERS):
                raise _not_a_package(path, f"members: {list(entries)[:10]}")
            _check_layout(data, list(entries.values()), archive.start_dir)
            return {name: _read_member(archive, entries[name]) for name in _MEMBERS}
    except HipError:
        raise
    except Exception as error:  # zipfile, zlib and struct have exceptions of their own
        raise damaged(path, str(error)) from error


def _not_a_package(path: Path, detail: str = "") -> HipError:
    return HipError(
        "not_a_package",
        f"{path} is not a model package of HipICMSC; files of other programs, PyTorch checkpoints among them, are "
        "never opened because they can run code.",
        detail,
    )


def _has_plain_directory(data: bytes) -> bool:
    """Whether a zip ends with a short list of its members and nothing else, so that it can be listed at little cost."""
    if len(data) < _END.size:
        return False
    signature, disk, first_disk, _, _, size, offset, comment = _END.unpack(data[-_END.size :])
    before_end = len(data) - _END.size
    return (
        signature == _END_SIGNATURE
        and disk == first_disk == comment == 0
        and size <= _LARGEST_DIRECTORY
        and offset + size == before_end
        and not data[:before_end][-_ZIP64_LOCATOR_BYTES:].startswith(_ZIP64_SIGNATURE)
    )


def _begins_as_ours(data: bytes) -> bool:
    if not data.startswith(b"PK"):
        return False
    name = data[_LOCAL_HEADER.size :]
    return any(name.startswith(member.encode()[: len(name)]) for member in _MEMBERS)


def _check_layout(data: bytes, entries: list[zipfile.ZipInfo], end: int) -> None:
    """Raise BadZipFile unless the members lie one behind the other and their two descriptions agree."""
    place = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack_from(
            data, place
        )
        described = (entry.header_offset, entry.flag_bits, entry.compress_type, entry.CRC, entry.compress_size)
        if signature != _LOCAL_SIGNATURE or described != (place, flags, method, crc, packed) or size != entry.file_size:
            raise zipfile.BadZipFile(f"{entry.filename} is not described as it lies there")
        if flags & ~_UTF8_NAME or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{entry.filename} is encrypted or packed in another way than ours")
        if size > _LARGEST_MEMBERS[entry.filename]:
            raise zipfile.BadZipFile(f"{entry.filename} claims to be larger than that of any model")
        place += _LOCAL_HEADER.size + name_length + extra_length + packed
    if place != end:
        raise zipfile.BadZipFile("there is more in it than its members")


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as member:
        # One byte more than there should be: what is packed tighter than it says is not unpacked as a whole.
        return member.read(entry.file_size + 1)


def _check_sums(path: Path, contents: dict[str, bytes]) -> None:
    try:
        wanted = json.loads(contents["checksums.json"])
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    for name in _MEMBERS[:3]:
        if not isinstance(wanted, dict) or hashlib.sha256(contents[name]).hexdigest() != wanted.get(name):
            raise damaged(path, f"{name} is not what it was when the package was written")


def _manifest(path: Path, data: bytes) -> dict[str, Any]:
    try:
        values = harmless_values(json.loads(data))
        written = int(values["format"])
        name = str(values["name"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if written < 1 or not 0 < len(name) <= LONGEST_NAME:
        raise damaged(path, f"impossible format {written} or name {name[:LONGEST_NAME]}")
    if written > FORMAT:
        raise HipError(
            "newer_format", f"{path} was written for a newer version of HipICMSC (format {written}); update HipICMSC."
        )
    return values
