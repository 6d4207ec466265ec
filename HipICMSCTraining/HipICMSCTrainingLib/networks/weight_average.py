"""The averaged copy of the weights, and batch statistics of the domain a network is used in."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of every floating-point tensor of the networks.

    Early on the average follows faster, so that it does not drag the random start along. A network that begins to learn
    later, as the segmenters do in stage 2, is left by its start at the usual pace, within some 1 / (1 - decay) steps.
    """

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.networks = {
            name: copy.deepcopy(network).eval().requires_grad_(False) for name, network in networks.items()
        }

    @torch.no_grad()
    def update(self, networks: dict[str, nn.Module], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self.networks.items():
            for kept, new in zip(average.state_dict().values(), networks[name].state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)


@torch.no_grad()
def with_statistics_of(network: nn.Module, images: Tensor, device: torch.device) -> nn.Module:
    """A copy in eval mode whose batch norms hold the statistics of ``images`` (method.md, Networks: F_t's of real x_t).

    Networks without batch norm come back as a plain copy.
    """
    network = copy.deepcopy(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        network.train()
        for part in images.split(8):
            network(part.to(device))
    return network.eval()
