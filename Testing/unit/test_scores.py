"""The label-free scores on networks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.batches import SliceStack
from HipICMSCTrainingLib.scores import label_free_scores
from torch import Tensor, nn

CPU = torch.device("cpu")
ROWS, COLUMNS, SLICES = 8, 12, 10


class ByBrightness(nn.Module):
    """Calls a pixel hip bone above 0.5 and femur between -0.5 and 0.5; ``sure`` is the winner's logit."""

    def __init__(self, sure: float = 50.0) -> None:
        super().__init__()
        self.sure = sure

    def forward(self, x: Tensor) -> Tensor:
        return self.sure * torch.cat([(x < -0.5), (x > 0.5), (x.abs() <= 0.5)], dim=1).float()


class Always(nn.Module):
    """The same class everywhere."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 3, *x.shape[-2:])
        logits[:, self.value] = 50.0
        return logits


def stack(labelled: bool) -> SliceStack:
    """A quarter of each slice is hip bone, a quarter femur."""
    labels = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    labels[:, :4, :6], labels[:, 4:, 6:] = 1, 2
    volume = {
        "slices": np.array([-1.0, 0.9, 0.0], np.float16)[labels],
        "covered": np.ones_like(labels, bool),
        "position_mm": np.arange(SLICES, dtype=np.float32),
    }
    return SliceStack([volume | ({"labels": labels} if labelled else {})])


def scores(F_s: nn.Module, F_t: nn.Module, G_ts: nn.Module | None = None) -> dict[str, float]:
    networks = {"F_s": F_s, "F_t": F_t, "G_st": nn.Identity(), "G_ts": G_ts or nn.Identity()}
    return label_free_scores(networks, stack(True), stack(False), count=4, device=CPU)


def test_perfect_and_sure_networks():
    found = scores(ByBrightness(), ByBrightness())
    assert found["dice_F_s"] == found["dice_F_t"] == found["agreement"] == 1.0
    assert found["entropy"] == pytest.approx(0, abs=1e-6)
    assert found["foreground_acetabulum"] == found["foreground_femur"] == pytest.approx(1.0)
    assert found["selection"] == 1.0


def test_a_network_that_does_not_care_has_entropy_1():
    assert scores(ByBrightness(), ByBrightness(sure=0.0))["entropy"] == pytest.approx(1.0)


def test_a_collapsed_network_is_punished_for_each_class_it_lost():
    found = scores(ByBrightness(), Always(0))
    assert found["dice_F_s"] == 1.0
    assert found["dice_F_t"] == found["agreement"] == 0.0
    assert found["foreground_acetabulum"] == found["foreground_femur"] == 0.0
    assert found["selection"] == -2.0


def test_dice_and_share_by_hand():
    # All hip bone: Dice 2·(1/4) / (1 + 1/4) = 0.4 for it and 0 for the femur; four times its share.
    found = scores(ByBrightness(), Always(1))
    assert found["dice_F_t"] == pytest.approx(0.2)
    assert found["foreground_acetabulum"] == pytest.approx(4.0)
    assert found["selection"] == pytest.approx(0.2 - 2)


def test_agreement_compares_with_the_translated_mr():
    class Swapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x < -0.5, x, 0.9 - x)  # hip bone's brightness becomes the femur's

    found = scores(ByBrightness(), ByBrightness(), G_ts=Swapped())
    assert found["agreement"] == 0.0
    assert found["dice_F_t"] == 1.0
    assert found["selection"] == 0.5


def test_classes_that_are_nowhere_count_as_right():
    found = scores(ByBrightness(), ByBrightness(), G_ts=None)
    empty = stack(True)
    empty.labels[:], empty.slices[:] = 0, -1
    networks = {"F_s": ByBrightness(), "F_t": ByBrightness(), "G_st": nn.Identity(), "G_ts": nn.Identity()}
    assert label_free_scores(networks, empty, stack(False), 4, CPU)["dice_F_s"] == 1.0
    assert found["dice_F_s"] == 1.0
