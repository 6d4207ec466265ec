"""The parameters of several networks together."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from torch import nn


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
