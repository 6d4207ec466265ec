"""All that a training reads: its batches, and the held-out slices that scores and previews look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.data.batches import BatchSource, SliceStack
from HipICMSCTrainingLib.data.corrections_cache import cached_corrections
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slab_cache import anatomy_file, cached_anatomy, cached_slices, slices_file
from HipICMSCTrainingLib.data.slab_source import SlabSource
from HipICMSCTrainingLib.data.slab_stack import SlabStack, corrected_stack, ct_stack, mr_stack, simulated_stack
from HipICMSCTrainingLib.data.slice_cache import CachedVolume, cache_file, cached_volume
from HipICMSCTrainingLib.settings.training import TrainingSettings

T = TypeVar("T")
Stack = SliceStack | SlabStack


@dataclass(frozen=True)
class TrainingData:
    """All but the batches is for scores and previews, and so there in the first of several processes alone.

    Attributes:
        batches: of the training cases.
        mr_train: the slices of the MRIs that are trained on.
        ct_val, mr_val: those of the cases that are held out.
        simulated_val: MRI simulated from the held-out CTs; None where the networks read crops.
        corrected: the slices of the corrected MRIs that are trained on, with what of their classes counts fully; None
            where there are none.
    """

    batches: BatchSource | SlabSource
    mr_train: Stack | None = None
    ct_val: Stack | None = None
    mr_val: Stack | None = None
    simulated_val: SlabStack | None = None
    corrected: SlabStack | None = None


def training_data(
    cases: Sequence[Case],
    settings: TrainingSettings,
    cache: Path,
    rank: int,
    world_size: int,
    say: Callable[[str], Any],
    makers: int,
) -> TrainingData:
    """Read and prepare all cases of a training, or take what ``cache`` has of them.

    Args:
        makers: how many threads simulate slabs.
        say: called with a sentence after each volume.

    Raises:
        HipError: for what is wrong with the cases, all at once.
    """
    scores = rank == 0
    if not scores:
        cases = [case for case in cases if case.role == "train"]
    prepared = _prepared(cases, lambda case: prepared_case(case, settings, cache), say)
    corrected = [volume for case, volume in prepared["MR", "train"] if case.corrected]
    if settings.reads == "crop":
        stacks = {key: SliceStack([volume for _, volume in of_key]) for key, of_key in prepared.items()}
        mr_train = stacks["MR", "train"]
        batches = BatchSource(stacks["CT", "train"], mr_train, settings, rank, world_size, corrected)
        if not scores:
            return TrainingData(batches)
        return TrainingData(
            batches,
            mr_train,
            stacks["CT", "val"],
            stacks["MR", "val"],
            corrected=_known(corrected) if corrected else None,
        )
    mri_weights, volumes = zip(*((case.weight, volume) for case, volume in prepared["MR", "train"]), strict=True)
    weights, anatomies = zip(*((case.weight, anatomy) for case, anatomy in prepared["CT", "train"]), strict=True)
    batches = SlabSource(anatomies, weights, volumes, mri_weights, settings, rank, world_size, corrected, makers)
    if not scores:
        return TrainingData(batches)
    shape, held_out = settings.slab_shape, [anatomy for _, anatomy in prepared["CT", "val"]]
    return TrainingData(
        batches,
        mr_stack(volumes, shape),
        ct_stack(held_out, shape, settings.intensity),
        mr_stack([volume for _, volume in prepared["MR", "val"]], shape),
        simulated_stack(held_out, settings.simulation, shape, settings.validation_slices),
        corrected_stack(corrected, shape) if corrected else None,
    )


def _known(corrected: Sequence[CachedVolume]) -> SliceStack:
    """Corrected MRIs on a crop, with those of their classes that count fully."""
    return SliceStack([volume | {"labels": volume["classes"] * (volume["weights"] == 1)} for volume in corrected])


def mr_stack_of(cases: Sequence[Case], settings: TrainingSettings, cache: Path) -> Stack:
    """The slices of some MRIs as the networks of a training read them.

    Raises:
        HipError: whatever is wrong with a case, naming it.
    """
    volumes = [prepared_case(case, settings, cache) for case in cases]
    return SliceStack(volumes) if settings.reads == "crop" else mr_stack(volumes, settings.slab_shape)


def prepared_case(case: Case, settings: TrainingSettings, cache: Path) -> Any:
    """A case as a training reads it, made now or read from ``cache``.

    Raises:
        HipError: whatever is wrong with it, naming it.
    """
    if case.corrected and case.role == "train":
        return cached_corrections(case, settings, cache)
    if settings.reads == "crop":
        return cached_volume(case, settings, cache)
    return cached_anatomy(case, cache) if case.modality == "CT" else cached_slices(case, settings, cache)


def kept_file(case: Case, settings: TrainingSettings, cache: Path) -> Path:
    """Where :func:`prepared_case` keeps a case, whether or not it is there yet.

    Raises:
        HipError: ``missing_file``, naming the case.
    """
    if settings.reads == "crop":
        return cache_file(case, settings, cache)
    return anatomy_file(case, cache) if case.modality == "CT" else slices_file(case, settings, cache)


def _prepared(
    cases: Sequence[Case], prepare: Callable[[Case], T], say: Callable[[str], Any]
) -> dict[tuple[str, str], list[tuple[Case, T]]]:
    """By modality and role; every case is read before anything that is wrong is said."""
    prepared: dict[tuple[str, str], list[tuple[Case, T]]] = {}
    problems: list[HipError] = []
    for number, case in enumerate(cases, start=1):
        try:
            prepared.setdefault((case.modality, case.role), []).append((case, prepare(case)))
        except HipError as problem:
            problems.append(problem)
            continue
        say(f"Preprocessed {number} of {len(cases)} volumes.")
    if problems:
        raise HipError(
            problems[0].kind,
            " ".join(problem.sentence for problem in problems),
            "\n".join(problem.detail for problem in problems),
        )
    return prepared
