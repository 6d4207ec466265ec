"""What the trainer needs to know of a method, and nothing more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from HipICMSCTrainingLib.distribution import Distribution
from HipICMSCTrainingLib.training_settings import TrainingSettings


@dataclass(frozen=True)
class Batch:
    """Unpaired slices: x_s and x_t (batch, 1, rows, columns) in [-1, 1], y_s (batch, rows, columns) of classes."""

    x_s: Tensor
    y_s: Tensor
    x_t: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.x_s.to(device), self.y_s.to(device), self.x_t.to(device))


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
    """A way of adapting from CT to MRI.

    Attributes:
        networks: every network that is trained, by the paper's names.
        optimizers: every optimiser, by name.
    """

    Settings: ClassVar[type]
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    @abstractmethod
    def __init__(
        self, settings: TrainingSettings, own: Any, device: torch.device, distribution: Distribution
    ) -> None: ...

    @abstractmethod
    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        """Do one step of every optimiser and return the losses by their names in the paper."""

    @abstractmethod
    def routes(self) -> dict[str, tuple[str, ...]]:
        """Each way from an MR slice to a segmentation, as the networks it passes, best first."""

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


def parameters_of(*networks: nn.Module) -> list[nn.Parameter]:
    return [parameter for network in networks for parameter in network.parameters()]


class frozen(AbstractContextManager):
    """Within it, gradients pass through the networks but do not gather in them."""

    def __init__(self, *networks: nn.Module) -> None:
        self.parameters: Iterable[nn.Parameter] = parameters_of(*networks)

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)
