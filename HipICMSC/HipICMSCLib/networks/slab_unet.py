"""A 2.5-D U-Net: a slab of neighbouring slices in, the classes of the middle one out.

Thick slices lie too far apart for 3-D convolutions, but a bone that ends in one slice is seen in the next: the network
reads both neighbours as channels. It has no fixed size, so the whole field of view is segmented in its own plane.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, LARGEST_WIDTH

#: Halvings of the resolution; beyond it nothing is left of a slice.
MOST_LEVELS = 8


@dataclass(frozen=True)
class SlabUNetSettings:
    """The architecture of the slab U-Net.

    Attributes:
        slices: how many neighbouring slices it reads; an odd number, the middle one is segmented.
        width: channels at full resolution; they double with every level. A multiple of 4.
        largest_width: channels that no level exceeds.
        levels: resolutions, each half of the one before; rows and columns must be multiples of 2^(levels - 1).

    Raises:
        HipError: ``bad_setting`` for what no computer can be meant to train or run.
    """

    slices: int = 3
    width: int = 16
    largest_width: int = 192
    levels: int = 6

    def __post_init__(self) -> None:
        if not 1 <= self.slices <= 15 or self.slices % 2 == 0:
            raise HipError("bad_setting", f"slab_unet.slices is {self.slices}; give an odd number from 1 to 15.")
        if not 4 <= self.width <= self.largest_width <= LARGEST_WIDTH or self.width % 4 or self.largest_width % 4:
            raise HipError(
                "bad_setting",
                f"slab_unet.width and largest_width are multiples of 4, from 4 to {LARGEST_WIDTH}, the first no more "
                "than the second.",
            )
        if not 1 <= self.levels <= MOST_LEVELS:
            raise HipError("bad_setting", f"slab_unet.levels is {self.levels}; give a number from 1 to {MOST_LEVELS}.")

    @property
    def multiple(self) -> int:
        """Rows and columns must be multiples of it."""
        return 2 ** (self.levels - 1)


class SlabUNet(nn.Module):
    """(batch, slices, rows, columns) in [-1, 1] → logits of the middle slice (batch, 3, rows, columns)."""

    def __init__(self, settings: SlabUNetSettings) -> None:
        super().__init__()
        channels = [min(settings.width * 2**level, settings.largest_width) for level in range(settings.levels)]
        before = [settings.slices, *channels[:-1]]
        self.down = nn.ModuleList(
            _Block(inputs, outputs, stride=2 if level else 1)
            for level, (inputs, outputs) in enumerate(zip(before, channels, strict=True))
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(below, here, 1, bias=False) for here, below in itertools.pairwise(channels)
        )
        self.up = nn.ModuleList(_Block(2 * here, here) for here in channels[:-1])
        self.classes = nn.Conv2d(channels[0], len(CLASS_NAMES), 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for block in self.down:
            x = block(x)
            seen.append(x)
        for level in reversed(range(len(self.up))):
            x = nnf.interpolate(
                self.narrow[level](x), size=seen[level].shape[-2:], mode="bilinear", align_corners=False
            )
            x = self.up[level](torch.cat([x, seen[level]], 1))
        return self.classes(x)


class _Block(nn.Sequential):
    """Two 3 × 3 convolutions, each with group norm (which reads one image at a time) and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.GroupNorm(min(8, outputs // 4), outputs),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(min(8, outputs // 4), outputs),
            nn.LeakyReLU(0.01, inplace=True),
        )
