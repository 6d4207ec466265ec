"""F_s and F_t: the paper's network, or a slab U-Net."""

from __future__ import annotations

from torch import nn

from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCLib.networks.slab_unet import SlabUNet, SlabUNetSettings


def segmenter_of(paper: SegmenterSettings | None, slab_unet: SlabUNetSettings | None) -> nn.Module:
    """A network from (batch, channels, rows, columns) in [-1, 1] to logits of three classes, of the same size.

    Args:
        paper: the architecture of the paper's F, which reads one slice; not used where there is a ``slab_unet``.
        slab_unet: that of a slab U-Net, which reads a slice with its neighbours.
    """
    return SlabUNet(slab_unet) if slab_unet else Segmenter(paper)
