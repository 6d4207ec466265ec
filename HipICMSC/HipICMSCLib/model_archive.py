"""The file of a model package, without torch, so that Slicer's own process can look at models and keep them.

It is a zip archive with exactly four members: ``model.json``, ``weights.safetensors``, ``card.md`` and
``checksums.json`` (SHA-256 of the other three). Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from HipICMSCLib.errors import HipError
from HipICMSCLib.files import replacing
from HipICMSCLib.settings import from_json

FORMAT = 1

_MEMBERS = ("model.json", "weights.safetensors", "card.md", "checksums.json")
#: Far above any network of ours: a full-size F and G together take 70 MB.
_LARGEST_BYTES = 512 * 2**20


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
    contents = _members(path)
    _check_sums(path, contents)
    manifest = _manifest(path, contents["model.json"])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = contents["card.md"].decode("utf-8", "replace")
    return ModelArchive(path, sha256, manifest, card, contents["weights.safetensors"])


def write_archive(path: Path, manifest: dict[str, Any], weights: bytes, card: str) -> None:
    """Write a package's file; the same contents give the same bytes.

    Raises:
        HipError: as for any file.
    """
    contents = {
        "model.json": json.dumps(manifest, indent=2).encode(),
        "weights.safetensors": weights,
        "card.md": card.encode(),
    }
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents["checksums.json"] = json.dumps(checksums, indent=2).encode()
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
    """The part of model.json that a person reads, as in model_package.ModelManifest."""

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
    if not path.is_file():
        raise HipError("missing_file", f"There is no model file {path}.")
    try:
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


def _members(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if sorted(names) != sorted(_MEMBERS):
                raise HipError(
                    "not_a_package",
                    f"{path} is not a model package of HipICMSC; files of other programs, PyTorch checkpoints among "
                    "them, are never opened because they can run code.",
                    f"members: {names[:10]}",
                )
            if sum(entry.file_size for entry in entries) > _LARGEST_BYTES:
                raise damaged(path, "it claims to be larger than any model")
            return {name: _read_member(archive, name) for name in _MEMBERS}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        with open(path, "rb") as file:
            starts_as_zip = file.read(2) == b"PK"
        if starts_as_zip:
            raise damaged(path, str(error)) from error
        raise HipError("not_a_package", f"{path} is not a model package of HipICMSC.", str(error)) from error
    except Exception as error:
        if isinstance(error, HipError):
            raise
        raise damaged(path, str(error)) from error  # zlib has an exception of its own


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        data = member.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise zipfile.BadZipFile(f"{name} is larger than its entry says")
    return data


def _check_sums(path: Path, contents: dict[str, bytes]) -> None:
    try:
        wanted = json.loads(contents["checksums.json"])
    except ValueError as error:
        raise damaged(path, str(error)) from error
    for name in _MEMBERS[:3]:
        if not isinstance(wanted, dict) or hashlib.sha256(contents[name]).hexdigest() != wanted.get(name):
            raise damaged(path, f"{name} is not what it was when the package was written")


def _manifest(path: Path, data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
        written = int(values["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if written > FORMAT:
        raise HipError(
            "newer_format", f"{path} was written for a newer version of HipICMSC (format {written}); update HipICMSC."
        )
    return values
