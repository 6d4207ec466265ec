"""A network that has finished learning and is used within the training of others."""

from __future__ import annotations

from torch import nn

from HipICMSCTrainingLib.networks.parameters import frozen


class at_rest(frozen):
    """Within it nothing of the networks changes, while gradients pass through them.

    Batch norms read the statistics of the slices at hand, as they did while the network learned, but do not keep them.
    """

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__(*networks)
        self.norms = [m for network in networks for m in network.modules() if isinstance(m, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        super().__enter__()
        for norm in self.norms:
            norm.track_running_stats = False

    def __exit__(self, *exception: object) -> None:
        for norm in self.norms:
            norm.track_running_stats = True
        super().__exit__(*exception)
