"""A model in one file: weights, what is needed to run them, and the card a person reads.

What the file is, archive says; here it becomes networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, to_json
from HipICMSCLib.models.archive import FORMAT, ModelArchive, damaged, read_archive, write_archive
from HipICMSCLib.models.chosen import check_name
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, SegmenterSettings
from HipICMSCLib.networks.segmenter import segmenter_of
from HipICMSCLib.networks.sifa_network import STRIDE, SifaEncoder, SifaHead
from HipICMSCLib.networks.slab_unet import SlabUNetSettings
from HipICMSCLib.networks.translator import Translator, TranslatorSettings
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCLib.preprocessing.slabs import SlabSettings

#: Of the JSON before the weights, in bytes; a network of ours has some hundred weights, each described in a hundred.
_LARGEST_HEADER = 2**20


@dataclass(frozen=True)
class ModelManifest:
    """model.json.

    Attributes:
        route: the networks an MR slice passes, by names that this module knows: ("F_t",), or ("G_ts", "F_s") for a
            model that translates first, or SIFA's ("E", "S").
        crop, segmenter: how the paper's F and SIFA read a volume, and their architecture; None for a slab U-Net.
        slab, slab_unet: how a slab U-Net reads a volume, and its architecture; None for the others.
        training: where the weights come from: method, settings, data, scores, versions.
    """

    name: str
    route: tuple[str, ...]
    crop: CropSettings | None
    intensity: IntensitySettings
    segmenter: SegmenterSettings | None
    translator: TranslatorSettings | None
    licence: str
    intended_use: str
    slab: SlabSettings | None = None
    slab_unet: SlabUNetSettings | None = None
    citations: tuple[str, ...] = ()
    training: dict = field(default_factory=dict)
    labels: tuple[str, ...] = CLASS_NAMES
    modality: str = "MR"
    plane: str = "coronal"
    format: int = FORMAT


def _slices(manifest: ModelManifest) -> int:
    return manifest.slab_unet.slices if manifest.slab_unet else 1


#: How a network of a route is made, by its name.
_NETWORKS: dict[str, Callable[[ModelManifest], nn.Module]] = {
    "F_t": lambda manifest: segmenter_of(manifest.segmenter, manifest.slab_unet),
    "F_s": lambda manifest: segmenter_of(manifest.segmenter, manifest.slab_unet),
    "G_ts": lambda manifest: Translator(manifest.translator, slices=_slices(manifest)),
    "E": lambda manifest: SifaEncoder(manifest.segmenter),
    "S": lambda manifest: SifaHead(manifest.segmenter),
}


_SIFA = ("E", "S")


@dataclass(frozen=True)
class ModelPackage:
    """A package as read and checked. ``sha256`` is that of the whole file."""

    path: Path
    sha256: str
    manifest: ModelManifest
    card: str
    weights: dict[str, Tensor]

    @property
    def neighbours(self) -> int:
        """Slices on either side that the networks read beside the one that they segment."""
        return _slices(self.manifest) // 2

    def network(self) -> nn.Module:
        """The networks of the route, one after the other, in eval mode: MR slices in, logits out.

        Raises:
            HipError: ``damaged_model`` if the weights are not those of the networks that model.json describes.
        """
        manifest = self.manifest
        stages = []
        try:
            for name in manifest.route:
                # A shell that takes no memory, however wide model.json says it is, until the weights fit it.
                with torch.device("meta"):
                    network = _NETWORKS[name](manifest)
                prefix = f"{name}/"
                weights = {key[len(prefix) :]: value for key, value in self.weights.items() if key.startswith(prefix)}
                _check_types(network, weights)
                network.load_state_dict({key: value.clone() for key, value in weights.items()}, assign=True)
                stages.append(network)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
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
    return ModelPackage(archive.path, archive.sha256, manifest, archive.card, _weights(archive, manifest.route))


def _weights(archive: ModelArchive, route: tuple[str, ...]) -> dict[str, Tensor]:
    if int.from_bytes(archive.weights[:8], "little") > _LARGEST_HEADER:
        raise damaged(archive.path, "the list of the weights is longer than that of any model")
    try:
        weights = load(archive.weights)
        is_finite = all(torch.isfinite(value).all() for value in weights.values())
    except Exception as error:  # safetensors raises its own kinds
        raise damaged(archive.path, str(error)) from error
    if not is_finite:
        raise damaged(archive.path, "a weight is not a finite number")
    if not {name.partition("/")[0] for name in weights} <= set(route):
        raise damaged(archive.path, "it holds weights of networks that it does not name")
    return weights


def _check_types(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Names and shapes are the concern of load_state_dict."""
    for name, value in network.state_dict().items():
        if name in weights and weights[name].dtype != value.dtype:
            raise ValueError(f"{name} is of type {weights[name].dtype} in place of {value.dtype}")


def _manifest(path: Path, values: dict[str, Any]) -> ModelManifest:
    try:
        manifest = from_json(ModelManifest, values)
    except (HipError, TypeError) as error:
        raise damaged(path, str(error)) from error
    if tuple(manifest.labels) != CLASS_NAMES or not _is_possible(manifest.route):
        raise damaged(path, f"unknown labels {manifest.labels} or route {manifest.route}")
    if not _reads_one_way(manifest):
        raise damaged(path, "it says neither or both of how a crop and how slabs are read")
    if manifest.crop is not None:
        # F halves rows and columns twice, so that only multiples of 4 come back with their own size; E thrice.
        multiple = STRIDE if manifest.route == _SIFA else 4
        width, _, height = manifest.crop.size
        if width % multiple or height % multiple:
            raise damaged(path, f"impossible crop {manifest.crop}")
    return manifest


def _reads_one_way(manifest: ModelManifest) -> bool:
    given = [value is not None for value in (manifest.crop, manifest.segmenter, manifest.slab, manifest.slab_unet)]
    return given == [True, True, False, False] or (given == [False, False, True, True] and manifest.route != _SIFA)


def _is_possible(route: tuple[str, ...]) -> bool:
    """What E gives is of use to S alone, and S reads nothing else; all others end with F, which gives the classes."""
    return route == _SIFA or (route[-1:] in (("F_t",), ("F_s",)) and route[:-1] in ((), ("G_ts",)))
