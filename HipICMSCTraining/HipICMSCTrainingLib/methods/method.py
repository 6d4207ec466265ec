"""What the trainer needs to know of a method, and nothing more."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from torch import nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.ways import Route, Ways, route_name
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER, TRANSLATION
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Of fewer rows or columns nothing is left after a discriminator's five convolutions.
LEAST_SLICE = 24


@dataclass(frozen=True)
class Moment:
    """Where a training stands.

    Attributes:
        step: number of optimiser steps done before this one.
        stage: of STAGES.
        stage_fraction: how much of the stage is done, 0 to 1.
    """

    step: int
    stage: int
    stage_fraction: float


class Method(ABC):
    """A way of getting from labelled CT to a segmentation of MRI.

    Attributes:
        Settings: dataclass of the settings of this method alone; "Attributes:" in its docstring says what they mean.
        reads_mr_labels: whether it learns from labels of MRIs, which no adaptation does. Such a method is trained on
            labelled MRIs, and every other one refuses them.
        starts_with: a network that a model package must hold for a training to start from it, because what the others
            know is made from that one; None where each network may start by itself.
        learns_from_corrections: whether it learns from corrected MRIs beside everything else, in all stages but
            stage 1.
        reads_slabs: whether it can be trained on slabs as well as on crops.
        retired_settings: names in the settings of this method that runs of earlier versions hold, and none reads.
        slice_multiple: the rows and columns of a slice must be multiples of it.
        networks: every network that is trained, by the paper's names. One that only judges is called D_….
        optimizers: every optimiser, by name.
    """

    Settings: ClassVar[type]
    reads_mr_labels: ClassVar[bool] = False
    starts_with: ClassVar[str | None] = None
    learns_from_corrections: ClassVar[bool] = False
    reads_slabs: ClassVar[bool] = False
    retired_settings: ClassVar[frozenset[str]] = frozenset()
    slice_multiple: ClassVar[int] = 4
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    @abstractmethod
    def __init__(
        self, settings: TrainingSettings, own: Any, device: torch.device, distribution: Distribution
    ) -> None: ...

    @classmethod
    def check_settings(cls, settings: TrainingSettings) -> None:
        """Raise HipError ``bad_setting`` unless the networks can be trained with these settings together."""
        if not sum(settings.epochs):
            raise HipError("bad_setting", "A training needs at least one epoch of one of its stages.")
        if settings.reads == "slabs":
            cls._check_slabs(settings)
        else:
            cls._check_crop(settings)

    @classmethod
    def _check_slabs(cls, settings: TrainingSettings) -> None:
        if not cls.reads_slabs:
            raise HipError(
                "bad_setting",
                "This method reads the paper's crop alone; set reads to crop (as the preset paper does), or choose "
                "the method icmsc.",
            )
        multiple = max(4, settings.slab_unet.multiple)
        if settings.simulation.patch % multiple:
            raise HipError(
                "bad_setting", f"simulation.patch is {settings.simulation.patch}; give a multiple of {multiple}."
            )

    @classmethod
    def _check_crop(cls, settings: TrainingSettings) -> None:
        if settings.simulation_epochs or settings.self_training_epochs:
            raise HipError(
                "bad_setting", "Simulation and self-training work on slabs: set reads to slabs, or their epochs to 0."
            )
        columns, slices, rows = settings.crop.size
        multiple = cls.slice_multiple
        if columns % multiple or rows % multiple:
            fitting = [multiple * math.ceil(columns / multiple), slices, multiple * math.ceil(rows / multiple)]
            raise HipError(
                "bad_setting",
                f"The networks of this method need slices whose rows and columns are multiples of {multiple}, but the "
                f"crop has {rows} rows and {columns} columns; set crop.size to {fitting} or choose another method.",
            )
        if min(rows, columns) < LEAST_SLICE:
            raise HipError(
                "bad_setting",
                f"The crop has {rows} rows and {columns} columns; give it {LEAST_SLICE} at least of both, for smaller "
                "slices leave a discriminator nothing to judge.",
            )

    @classmethod
    def check_corrections(cls, settings: TrainingSettings) -> None:
        """Raise HipError ``bad_setting`` unless corrected MRIs are learned from with these settings."""
        if not cls.learns_from_corrections:
            raise HipError(
                "bad_setting",
                "This method learns nothing from corrected MRIs; choose the method icmsc, or leave them out.",
            )
        if not any(settings.epochs[stage] for stage in (SIMULATION, TOGETHER, SELF_TRAINING)):
            raise HipError(
                "bad_setting",
                "Corrected MRIs teach in simulation, stage 2 and self-training, and none of these has an epoch; set "
                "simulation_epochs, as the preset corrections does, or leave the corrected MRIs out.",
            )

    @abstractmethod
    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        """Do one step of every optimiser and return the losses by their names in the paper."""

    def may_be_chosen(self, moment: Moment) -> bool:
        """Whether the networks of the best way had learned, in the step of ``moment``, what a score could tell of
        them."""
        return moment.stage != TRANSLATION

    @abstractmethod
    def ways(self, stage: int = TOGETHER) -> Ways:
        """What the networks can do once they have been trained in a stage; every route passes deployable networks
        alone."""

    def routes(self) -> dict[str, Route]:
        """Each way from an MR slice to a segmentation by its name, best first."""
        return {route_name(route): route for route in self.ways().segment_mr}

    @property
    def deployable(self) -> tuple[str, ...]:
        """The networks that segment or translate, as opposed to those that only judge."""
        return tuple(name for name in self.networks if not name.startswith("D_"))

    def extra_state(self) -> dict[str, Any]:
        """What a resumed training needs besides networks and optimisers."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`extra_state` gave."""
        if state:
            raise ValueError(f"{type(self).__name__} has no such state: {sorted(state)}")


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def decay(moment: Moment) -> float:
    """The factor of learning rates that are constant in stage 1 and go down linearly to 0 in stage 2."""
    return 1.0 - moment.stage_fraction if moment.stage == TOGETHER else 1.0


def phase_of(moment: Moment, shares: Mapping[str, float]) -> tuple[str, float]:
    """The phase that a stage is in, and how much of that phase is done, 0 to 1.

    Args:
        shares: the phases of this stage in their order, with the share of the stage that each takes; together 1.
    """
    start = 0.0
    for name, share in shares.items():
        if share > 0 and moment.stage_fraction < start + share:
            return name, (moment.stage_fraction - start) / share
        start += share
    return name, 1.0
