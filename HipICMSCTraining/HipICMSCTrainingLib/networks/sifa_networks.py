"""The networks of SIFA that translate (Chen et al., IEEE TMI 2020; method.md, Baselines).

Both add what they compute to the slice before the last tanh, so that they begin near to leaving it as it is. The
encoder E and the head S, which segment, belong to the engine: HipICMSCLib.networks.sifa_network.
"""

from __future__ import annotations

import torch
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.sifa_network import SLICE_CHANNELS, STRIDE, latent_channels
from HipICMSCLib.networks.translator import ResidualBlock, Translator, TranslatorSettings, initialise
from torch import Tensor, nn
from torch.nn import functional as nnf

#: Residual blocks of the decoder.
DECODER_BLOCKS = 4


class AddingTranslator(Translator):
    """SIFA's G_st: tanh(x + G(x)), G being the generator without its own tanh."""

    def __init__(self, settings: TranslatorSettings, recompute: bool = False) -> None:
        super().__init__(settings, recompute)
        self.decoder = self.decoder[:-1]

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x + super().forward(x))


class SifaDecoder(nn.Module):
    """U: what E gives of a slice x → tanh(x + U(latent)), (batch, 1, rows, columns) in the other domain.

    A convolution, four residual blocks and three doublings, as wide as the generator.
    """

    def __init__(self, encoder: SegmenterSettings, translator: TranslatorSettings) -> None:
        super().__init__()
        width = translator.width
        self.latent_channels = latent_channels(encoder)
        self.layers = nn.Sequential(
            *_normalised(nn.Conv2d(self.latent_channels, 4 * width, 3, padding=1)),
            *(ResidualBlock(4 * width) for _ in range(DECODER_BLOCKS)),
            *_normalised(_doubling(4 * width, 2 * width)),
            *_normalised(_doubling(2 * width, 2 * width)),
            *_normalised(_doubling(2 * width, width)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 1, 7),
        )
        self.apply(initialise)

    def forward(self, encoded: Tensor) -> Tensor:
        latent, pixels = encoded.split([self.latent_channels, SLICE_CHANNELS], dim=1)
        return torch.tanh(nnf.pixel_shuffle(pixels, STRIDE) + self.layers(latent))


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()
