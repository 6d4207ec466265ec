"""One process or many under torchrun: the same training, gradients averaged by DistributedDataParallel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Distribution:
    """Wraps modules for the number of processes at hand; with a single one it changes nothing."""

    def __init__(self) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.world_size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        # The batch statistics of each process are its own; nothing else that a module buffers differs between them.
        return DistributedDataParallel(module, broadcast_buffers=False) if self.world_size > 1 else module

    def accumulate(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within it, backward passes add to the gradients without exchanging them yet."""
        return module.no_sync() if self.world_size > 1 else contextlib.nullcontext()

    def anchor(self, parameters: Iterable[nn.Parameter]) -> Tensor | float:
        """Zero, but depending on every parameter: the backward pass that exchanges gradients must reach them all."""
        return sum(parameter.sum() for parameter in parameters) * 0.0 if self.world_size > 1 else 0.0

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def agree(self, flag: bool) -> bool:
        """True in every process if it is true in the first."""
        if self.world_size == 1:
            return flag
        value = torch.tensor([int(flag)], device="cuda" if torch.cuda.is_available() else "cpu")
        dist.broadcast(value, 0)
        return bool(value.item())

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
