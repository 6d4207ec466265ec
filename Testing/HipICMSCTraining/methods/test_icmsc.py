"""ICMSC's step: which term teaches which network, the weights of equation 1, and nothing computed twice."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.translator import TranslatorSettings
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.corrections import corrections_loss
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.image_pool import ImagePool
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.networks.parameters import frozen
from HipICMSCTrainingLib.settings.training import TrainingSettings
from torch import Tensor
from torch.nn import functional as nnf

SETTINGS = TrainingSettings(
    recompute=False,
    segmenter=SegmenterSettings(width=8, dilations=(1, 2)),
    translator=TranslatorSettings(width=8, blocks=2),
    discriminator_width=8,
)
STAGE_1, STAGE_2 = Moment(0, 1, 0.0), Moment(100, 2, 0.0)
PRINTED = IcmscSettings()
NO_CONSISTENCY = IcmscSettings(imsc_s=False, imsc_t=False, cmsc_s=False, cmsc_t=False)
SWITCHES = {"imsc_s": "CT", "cmsc_s": "CT", "imsc_t": "MR", "cmsc_t": "MR"}


def method(own: IcmscSettings = PRINTED, **changes) -> Icmsc:
    """Always the same start."""
    torch.manual_seed(5)
    return Icmsc(replace(SETTINGS, **changes), own, torch.device("cpu"), Distribution())


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x_s, x_t = (torch.rand(1, 1, 24, 32, generator=generator) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (1, 24, 32), generator=generator), x_t)


def half_loss(icmsc: Icmsc, half: str, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
    total, _, terms = icmsc.cycles(half, batch, moment, icmsc.networks["D_t" if half == "CT" else "D_s"])
    return total, terms


def gradients(icmsc: Icmsc) -> dict[str, list[Tensor | None]]:
    return {
        name: [None if p.grad is None else p.grad.clone() for p in network.parameters()]
        for name, network in icmsc.networks.items()
    }


def half_gradients(own: IcmscSettings, half: str, batch: Batch, moment: Moment) -> dict[str, list[Tensor | None]]:
    icmsc = method(own)
    with frozen(icmsc.networks["D_s"], icmsc.networks["D_t"]):
        half_loss(icmsc, half, batch, moment)[0].backward()
    return gradients(icmsc)


def taught(without: IcmscSettings, with_it: IcmscSettings, half: str, batch: Batch, moment: Moment = STAGE_2) -> set:
    """The networks whose gradient a term changes by a single bit."""
    before, after = (half_gradients(own, half, batch, moment) for own in (without, with_it))

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b if a is None or b is None else torch.equal(a, b)

    return {name for name in before if not all(same(a, b) for a, b in zip(before[name], after[name], strict=True))}


@pytest.mark.parametrize(
    ("term", "half", "networks"),
    [
        ("imsc_s", "CT", {"G_st", "G_ts", "F_s"}),
        ("imsc_t", "MR", {"G_st", "G_ts", "F_t"}),
        ("cmsc_s", "CT", {"G_st", "F_t"}),
        ("cmsc_t", "MR", {"F_t"}),  # as equation 7 is printed: neither the generators nor F_s
        ("cmsc_t_symmetric", "MR", {"G_ts", "F_s"}),
    ],
)
def test_which_networks_a_consistency_term_teaches(batch, term, half, networks):
    assert taught(NO_CONSISTENCY, replace(NO_CONSISTENCY, **{term: True}), half, batch) == networks


@pytest.mark.parametrize(
    ("setting", "half", "networks"),
    [
        ("adversarial_weight", "CT", {"G_st"}),
        ("adversarial_weight", "MR", {"G_ts"}),
        ("reconstruction_weight", "CT", {"G_st", "G_ts"}),
        ("reconstruction_weight", "MR", {"G_st", "G_ts"}),
        ("identity_weight", "CT", {"G_ts"}),
        ("identity_weight", "MR", {"G_st"}),
    ],
)
def test_which_networks_a_translation_term_teaches(batch, setting, half, networks):
    off, on = (replace(NO_CONSISTENCY, **{setting: weight}) for weight in (0.0, 1.0))
    assert taught(off, on, half, batch, STAGE_1) == networks


def test_what_a_person_corrected_teaches_F_t_alone_by_its_weight(batch):
    """Beside the paper's terms, and by the loss that is tested by hand in test_corrections_loss.py."""
    generator = torch.Generator().manual_seed(2)
    x_c, w_c = torch.rand(1, 1, 24, 32, generator=generator) * 2 - 1, torch.ones(1, 24, 32)
    with_corrections = replace(batch, x_c=x_c, y_c=batch.y_s, w_c=w_c)
    plain, with_it = (half_gradients(PRINTED, "MR", of, STAGE_2) for of in (batch, with_corrections))
    for name in ("G_st", "G_ts"):
        assert all(torch.equal(a, b) for a, b in zip(plain[name], with_it[name], strict=True))
    assert all(g is None for g in with_it["F_s"])
    assert not torch.equal(plain["F_t"][0], with_it["F_t"][0])
    totals = []
    for weight in (0.0, 3.0):
        icmsc = method(PRINTED, corrections_weight=weight)
        total, terms = half_loss(icmsc, "MR", with_corrections, STAGE_2)
        totals.append(float(total.detach()))
    expected = corrections_loss(icmsc.networks["F_t"](x_c), batch.y_s, w_c, PRINTED.dice_weight)
    assert float(terms["corrections"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert totals[1] - totals[0] == pytest.approx(3 * float(expected.detach()), rel=1e-4)


def test_supervision_teaches_F_s_alone_and_only_in_stage_2(batch):
    before, after = (half_gradients(NO_CONSISTENCY, "CT", batch, moment) for moment in (STAGE_1, STAGE_2))
    assert all(g is None for name in ("F_s", "F_t") for g in before[name])
    assert all(g is not None and g.abs().sum() > 0 for g in after["F_s"][:1])
    assert all(g is None for g in after["F_t"])
    for name in ("G_st", "G_ts"):
        assert all(torch.equal(a, b) for a, b in zip(before[name], after[name], strict=True))


def test_the_contrast_prior_teaches_both_generators_with_what_is_left_of_its_weight(batch):
    prior = replace(NO_CONSISTENCY, contrast_prior="t1")
    assert taught(NO_CONSISTENCY, prior, "CT", batch, STAGE_1) == {"G_st", "G_ts"}
    total, terms = half_loss(method(prior), "CT", batch, Moment(0, 1, 0.25))
    by_hand = terms["adv_G_t"] + 10 * terms["rec_s"] + 7.5 * terms["prior"]
    assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_total_is_equation_1(batch):
    icmsc = method()
    total_ct, ct = half_loss(icmsc, "CT", batch, STAGE_2)
    total_mr, mr = half_loss(icmsc, "MR", batch, STAGE_2)
    terms = ct | mr
    assert set(terms) == {
        "supervised", "adv_G_t", "adv_G_s", "rec_s", "rec_t", "imsc_s", "imsc_t", "cmsc_s", "cmsc_t"
    }  # fmt: skip
    by_hand = (
        terms["supervised"]
        + 1.0 * (terms["adv_G_t"] + terms["adv_G_s"])
        + 10 * (terms["rec_s"] + terms["rec_t"])
        + 0.1 * (terms["imsc_s"] + terms["imsc_t"])
        + 0.1 * (terms["cmsc_s"] + terms["cmsc_t"])
    )
    assert (total_ct + total_mr).item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_of_table_2_removes_its_term_and_no_other(batch, switch):
    half = SWITCHES[switch]
    total_with, with_it = half_loss(method(), half, batch, STAGE_2)
    total_without, without = half_loss(method(IcmscSettings(**{switch: False})), half, batch, STAGE_2)
    assert set(with_it) - set(without) == {switch}
    for name in without:
        assert torch.equal(with_it[name], without[name])
    assert (total_with - total_without).item() == pytest.approx(0.1 * with_it[switch].item(), abs=1e-4)


def test_stage_1_is_translation_alone(batch):
    icmsc = method()
    before = {name: copy.deepcopy(icmsc.networks[name].state_dict()) for name in icmsc.networks}
    losses = icmsc.train_step(batch, STAGE_1, np.random.default_rng(0))
    assert set(losses) == {"adv_G_t", "rec_s", "adv_G_s", "rec_t", "adv_D_t", "adv_D_s"}
    changed = {
        name
        for name, state in before.items()
        if any(not torch.equal(value, icmsc.networks[name].state_dict()[key]) for key, value in state.items())
    }
    assert changed == {"G_st", "G_ts", "D_s", "D_t"}
    assert not icmsc.optimizers["F"].state


def test_discriminators_gather_no_gradient_while_the_generators_learn(batch):
    icmsc = method()
    seen = []

    def look(optimizer, *_):
        seen.append([p.grad for name in ("D_s", "D_t") for p in icmsc.networks[name].parameters()])

    icmsc.optimizers["G"].register_step_pre_hook(look)
    icmsc.train_step(batch, STAGE_2, np.random.default_rng(0))
    assert all(gradient is None for gradient in seen[0])
    assert all(p.grad is not None for name in ("D_s", "D_t") for p in icmsc.networks[name].parameters())


def test_the_discriminators_learn_from_images_that_are_cut_off_from_the_generators(batch):
    icmsc = method()
    of_generators = []
    for name in ("G", "D"):
        icmsc.optimizers[name].register_step_pre_hook(
            lambda *_: of_generators.append([p.grad.clone() for p in icmsc.networks["G_st"].parameters()])
        )
    icmsc.train_step(batch, STAGE_2, np.random.default_rng(0))
    at_their_step, after_the_discriminators = of_generators
    assert all(torch.equal(a, b) for a, b in zip(at_their_step, after_the_discriminators, strict=True))


def plain_segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Equation 2 written down once more."""
    p = logits.softmax(1)
    cross_entropy = -(target * logits.log_softmax(1)).sum(1).mean()
    overlap, squares = (p * target).sum((0, 2, 3)), (p * p).sum((0, 2, 3)) + (target * target).sum((0, 2, 3))
    return cross_entropy + 1 - ((2 * overlap + 1e-5) / (squares + 1e-5)).mean()


def plain_objective(networks: dict[str, torch.nn.Module], batch: Batch) -> Tensor:
    """Equation 1 as printed, every forward pass anew wherever an image or a prediction is named."""
    G_st, G_ts, F_s, F_t, D_s, D_t = (networks[name] for name in ("G_st", "G_ts", "F_s", "F_t", "D_s", "D_t"))
    x_s, x_t, y_s = batch.x_s, batch.x_t, nnf.one_hot(batch.y_s, 3).permute(0, 3, 1, 2).float()

    def predicted(logits: Tensor) -> Tensor:
        return nnf.one_hot(logits.detach().argmax(1), 3).permute(0, 3, 1, 2).float()

    supervised = plain_segmentation_loss(F_s(x_s), y_s)
    adversarial = ((D_t(G_st(x_s)) - 1) ** 2).mean() + ((D_s(G_ts(x_t)) - 1) ** 2).mean()
    reconstruction = (G_ts(G_st(x_s)) - x_s).abs().mean() + (G_st(G_ts(x_t)) - x_t).abs().mean()
    imsc = plain_segmentation_loss(F_s(G_ts(G_st(x_s))), predicted(F_s(x_s))) + plain_segmentation_loss(
        F_t(G_st(G_ts(x_t))), predicted(F_t(x_t))
    )
    cmsc = plain_segmentation_loss(F_t(G_st(x_s)), y_s) + plain_segmentation_loss(F_t(x_t), predicted(F_s(G_ts(x_t))))
    return supervised + adversarial + 10 * reconstruction + 0.1 * imsc + 0.1 * cmsc


@pytest.mark.parametrize("recompute", [False, True])
def test_two_backward_passes_give_the_gradients_of_the_plain_sum(batch, recompute):
    shared = method(recompute=recompute)
    plain_objective_of = method()
    with frozen(shared.networks["D_s"], shared.networks["D_t"]):
        for half in ("CT", "MR"):
            half_loss(shared, half, batch, STAGE_2)[0].backward()
    plain_objective(plain_objective_of.networks, batch).backward()
    got, expected = gradients(shared), gradients(plain_objective_of)
    for name in ("G_st", "G_ts", "F_s", "F_t"):
        error, size = (
            torch.stack([t.norm() for t in tensors]).norm().item()
            for tensors in ([a - b for a, b in zip(got[name], expected[name], strict=True)], expected[name])
        )
        assert size > 0
        assert error < 1e-4 * size, name


@pytest.mark.parametrize(("moment", "segmenter_passes"), [(STAGE_1, 0), (STAGE_2, 6)])
def test_a_step_takes_4_passes_of_generators_and_6_of_segmenters(batch, moment, segmenter_passes):
    icmsc = method()
    passes = Counter()
    for name, network in icmsc.networks.items():
        network.register_forward_hook(lambda *_, kind=name[0]: passes.update([kind]))
    icmsc.train_step(batch, moment, np.random.default_rng(0))
    assert passes["G"] == 4
    assert passes["F"] == segmenter_passes


def test_the_learning_rates_are_constant_in_stage_1_and_fall_to_zero_in_stage_2(batch):
    icmsc = method()
    found = []
    for stage, fraction in ((1, 0.0), (1, 0.9), (2, 0.0), (2, 0.5), (2, 0.75)):
        icmsc.train_step(batch, Moment(0, stage, fraction), np.random.default_rng(0))
        found.append([icmsc.optimizers[name].param_groups[0]["lr"] for name in "GDF"])
    assert [rates[0] for rates in found] == pytest.approx([2e-4, 2e-4, 2e-4, 1e-4, 5e-5])
    assert [rates[1] for rates in found] == [rates[0] for rates in found]
    assert [rates[2] for rates in found[2:]] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    assert icmsc.optimizers["G"].param_groups[0]["betas"] == (0.5, 0.999)


def test_soft_targets_and_cross_entropy_train_as_well(batch):
    icmsc = method(IcmscSettings(target="soft", gan_loss="bce", cmsc_t_symmetric=True, identity_weight=0.5))
    losses = icmsc.train_step(batch, STAGE_2, np.random.default_rng(0))
    assert {"cmsc_t_symmetric", "identity_s", "identity_t"} < set(losses)
    assert all(np.isfinite(value) for value in losses.values())


def test_bf16_stays_near_fp32(batch):
    exact, fast = (
        method(precision=precision).train_step(batch, STAGE_2, np.random.default_rng(0))
        for precision in ("fp32", "bf16")
    )
    assert exact != fast
    for name, value in exact.items():
        assert fast[name] == pytest.approx(value, abs=0.15), name


def test_F_t_is_a_way_to_segment_only_where_cmsc_s_teaches_it():
    assert next(iter(method().routes())) == "F_t"
    assert list(method(IcmscSettings(cmsc_s=False)).routes()) == ["F_s(G_ts)", "F_s"]


def test_an_image_pool_of_0_shows_the_new_images_only():
    pool, random = ImagePool(0), np.random.default_rng(0)
    for value in range(5):
        images = torch.full((2, 1, 2, 2), float(value))
        assert torch.equal(pool.exchange(images, random), images)


def test_a_history_that_a_checkpoint_gave_back_is_shown_on_the_device_of_the_new_images():
    """A resume on a GPU: the checkpoint was read into memory. "meta" stands for the GPU."""
    pool, random = ImagePool(3), np.random.default_rng(0)
    pool.images = [torch.zeros(1, 2, 2) for _ in range(3)]
    shown = [pool.exchange(torch.ones(1, 1, 2, 2, device="meta"), random) for _ in range(10)]
    assert {images.device.type for images in shown} == {"meta"}


def test_the_image_pool_shows_old_images_half_of_the_time_and_keeps_its_size():
    pool, random = ImagePool(4), np.random.default_rng(0)
    images = [torch.full((1, 1, 2, 2), float(n), requires_grad=True) for n in range(200)]
    shown = [pool.exchange(image, random) for image in images]
    values = [float(image.flatten()[0]) for image in shown]
    assert values[:4] == [0, 1, 2, 3]  # until it is full, what is new
    old = [value < n for n, value in enumerate(values)]
    assert 70 < sum(old) < 125
    assert len(values) == len(images) and len(pool.images) == 4
    assert len(set(values[4:])) == len(values[4:])  # an image leaves the pool when it is shown
    assert not any(image.requires_grad for image in [*shown, *pool.images])


def test_a_method_takes_back_the_state_it_gave(batch):
    first, second = method(), method()
    for step in range(3):
        first.train_step(batch, STAGE_2, np.random.default_rng(step))
    second.load_extra_state(first.extra_state())
    for name in ("s", "t"):
        given, taken = (icmsc.discriminators.pools[name].images for icmsc in (first, second))
        pairs = zip(given, taken, strict=True)
        assert len(given) == 3
        assert all(torch.equal(a, b) for a, b in pairs)
