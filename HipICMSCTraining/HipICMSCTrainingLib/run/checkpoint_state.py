"""Whether a checkpoint holds what a training saved; its file may come from anybody.

Loading it runs no code (`Checkpoints.last`), but what it holds could still be of any size and kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


def check_tensors(state: Any) -> None:
    """Refuse a tensor that is larger than the bytes it stands on, which becomes so large when it is copied.

    Raises:
        ValueError: naming its shape.
    """
    if not isinstance(state, dict):
        raise ValueError(f"a {type(state).__name__} in place of a checkpoint")
    for value in _leaves(state):
        if isinstance(value, torch.Tensor) and (
            value.layout != torch.strided
            or value.is_quantized
            or value.numel() * value.element_size() > value.untyped_storage().nbytes()
        ):
            raise ValueError(f"a tensor of the shape {tuple(value.shape)} is larger than its memory")


def check_progress(state: dict[str, Any], total_steps: int, image_shape: tuple[int, int, int]) -> None:
    """Refuse a step that the run does not have, and slices in a method's own state that are not the run's.

    Args:
        image_shape: channels, rows, columns.

    Raises:
        KeyError, ValueError: saying which.
    """
    step = state["step"]
    if type(step) is not int or not 0 <= step <= total_steps or not isinstance(state["best_score"], int | float):
        raise ValueError(f"impossible step {step!r} of {total_steps} or score {state['best_score']!r}")
    for value in _leaves(state["extra"]):
        if isinstance(value, torch.Tensor) and tuple(value.shape) != image_shape:
            raise ValueError(f"a slice of the shape {tuple(value.shape)} in place of {image_shape}")
        if not isinstance(value, torch.Tensor | int | float | None):
            raise ValueError(f"a {type(value).__name__} in the method's own state")


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuse moments of other shapes than the weights that they belong to.

    Raises:
        ValueError: naming both.
    """
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != weight.shape:
                raise ValueError(f"{name} of the shape {tuple(value.shape)} for {tuple(weight.shape)}")


def _leaves(state: Any) -> Iterator[Any]:
    """What is in nested dictionaries and lists; one that is in several of them, or in itself, is looked into once."""
    seen: set[int] = set()
    waiting = [state]
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict | list | tuple):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
