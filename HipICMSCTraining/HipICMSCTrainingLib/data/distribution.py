"""One process or many under torchrun: the same training, gradients averaged by DistributedDataParallel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta

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
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            # The others wait as long as a pause lasts or the first preprocesses; torchrun ends them if it dies. Without
            # a backend named, tensors on the CPU pass through gloo and those on a GPU through nccl.
            dist.init_process_group(timeout=timedelta(days=30))

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

    def average_gradients(self, module: nn.Module) -> None:
        """Of a module that is not wrapped, after its backward pass."""
        if self.world_size > 1:
            for parameter in module.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.world_size

    def wait_for_first(self) -> None:
        """Return once the first process has come here too; the first itself goes on at once."""
        self.agree(True)

    def agree(self, flag: bool) -> bool:
        """True in every process if it is true in the first."""
        if self.world_size == 1:
            return flag
        value = torch.tensor([int(flag)])
        dist.broadcast(value, 0)
        return bool(value.item())

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
