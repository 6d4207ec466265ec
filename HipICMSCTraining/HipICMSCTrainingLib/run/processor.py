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
    beside a GPU all cores but one."""
    threads = torch.get_num_threads() // 2 + 1 if device.type == "cpu" else (os.cpu_count() or 2) - 1
    return max(1, min(_MOST_MAKING, threads))


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
