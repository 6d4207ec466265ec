"""A model in one file: weights, what is needed to run them, and the card a person reads.

The file is a zip archive with exactly four members: ``model.json``, ``weights.safetensors``, ``card.md`` and
``checksums.json`` (SHA-256 of the other three). Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from HipICMSCLib.errors import HipError
from HipICMSCLib.files import replacing
from HipICMSCLib.geometry import CropSettings
from HipICMSCLib.intensity import IntensitySettings
from HipICMSCLib.model_files import ENDING
from HipICMSCLib.segmenter import CLASS_NAMES, Segmenter, SegmenterSettings
from HipICMSCLib.settings import from_json, to_json
from HipICMSCLib.translator import Translator, TranslatorSettings

FORMAT = 1

_MEMBERS = ("model.json", "weights.safetensors", "card.md", "checksums.json")
#: Far above any network of ours: a full-size F and G together take 70 MB.
_LARGEST_BYTES = 512 * 2**20


@dataclass(frozen=True)
class ModelManifest:
    """model.json.

    Attributes:
        route: the networks an MR slice passes: ("F_t",), or ("G_ts", "F_s") for a model that translates first.
        training: where the weights come from: method, settings, data, scores, versions.
    """

    name: str
    route: tuple[str, ...]
    crop: CropSettings
    intensity: IntensitySettings
    segmenter: SegmenterSettings
    translator: TranslatorSettings | None
    licence: str
    intended_use: str
    citations: tuple[str, ...] = ()
    training: dict = field(default_factory=dict)
    labels: tuple[str, ...] = CLASS_NAMES
    modality: str = "MR"
    plane: str = "coronal"
    format: int = FORMAT


@dataclass(frozen=True)
class ModelPackage:
    """A package as read and checked. ``sha256`` is that of the whole file."""

    path: Path
    sha256: str
    manifest: ModelManifest
    card: str
    weights: dict[str, Tensor]

    def network(self) -> nn.Module:
        """The networks of the route, one after the other, in eval mode: MR slices in, logits out.

        Raises:
            HipError: ``damaged_model`` if the weights are not those of the networks that model.json describes.
        """
        manifest = self.manifest
        stages = []
        try:
            for name in manifest.route:
                network = Translator(manifest.translator) if name.startswith("G_") else Segmenter(manifest.segmenter)
                prefix = f"{name}/"
                network.load_state_dict(
                    {key[len(prefix) :]: value for key, value in self.weights.items() if key.startswith(prefix)}
                )
                stages.append(network)
        except (RuntimeError, ValueError, AttributeError) as error:
            raise _damaged(self.path, f"weights do not fit the networks: {error}") from error
        return nn.Sequential(*stages).eval()


def write_package(path: Path, manifest: ModelManifest, networks: dict[str, dict[str, Tensor]], card: str) -> None:
    """Write a package.

    Args:
        networks: state dictionary of each network of the route, by its name.

    Raises:
        HipError: as for any file; ``unknown_format`` unless the name ends in ``.hipmodel``.
    """
    if path.suffix != ENDING:
        raise HipError("unknown_format", f"The name of a model package ends in {ENDING}, so not {path.name}.")
    weights = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name in manifest.route
        for key, value in networks[name].items()
    }
    contents = {
        "model.json": json.dumps(to_json(manifest), indent=2).encode(),
        "weights.safetensors": save(weights),
        "card.md": card.encode(),
    }
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents["checksums.json"] = json.dumps(checksums, indent=2).encode()
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _MEMBERS:
            # A fixed date: the same contents give the same file and so the same hash.
            archive.writestr(zipfile.ZipInfo(name), contents[name], zipfile.ZIP_DEFLATED)


def read_package(path: Path) -> ModelPackage:
    """Read a package and check all of it.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``not_a_package`` (a pickle, a checkpoint, anything else),
            ``newer_format``, or ``damaged_model`` (altered, cut off, not finite).
    """
    path = Path(path)
    if not path.is_file():
        raise HipError("missing_file", f"There is no model file {path}.")
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise HipError("unreadable", f"The model file {path} cannot be read.", str(error)) from error
    contents = _members(path)
    _check_sums(path, contents)
    manifest = _manifest(path, contents["model.json"])
    try:
        weights = load(contents["weights.safetensors"])
    except Exception as error:  # safetensors raises its own kinds
        raise _damaged(path, str(error)) from error
    if not all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point()):
        raise _damaged(path, "a weight is not a finite number")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelPackage(path, sha256, manifest, contents["card.md"].decode("utf-8", "replace"), weights)


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
                raise _damaged(path, "it claims to be larger than any model")
            return {name: _read_member(archive, name) for name in _MEMBERS}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        with open(path, "rb") as file:
            starts_as_zip = file.read(2) == b"PK"
        if starts_as_zip:
            raise _damaged(path, str(error)) from error
        raise HipError("not_a_package", f"{path} is not a model package of HipICMSC.", str(error)) from error
    except Exception as error:
        if isinstance(error, HipError):
            raise
        raise _damaged(path, str(error)) from error  # zlib has an exception of its own


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
        raise _damaged(path, str(error)) from error
    for name in _MEMBERS[:3]:
        if not isinstance(wanted, dict) or hashlib.sha256(contents[name]).hexdigest() != wanted.get(name):
            raise _damaged(path, f"{name} is not what it was when the package was written")


def _manifest(path: Path, data: bytes) -> ModelManifest:
    try:
        values: dict[str, Any] = json.loads(data)
        written = int(values["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if written > FORMAT:
        raise HipError(
            "newer_format", f"{path} was written for a newer version of HipICMSC (format {written}); update HipICMSC."
        )
    try:
        manifest = from_json(ModelManifest, values)
    except (HipError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    if tuple(manifest.labels) != CLASS_NAMES or not manifest.route or not set(manifest.route) <= {"F_t", "F_s", "G_ts"}:
        raise _damaged(path, f"unknown labels {manifest.labels} or route {manifest.route}")
    width, depth, height = manifest.crop.size
    # F halves rows and columns twice, so that only multiples of 4 come back with their own size.
    has_size = min(width, depth, height) > 0 and width % 4 == height % 4 == 0
    if not has_size or not all(0 < mm < float("inf") for mm in manifest.crop.spacing_mm):
        raise _damaged(path, f"impossible crop {manifest.crop}")
    return manifest


def _damaged(path: Path, detail: str) -> HipError:
    return HipError("damaged_model", f"The model file {path} is damaged or was altered; get it again.", detail)
