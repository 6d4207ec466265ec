"""A picture of what the networks do by now, on slices that are always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from HipICMSCLib.files import replacing
from skimage.io import imsave
from skimage.segmentation import find_boundaries

from HipICMSCTrainingLib.batches import SliceStack

#: Hip bone, femur.
CONTOUR_COLOURS = ((255, 170, 40), (60, 190, 255))
SLICES = 3


@torch.no_grad()
def write_preview(
    networks: dict[str, torch.nn.Module], ct: SliceStack, mr: SliceStack, path: Path, device: torch.device
) -> None:
    """A row a slice: MR, CT-like and back with F_t, F_s, F_t; CT, MR-like and back with the truth, F_t, F_s."""
    rows = []
    for index in _about_the_heads(mr):
        x_t = mr.images([index]).to(device)
        x_ts = networks["G_ts"](x_t)
        cyc_t = networks["G_st"](x_ts)
        pairs = [(x_t, networks["F_t"](x_t)), (x_ts, networks["F_s"](x_ts)), (cyc_t, networks["F_t"](cyc_t))]
        rows.append([(_grey(image), logits.argmax(1)[0].cpu().numpy()) for image, logits in pairs])
    for index in _about_the_heads(ct):
        x_s = ct.images([index]).to(device)
        x_st = networks["G_st"](x_s)
        cyc_s = networks["G_ts"](x_st)
        segmented = [networks["F_t"](x_st), networks["F_s"](cyc_s)]
        rows.append(
            [(_grey(x_s), ct.labels[index])]
            + [
                (_grey(image), logits.argmax(1)[0].cpu().numpy())
                for image, logits in zip((x_st, cyc_s), segmented, strict=True)
            ]
        )
    sheet = np.vstack([np.hstack([_drawn(*panel) for panel in row]) for row in rows])
    with replacing(path) as beside:
        imsave(beside, sheet, check_contrast=False)


def _about_the_heads(stack: SliceStack) -> list[int]:
    """Slices at -20, 0 and +20 mm behind the femoral heads, of as many volumes as there are."""
    starts = np.flatnonzero(np.diff(stack.position_mm, prepend=np.inf) < 0)
    bounds = [*starts, len(stack)]
    chosen = []
    for number, wanted in enumerate(np.linspace(-20, 20, SLICES)):
        volume = number % len(starts)
        inside = slice(bounds[volume], bounds[volume + 1])
        chosen.append(int(bounds[volume] + np.abs(stack.position_mm[inside] - wanted).argmin()))
    return chosen


def _grey(image: torch.Tensor) -> np.ndarray:
    return ((image[0, 0].float().cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _drawn(grey: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Twice as large, the grey slice beside itself with contours."""
    grey, labels = (np.kron(array, np.ones((2, 2), array.dtype)) for array in (grey, labels.astype(np.uint8)))
    coloured = np.stack([grey] * 3, axis=-1)
    plain = coloured.copy()
    for value, colour in enumerate(CONTOUR_COLOURS, start=1):
        coloured[find_boundaries(labels == value, mode="inner")] = colour
    return np.hstack([plain, coloured])
