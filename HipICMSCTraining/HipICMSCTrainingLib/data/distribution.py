"""One process or many under torchrun: the same training as one process with the batches of all.

Gradients are averaged by DistributedDataParallel; what is no mean over a batch (Dice, batch norm) is summed over all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import torch
import torch.distributed as dist
from HipICMSCLib.common.errors import HipError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

#: What gloo and NCCL say where another process is gone.
_LOST = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe")


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
        if self.world_size == 1 or not _together:
            return module
        for layer in module.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = SharedBatchNorm2d  # whoever holds the network holds the same layers
        # Nothing that a module buffers differs between the processes.
        return DistributedDataParallel(module, broadcast_buffers=False)

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

    def highest(self, number: int) -> int:
        """Of all processes."""
        if self.world_size == 1:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def mean(self, value: float) -> float:
        """Of all processes."""
        return float(summed_over_processes(torch.tensor(value))) / self.world_size

    @contextlib.contextmanager
    def needing_all(self) -> Iterator[None]:
        """Within it the end of another process is one sentence.

        Raises:
            HipError: ``process_lost``.
        """
        try:
            yield
        except RuntimeError as error:
            if self.world_size == 1 or not any(sign in str(error).lower() for sign in _LOST):
                raise
            raise HipError(
                "process_lost",
                "Another process of this training ended, killed or for want of memory, and this one cannot go on "
                "without it; resume the run, with as many processes as you like.",
                str(error),
            ) from error

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


#: Whether the other processes do at this moment what this one does.
_together = True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within it this process does what the others do not, so that nothing may wait for them."""
    global _together
    before, _together = _together, False
    try:
        yield
    finally:
        _together = before


def _processes() -> int:
    return dist.get_world_size() if _together and dist.is_available() and dist.is_initialized() else 1


def summed_over_processes(value: Tensor) -> Tensor:
    """The sum of the values of all processes, through which gradients reach each of them.

    A loss of such sums is the loss of one process with all batches, once gradients are averaged.
    """
    return _Sum.apply(value) if _processes() > 1 else value


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context, value: Tensor) -> Tensor:
        return _all_reduced(value)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(value: Tensor) -> Tensor:
    value = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(value)
    return value


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of all processes' batches, which are of one shape. PyTorch's own needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        processes = _processes()
        if not self.training or processes == 1:
            return super().forward(x)
        full = x.float()
        mean = summed_over_processes(full.mean((0, 2, 3))) / processes
        centred = full - mean[:, None, None]
        variance = summed_over_processes(centred.square().mean((0, 2, 3))) / processes
        if self.track_running_stats:
            with torch.no_grad():
                pixels = processes * full.numel() / full.shape[1]
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (pixels / (pixels - 1)), self.momentum)
                self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)
