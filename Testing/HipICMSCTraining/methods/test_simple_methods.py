"""No adaptation, the target model and CycleGAN: their losses by hand, and which network learns from what."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.cyclegan import CycleGan, CycleGanSettings
from HipICMSCTrainingLib.methods.icmsc import Icmsc, table2_rows
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.methods.no_adaptation import NoAdaptation, NoAdaptationSettings
from HipICMSCTrainingLib.methods.target_model import TargetModel, TargetModelSettings
from tiny_training import POOL, tiny_settings
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
STAGE_1, STAGE_2 = Moment(0, 1, 0.0), Moment(100, 2, 0.0)
SUPERVISED = {NoAdaptation: "F_s", TargetModel: "F_t"}


def made(method: type[Method], own: Any = None, **changes: Any) -> Method:
    torch.manual_seed(5)
    return method(tiny_settings(**changes), own or method.Settings(), CPU, Distribution())


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x_s, x_t = (torch.rand(1, 1, 24, 32, generator=generator) * 2 - 1 for _ in range(2))
    # Of the 768 pixels of a CT slice a quarter is hip bone and an eighth femur, of an MR slice an eighth and a half.
    y_s, y_t = (torch.zeros(1, 24, 32, dtype=torch.long) for _ in range(2))
    y_s[:, :6], y_s[:, 6:9] = 1, 2
    y_t[:, :3], y_t[:, 3:15] = 1, 2
    return Batch(x_s, y_s, x_t, y_t)


def step(method: Method, batch: Batch, moment: Moment) -> dict[str, float]:
    return method.train_step(batch, moment, np.random.default_rng(0))


def weights(method: Method) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": parameter.detach().clone()
        for name, network in method.networks.items()
        for key, parameter in network.named_parameters()
    }


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key.partition("/")[0] for key in before if not torch.equal(before[key], after[key])}


def undecided(network: nn.Module) -> None:
    """All classes are as likely everywhere: 1/3."""
    nn.init.zeros_(network.upsample.weight)
    nn.init.zeros_(network.upsample.bias)


def loss_of_the_undecided(shares: tuple[float, ...], dice_weight: float) -> float:
    """Equation 2 with p = 1/3: -log(1/3) + λ1 (1 - mean over classes of (2/3 · share) / (share + 1/9))."""
    dice = sum(2 / 3 * share / (share + 1 / 9) for share in shares) / 3
    return math.log(3) + dice_weight * (1 - dice)


# No adaptation and the target model.


@pytest.mark.parametrize("dice_weight", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(
    ("method", "settings", "shares"),
    [
        (NoAdaptation, NoAdaptationSettings, (5 / 8, 1 / 4, 1 / 8)),
        (TargetModel, TargetModelSettings, (3 / 8, 1 / 8, 1 / 2)),
    ],
)
def test_the_loss_of_a_segmenter_that_is_undecided(batch, method, settings, shares, dice_weight):
    made_one = made(method, settings(dice_weight=dice_weight))
    undecided(made_one.networks[SUPERVISED[method]])
    losses = step(made_one, batch, STAGE_2)
    assert set(losses) == {"supervised"}
    assert losses["supervised"] == pytest.approx(loss_of_the_undecided(shares, dice_weight), rel=1e-5)


@pytest.mark.parametrize("method", SUPERVISED)
def test_the_gradient_of_a_step_is_that_of_equation_2(batch, method):
    trained = made(method)
    name = SUPERVISED[method]
    by_hand = copy.deepcopy(trained.networks[name])
    x, y = (batch.x_s, batch.y_s) if method is NoAdaptation else (batch.x_t, batch.y_t)
    logits, target = by_hand(x), torch.nn.functional.one_hot(y, 3).movedim(-1, 1).float()
    p = logits.softmax(1)
    overlap, squares = (p * target).sum((0, 2, 3)), (p**2).sum((0, 2, 3)) + (target**2).sum((0, 2, 3))
    loss = -(target * logits.log_softmax(1)).sum(1).mean() + 1 - ((2 * overlap + 1e-5) / (squares + 1e-5)).mean()
    loss.backward()
    assert step(trained, batch, STAGE_1)["supervised"] == pytest.approx(loss.item(), rel=1e-5)
    for got, expected in zip(trained.networks[name].parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", SUPERVISED)
def test_it_learns_from_its_own_domain_alone(batch, method):
    other_mr = replace(batch, x_t=-batch.x_t, y_t=2 - batch.y_t)
    other_ct = replace(batch, x_s=-batch.x_s, y_s=2 - batch.y_s)
    after = []
    for seen in (batch, other_mr, other_ct):
        one = made(method)
        before = weights(one)
        step(one, seen, STAGE_2)
        assert changed(before, weights(one)) == {SUPERVISED[method]}
        after.append(weights(one))
    with_other_mr, with_other_ct = changed(after[0], after[1]), changed(after[0], after[2])
    assert bool(with_other_mr) == (method is TargetModel)
    assert bool(with_other_ct) == (method is NoAdaptation)


@pytest.mark.parametrize("method", SUPERVISED)
def test_it_learns_in_both_stages_at_a_rate_that_falls_to_zero(batch, method):
    one = made(method)
    rates = []
    for stage, fraction in ((1, 0.0), (1, 0.9), (2, 0.0), (2, 0.5), (2, 0.75)):
        step(one, batch, Moment(0, stage, fraction))
        rates.append(one.optimizers["F"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4, 2.5e-4])


# CycleGAN.


def cycle_gan(**own: Any) -> CycleGan:
    return made(CycleGan, CycleGanSettings(image_pool=POOL, **own))


def test_the_losses_of_generators_that_paint_everything_grey(batch):
    """G(x) = tanh(0.5) everywhere, and discriminators that give every patch 0.25."""
    one = cycle_gan()
    for name, network in one.networks.items():
        last = network.decoder[-2] if name.startswith("G_") else network.layers[-1] if name.startswith("D_") else None
        if last is not None:
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, 0.5 if name.startswith("G_") else 0.25)
    undecided(one.networks["F_s"])
    losses = step(one, batch, STAGE_2)
    grey = math.tanh(0.5)
    assert losses == pytest.approx(
        {
            "adv_G_t": (0.25 - 1) ** 2,
            "adv_G_s": (0.25 - 1) ** 2,
            "rec_s": float((batch.x_s - grey).abs().mean()),
            "rec_t": float((batch.x_t - grey).abs().mean()),
            "supervised": loss_of_the_undecided((5 / 8, 1 / 4, 1 / 8), 1.0),
            "adv_D_t": 0.5 * ((0.25 - 1) ** 2 + 0.25**2),
            "adv_D_s": 0.5 * ((0.25 - 1) ** 2 + 0.25**2),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("identity_weight", [0.0, 0.5])
def test_the_gradient_of_the_generators_is_that_of_the_plain_sum(batch, identity_weight):
    one, by_hand = (cycle_gan(identity_weight=identity_weight, adversarial_weight=2.0) for _ in range(2))
    seen = {}
    one.optimizers["G"].register_step_pre_hook(
        lambda *_: seen.update({n: [p.grad.clone() for p in one.networks[n].parameters()] for n in ("G_st", "G_ts")})
    )
    step(one, batch, STAGE_2)
    G_st, G_ts, D_s, D_t = (by_hand.networks[name] for name in ("G_st", "G_ts", "D_s", "D_t"))
    x_s, x_t = batch.x_s, batch.x_t
    total = 2 * (((D_t(G_st(x_s)) - 1) ** 2).mean() + ((D_s(G_ts(x_t)) - 1) ** 2).mean())
    total = total + 10 * ((G_ts(G_st(x_s)) - x_s).abs().mean() + (G_st(G_ts(x_t)) - x_t).abs().mean())
    total = total + identity_weight * ((G_ts(x_s) - x_s).abs().mean() + (G_st(x_t) - x_t).abs().mean())
    total.backward()
    for name, got in seen.items():
        expected = [parameter.grad for parameter in by_hand.networks[name].parameters()]
        error = torch.stack([(a - b).norm() for a, b in zip(got, expected, strict=True)]).norm()
        assert error < 1e-4 * torch.stack([b.norm() for b in expected]).norm(), name


def test_which_networks_each_stage_teaches(batch):
    one = cycle_gan()
    before = weights(one)
    losses = step(one, batch, STAGE_1)
    assert "supervised" not in losses
    after_stage_1 = weights(one)
    assert changed(before, after_stage_1) == {"G_st", "G_ts", "D_s", "D_t"}
    assert "supervised" in step(one, batch, STAGE_2)
    assert changed(after_stage_1, weights(one)) == set(one.networks)


def test_the_translation_knows_nothing_of_the_labels_and_F_s_nothing_of_MR(batch):
    after = []
    for seen in (batch, replace(batch, y_s=2 - batch.y_s), replace(batch, x_t=-batch.x_t)):
        one = cycle_gan()
        for moment in (STAGE_1, STAGE_2, STAGE_2):
            step(one, seen, moment)
        after.append(weights(one))
    assert changed(after[0], after[1]) == {"F_s"}
    assert changed(after[0], after[2]) == {"G_st", "G_ts", "D_s", "D_t"}


def test_it_is_the_first_row_of_table_2_bit_for_bit(batch):
    """ICMSC without consistency, from the same seed."""
    one = cycle_gan()
    row = made(Icmsc, replace(table2_rows()["no consistency"], image_pool=POOL))
    for number, moment in enumerate((STAGE_1, STAGE_1, STAGE_2, Moment(0, 2, 0.5), Moment(0, 2, 0.75))):
        seen = Batch(batch.x_s.roll(number, 3), batch.y_s, batch.x_t.roll(number, 2))
        random = [np.random.default_rng(number) for _ in range(2)]
        assert one.train_step(seen, moment, random[0]) == row.train_step(seen, moment, random[1])
    assert changed(weights(one), {key: value for key, value in weights(row).items() if key in weights(one)}) == set()
    assert one.ways() == row.ways()
