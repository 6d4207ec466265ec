"""What the networks of a method can do, so that scores, previews and export know no method by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from HipICMSCTrainingLib.networks.weight_average import with_statistics_of

#: Names of the networks that a slice passes, one after the other.
Route = tuple[str, ...]
Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Ways:
    """Every route that the networks of a method offer.

    Attributes:
        segment_mr: an MR slice → logits, best first; at least one.
        segment_ct: a CT slice → logits, by networks that learn from CT itself; None if there are none.
        ct_to_mr: a CT slice → MR-like, in [-1, 1]; None if the method does not translate so.
        mr_to_ct: an MR slice → CT-like, in [-1, 1]; None if the method does not translate so.
    """

    segment_mr: tuple[Route, ...]
    segment_ct: Route | None = None
    ct_to_mr: Route | None = None
    mr_to_ct: Route | None = None

    @property
    def best(self) -> Route:
        return self.segment_mr[0]

    @property
    def adapted(self) -> tuple[Route, ...]:
        """The routes from MR but for the one that takes an MR for a CT, whose results are no evidence for anything."""
        return tuple(route for route in self.segment_mr if route != self.segment_ct)


def route_name(route: Route) -> str:
    """As a user reads it: ("G_ts", "F_s") is F_s(G_ts)."""
    first, *others = route
    name = first
    for network in others:
        name = f"{network}({name})"
    return name


def through(networks: Networks, route: Route) -> nn.Sequential:
    """The networks of a route as one."""
    return nn.Sequential(*(networks[name] for name in route))


@torch.no_grad()
def ready_to_use(networks: Networks, ways: Ways, x_t: Tensor, device: torch.device) -> dict[str, nn.Module]:
    """The networks in eval mode, those that belong to MR with batch statistics of real MR slices.

    In training, batch norms also see translated and cycled images. Those of the networks on the best route from MR
    are measured anew (copies; method.md, Networks), unless the network also segments CT: then they are CT's and stay,
    because F_s with statistics of MR would be an adaptation of its own.

    Args:
        x_t: MR slices of the training.
    """
    ready = {name: network.eval() for name, network in networks.items()}
    for number, name in enumerate(ways.best):
        if name not in (ways.segment_ct or ()):
            # The copy must see what its predecessors give it in use.
            images = _passed(through(ready, ways.best[:number]), x_t, device)
            ready[name] = with_statistics_of(networks[name], images, device)
    return ready


def _passed(network: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    return torch.cat([network(part.to(device)).cpu() for part in images.split(8)])
