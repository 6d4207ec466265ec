"""A picture of what the networks do by now, on slices that are always the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from HipICMSCLib.common.files import replacing
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from HipICMSCTrainingLib.data.training_data import Stack
from HipICMSCTrainingLib.methods.ways import Networks, Route, Ways, route_name, through

#: Hip bone, femur.
CONTOUR_COLOURS = ((255, 170, 40), (60, 190, 255))
SLICES = 3

#: A slice is enlarged to at least so many pixels, so that its outlines are thin.
_LEAST_WIDTH = 240
_GAP = 2
#: Width of a column over the height of a letter: the words fit, and can be read where the sheet is shown smaller.
_WIDTH_OVER_LETTERS = 12

#: An image and the classes of its pixels, or None where nothing segments it.
Panel = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class _Column:
    """What one column of a half shows.

    Attributes:
        title: the image in words, without what outlines it.
        images: networks that the slice passes before it is shown.
        segmenter: networks that outline what is shown; None for nothing, or for the slice's own labels.
    """

    title: str
    images: Route = ()
    segmenter: Route | None = None
    own_labels: bool = False

    @property
    def words(self) -> str:
        if self.own_labels:
            return f"{self.title} with its labels"
        return f"{self.title} with {route_name(self.segmenter)}" if self.segmenter else self.title

    def panel(self, networks: Networks, image: torch.Tensor, labels: np.ndarray | None) -> Panel:
        shown = through(networks, self.images)(image)
        if self.segmenter:
            labels = through(networks, self.segmenter)(shown).argmax(1)[0].cpu().numpy()
        return _grey(shown), labels if self.segmenter or self.own_labels else None


@torch.no_grad()
def write_preview(
    networks: Networks,
    ways: Ways,
    ct: Stack,
    mr: Stack,
    path: Path,
    device: torch.device,
    corrected: Stack | None = None,
) -> None:
    """Write a sheet of two halves of equal size, each with words above its columns and a row a slice.

    Above: MR, CT-like, back to MR, each with its segmentation. Below: CT with its truth, MR-like, back to CT, these
    with their segmentations. A method that does not translate shows what segments MR and CT. Where there are corrected
    MRIs, above are also some of these, as they were corrected and as they are segmented now. On the left of the sheet
    are the outlines, on the right the same images without them.
    """
    above = [(mr, column) for column in _mr_columns(ways, mr.labels is not None)]
    if corrected is not None:
        above.append((corrected, _Column("corrected MR", own_labels=True)))
        above.append((corrected, _Column("corrected MR", segmenter=ways.best)))
    halves = [above, [(ct, column) for column in _ct_columns(ways)]]
    count = max(map(len, halves))
    sheet = np.vstack([_half(networks, half, count, device) for half in halves])
    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside)


def _mr_columns(ways: Ways, labelled: bool) -> list[_Column]:
    columns = [_Column("MR", own_labels=True)] if labelled else []
    columns.append(_Column("MR", segmenter=ways.best))
    if ways.mr_to_ct:
        columns.append(_Column("CT-like", ways.mr_to_ct, ways.segment_ct))
        if ways.ct_to_mr:
            columns.append(_Column("back to MR", (*ways.mr_to_ct, *ways.ct_to_mr), ways.best))
    return columns


def _ct_columns(ways: Ways) -> list[_Column]:
    columns = [_Column("CT", own_labels=True)]
    if ways.ct_to_mr:
        columns.append(_Column("MR-like", ways.ct_to_mr, ways.best))
        if ways.mr_to_ct:
            columns.append(_Column("back to CT", (*ways.ct_to_mr, *ways.mr_to_ct), ways.segment_ct))
    elif ways.segment_ct:
        columns.append(_Column("CT", segmenter=ways.segment_ct))
    return columns


def about_the_heads(stack: Stack) -> list[int]:
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
    return ((image[0, image.shape[1] // 2].float().cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _half(networks: Networks, columns: list[tuple[Stack, _Column]], count: int, device: torch.device) -> np.ndarray:
    """RGB of one half of the sheet, of the width of ``count`` columns, each with what it shows slices of."""
    drawn = []
    for row in range(SLICES):
        panels = []
        for stack, column in columns:
            index = about_the_heads(stack)[row]
            image, labels = stack.images([index]).to(device), None if stack.labels is None else stack.labels[index]
            panels.append(_drawn(*column.panel(networks, image, labels)))
        empty = tuple(np.zeros_like(panel) for panel in panels[0])
        drawn.append(panels + [empty] * (count - len(panels)))
    outlined, plain = (np.vstack([np.hstack([panel[i] for panel in row]) for row in drawn]) for i in range(2))
    words = [column.words for _, column in columns], [column.title for _, column in columns]
    return np.vstack([_header(words, count, outlined.shape[1]), np.hstack([outlined, plain])])


def _drawn(grey: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The slice enlarged, with contours and without, a narrow gap to its right and below."""
    times = max(2, -(-_LEAST_WIDTH // grey.shape[1]))
    labels = np.zeros_like(grey) if labels is None else labels.astype(np.uint8)
    grey, labels = (np.kron(array, np.ones((times, times), np.uint8)) for array in (grey, labels))
    plain = np.stack([grey] * 3, axis=-1)
    outlined = plain.copy()
    for value, colour in enumerate(CONTOUR_COLOURS, start=1):
        outlined[find_boundaries(labels == value, mode="inner")] = colour
    gap = ((0, _GAP), (0, _GAP), (0, 0))
    return np.pad(outlined, gap), np.pad(plain, gap)


def _header(words: tuple[list[str], list[str]], count: int, width: int) -> np.ndarray:
    """The words above both sides of a half, each side of which has ``count`` columns and is ``width`` pixels wide."""
    column_width = width // count
    size = column_width // _WIDTH_OVER_LETTERS
    strip = Image.new("RGB", (2 * width, 3 * size // 2))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=size)
    longest = max(font.getlength(text) for text in words[0])
    if longest > column_width:
        font = ImageFont.load_default(size=size * column_width / longest)
    for side, texts in enumerate(words):
        for number, text in enumerate(texts):
            middle = ((side * count + number + 0.5) * column_width, strip.height / 2)
            draw.text(middle, text, (255, 255, 255), font, anchor="mm")
    return np.asarray(strip)
