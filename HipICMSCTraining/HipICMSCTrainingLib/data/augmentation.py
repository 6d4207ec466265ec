"""Random flip, scaling, shift, rotation and contrast (paper: flip, contrast, scaling; the rest is ours)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as nnf
from HipICMSCLib.preprocessing.intensity import PADDING
from torch import Tensor

from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings


def augment(
    images: Tensor, masks: Tensor, settings: AugmentationSettings, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Deform each slice of a batch by itself.

    Args:
        images: (batch, 1, rows, columns) in [-1, 1]; linear interpolation, :data:`PADDING` comes in from outside.
        masks: (batch, channels, rows, columns), labels and the like; nearest neighbour, 0 comes in from outside.
        random: the only source of chance, so that a step can be repeated exactly.
    """
    rows, columns = images.shape[-2:]
    matrices = np.stack([_matrix(settings, random, rows / columns) for _ in range(images.shape[0])])
    grid = nnf.affine_grid(torch.from_numpy(matrices).float(), list(images.shape), align_corners=False)
    moved = nnf.grid_sample(images - PADDING, grid, mode="bilinear", align_corners=False) + PADDING
    moved_masks = nnf.grid_sample(masks.float(), grid, mode="nearest", align_corners=False)
    exponents = np.exp(random.uniform(-settings.contrast, settings.contrast, images.shape[0]))
    exponents = torch.from_numpy(exponents).float().view(-1, 1, 1, 1)
    brightness = ((moved + 1) / 2).clamp(0, 1) ** exponents
    return brightness * 2 - 1, moved_masks.to(masks.dtype)


def _matrix(settings: AugmentationSettings, random: np.random.Generator, rows_per_column: float) -> np.ndarray:
    """A 2 × 3 matrix from output to input in the coordinates of affine_grid, where both axes run from -1 to 1."""
    angle = math.radians(random.uniform(-settings.rotation_deg, settings.rotation_deg))
    scale = math.exp(random.uniform(-settings.scaling, settings.scaling))
    shift = random.uniform(-settings.shift, settings.shift, 2) * 2
    mirror = -1.0 if settings.flip and random.random() < 0.5 else 1.0
    # Rotations are turned into the normalised axes so that they do not shear a slice that is wider than it is high.
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    return np.array(
        [
            [mirror * cosine, -mirror * sine * rows_per_column, shift[0]],
            [sine / rows_per_column, cosine, shift[1]],
        ]
    )
