"""From a run to the model package that HipICMSC lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_files import refuse_links
from HipICMSCLib.common.foreign_text import harmless_values
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.models.package import ModelManifest, write_package
from HipICMSCLib.worker.ground import Ground
from torch import Tensor, nn

from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.data.training_data import mr_stack_of
from HipICMSCTrainingLib.methods.method import Method
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.methods.ways import ready_to_use
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.starting_weights import mixed

Weights = Literal["selected", "average", "last"]

INTENDED_USE = (
    "Research use only. Not a medical device; no diagnosis or treatment may rest on its results. "
    "It outlines hip bones and proximal femora on MRI for a person who checks and corrects them."
)


@dataclass(frozen=True)
class About:
    """What a card says that the run cannot know. ``data`` and ``limits`` are paragraphs; ``ground`` are the kinds of
    MRI on which the model was measured, and how it did there."""

    licence: str = "not stated"
    citations: tuple[str, ...] = ()
    data: str = "The data of the run; its owner describes it."
    limits: str = "Nobody has measured this model on labelled MRI."
    ground: tuple[Ground, ...] = ()


def export_package(
    folder: RunFolder, output: Path, weights: Weights = "selected", route: str | None = None, about: About = About()
) -> ModelManifest:
    """Write a model package from a run.

    Args:
        weights: the checkpoint with the best label-free score, the moving average, or the last.
        route: one of the method's ways from MR to a segmentation, e.g. ``F_t`` or ``F_s(G_ts)``; None is the best.

    Raises:
        HipError: ``no_checkpoint``, ``damaged_checkpoint``, ``not_finite_weights``, ``unknown_route``, or as for
            reading a run and writing a package.
    """
    run = RunDescription.read(folder)
    # What is not preprocessed yet is kept in the run.
    refuse_links(folder.path)
    method = METHODS[run.method](run.settings, run.method_settings, torch.device("cpu"), Distribution())
    routes = method.routes()
    route = route or next(iter(routes))
    if route not in routes:
        raise HipError("unknown_route", f"{run.method} has no route {route}; it has {', '.join(routes)}.")
    networks, origin = _weights(folder, run, method, weights)
    if not all(torch.isfinite(value).all() for network in networks.values() for value in network.values()):
        raise HipError(
            "not_finite_weights",
            f"The {weights} weights of {folder.path} are no numbers any more; export others, or train anew with lower "
            "learning rates.",
        )
    slabs = run.settings.reads == "slabs"
    translates = any(name.startswith("G_") for name in routes[route])
    manifest = ModelManifest(
        name=output.stem,
        route=routes[route],
        crop=None if slabs else run.settings.crop,
        intensity=run.settings.intensity,
        segmenter=None if slabs else run.settings.segmenter,
        slab=run.settings.slab if slabs else None,
        slab_unet=run.settings.slab_unet if slabs else None,
        plane="any" if slabs else "coronal",
        translator=run.settings.translator if translates else None,
        licence=about.licence,
        intended_use=INTENDED_USE,
        citations=about.citations,
        training={
            "method": run.method,
            # A path on this computer is nobody else's business; ``started_from`` says what lay there.
            "settings": to_json(replace(run.settings, start_from=None)),
            "method_settings": to_json(run.method_settings),
            "weights": weights,
            "step": origin["step"],
            "label_free_scores": origin["scores"],
            "ct_volumes": len(run.dataset.of("CT", "train")),
            "mr_volumes": len(run.dataset.of("MR", "train")),
            "reads_mr_labels": method.reads_mr_labels,
            # By their voxels: whoever has such an MRI knows that it cannot measure this model.
            "corrected": list(run.corrected),
            "started_from": to_json(run.started_from) if run.started_from else None,
            "versions": _versions(folder),
        }
        | ({"ground": [to_json(ground) for ground in about.ground]} if about.ground else {}),
    )
    write_package(output, manifest, networks, card(manifest, about))
    return manifest


def card(manifest: ModelManifest, about: About) -> str:
    """The model card as Markdown."""
    training = manifest.training
    scores = "\n".join(f"- {name}: {value:.3f}" for name, value in training["label_free_scores"].items())
    citations = "\n".join(f"- {citation}" for citation in about.citations) or "- none stated"
    start = training["started_from"]
    torch_version = training["versions"].get("torch", "of an unknown version")
    if training["reads_mr_labels"]:
        labels, scored = "with labels", "Scores on held-out slices (dice_MR is against the labels of MRIs):"
    else:
        labels = "without labels"
        scored = "Label-free scores on held-out slices (they find collapse, they do not measure accuracy on MRI):"
    corrected = len(training["corrected"])
    if corrected:
        labels += f", {corrected} of them as a person corrected them"
    started = f" Started from the weights of {start['name']} (SHA-256 {start['sha256']})." if start else ""
    return f"""# {manifest.name}

