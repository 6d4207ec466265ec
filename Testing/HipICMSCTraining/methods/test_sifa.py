"""SIFA's step: every term by hand, which networks it teaches, and what the shared encoder gets of all of them."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.methods.sifa import Part, Sifa, SifaSettings
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import frozen
from HipICMSCTrainingLib.networks.sifa_networks import AddingTranslator, SifaDecoder
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from tiny_training import tiny_settings
from torch import Tensor, nn
from torch.nn import functional as nnf

START, MIDDLE_OF_STAGE_2 = Moment(0, 1, 0.0), Moment(100, 2, 0.5)
PARTS = ("CT cycle", "MR cycle", "segmentation")
JUDGES = {"D_t", "D_s", "D_P", "D_P_low"}
#: Without any term that has a weight; the segmentation loss of S remains.
BARE = SifaSettings(
    adversarial_weight=0.0,
    reconstruction_weight=0.0,
    lower_segmentation_weight=0.0,
    prediction_weight=0.0,
    lower_prediction_weight=0.0,
    auxiliary_weight=0.0,
    l2_weight=0.0,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def method(own: SifaSettings = SifaSettings(), **changes) -> Sifa:  # noqa: B008
    """Always the same start."""
    torch.manual_seed(5)
    return Sifa(tiny_settings(**changes), own, torch.device("cpu"), Distribution())


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x_s, x_t = (torch.rand(2, 1, 24, 32, generator=generator) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (2, 24, 32), generator=generator), x_t)


def part_of(sifa: Sifa, part: str, batch: Batch) -> Part:
    x_st = sifa.networks["G_st"](batch.x_s).detach() if part == "segmentation" else None
    with frozen(*sifa.judges.values()):
        return sifa.objective(part, batch, sifa.judges, x_st)


def gradients(own: SifaSettings, part: str, batch: Batch) -> dict[str, list[Tensor | None]]:
    sifa = method(own)
    part_of(sifa, part, batch).loss.backward()
    return {name: [p.grad for p in network.parameters()] for name, network in sifa.networks.items()}


def taught(gradients: dict[str, list[Tensor | None]]) -> set[str]:
    return {name for name, of_it in gradients.items() if any(g is not None and g.abs().sum() > 0 for g in of_it)}


def plain_segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    p, y = logits.softmax(1), nnf.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    overlap, squares = (p * y).sum((0, 2, 3)), (p * p + y * y).sum((0, 2, 3))
    return -(y * p.log()).sum(1).mean() + 1 - ((2 * overlap + 1e-5) / (squares + 1e-5)).mean()


def plain_terms(networks: dict[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
    """What each term is, written down once more, with every image anew wherever it is named."""
    G_st, E, U, S, S_low, D_t, D_s, D_P, D_P_low = (networks[name] for name in networks)

    def x_st() -> Tensor:
        return G_st(batch.x_s)

    def x_ts() -> Tensor:
        return U(E(batch.x_t))

    def far_from(scores: Tensor, wanted: float) -> Tensor:
        return ((scores - wanted) ** 2).mean()

    p_st, p_t = S(E(x_st())).softmax(1), S(E(batch.x_t)).softmax(1)
    low_st, low_t = (S_low(E.levels(x)[1]).softmax(1) for x in (x_st(), batch.x_t))
    cyc_s = U(E(x_st()))
    return {
        "adv_G_t": far_from(D_t(x_st()), 1),
        "rec_s": (cyc_s - batch.x_s).abs().mean(),
        "adv_G_s": far_from(D_s(x_ts())[:, 0], 1),
        "rec_t": (G_st(x_ts()) - batch.x_t).abs().mean(),
        "supervised": plain_segmentation_loss(S(E(x_st())), batch.y_s),
        "supervised_low": plain_segmentation_loss(S_low(E.levels(x_st())[1]), batch.y_s),
        "adv_P": far_from(D_P(p_t), 1),
        "adv_P_low": far_from(D_P_low(low_t), 1),
        "aux": far_from(D_s(x_ts())[:, 1], 1),
        "adv_D_t": (far_from(D_t(batch.x_t), 1) + far_from(D_t(x_st()), 0)) / 2,
        "adv_D_s": (far_from(D_s(batch.x_s)[:, 0], 1) + far_from(D_s(x_ts())[:, 0], 0)) / 2,
        "aux_D_s": (far_from(D_s(cyc_s)[:, 1], 1) + far_from(D_s(x_ts())[:, 1], 0)) / 2,
        "adv_D_P": (far_from(D_P(p_st), 1) + far_from(D_P(p_t), 0)) / 2,
        "adv_D_P_low": (far_from(D_P_low(low_st), 1) + far_from(D_P_low(low_t), 0)) / 2,
    }


# The terms.


def test_every_term_is_what_the_formulas_say(batch):
    sifa = method()
    expected = plain_terms(sifa.networks, batch)
    losses = sifa.train_step(batch, START, np.random.default_rng(0))
    assert losses == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)


def test_the_weights_of_the_terms(batch):
    sifa = method()
    parts = [part_of(sifa, part, batch) for part in PARTS]
    terms = {name: value for part in parts for name, value in part.terms.items()}
    by_hand = (
        terms["adv_G_t"] + 10 * terms["rec_s"],
        terms["adv_G_s"] + 10 * terms["rec_t"],
        terms["supervised"] + 0.1 * terms["supervised_low"]
        + 0.1 * terms["adv_P"] + 0.01 * terms["adv_P_low"] + 0.1 * terms["aux"],
    )  # fmt: skip
    for part, expected in zip(parts, by_hand, strict=True):
        assert part.loss.item() == pytest.approx(expected.item(), rel=1e-5)


# Who learns from what.


@pytest.mark.parametrize(
    ("setting", "part", "networks"),
    [
        ("adversarial_weight", "CT cycle", {"G_st"}),
        ("adversarial_weight", "MR cycle", {"E", "U"}),
        ("reconstruction_weight", "CT cycle", {"G_st", "E", "U"}),
        ("reconstruction_weight", "MR cycle", {"G_st", "E", "U"}),
        ("lower_segmentation_weight", "segmentation", {"E", "S_low"}),
        ("prediction_weight", "segmentation", {"E", "S"}),
        ("lower_prediction_weight", "segmentation", {"E", "S_low"}),
        ("auxiliary_weight", "segmentation", {"E"}),  # U only passes the gradient on
    ],
)
def test_which_networks_a_term_teaches(batch, setting, part, networks):
    before, after = (gradients(own, part, batch) for own in (BARE, replace(BARE, **{setting: 1.0})))

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        zeros = torch.zeros(1)  # a term that is not there and one of weight 0 teach as little
        return torch.equal(*torch.broadcast_tensors(zeros if a is None else a, zeros if b is None else b))

    changed = {name for name in before if not all(same(*pair) for pair in zip(before[name], after[name], strict=True))}
    assert changed == networks


def test_labels_teach_the_encoder_and_its_heads_alone(batch):
    assert taught(gradients(BARE, "segmentation", batch)) == {"E", "S"}
    assert taught(gradients(BARE, "CT cycle", batch)) == taught(gradients(BARE, "MR cycle", batch)) == set()


def test_the_encoder_gets_a_tenth_of_the_translation_and_the_others_all_of_it(batch):
    own = SifaSettings(l2_weight=0.0)
    seen = {}
    sifa = method(own)
    for name in ("G", "E"):
        sifa.optimizers[name].register_step_pre_hook(
            lambda optimizer, *_, name=name: seen.update(
                {name: [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]}
            )
        )
    sifa.train_step(batch, START, np.random.default_rng(0))

    ct, mr, segmentation = (gradients(own, part, batch) for part in PARTS)
    of_translation = [a + b for name in ("G_st", "U") for a, b in zip(ct[name], mr[name], strict=True)]
    encoder = [0.1 * (a + b) + c for a, b, c in zip(ct["E"], mr["E"], segmentation["E"], strict=True)]
    of_heads = [*segmentation["S"], *segmentation["S_low"]]
    for got, expected in zip(seen["G"] + seen["E"], of_translation + encoder + of_heads, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_the_squares_of_the_weights_hold_the_encoder_and_its_heads(batch):
    """A step with the L2 term is a step without it on gradients to which its own, weight times parameter, is added."""
    with_term, by_hand = method(SifaSettings(l2_weight=0.5)), method(SifaSettings(l2_weight=0.0))

    def add(optimizer, *_) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad += 0.5 * parameter.detach()

    by_hand.optimizers["E"].register_step_pre_hook(add)
    for sifa in (with_term, by_hand):
        sifa.train_step(batch, START, np.random.default_rng(0))
    for name in ("G_st", "E", "U", "S", "S_low"):
        pairs = zip(with_term.networks[name].parameters(), by_hand.networks[name].parameters(), strict=True)
        for got, expected in pairs:
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_a_step_moves_every_network_and_leaves_the_discriminators_out_of_the_others_gradients(batch):
    sifa = method()
    before = {name: copy.deepcopy(network.state_dict()) for name, network in sifa.networks.items()}
    gathered = []
    for name in ("G", "E"):
        sifa.optimizers[name].register_step_pre_hook(
            lambda *_: gathered.extend(p.grad for judge in sifa.judges.values() for p in judge.parameters())
        )
    sifa.train_step(batch, START, np.random.default_rng(0))
    assert set(sifa.judges) == JUDGES
    assert gathered
    assert all(gradient is None for gradient in gathered)
    for name, state in before.items():
        after = sifa.networks[name].state_dict()
        assert any(not torch.equal(value, after[key]) for key, value in state.items()), name


def test_the_discriminators_give_the_others_no_gradient(batch):
    sifa = method()
    seen = []
    for name in ("E", "D"):
        sifa.optimizers[name].register_step_pre_hook(
            lambda *_: seen.append(
                [p.grad.clone() for n in ("G_st", "E", "U", "S", "S_low") for p in sifa.networks[n].parameters()]
            )
        )
    sifa.train_step(batch, START, np.random.default_rng(0))
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_learning_rates(batch):
    sifa = method()
    rates = []
    for moment in (START, MIDDLE_OF_STAGE_2):
        sifa.train_step(batch, moment, np.random.default_rng(0))
        rates.append({name: optimizer.param_groups[0]["lr"] for name, optimizer in sifa.optimizers.items()})
    assert rates[0] == dict.fromkeys("GED", 2e-4)
    assert rates[1] == pytest.approx(dict.fromkeys("GED", 1e-4))


# The networks.


def test_generator_and_decoder_begin_near_to_leaving_a_slice_as_it_is(batch):
    settings = tiny_settings()
    G_st = AddingTranslator(settings.translator)
    U = SifaDecoder(settings.segmenter, settings.translator)
    for network in (G_st, U):
        with torch.no_grad():
            last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
            last.weight.zero_()
    encoded = method().networks["E"](batch.x_s)
    torch.testing.assert_close(G_st(batch.x_s), batch.x_s.tanh())
    torch.testing.assert_close(U(encoded), batch.x_s.tanh())


def test_the_translations_of_a_slice_have_its_size(batch):
    sifa = method()
    shown = part_of(sifa, "CT cycle", batch).shown | part_of(sifa, "MR cycle", batch).shown
    assert {name: tuple(image.shape) for name, image in shown.items()} == dict.fromkeys(
        ("x_st", "cyc_s", "x_ts"), (2, 1, 24, 32)
    )
    shown = part_of(sifa, "segmentation", batch).shown
    assert {tuple(image.shape) for image in shown.values()} == {(2, 3, 24, 32)}
    for prediction in shown.values():
        torch.testing.assert_close(prediction.sum(1), torch.ones(2, 24, 32))
    assert not any(image.requires_grad for image in shown.values())


def test_a_discriminator_of_predictions_and_one_with_two_answers():
    assert PatchDiscriminator(8, inputs=3)(torch.zeros(2, 3, 24, 32)).shape[1] == 1
    assert PatchDiscriminator(8, outputs=2)(torch.zeros(2, 1, 24, 32)).shape[1] == 2


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_a_step_in_bf16_with_each_norm(batch, norm):
    settings = tiny_settings()
    segmenter = replace(settings.segmenter, norm=norm)
    losses = method(segmenter=segmenter, precision="bf16").train_step(batch, START, np.random.default_rng(0))
    assert np.isfinite(list(losses.values())).all()


# Before a training.


def test_slices_that_the_encoder_cannot_halve_three_times_are_refused_before_anything_is_written(tiny_data, tmp_path):
    settings = tiny_settings(crop=CropSettings((8.0, 8.0, 8.0), (36, 16, 20)))
    with pytest.raises(HipError) as caught:
        start_run(tmp_path / "run", RunDescription("sifa", settings, SifaSettings(), tiny_data.dataset))
    assert caught.value.kind == "bad_setting"
    assert "multiples of 8" in caught.value.sentence
    assert "[40, 16, 24]" in caught.value.sentence
    assert not (tmp_path / "run").exists()
    fitting = replace(settings, crop=replace(settings.crop, size=(40, 16, 24)))
    start_run(tmp_path / "run", RunDescription("sifa", fitting, SifaSettings(), tiny_data.dataset))
