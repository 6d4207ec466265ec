"""The generators G_st and G_ts (paper section 2.1: the ResNet-9 generator of CycleGAN).

They live with the engine because packages of methods that translate before they segment carry one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import LARGEST_WIDTH, MOST_BLOCKS


@dataclass(frozen=True)
class TranslatorSettings:
    """The architecture of G_st and G_ts.

    Attributes:
        width: channels of the first convolution (64 in CycleGAN); all others have multiples of it. Wider is slower
            and takes more memory.
        blocks: residual blocks between encoder and decoder (9 in CycleGAN).

    Raises:
        HipError: ``bad_setting`` for what no computer can be meant to train or run.
    """

    width: int = 64
    blocks: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.width <= LARGEST_WIDTH:
            raise HipError("bad_setting", f"translator.width is {self.width}; give a number from 1 to {LARGEST_WIDTH}.")
        if not 0 <= self.blocks <= MOST_BLOCKS:
            raise HipError("bad_setting", f"translator.blocks is {self.blocks}; give a number from 0 to {MOST_BLOCKS}.")


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Translator(nn.Module):
    """G: (batch, slices, rows, columns) in [-1, 1] → the same shape and range in the other domain.

    With ``recompute`` the residual blocks keep no activations for the backward pass and compute them again
    (method.md, Memory); the gradients are the same.
    """

    def __init__(self, settings: TranslatorSettings, recompute: bool = False, slices: int = 1) -> None:
        """
        Args:
            slices: neighbouring slices that are translated together, as channels: those that a segmenter reads.
        """
        super().__init__()
        width = settings.width
        self.recompute = recompute
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_conv(nn.Conv2d(slices, width, 7)),
            *_conv(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)),
            *_conv(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)),
        )
        self.residual = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(settings.blocks)))
        self.decoder = nn.Sequential(
            *_conv(nn.ConvTranspose2d(4 * width, 2 * width, 3, stride=2, padding=1, output_padding=1)),
            *_conv(nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, slices, 7),
            nn.Tanh(),
        )
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        for block in self.residual:
            recompute = self.recompute and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return self.decoder(x)


def initialise(module: nn.Module) -> None:
    """Convolution weights from N(0, 0.02), biases zero, as CycleGAN does for generators and discriminators."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _conv(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()