{manifest.intended_use}

## What it does
{_what_is_read(manifest)}
Classes: {", ".join(manifest.labels)}.

## How it was trained
Method {training["method"]}, {training["weights"]} weights of step {training["step"]}, seed
{training["settings"]["seed"]}, on {training["ct_volumes"]} labelled CTs and {training["mr_volumes"]} MRIs
{labels}. PyTorch {torch_version}.{started} All settings stand in model.json.

{scored}

{scores or "- none were computed for these weights"}

## Data
{about.data}

## Limits
{about.limits}

## Licence
{about.licence}

## Cite
{citations}
"""


def _what_is_read(manifest: ModelManifest) -> str:
    route = " then ".join(manifest.route)
    if manifest.slab_unet is not None:
        return (
            f"Reads a hip MRI of any plane by {route}: each slice as acquired, with pixels of "
            f"{manifest.slab.pixel_mm:g} mm, together with its neighbours ({manifest.slab_unet.slices} slices in all); "
            "no crop is needed."
        )
    spacing = " × ".join(f"{mm:g}" for mm in manifest.crop.spacing_mm)
    size = " × ".join(map(str, manifest.crop.size))
    return (
        f"Reads coronal slices of a hip MRI by {route} on a crop of {size} voxels of {spacing} mm (left-right, "
        "front-back, head-foot) about the femoral heads; coronal slices thicker than that are read as acquired."
    )


def _weights(
    folder: RunFolder, run: RunDescription, method: Method, which: Weights
) -> tuple[dict[str, dict[str, Tensor]], dict]:
    """State dictionaries of the deployable networks, and the step and scores they come with."""
    if which == "selected":
        selected, selection = folder.checkpoints.selected(), folder.checkpoints.selection()
        if selected is None or selection is None:
            raise HipError("no_checkpoint", f"{folder.path} has no scored weights yet; wait for an epoch of stage 2.")
        _filled(method, selected, folder.checkpoints.selected_file)
        return selected, selection
    state = folder.checkpoints.last()
    if state is None:
        raise HipError("no_checkpoint", f"{folder.path} has no checkpoint yet.")
    checkpoint = folder.checkpoints.last_file
    networks = _filled(method, state.get("average" if which == "average" else "networks"), checkpoint)
    scores = [
        line["scores"]
        for line in folder.metrics()
        if line["step"] == state.get("step") and line.get("weights") == which
    ]
    if start := state.get("start"):
        # What was scored.
        networks = mixed(networks, start, run.settings.corrections_towards_start)
    mr = mr_stack_of(run.dataset.of("MR", "train"), run.settings, folder.cache)
    x_t = mr.images(mr.evenly(run.settings.validation_slices))
    ready = ready_to_use(networks, method.ways(), x_t, torch.device("cpu"))
    weights = {name: network.state_dict() for name, network in ready.items()}
    return weights, {"step": state.get("step"), "scores": scores[-1] if scores else {}}


def _filled(method: Method, weights: Any, file: Path) -> dict[str, nn.Module]:
    """The deployable networks with these weights, by name.

    Raises:
        HipError: ``damaged_checkpoint`` if they are those of other networks.
    """
    networks = {name: method.networks[name] for name in method.deployable}
    try:
        for name, network in networks.items():
            network.load_state_dict(weights[name])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise HipError("damaged_checkpoint", f"{file} does not hold the weights of this run.", str(error)) from error
    return networks


def _versions(folder: RunFolder) -> dict[str, str]:
    """What the run was made with, as far as run.json says it."""
    said = folder.description().get("versions")
    return harmless_values({name: str(version) for name, version in said.items()}) if isinstance(said, dict) else {}
