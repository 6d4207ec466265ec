"""The label-free scores on networks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import SliceStack
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.run.scores import label_free_scores
from torch import Tensor, nn

CPU = torch.device("cpu")
ICMSC = Ways((("F_t",), ("G_ts", "F_s"), ("F_s",)), segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))
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
    return label_free_scores(networks, ICMSC, stack(True), stack(False), count=4, device=CPU)


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


@pytest.mark.parametrize(("kept", "penalty"), [(1, 0.0), (1 / 2, 0.0), (1 / 3, 0.585), (1 / 6, 1.0)])
def test_a_share_is_punished_more_the_less_likely_it_is(kept, penalty):
    class Loses(ByBrightness):
        """Of the femur it sees only the first of six columns."""

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x).clone()
            femur = logits.argmax(1) == 2
            number = femur.any(1).cumsum(1)
            lost = femur & (number > round(6 * kept)).unsqueeze(1)
            return torch.where(lost[:, None], torch.tensor([9.0, 0, 0])[:, None, None], logits)

    found = scores(ByBrightness(), Loses())
    assert found["foreground_femur"] == pytest.approx(kept)
    unpunished = (found["dice_F_t"] + found["agreement"]) / 2
    assert found["selection"] == pytest.approx(unpunished - penalty, abs=0.001)


def test_agreement_compares_with_the_translated_mr():
    class Swapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x < -0.5, x, 0.9 - x)  # hip bone's brightness becomes the femur's

    found = scores(ByBrightness(), ByBrightness(), G_ts=Swapped())
    assert found["agreement"] == 0.0
    assert found["dice_F_t"] == 1.0
    assert found["selection"] == 0.5


# Methods with other networks.

NONE = Ways((("F_s",),), segment_ct=("F_s",))
CYCLE_GAN = Ways((("G_ts", "F_s"), ("F_s",)), segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))
ADDA = Ways((("F_t",), ("F_s",)), segment_ct=("F_s",))
TARGET = Ways((("F_t",),))


class Inverted(nn.Module):
    """Muscle for bone and the other way round, as an MRI is to a CT."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < -0.5, 0.9, torch.where(x > 0.5, -1.0, x))


def test_without_adaptation_the_weights_are_chosen_on_ct_whatever_comes_out_on_mr():
    networks = {"F_s": ByBrightness()}
    dark = stack(False)
    dark.slices[:] = -1
    found = label_free_scores(networks, NONE, stack(True), dark, 4, CPU)
    assert set(found) == {"dice_F_s", "entropy", "foreground_acetabulum", "foreground_femur", "selection"}
    assert found["foreground_acetabulum"] == found["foreground_femur"] == 0.0
    assert found["selection"] == found["dice_F_s"] == 1.0


def test_translation_alone_is_chosen_by_what_is_left_of_the_bones_after_a_cycle():
    mr = stack(False)
    mr.slices[:] = Inverted()(torch.from_numpy(mr.slices).float()).numpy()
    networks = {"F_s": ByBrightness(), "G_st": Inverted(), "G_ts": Inverted()}
    found = label_free_scores(networks, CYCLE_GAN, stack(True), mr, 4, CPU)
    assert found["dice_F_s"] == found["dice_F_s(G_ts)"] == found["selection"] == 1.0
    assert found["foreground_acetabulum"] == pytest.approx(1.0)
    # That F_s misreads MR itself is no evidence against the translation, and no agreement is asked of it.
    assert "agreement" not in found
    lost = label_free_scores(networks | {"G_ts": nn.Identity()}, CYCLE_GAN, stack(True), mr, 4, CPU)
    assert lost["dice_F_s(G_ts)"] == pytest.approx(0.5)  # hip bone lost, femur kept
    assert lost["selection"] == pytest.approx(0.5 - 0)


def test_alignment_without_translation_is_chosen_by_how_sure_it_is_of_plausible_shares():
    def found(F_t: nn.Module) -> dict[str, float]:
        return label_free_scores({"F_s": ByBrightness(), "F_t": F_t}, ADDA, stack(True), stack(False), 4, CPU)

    sure, unsure, collapsed = found(ByBrightness()), found(ByBrightness(sure=0.5)), found(Always(0))
    assert {"agreement", "dice_F_t"}.isdisjoint(sure)
    assert sure["selection"] == pytest.approx(1.0)
    assert unsure["selection"] == pytest.approx(1 - unsure["entropy"])
    assert sure["selection"] > unsure["selection"] > collapsed["selection"]
    assert collapsed["selection"] == pytest.approx(1 - 2)


def test_what_learned_from_labels_of_mri_is_chosen_by_them():
    found = label_free_scores({"F_t": ByBrightness()}, TARGET, stack(True), stack(True), 4, CPU)
    assert found["dice_MR"] == found["selection"] == 1.0
    assert not any(name.startswith("dice_F") for name in found)
    wrong = label_free_scores({"F_t": Always(1)}, TARGET, stack(True), stack(True), 4, CPU)
    assert wrong["selection"] == wrong["dice_MR"] == pytest.approx(0.2)


def test_classes_that_are_nowhere_count_as_right():
    found = scores(ByBrightness(), ByBrightness(), G_ts=None)
    empty = stack(True)
    empty.labels[:], empty.slices[:] = 0, -1
    networks = {"F_s": ByBrightness(), "F_t": ByBrightness(), "G_st": nn.Identity(), "G_ts": nn.Identity()}
    assert label_free_scores(networks, ICMSC, empty, stack(False), 4, CPU)["dice_F_s"] == 1.0
    assert found["dice_F_s"] == 1.0
