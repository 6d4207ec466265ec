"""A picture of what the networks do by now, on slices that are always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from HipICMSCLib.files import replacing
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from HipICMSCTrainingLib.batches import SliceStack

#: Hip bone, femur.
CONTOUR_COLOURS = ((255, 170, 40), (60, 190, 255))
SLICES = 3
#: What stands above the columns of the upper and of the lower half.
MR_COLUMNS = ("MR with F_t", "CT-like with F_s", "back to MR with F_t")
CT_COLUMNS = ("CT with its labels", "MR-like with F_t", "back to CT with F_s")

#: A slice is enlarged to at least so many pixels, so that its outlines are thin.
_LEAST_WIDTH = 240
_GAP = 2
#: Width of a column over the height of a letter: the words fit, and can be read where the sheet is shown smaller.
_WIDTH_OVER_LETTERS = 12

Panel = tuple[np.ndarray, np.ndarray]


@torch.no_grad()
def write_preview(
    networks: dict[str, torch.nn.Module], ct: SliceStack, mr: SliceStack, path: Path, device: torch.device
) -> None:
    """Write a sheet of two halves of equal height, each with words above its columns and a row a slice.

    Above: MR, CT-like, back to MR, each with its segmentation. Below: CT with its truth, MR-like, back to CT, these
    with their segmentations. On the left of the sheet are the outlines, on the right the same images without them.
    """
    from_mr = [_row_from_mr(networks, mr.images([index]).to(device)) for index in _about_the_heads(mr)]
    from_ct = [
        _row_from_ct(networks, ct.images([index]).to(device), ct.labels[index]) for index in _about_the_heads(ct)
    ]
    sheet = np.vstack([_half(MR_COLUMNS, from_mr), _half(CT_COLUMNS, from_ct)])
    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside)


def _row_from_mr(networks: dict[str, torch.nn.Module], x_t: torch.Tensor) -> list[Panel]:
    x_ts = networks["G_ts"](x_t)
    cyc_t = networks["G_st"](x_ts)
    return [_segmented(x_t, networks["F_t"]), _segmented(x_ts, networks["F_s"]), _segmented(cyc_t, networks["F_t"])]


def _row_from_ct(networks: dict[str, torch.nn.Module], x_s: torch.Tensor, truth: np.ndarray) -> list[Panel]:
    x_st = networks["G_st"](x_s)
    cyc_s = networks["G_ts"](x_st)
    return [(_grey(x_s), truth), _segmented(x_st, networks["F_t"]), _segmented(cyc_s, networks["F_s"])]


def _segmented(image: torch.Tensor, segmenter: torch.nn.Module) -> Panel:
    return _grey(image), segmenter(image).argmax(1)[0].cpu().numpy()


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


def _half(columns: tuple[str, ...], rows: list[list[Panel]]) -> np.ndarray:
    """RGB of one half of the sheet."""
    drawn = [[_drawn(*panel) for panel in row] for row in rows]
    outlined, plain = (np.vstack([np.hstack([panel[i] for panel in row]) for row in drawn]) for i in range(2))
    return np.vstack([_header(columns, outlined.shape[1]), np.hstack([outlined, plain])])


def _drawn(grey: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slice enlarged, with contours and without, a narrow gap to its right and below."""
    times = max(2, -(-_LEAST_WIDTH // grey.shape[1]))
    grey, labels = (np.kron(array, np.ones((times, times), np.uint8)) for array in (grey, labels.astype(np.uint8)))
    plain = np.stack([grey] * 3, axis=-1)
    outlined = plain.copy()
    for value, colour in enumerate(CONTOUR_COLOURS, start=1):
        outlined[find_boundaries(labels == value, mode="inner")] = colour
    gap = ((0, _GAP), (0, _GAP), (0, 0))
    return np.pad(outlined, gap), np.pad(plain, gap)


def _header(columns: tuple[str, ...], width: int) -> np.ndarray:
    """The words above both sides of a half, each side of which is ``width`` pixels wide."""
    column_width = width // len(columns)
    size = column_width // _WIDTH_OVER_LETTERS
    strip = Image.new("RGB", (2 * width, 3 * size // 2))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=size)
    for number, text in enumerate([*columns, *(column.partition(" with ")[0] for column in columns)]):
        middle = ((number + 0.5) * column_width, strip.height / 2)
        draw.text(middle, text, (255, 255, 255), font, anchor="mm")
    return np.asarray(strip)
