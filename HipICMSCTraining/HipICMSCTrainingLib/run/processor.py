"""Which of the processor's cores the networks have, and which the threads that make their batches.

More threads than cores wait for one another at the end of each layer: on two cores, networks on two threads beside one
that simulates slabs learned from 5.2 slabs a second, on one thread beside two from 8.0.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

_MOST_MAKING = 8


def making_threads(device: torch.device) -> int:
    """How many threads make batches: half of those that PyTorch may have and one more, as each waits now and then;
    beside a GPU all cores but one of those that this process may use."""
    threads = torch.get_num_threads() // 2 + 1 if device.type == "cpu" else _own_cores() - 1
    return max(1, min(_MOST_MAKING, threads))


def _own_cores() -> int:
    """Those that a cluster gave to the job, shared by the processes that torchrun started on this machine."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return given // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextlib.contextmanager
def networks_beside(busy: int, device: torch.device) -> Iterator[None]:
    """Networks on the CPU have the threads that ``busy`` others leave them, one at least."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, threads - busy))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
