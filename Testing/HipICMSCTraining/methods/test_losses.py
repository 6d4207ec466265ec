"""Each loss against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from HipICMSCTrainingLib.methods.losses import (
    adversarial_loss,
    discriminator_loss,
    one_hot,
    prediction_target,
    reconstruction_loss,
    segmentation_loss,
    soft_dice,
)

# Two classes, one row of two pixels: the first pixel is class 0, the second class 1.
TARGET = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
PROBABILITIES = torch.tensor([[[[0.8, 0.4]], [[0.2, 0.6]]]])
# Class 0: 2·0.8 / (1 + 0.64 + 0.16) = 8/9; class 1: 2·0.6 / (1 + 0.04 + 0.36) = 6/7.
DICE = (8 / 9 + 6 / 7) / 2
CROSS_ENTROPY = -(math.log(0.8) + math.log(0.6)) / 2


def test_dice_is_the_mean_over_classes():
    assert soft_dice(PROBABILITIES, TARGET).item() == pytest.approx(DICE, abs=1e-4)
    assert soft_dice(TARGET, TARGET).item() == pytest.approx(1.0, abs=1e-6)


def test_dice_sums_over_the_batch_and_is_no_mean_over_images():
    perfect_and_wrong = torch.cat([TARGET, TARGET.flip(1)])
    twice = torch.cat([TARGET, TARGET])
    # Each class: 2·1 / (2 + 2) = 1/2.
    assert soft_dice(perfect_and_wrong, twice).item() == pytest.approx(0.5, abs=1e-4)
    only_first = torch.cat([TARGET, torch.zeros_like(TARGET)])
    assert soft_dice(only_first, only_first * 0.5).item() == pytest.approx(2 * 0.5 / (1 + 0.25), abs=1e-4)


def test_dice_of_a_class_that_is_nowhere_is_one():
    nothing = torch.zeros(1, 1, 4, 4)
    assert soft_dice(nothing, nothing).item() == 1.0


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_segmentation_loss_is_cross_entropy_plus_lambda_times_one_minus_dice(weight):
    loss = segmentation_loss(PROBABILITIES.log(), TARGET, dice_weight=weight)
    assert loss.item() == pytest.approx(CROSS_ENTROPY + weight * (1 - DICE), abs=1e-4)


def test_segmentation_loss_takes_probabilities_as_target():
    soft = torch.tensor([[[[0.5, 0.0]], [[0.5, 1.0]]]])
    cross_entropy = -(0.5 * math.log(0.8) + 0.5 * math.log(0.2) + math.log(0.6)) / 2
    assert segmentation_loss(PROBABILITIES.log(), soft, 0.0).item() == pytest.approx(cross_entropy, abs=1e-5)


def test_losses_are_computed_in_float32_whatever_the_network_gives():
    logits = torch.randn(1, 3, 4, 4, dtype=torch.bfloat16)
    target = one_hot(torch.zeros(1, 4, 4), 3)
    assert segmentation_loss(logits, target).dtype == torch.float32
    assert (
        reconstruction_loss(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16), torch.zeros(1, 1, 2, 2)).dtype
        == torch.float32
    )


def test_one_hot_puts_classes_into_channels():
    labels = torch.tensor([[[0, 2], [1, 1]]], dtype=torch.uint8)
    assert one_hot(labels, 3).tolist() == [[[[1, 0], [0, 0]], [[0, 0], [1, 1]], [[0, 1], [0, 0]]]]


def test_a_hard_target_is_the_one_hot_argmax_and_a_soft_one_the_softmax():
    logits = PROBABILITIES.log().requires_grad_()
    hard, soft = prediction_target(logits, "hard"), prediction_target(logits, "soft")
    assert torch.equal(hard, TARGET)
    torch.testing.assert_close(soft, PROBABILITIES)
    assert not hard.requires_grad
    assert not soft.requires_grad


def test_least_squares_adversarial_loss():
    scores = torch.tensor([[[[0.5, 2.0]]]])
    assert adversarial_loss(scores, True, "lsgan").item() == pytest.approx((0.25 + 1.0) / 2)
    assert adversarial_loss(scores, False, "lsgan").item() == pytest.approx((0.25 + 4.0) / 2)


def test_cross_entropy_adversarial_loss():
    scores = torch.tensor([[[[0.0, math.log(3)]]]])  # probabilities of being real: 1/2 and 3/4
    assert adversarial_loss(scores, True, "bce").item() == pytest.approx(-(math.log(1 / 2) + math.log(3 / 4)) / 2)
    assert adversarial_loss(scores, False, "bce").item() == pytest.approx(-(math.log(1 / 2) + math.log(1 / 4)) / 2)


def test_the_discriminators_loss_is_halved():
    real, translated = torch.tensor([0.5]), torch.tensor([2.0])
    assert discriminator_loss(real, translated, "lsgan").item() == pytest.approx((0.25 + 4.0) / 2)
    assert discriminator_loss(torch.zeros(3), torch.zeros(3), "bce").item() == pytest.approx(math.log(2))


def test_reconstruction_loss_is_the_mean_absolute_difference():
    cycled, original = torch.tensor([[[[0.0, 1.0, -1.0]]]]), torch.tensor([[[[0.5, 1.0, 1.0]]]])
    assert reconstruction_loss(cycled, original).item() == pytest.approx(2.5 / 3)
