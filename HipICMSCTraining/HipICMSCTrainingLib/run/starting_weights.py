"""Fine-tuning: a training whose networks do not start from chance, but from those of a model package.

Each network of the package gives its weights to the one of the same name. Where the package holds F_t alone, which is
usual, F_s keeps its random start although its architecture is the same: it learns within an epoch from the labelled CT,
and it must stay independent of F_t, because it teaches F_t on MR (equation 7) and because their agreement is how a
collapse is noticed. A copy of F_t would teach it its own mistakes and agree with all of them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import replaced
from HipICMSCLib.models.package import ModelPackage
from torch import Tensor, nn

from HipICMSCTrainingLib.settings.choices import PARTS_OF_A_MODEL
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings


@dataclass(frozen=True)
class StartingModel:
    """A package that a training started from, as run.json and the model card say it.

    Attributes:
        name: as the package's makers call it.
        sha256: of the whole file.
        corrected: SHA-256 of the voxels of corrected MRIs that taught it, or a model that it started from.
    """

    name: str
    sha256: str
    corrected: tuple[str, ...] = ()


def starting_model(package: ModelPackage) -> StartingModel:
    return StartingModel(package.manifest.name, package.sha256, tuple(sorted(corrected_before(package))))


def corrected_before(package: ModelPackage) -> set[str]:
    """SHA-256 of the voxels of corrected MRIs that taught a model, or one that it started from: none measures it."""
    training = package.manifest.training
    return {*training.get("corrected", ()), *(training.get("started_from") or {}).get("corrected", ())}


def with_settings_of(
    package: ModelPackage, settings: TrainingSettings, chosen: Collection[str] = ()
) -> TrainingSettings:
    """``settings`` with the architecture, crop and intensities of a package, without which its weights are of no use.

    Args:
        chosen: names of settings that the user insists on: ``segmenter.width``, or ``segmenter`` for all of its parts.
    """
    for name, value, _ in _differences(package, settings):
        if name not in chosen and name.partition(".")[0] not in chosen:
            settings = replaced(settings, name, value)
    return settings


def check_fits(package: ModelPackage, settings: TrainingSettings) -> None:
    """Raise HipError ``start_does_not_fit`` unless a training with these settings can start from a package."""
    differences = list(_differences(package, settings))
    if not differences:
        return
    name = package.manifest.name
    presets = [preset for preset, values in PRESETS.items() if not any(_differences(package, values))]
    remedies = [
        *(f"--preset {preset}" for preset in presets),
        " ".join(f"--set {n}={_text(v)}" for n, v, _ in differences),
    ]
    listed = ", ".join(f"{setting} {_text(theirs)} (here {_text(ours)})" for setting, theirs, ours in differences)
    raise HipError(
        "start_does_not_fit",
        f"The model {name} cannot be the start of this training, for it was made with {listed}; take its settings with "
        f"{' or '.join(remedies)}, or leave these settings out, and they are taken from the model.",
    )


def load_starting_weights(package: ModelPackage, networks: Mapping[str, nn.Module], needed: str | None = None) -> None:
    """Give the weights of a package to the networks of the same names.

    Args:
        needed: a network without which the others of the package are of no use.

    Raises:
        HipError: ``start_does_not_fit`` if there is no such network, it has another architecture, or the package lacks
            the one that is needed; ``damaged_model``.
    """
    started = dict(zip(package.manifest.route, package.network(), strict=True))
    if needed is not None and needed not in started:
        raise HipError(
            "start_does_not_fit",
            f"The model {package.manifest.name} cannot be the start of this training, which would overwrite what it "
            f"holds ({', '.join(started)}): this method makes the rest from {needed}. Start from a model that has "
            f"{needed}, or choose another method.",
        )
    for name, network in started.items():
        try:
            networks[name].load_state_dict(network.state_dict())
        except (KeyError, RuntimeError) as error:
            raise HipError(
                "start_does_not_fit",
                f"The model {package.manifest.name} cannot be the start of this training, which has no network {name} "
                "of the same architecture; choose another method or another model.",
                str(error),
            ) from error


@torch.no_grad()
def mixed(
    networks: Mapping[str, nn.Module], start: Mapping[str, Mapping[str, Tensor]], share: float
) -> dict[str, nn.Module]:
    """Copies of networks whose weights lie on the way from their start's to their own.

    Args:
        start: state of each network before training.
        share: of the start; 1 is the start itself.
    """
    copies = {name: copy.deepcopy(network) for name, network in networks.items()}
    for name, network in copies.items():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(start[name][key].to(value.device), share)
    return copies


def _differences(package: ModelPackage, settings: TrainingSettings) -> Iterator[tuple[str, Any, Any]]:
    """(name, the package's value, ours) of each setting that a package and its continuation must share."""
    reads = "slabs" if package.manifest.slab else "crop"
    if settings.reads != reads:
        yield "reads", reads, settings.reads
    for part in PARTS_OF_A_MODEL:
        theirs, ours = getattr(package.manifest, part), getattr(settings, part)
        if theirs is None:  # the package translates nothing, or reads in the other way
            continue
        for field in dataclasses.fields(theirs):
            values = getattr(theirs, field.name), getattr(ours, field.name)
            if values[0] != values[1]:
                yield f"{part}.{field.name}", *values


def _text(value: Any) -> str:
    """As --set takes it, without blanks."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
