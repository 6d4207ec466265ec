"""The segmentation network F of ICMSC (paper section 2.2; widths as decided in method.md, Networks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from HipICMSCLib.common.errors import HipError

CLASS_NAMES = ("background", "acetabulum", "femur")

Norm = Literal["batch", "instance", "group"]

#: Of any network: eight times as wide, and many times as deep, as those of the paper.
LARGEST_WIDTH, MOST_BLOCKS = 512, 64


@dataclass(frozen=True)
class SegmenterSettings:
    """The architecture of F.

    Attributes:
        width: channels of the first convolution; all others have multiples of it. Wider is slower and takes more
            memory. A multiple of 8 with the norm "group".
        dilations: of the convolutions, one number for each residual block between encoder and decoder.
        norm: the normalisation of all layers. "group" and "instance" read one image at a time, so that they also suit
            small batches.

    Raises:
        HipError: ``bad_setting`` for what no computer can be meant to train or run.
    """

    width: int = 64
    dilations: tuple[int, ...] = (2, 2, 4, 4)
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= LARGEST_WIDTH:
            raise HipError("bad_setting", f"segmenter.width is {self.width}; give a number from 1 to {LARGEST_WIDTH}.")
        if len(self.dilations) > MOST_BLOCKS or not all(1 <= dilation <= 64 for dilation in self.dilations):
            raise HipError("bad_setting", f"segmenter.dilations are up to {MOST_BLOCKS} numbers from 1 to 64.")


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """The layer after each convolution. Group and instance norm read one image at a time, so they behave in training
    as in use even where a batch holds a single image."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(channels if kind == "instance" else 8, channels)


class DilatedResidualBlock(nn.Module):
    """Two dilated 3 × 3 convolutions; norm and ReLU after the first, norm, sum and ReLU after the second."""

    def __init__(self, channels: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm1 = normalisation(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm2 = normalisation(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(x + self.norm2(self.conv2(y)))


class Segmenter(nn.Module):
    """F: (batch, 1, rows, columns) in [-1, 1] → logits (batch, 3, rows, columns).

    Three convolutions (to a quarter of the resolution), four dilated residual blocks, three convolutions, one
    deconvolution; the softmax belongs to whoever reads the logits. Rows and columns must be multiples of 4.
    """

    def __init__(self, settings: SegmenterSettings) -> None:
        super().__init__()
        width, norm = settings.width, settings.norm
        self.encoder = nn.Sequential(
            *_conv(1, width, 1, norm), *_conv(width, 2 * width, 2, norm), *_conv(2 * width, 4 * width, 2, norm)
        )
        self.residual = nn.Sequential(*(DilatedResidualBlock(4 * width, d, norm) for d in settings.dilations))
        self.decoder = nn.Sequential(
            *_conv(4 * width, 4 * width, 1, norm),
            *_conv(4 * width, 2 * width, 1, norm),
            *_conv(2 * width, 2 * width, 1, norm),
        )
        self.upsample = nn.ConvTranspose2d(2 * width, len(CLASS_NAMES), kernel_size=8, stride=4, padding=2)

    def features(self, x: Tensor) -> Tensor:
        """The channels after the last dilated block, at a quarter of the resolution."""
        return self.residual(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(self.decoder(self.features(x)))


def _conv(inputs: int, outputs: int, stride: int, norm: Norm) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        normalisation(norm, outputs),
        nn.ReLU(),
    )
