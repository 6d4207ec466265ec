"""Some steps of a method without a trainer: which losses and weights they give, and what a resume makes of them."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import torch
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Of a training with the tiny settings: one epoch of stage 1 and two of stage 2.
STEPS_PER_EPOCH = 4
STEPS = 12


def moment_of(step: int, settings: TrainingSettings) -> Moment:
    """As the trainer finds it."""
    boundary = STEPS_PER_EPOCH * settings.stage1_epochs
    if step < boundary:
        return Moment(step, 1, step / boundary)
    return Moment(step, 2, (step - boundary) / (STEPS_PER_EPOCH * settings.stage2_epochs))


def batch_of(seed: int, rows: int = 24, columns: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x_s, x_t = (torch.rand(1, 1, rows, columns, generator=generator) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (1, rows, columns), generator=generator), x_t)


def do_step(method: Method, step: int, settings: TrainingSettings) -> dict[str, float]:
    return method.train_step(batch_of(step), moment_of(step, settings), np.random.default_rng(step))


def weights(method: Method) -> dict[str, dict[str, torch.Tensor]]:
    """Of every network by name: parameters and statistics."""
    return {name: copy.deepcopy(network.state_dict()) for name, network in method.networks.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The networks of which anything at all is different."""
    return {name for name, state in before.items() if any(not torch.equal(state[k], after[name][k]) for k in state)}


def take_over(method: Method, fresh: Method) -> None:
    """Give ``fresh`` all that a checkpoint of ``method`` would hold, by way of a file."""
    file = io.BytesIO()
    torch.save(
        {
            "networks": weights(method),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in method.optimizers.items()},
            "extra": method.extra_state(),
        },
        file,
    )
    file.seek(0)
    state = torch.load(file, weights_only=True)
    for name, network in fresh.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in fresh.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    fresh.load_extra_state(state["extra"])
