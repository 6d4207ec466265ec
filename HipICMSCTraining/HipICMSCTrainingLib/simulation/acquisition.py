"""Steps 6 to 11, how a scanner spoils what tissue sends; each takes and gives slices (slices, rows, columns).

Where fat is opposed to water and there is more of it, a signal is below 0 until the image's magnitude is taken, in
:func:`through_k_space`: what a voxel holds of both is summed before, so that muscle in fat has a black outline.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.simulation.contrast import Contrast
from HipICMSCTrainingLib.simulation.drawing import smooth_field


def signal(shares: dict[str, Tensor], contrast: Contrast, random: np.random.Generator) -> Tensor:
    """What shares of materials send; fat is displaced against water by the chemical shift along one axis."""
    water, fat = (torch.zeros_like(next(iter(shares.values()))) for _ in range(2))
    for name, share in shares.items():
        water.add_(share, alpha=contrast.water[name])
        fat.add_(share, alpha=contrast.fat[name])
    if contrast.name != "random":
        shift, axis = float(random.uniform(-1.6, 1.6)), int(random.integers(-2, 0))
        whole, part = int(np.floor(shift)), shift - np.floor(shift)
        fat = (1 - part) * fat.roll(whole, axis) + part * fat.roll(whole + 1, axis)
    fat_sign = contrast.fat_sign
    if contrast.name == "fat_suppressed" and random.random() < 0.3:
        # Where the field is uneven, fat escapes.
        fat_sign = fat_sign + (smooth_field(fat.shape[-2:], 4, 0.5, random) - 0.5).clamp(0, 0.8)
    return contrast.water_sign * water + fat_sign * fat


def slice_profile(sub_slices: int, random: np.random.Generator) -> Tensor:
    """How much each parallel plane counts within a slice; sums to 1. From even to rounded."""
    if sub_slices == 1:
        return torch.ones(1)
    at = (np.arange(sub_slices) + 0.5) / sub_slices - 0.5
    weights = np.exp(-0.5 * (at / random.uniform(0.3, 2.0)) ** 2)
    return torch.from_numpy(weights / weights.sum()).float()


def with_bias_field(image: Tensor, random: np.random.Generator) -> Tensor:
    """Coils that see some places better than others; now and then one side alone, or the skin far better."""
    rows, columns = image.shape[-2:]
    y, x = torch.linspace(-1, 1, rows)[:, None], torch.linspace(-1, 1, columns)
    field = smooth_field(image.shape[-2:], 3, float(random.uniform(0.0, 0.3)), random).exp()
    if random.random() < 0.25:
        low, middle = (float(random.uniform(-0.4, 0.4)) for _ in range(2))
        field = field * (float(random.uniform(0.3, 1.3)) * ((y - low) ** 2 + (x - middle) ** 2)).clamp_max(2.5).exp()
    if random.random() < 0.2:
        angle = random.uniform(0, 2 * np.pi)
        along = np.sin(angle) * y + np.cos(angle) * x
        field = field * torch.sigmoid((along + random.uniform(0, 1.2)) * random.uniform(2, 6))
    between_slices = torch.from_numpy(np.exp(random.normal(0, 0.03, (len(image), 1, 1)))).float()
    return image * field * between_slices


def through_k_space(image: Tensor, random: np.random.Generator) -> Tensor:
    """The magnitude of finite resolution: fewer frequencies than pixels, with ringing or a window; Rician noise of the
    same grain.

    The noise is in proportion to what tissue commonly sends, so that skin next to a coil does not bury the bones.
    """
    rows, columns = image.shape[-2:]
    frequencies = torch.fft.fft2(image)
    windows = []
    for pixels in (rows, columns):
        kept = random.uniform(0.45, 1.0)
        place = torch.fft.fftfreq(pixels).abs() * 2 / kept
        steepness = random.uniform(4, 40)
        windows.append(torch.sigmoid((1 - place) * steepness))
    window = windows[0][:, None] * windows[1]
    some = image[:, ::4, ::4].abs()
    # Air and what shimmers in it send next to nothing, and may be most of a slab.
    tissue = float(some[some >= 0.1 * torch.quantile(some, 0.99)].median())
    level = float(random.uniform(0, 0.12)) * tissue * np.sqrt(rows * columns) / float(window.mean()) ** 0.5
    noise = random.normal(0, level, (2, *image.shape)).astype(np.float32)
    noisy = frequencies + torch.complex(torch.from_numpy(noise[0]), torch.from_numpy(noise[1]))
    return torch.fft.ifft2(noisy * window).abs()


def with_metal(image: Tensor, labels: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Rarely an implant: a void with a bright rim, in which no bone can be seen."""
    if random.random() > 0.02:
        return image, labels
    rows, columns = labels.shape
    centre = random.uniform(0.1, 0.9, 2) * (rows, columns)
    y, x = torch.arange(rows)[:, None] - centre[0], torch.arange(columns) - centre[1]
    radius = random.uniform(8, 30) * (1 + smooth_field((rows, columns), 8, 0.25, random))
    distance = torch.hypot(y * random.uniform(0.6, 1.0), x) - radius
    rim = torch.exp(-((distance / random.uniform(1, 3)) ** 2)) * image.abs().amax() * random.uniform(0.3, 1)
    void = distance < 0
    return (image + torch.where(image < 0, -rim, rim)).masked_fill(void, 0), labels.masked_fill(void, 0)


def within_field_of_view(image: Tensor, labels: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Often the image ends within the patch: at one or more straight edges, now and then a slanted one."""
    if random.random() > 0.5:
        return image, labels
    rows, columns = labels.shape
    y, x = torch.arange(rows)[:, None] - rows / 2, torch.arange(columns) - columns / 2
    for side in random.permutation(4)[: random.integers(1, 5)]:
        turn = random.normal(0, 15) if random.random() < 0.25 else 0.0
        angle = np.deg2rad(90 * side + turn)
        beyond = np.sin(angle) * y + np.cos(angle) * x > random.uniform(0.1, 0.5) * min(rows, columns)
        beyond = beyond.to(image.device)
        image, labels = image.masked_fill(beyond, 0), labels.masked_fill(beyond, 0)
    return image, labels


def rescaled(image: Tensor, random: np.random.Generator) -> Tensor:
    """To [-1, 1] as preprocessing does with a whole volume, whose brightest tissue a slab may not hold."""
    gamma = np.exp(random.normal(0, 0.15)) if random.random() < 0.5 else 1.0
    # On T1, slabs of ten real MRIs reach 0.76 to 1.0 of what their volume does, and a bladder outshines all on T2.
    outshone = abs(random.normal(0, 0.15)) + (random.uniform(0, 1) if random.random() < 0.15 else 0.0)
    highest = float(torch.quantile(image.flatten()[::7], 0.995)) * np.exp(outshone)
    return (image / max(highest, 1e-6)).clamp(0, 1) ** gamma * 2 - 1
