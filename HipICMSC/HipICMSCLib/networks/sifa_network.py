"""What segments MRI in SIFA (Chen et al., IEEE TMI 2020; method.md, Baselines): the shared encoder E and the head S.

They live with the engine because packages of that method carry them; SIFA's other networks belong to the training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from HipICMSCLib.networks.paper_segmenter import (
    CLASS_NAMES,
    DilatedResidualBlock,
    Norm,
    SegmenterSettings,
    normalisation,
)

#: Pixels of a slice over those of the latent, along each axis.
STRIDE = 8
#: A slice's own pixels for each of the latent's, as channels.
SLICE_CHANNELS = STRIDE * STRIDE


def latent_channels(settings: SegmenterSettings) -> int:
    """Channels of the latent: 32 times those of E's first convolution; 512 at F's width of 64, as in SIFA."""
    return 32 * _first_channels(settings)


class WideningBlock(nn.Module):
    """A residual block that gives more channels than it takes; its shortcut adds nothing to the new ones."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = normalisation(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = normalisation(norm, outputs)
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        shortcut = nnf.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return torch.relu(shortcut + self.norm2(self.conv2(y)))


class SifaEncoder(nn.Module):
    """E: (batch, 1, rows, columns) in [-1, 1] → :func:`joined` latent and slice at an eighth of the resolution.

    Residual blocks with three halvings between them, then the dilated ones and two convolutions. Of F's settings it has
    the norm, the dilations, and a quarter of the width (with group norm in steps of 8), so that both take about as long
    (published are a first convolution of 16 channels and two blocks with dilation 2). Rows and columns must be
    multiples of 8.
    """

    def __init__(self, settings: SegmenterSettings) -> None:
        super().__init__()
        norm, width, deepest = settings.norm, _first_channels(settings), latent_channels(settings)

        def widening(outputs: int) -> WideningBlock:
            return WideningBlock(outputs // 2, outputs, norm)

        def plain(channels: int, dilation: int = 1) -> DilatedResidualBlock:
            return DilatedResidualBlock(channels, dilation, norm)

        self.lower = nn.Sequential(
            nn.Conv2d(1, width, 7, padding=3, bias=False), normalisation(norm, width), nn.ReLU(),
            plain(width), nn.MaxPool2d(2),
            widening(2 * width), nn.MaxPool2d(2),
            widening(4 * width), plain(4 * width), nn.MaxPool2d(2),
            widening(8 * width), plain(8 * width),
            widening(16 * width), plain(16 * width), plain(16 * width), plain(16 * width),
            widening(deepest), plain(deepest),
        )  # fmt: skip
        self.dilated = nn.Sequential(*(plain(deepest, dilation) for dilation in settings.dilations))
        self.last = nn.Sequential(
            nn.Conv2d(deepest, deepest, 3, padding=1, bias=False), normalisation(norm, deepest), nn.ReLU(),
            nn.Conv2d(deepest, deepest, 3, padding=1, bias=False), normalisation(norm, deepest), nn.ReLU(),
        )  # fmt: skip

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The latent, and the features of the layer below the dilated blocks, which have the same shape."""
        lower = self.lower(x)
        return self.last(self.dilated(lower)), lower

    def forward(self, x: Tensor) -> Tensor:
        return joined(self.levels(x)[0], x)


class SifaHead(nn.Module):
    """S: features of E, or what E gives as a whole → logits (batch, 3, rows, columns) of the slice that E read."""

    def __init__(self, settings: SegmenterSettings) -> None:
        super().__init__()
        self.classify = nn.Conv2d(latent_channels(settings), len(CLASS_NAMES), 1)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.classify(features[:, : self.classify.in_channels])
        return nnf.interpolate(logits, scale_factor=float(STRIDE), mode="bilinear")


def joined(latent: Tensor, x: Tensor) -> Tensor:
    """The latent with the slice behind it, 64 of whose pixels become the channels of one: what the decoder reads.

    Args:
        latent: (batch, channels, rows / 8, columns / 8).
        x: (batch, 1, rows, columns).
    """
    return torch.cat([latent, nnf.pixel_unshuffle(x, STRIDE)], dim=1)


def _first_channels(settings: SegmenterSettings) -> int:
    quarter = max(1, settings.width // 4)
    # Group norm has eight groups.
    return -(-quarter // 8) * 8 if settings.norm == "group" else quarter
