"""A model in one file: weights, what is needed to run them, and the card a person reads.

What the file is, model_archive says; here it becomes networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from HipICMSCLib.errors import HipError
from HipICMSCLib.geometry import CropSettings
from HipICMSCLib.intensity import IntensitySettings
from HipICMSCLib.model_archive import FORMAT, damaged, read_archive, write_archive
from HipICMSCLib.model_files import check_name
from HipICMSCLib.segmenter import CLASS_NAMES, Segmenter, SegmenterSettings
from HipICMSCLib.settings import from_json, to_json
from HipICMSCLib.sifa_network import STRIDE, SifaEncoder, SifaHead
from HipICMSCLib.translator import Translator, TranslatorSettings


@dataclass(frozen=True)
class ModelManifest:
    """model.json.

    Attributes:
        route: the networks an MR slice passes, by names that this module knows: ("F_t",), or ("G_ts", "F_s") for a
            model that translates first, or SIFA's ("E", "S").
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


#: How a network of a route is made, by its name.
_NETWORKS: dict[str, Callable[[ModelManifest], nn.Module]] = {
    "F_t": lambda manifest: Segmenter(manifest.segmenter),
    "F_s": lambda manifest: Segmenter(manifest.segmenter),
    "G_ts": lambda manifest: Translator(manifest.translator),
    "E": lambda manifest: SifaEncoder(manifest.segmenter),
    "S": lambda manifest: SifaHead(manifest.segmenter),
}


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
                network = _NETWORKS[name](manifest)
                prefix = f"{name}/"
                network.load_state_dict(
                    {key[len(prefix) :]: value for key, value in self.weights.items() if key.startswith(prefix)}
                )
                stages.append(network)
        except (RuntimeError, ValueError, AttributeError) as error:
            raise damaged(self.path, f"weights do not fit the networks: {error}") from error
        return nn.Sequential(*stages).eval()


def write_package(path: Path, manifest: ModelManifest, networks: dict[str, dict[str, Tensor]], card: str) -> None:
    """Write a package.

    Args:
        networks: state dictionary of each network of the route, by its name.

    Raises:
        HipError: as for any file; ``unknown_format`` as :func:`check_name`.
    """
    check_name(path)
    weights = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name in manifest.route
        for key, value in networks[name].items()
    }
    write_archive(path, to_json(manifest), save(weights), card)


def read_package(path: Path) -> ModelPackage:
    """Read a package and check all of it.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``not_a_package`` (a pickle, a checkpoint, anything else),
            ``newer_format``, or ``damaged_model`` (altered, cut off, not finite).
    """
    archive = read_archive(path)
    manifest = _manifest(archive.path, archive.manifest)
    try:
        weights = load(archive.weights)
    except Exception as error:  # safetensors raises its own kinds
        raise damaged(archive.path, str(error)) from error
    if not all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point()):
        raise damaged(archive.path, "a weight is not a finite number")
    return ModelPackage(archive.path, archive.sha256, manifest, archive.card, weights)


def _manifest(path: Path, values: dict[str, Any]) -> ModelManifest:
    try:
        manifest = from_json(ModelManifest, values)
    except (HipError, TypeError) as error:
        raise damaged(path, str(error)) from error
    if tuple(manifest.labels) != CLASS_NAMES or not manifest.route or not set(manifest.route) <= set(_NETWORKS):
        raise damaged(path, f"unknown labels {manifest.labels} or route {manifest.route}")
    # What E gives is of use to S alone, and S reads nothing else.
    is_sifa = bool({"E", "S"} & set(manifest.route))
    if is_sifa and manifest.route != ("E", "S"):
        raise damaged(path, f"impossible route {manifest.route}")
    width, depth, height = manifest.crop.size
    # F halves rows and columns twice, so that only multiples of 4 come back with their own size; E thrice.
    multiple = STRIDE if is_sifa else 4
    has_size = min(width, depth, height) > 0 and width % multiple == height % multiple == 0
    if not has_size or not all(0 < mm < float("inf") for mm in manifest.crop.spacing_mm):
        raise damaged(path, f"impossible crop {manifest.crop}")
    return manifest
