"""The supervised term on corrected MRIs against values computed by hand, and what its gradient reaches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.corrections import corrections_loss
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.losses import one_hot, segmentation_loss
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.settings.stages import SIMULATION
from tiny_training import SLAB_ASSIGNMENTS, tiny_settings


def logits_of(*probabilities: tuple[float, float, float]) -> torch.Tensor:
    """One row of pixels with these probabilities of background, hip bone and femur."""
    return torch.tensor(probabilities).log().T[None, :, None, :].requires_grad_()


def row(*values: float) -> torch.Tensor:
    return torch.tensor([[values]])


def test_soft_targets_count_a_tenth_and_what_does_not_count_has_no_gradient():
    logits = logits_of((0.5, 0.25, 0.25), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8))
    loss = corrections_loss(logits, row(0, 1, 0), row(1.0, 0.1, 0.0), dice_weight=0.0)
    # Two pixels have any weight.
    assert loss.item() == pytest.approx((-math.log(0.5) - 0.1 * math.log(0.7)) / 2)
    loss.backward()
    gradient = logits.grad[0, :, 0]
    # Of a cross-entropy: probability less target, by its share.
    assert gradient[:, 0].tolist() == pytest.approx([-0.5 / 2, 0.25 / 2, 0.25 / 2])
    assert gradient[:, 1].tolist() == pytest.approx([0.02 / 2, -0.03 / 2, 0.01 / 2])
    assert gradient[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_the_dice_term_is_of_pixels_that_count_fully():
    logits = logits_of((0.5, 0.25, 0.25), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8))
    loss = corrections_loss(logits, row(0, 1, 2), row(1.0, 1.0, 0.1), dice_weight=1.0)
    entropy = (-math.log(0.5) - math.log(0.7) - 0.1 * math.log(0.8)) / 3
    epsilon = 1e-5
    dices = [
        (2 * 0.5 + epsilon) / (1 + 0.5**2 + 0.2**2 + epsilon),
        (2 * 0.7 + epsilon) / (1 + 0.25**2 + 0.7**2 + epsilon),
        epsilon / (0.25**2 + 0.1**2 + epsilon),
    ]
    assert loss.item() == pytest.approx(entropy + 1 - sum(dices) / 3, rel=1e-4)


def test_where_all_counts_it_is_the_papers_segmentation_loss():
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    classes = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    expected = segmentation_loss(logits, one_hot(classes, 3), 0.7)
    assert corrections_loss(logits, classes, torch.ones(2, 8, 8), 0.7).item() == pytest.approx(expected.item())


def test_soft_targets_alone_pull_weakly_and_nothing_at_all_is_no_loss():
    logits = logits_of((0.2, 0.7, 0.1))
    soft = corrections_loss(logits, row(1), row(0.1), dice_weight=1.0)
    assert soft.item() == pytest.approx(-0.1 * math.log(0.7))
    assert corrections_loss(logits, row(1), row(0.0), dice_weight=1.0).item() == 0.0


@pytest.fixture
def method() -> Icmsc:
    torch.manual_seed(0)
    settings = tiny_settings(SLAB_ASSIGNMENTS, corrections_weight=3.0)
    return Icmsc(settings, IcmscSettings(image_pool=2), torch.device("cpu"), Distribution())


def batch(**corrected: torch.Tensor) -> Batch:
    chance = torch.Generator().manual_seed(5)
    x_s, y_s = torch.rand(2, 3, 64, 64, generator=chance) * 2 - 1, torch.randint(0, 3, (2, 64, 64), generator=chance)
    return Batch(x_s, y_s, None, **corrected)


def test_a_step_has_the_term_beside_that_on_simulated_slabs(method):
    before = [weight.clone() for weight in method.networks["F_t"].parameters()]
    x_c = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(6)) * 2 - 1
    y_c, w_c = torch.ones(1, 64, 64, dtype=torch.uint8), torch.ones(1, 64, 64)
    # The first draw says whether the slab is spoiled; this seed's does not.
    chance = next(np.random.default_rng(s) for s in range(9) if np.random.default_rng(s).random() >= 0.5)
    with torch.no_grad():
        expected = 3.0 * corrections_loss(method.networks["F_t"](x_c), y_c, w_c, 1.0)
    losses = method.train_step(batch(x_c=x_c, y_c=y_c, w_c=w_c), Moment(0, SIMULATION, 0.0), chance)
    assert losses.keys() == {"simulated", "corrections"}
    assert losses["corrections"] == pytest.approx(expected.item(), rel=1e-4)
    after = list(method.networks["F_t"].parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_corrected_mris_a_step_is_as_it_was(method):
    losses = method.train_step(batch(), Moment(0, SIMULATION, 0.0), np.random.default_rng(0))
    assert losses.keys() == {"simulated"}


def test_steps_bring_the_network_to_what_was_corrected(method):
    """A bright square that simulated slabs never show is called femur by a person."""
    x_c, y_c, w_c = torch.full((1, 3, 64, 64), -0.5), torch.zeros(1, 64, 64, dtype=torch.uint8), torch.ones(1, 64, 64)
    x_c[..., 16:48, 16:48], y_c[..., 16:48, 16:48] = 0.9, 2
    simulated = replace(batch(), y_s=torch.zeros(2, 64, 64, dtype=torch.long))
    losses = [
        method.train_step(
            replace(simulated, x_c=x_c, y_c=y_c, w_c=w_c), Moment(300, SIMULATION, 0.1), np.random.default_rng(number)
        )
        for number in range(60)
    ]
    first, last = (np.mean([of["corrections"] for of in part]) for part in (losses[:5], losses[-5:]))
    assert last < 0.8 * first
