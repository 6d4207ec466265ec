"""Another contrast for the anatomy of a real slab: a shallow network of random weights maps its brightness.

After Ouyang et al., Causality-inspired single-source domain generalization for medical image segmentation, IEEE TMI
2023 (global intensity non-linear augmentation): which tissue is the brighter may change, where a tissue ends does not.
So a student that has seen only T1-weighted MRIs meets fat that is dark, or bones as bright as muscle.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

_CHANNELS = (1, 2, 2, 2, 1)
#: How often a layer looks at neighbours, too, which changes textures.
_SHARE_OF_NEIGHBOURS = 0.2
#: Brightness lies in [0, 1]: thresholds of about this size bend the mapping within it.
_THRESHOLD_SD = 0.4
#: What is darker sends little in any contrast: air, cortex, tendons.
_DARK = 0.15


def in_foreign_contrast(brightness: Tensor, random: np.random.Generator) -> Tensor:
    """
    Args:
        brightness: (slices, rows, columns) in [0, 1].

    Returns:
        The same anatomy, every slice mapped alike, in [0, 1]; 0 stays 0.
    """
    mapped = brightness[:, None]
    for ins, outs in pairwise(_CHANNELS):
        size = 3 if random.random() < _SHARE_OF_NEIGHBOURS else 1
        weights = random.normal(0, 1 / np.sqrt(ins * size), (outs, ins, size, size))
        thresholds = random.normal(0, _THRESHOLD_SD, outs)
        if ins > 1:
            mapped = nnf.leaky_relu(mapped, 0.2)
        padded = nnf.pad(mapped, (size // 2,) * 4, mode="replicate")
        mapped = nnf.conv2d(padded, _like(weights, brightness), _like(thresholds, brightness))
    share = float(random.uniform())
    mixed = share * _within_tissue(mapped[:, 0], brightness) + (1 - share) * brightness
    return _within_tissue(mixed, brightness)


def _like(values: np.ndarray, brightness: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(brightness.device)


def _within_tissue(mapped: Tensor, brightness: Tensor) -> Tensor:
    """From dark to 1 where there is a signal, and fading to 0 where there is none."""
    some, seen = mapped.flatten()[::7], brightness.flatten()[::7] > _DARK
    if not seen.any():
        return brightness
    low, high = torch.quantile(some[seen], torch.tensor([0.01, 0.995], device=some.device))
    scaled = ((mapped - low) / (high - low).clamp_min(1e-3)).clamp(0, 1)
    return (_DARK + (1 - _DARK) * scaled) * (brightness / _DARK).clamp(0, 1)
