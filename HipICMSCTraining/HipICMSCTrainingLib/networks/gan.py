"""The discriminators D_s and D_t (paper section 2.1: 70 × 70 PatchGAN).

The segmenter F and the generators G belong to the engine: HipICMSCLib.networks.
"""

from __future__ import annotations

from HipICMSCLib.networks.translator import initialise
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """D: (batch, 1, rows, columns) → a map of scores, one for each 70 × 70 patch; 2.76 M parameters at width 64.

    Args:
        inputs: channels of what it judges; 3 for predictions.
        outputs: questions that it answers of each patch, a map for each.
    """

    def __init__(self, width: int = 64, inputs: int = 1, outputs: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for before, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers += [
                nn.Conv2d(before, 2 * before, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(2 * before),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(8 * width, outputs, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
