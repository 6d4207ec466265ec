"""The picture of a training shows what the networks of its method can do, whichever they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import SliceStack
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.run.previews import CONTOUR_COLOURS, write_preview
from skimage.io import imread
from test_label_free_scores import ADDA, CYCLE_GAN, ICMSC, NONE, TARGET, Always, ByBrightness
from torch import Tensor, nn

CPU = torch.device("cpu")
ROWS, COLUMNS, SLICES = 48, 40, 9
SIFA = Ways((("E", "S"),), ct_to_mr=("G_st",), mr_to_ct=("E", "U"))


class Painted(nn.Module):
    """The same grey value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.value)


def stack(labelled: bool, brightness: float) -> SliceStack:
    """A block of hip bone; CT and MR differ in what lies around it, and both from an empty place."""
    labels = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    labels[:, 10:30, 10:30] = 1
    volume = {
        "slices": np.where(labels == 1, np.float16(0.9), np.float16(brightness)),
        "covered": np.ones_like(labels, bool),
        "position_mm": np.linspace(40, -40, SLICES, dtype=np.float32),
    }
    return SliceStack([volume | ({"labels": labels} if labelled else {})])


def tiles(ways: Ways, networks: dict, path: Path, labelled_mr: bool = False) -> tuple[list, list]:
    """Of the upper and the lower half by column: (grey value of a corner, whether hip bone is outlined)."""
    write_preview(networks, ways, stack(True, -0.9), stack(labelled_mr, -0.8), path, CPU)
    sheet = imread(path).astype(int)
    outlined = sheet[:, : sheet.shape[1] // 2]
    width = 6 * COLUMNS + 2  # enlarged to at least 240 pixels, and a gap
    height = 3 * (6 * ROWS + 2)
    halves = []
    for half in np.split(outlined, 2):
        pictures = half[-height:]
        columns = [pictures[:, start : start + width] for start in range(0, pictures.shape[1], width)]
        is_orange = [(column == CONTOUR_COLOURS[0]).all(-1).any() for column in columns]
        corners = [tuple(column[0, 0]) for column in columns]
        halves.append([(corner[0], bool(orange)) for corner, orange in zip(corners, is_orange, strict=True)])
    return halves[0], halves[1]


def grey(value: float) -> int:
    return int((np.float16(value).astype(np.float32) + 1) * 127.5)


CT, MR, EMPTY = grey(-0.9), grey(-0.8), 0
CT_LIKE, MR_LIKE = grey(-0.5), grey(-0.25)
NETWORKS = {
    "F_s": ByBrightness(), "F_t": ByBrightness(), "G_ts": Painted(-0.5), "G_st": Painted(-0.25),
    "E": nn.Identity(), "S": ByBrightness(), "U": Painted(-0.5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("ways", "above", "below"),
    [
        (ICMSC, [(MR, True), (CT_LIKE, False), (MR_LIKE, False)], [(CT, True), (MR_LIKE, False), (CT_LIKE, False)]),
        (SIFA, [(MR, True), (CT_LIKE, False), (MR_LIKE, False)], [(CT, True), (MR_LIKE, False), (CT_LIKE, False)]),
        (CYCLE_GAN, [(MR, False), (CT_LIKE, False), (MR_LIKE, False)],
         [(CT, True), (MR_LIKE, False), (CT_LIKE, False)]),
        (NONE, [(MR, True), (EMPTY, False)], [(CT, True), (CT, True)]),
        (ADDA, [(MR, True), (EMPTY, False)], [(CT, True), (CT, True)]),
    ],
)  # fmt: skip
def test_the_columns_that_the_networks_allow(tmp_path, ways, above, below):
    assert tiles(ways, NETWORKS, tmp_path / "a.png") == (above, below)


def test_labels_of_mri_stand_beside_what_learned_from_them(tmp_path):
    networks = {"F_t": Always(0)}
    found = tiles(TARGET, networks, tmp_path / "a.png", labelled_mr=True)
    assert found == ([(MR, True), (MR, False)], [(CT, True), (EMPTY, False)])


def test_the_words_fit_above_their_columns(tmp_path):
    """Also the longest ones, of a route through two networks: nothing is drawn at the border of a column."""
    path = tmp_path / "a.png"
    write_preview(NETWORKS, CYCLE_GAN, stack(True, -0.9), stack(False, -0.8), path, CPU)
    sheet = imread(path).astype(int)
    words = sheet[: sheet.shape[0] // 2 - 3 * (6 * ROWS + 2)]
    width = 6 * COLUMNS + 2
    assert words.max() > 200
    for border in range(0, words.shape[1], width):
        assert words[:, border].max() < 100
