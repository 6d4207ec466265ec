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
from HipICMSCLib.preprocessing.geometry import CropSettings
from torch import nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.ways import Route, Ways, route_name
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class Moment:
    """Where a training stands.

    Attributes:
        step: number of optimiser steps done before this one.
        stage: 1 or 2.
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
        slice_multiple: the rows and columns of a slice must be multiples of it.
        networks: every network that is trained, by the paper's names. One that only judges is called D_….
        optimizers: every optimiser, by name.
    """

    Settings: ClassVar[type]
    reads_mr_labels: ClassVar[bool] = False
    starts_with: ClassVar[str | None] = None
    slice_multiple: ClassVar[int] = 4
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    @abstractmethod
    def __init__(
        self, settings: TrainingSettings, own: Any, device: torch.device, distribution: Distribution
    ) -> None: ...

    @classmethod
    def check_crop(cls, crop: CropSettings) -> None:
        """Raise HipError ``bad_setting`` unless the networks give back slices of the size that they read."""
        columns, slices, rows = crop.size
        multiple = cls.slice_multiple
        if columns % multiple or rows % multiple:
            fitting = [multiple * math.ceil(columns / multiple), slices, multiple * math.ceil(rows / multiple)]
            raise HipError(
                "bad_setting",
                f"The networks of this method need slices whose rows and columns are multiples of {multiple}, but the "
                f"crop has {rows} rows and {columns} columns; set crop.size to {fitting} or choose another method.",
            )

    @abstractmethod
    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        """Do one step of every optimiser and return the losses by their names in the paper."""

    @abstractmethod
    def ways(self) -> Ways:
        """What the networks can do; every route passes deployable networks alone."""

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
    return 1.0 - moment.stage_fraction if moment.stage == 2 else 1.0


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
