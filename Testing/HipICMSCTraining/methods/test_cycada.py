"""CyCADA's three stages: their terms by hand, which network learns from which, and where they begin and end."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.alignment import AlignmentSettings
from HipICMSCTrainingLib.methods.at_rest import at_rest
from HipICMSCTrainingLib.methods.cycada import Cycada, CycadaSettings
from HipICMSCTrainingLib.methods.description import attribute_docs
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import frozen
from method_steps import STEPS, batch_of, changed, do_step, moment_of, take_over, weights
from tiny_training import POOL, differences, tiny_settings
from torch import Tensor
from torch.nn import functional as nnf

SETTINGS = tiny_settings()
#: Three of the twelve steps for each phase.
OWN = CycadaSettings(
    image_pool=POOL,
    pretraining_share=0.25,
    translation_share=0.25,
    target_share=0.25,
    alignment=AlignmentSettings(least_accuracy=0.0, accuracy_steps=1),
)
PHASES = {"pretraining": 0, "translation": 3, "target": 6, "alignment": 9}
TRANSLATION_LOSSES = {"adv_G_t", "rec_s", "adv_G_s", "rec_t", "adv_D_t", "adv_D_s"}
LOSSES = {
    "pretraining": TRANSLATION_LOSSES | {"supervised"},
    "translation": TRANSLATION_LOSSES | {"semantic_s", "semantic_t"},
    "target": {"supervised_t"},
    "alignment": {"supervised_t", "adv_D_f", "accuracy_D_f", "adv_F_t"},
}
TRANSLATING = {"G_st", "G_ts", "D_s", "D_t"}


def method(own: CycadaSettings = OWN, seed: int = 5, **changes) -> Cycada:
    """Always the same start."""
    torch.manual_seed(seed)
    return Cycada(tiny_settings(**changes), own, torch.device("cpu"), Distribution())


def grown(phase: str, own: CycadaSettings = OWN) -> Cycada:
    """At the start of a phase."""
    cycada = method(own)
    for step in range(PHASES[phase]):
        do_step(cycada, step, SETTINGS)
    return cycada


def without_gradients(cycada: Cycada) -> Cycada:
    for network in cycada.networks.values():
        network.zero_grad(set_to_none=True)
    return cycada


def gradients(cycada: Cycada) -> dict[str, list[Tensor | None]]:
    return {name: [p.grad for p in network.parameters()] for name, network in cycada.networks.items()}


def taught(cycada: Cycada) -> set[str]:
    """The networks with a gradient other than none or zero."""
    of_all = gradients(cycada)
    return {name for name, of_it in of_all.items() if any(g is not None and bool(g.abs().sum() > 0) for g in of_it)}


def plain_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of the class of each pixel, mean."""
    return -logits.log_softmax(1).gather(1, labels[:, None].long()).mean()


def plain_segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Equation 2."""
    p, y = logits.softmax(1), nnf.one_hot(labels.long(), 3).permute(0, 3, 1, 2).float()
    overlap, squares = (p * y).sum((0, 2, 3)), (p * p + y * y).sum((0, 2, 3))
    return plain_cross_entropy(logits, labels) + 1 - ((2 * overlap + 1e-5) / (squares + 1e-5)).mean()


def half_of(cycada: Cycada, half: str, batch, held: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
    judges = cycada.networks["D_s"], cycada.networks["D_t"]
    F_s = cycada.networks["F_s"]
    with frozen(*judges), at_rest(F_s):
        total, _, terms = cycada.cycles(half, batch, judges[1 if half == "CT" else 0], 1.0, F_s if held else None)
    return total, terms


# The semantic loss.


def test_the_total_of_each_half_is_CycleGAN_s_with_the_cross_entropies_of_a_frozen_F_s():
    cycada, batch = grown("translation"), batch_of(51)
    G_st, G_ts, F_s, D_s, D_t = (copy.deepcopy(cycada.networks[n]) for n in ("G_st", "G_ts", "F_s", "D_s", "D_t"))
    total_ct, ct = half_of(cycada, "CT", batch)
    total_mr, mr = half_of(cycada, "MR", batch)
    with torch.no_grad():
        x_st, x_ts = G_st(batch.x_s), G_ts(batch.x_t)
        semantic_s = plain_cross_entropy(F_s(x_st), batch.y_s)
        semantic_t = plain_cross_entropy(F_s(x_ts), F_s(batch.x_t).argmax(1))
        rec_s, rec_t = (G_ts(x_st) - batch.x_s).abs().mean(), (G_st(x_ts) - batch.x_t).abs().mean()
        adv_t, adv_s = ((D_t(x_st) - 1) ** 2).mean(), ((D_s(x_ts) - 1) ** 2).mean()
    assert ct["semantic_s"].item() == pytest.approx(semantic_s.item(), rel=1e-5)
    assert mr["semantic_t"].item() == pytest.approx(semantic_t.item(), rel=1e-5)
    assert total_ct.item() == pytest.approx((adv_t + 10 * rec_s + semantic_s).item(), rel=1e-5)
    assert total_mr.item() == pytest.approx((adv_s + 10 * rec_t + semantic_t).item(), rel=1e-5)


@pytest.mark.parametrize(("half", "generator"), [("CT", "G_st"), ("MR", "G_ts")])
def test_each_semantic_term_teaches_the_generator_that_made_the_image_and_no_other(half, generator):
    own = replace(OWN, adversarial_weight=0.0, reconstruction_weight=0.0)
    cycada = without_gradients(grown("translation", own))
    before = weights(cycada)
    total, terms = half_of(cycada, half, batch_of(51))
    total.backward()
    assert total.item() == pytest.approx(terms["semantic_s" if half == "CT" else "semantic_t"].item())
    assert taught(cycada) == {generator}
    assert all(g is None for name in ("F_s", "F_t", "D_s", "D_t", "D_f") for g in gradients(cycada)[name])
    assert changed(before, weights(cycada)) == set()  # nor do F_s's batch statistics move


def test_the_semantic_loss_has_a_weight_and_a_switch():
    batch = batch_of(51)
    heavy, plain, off = (
        grown("translation", replace(OWN, **changes)) for changes in ({"semantic_weight": 3.0}, {}, {"semantic": False})
    )
    for half, term in (("CT", "semantic_s"), ("MR", "semantic_t")):
        total, terms = half_of(plain, half, batch)
        more, _ = half_of(heavy, half, batch)
        free, without = half_of(plain, half, batch, held=False)
        assert (more - total).item() == pytest.approx(2 * terms[term].item(), rel=1e-4)
        assert (total - free).item() == pytest.approx(terms[term].item(), rel=1e-4)
        assert set(terms) - set(without) == {term}
    assert set(do_step(off, PHASES["translation"], SETTINGS)) == TRANSLATION_LOSSES


# The stages.


def test_each_phase_has_its_losses_and_changes_its_networks():
    cycada, found = method(replace(OWN, target_from_source=False)), {}
    for step in range(STEPS):
        before = weights(cycada)
        names = set(do_step(cycada, step, SETTINGS))
        found[step] = (names, changed(before, weights(cycada)))
    networks = {
        "pretraining": TRANSLATING | {"F_s"},
        "translation": TRANSLATING,
        "target": {"F_t"},
        "alignment": {"F_t", "D_f"},
    }
    expected = [(LOSSES[phase], networks[phase]) for phase in PHASES for _ in range(3)]
    assert list(found.values()) == expected


@pytest.mark.parametrize("stages", [(1, 2), (0, 3), (3, 0), (2, 1)])
def test_the_phases_share_the_whole_training_wherever_its_stages_meet(stages):
    changes = {"stage1_epochs": stages[0], "stage2_epochs": stages[1]}
    settings, cycada = tiny_settings(**changes), method(**changes)
    found = [set(do_step(cycada, step, settings)) for step in range(STEPS)]
    assert found == [LOSSES[phase] for phase in PHASES for _ in range(3)]


def test_only_what_learned_from_translated_CT_is_chosen_unless_nothing_ever_does():
    cycada = method()
    chosen = [cycada.may_be_chosen(moment_of(step, SETTINGS)) for step in range(STEPS)]
    assert chosen == [False] * 6 + [True] * 6
    never = method(replace(OWN, pretraining_share=0.5, translation_share=0.5, target_share=0.0))
    assert never.may_be_chosen(moment_of(0, SETTINGS))


def test_rates_go_down_to_0_with_the_phase_of_what_learns():
    cycada, rates = method(), []
    for step in range(STEPS):
        do_step(cycada, step, SETTINGS)
        rates.append({name: optimizer.param_groups[0]["lr"] for name, optimizer in cycada.optimizers.items()})
    falling = [1.0, 2 / 3, 1 / 3]
    assert [r["F_s"] for r in rates[0:3]] == pytest.approx([1e-3 * f for f in falling])
    for name in ("G", "D"):
        assert [r[name] for r in rates[0:3]] == pytest.approx([2e-4] * 3)
        assert [r[name] for r in rates[3:6]] == pytest.approx([2e-4 * f for f in falling])
    assert [r["F_t"] for r in rates[6:9]] == pytest.approx([1e-3 * f for f in falling])
    for name in ("F_t_alignment", "D_f"):
        assert [r[name] for r in rates[9:12]] == pytest.approx([1e-4 * f for f in falling])
        assert cycada.optimizers[name].param_groups[0]["betas"] == (0.5, 0.999)


def test_F_t_starts_as_an_exact_copy_of_F_s():
    cycada, found = grown("target"), []
    F_s, F_t = cycada.networks["F_s"], cycada.networks["F_t"]
    F_t.register_forward_pre_hook(lambda *_: found.append(differences(dict(F_s.state_dict()), dict(F_t.state_dict()))))
    for step in (PHASES["target"], PHASES["target"] + 1):
        do_step(cycada, step, SETTINGS)
    assert found[0] == []
    assert "/encoder.0.weight" in found[1]


def test_or_F_t_starts_from_chance():
    cycada = grown("target", replace(OWN, target_from_source=False))
    start = method(replace(OWN, target_from_source=False)).networks["F_t"]
    assert differences(dict(start.state_dict()), dict(cycada.networks["F_t"].state_dict())) == []


def test_F_t_learns_equation_2_from_translated_CT_and_its_labels():
    cycada, batch = without_gradients(grown("target")), batch_of(PHASES["target"])
    G_st, F_s = (copy.deepcopy(cycada.networks[name]) for name in ("G_st", "F_s"))
    losses = do_step(cycada, PHASES["target"], SETTINGS)
    with torch.no_grad():
        by_hand = plain_segmentation_loss(F_s(G_st(batch.x_s)), batch.y_s)  # F_t is F_s so far
    assert losses == {"supervised_t": pytest.approx(by_hand.item(), rel=1e-5)}
    assert taught(cycada) == {"F_t"}


# The alignment.


def aligned_step(accuracy: float, own: CycadaSettings) -> tuple[Cycada, dict, dict[str, float]]:
    """A step at which D_f knew ``accuracy`` of the domains before: the method after it, its networks before, losses."""
    cycada = grown("alignment", own)
    do_step(cycada, PHASES["alignment"], SETTINGS)
    cycada.alignment.accuracies = [accuracy] * own.alignment.accuracy_steps
    before = copy.deepcopy(cycada.networks)
    losses = do_step(without_gradients(cycada), PHASES["alignment"] + 1, SETTINGS)
    return cycada, before, losses


def test_D_f_tells_scores_of_translated_CT_from_scores_of_MR():
    own = replace(OWN, alignment=replace(OWN.alignment, accuracy_steps=2))
    cycada, before, losses = aligned_step(0.9, own)
    batch = batch_of(PHASES["alignment"] + 1)
    with torch.no_grad():
        scores_st, scores_t = before["F_t"](before["G_st"](batch.x_s)), before["F_t"](batch.x_t)
        assert scores_t.shape == (1, 3, 24, 32)
        judged_st, judged_t = before["D_f"](scores_st), before["D_f"](scores_t)
        by_hand = 0.5 * (nnf.softplus(-judged_st).mean() + nnf.softplus(judged_t).mean())
        right = torch.cat([judged_st.flatten() > 0, judged_t.flatten() <= 0]).float().mean()
        inverted = nnf.softplus(-cycada.networks["D_f"](scores_t)).mean()
    assert losses["adv_D_f"] == pytest.approx(by_hand.item(), rel=1e-5)
    assert losses["accuracy_D_f"] == pytest.approx((0.9 + right.item()) / 2)
    assert losses["adv_F_t"] == pytest.approx(inverted.item(), rel=1e-5)
    assert losses["supervised_t"] == pytest.approx(plain_segmentation_loss(scores_st, batch.y_s).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("accuracy", "own", "weight"),
    [
        (0.61, replace(OWN, alignment=AlignmentSettings(accuracy_steps=1)), 0.1),
        (0.6, replace(OWN, alignment=AlignmentSettings(accuracy_steps=1)), 0.0),
        (0.61, replace(OWN, alignment=AlignmentSettings(accuracy_steps=1), alignment_weight=2.0), 2.0),
    ],
)
def test_F_t_learns_from_labels_and_with_a_tenth_from_a_D_f_that_knows_more_than_60_percent(accuracy, own, weight):
    cycada, before, _ = aligned_step(accuracy, own)
    batch, F_t = batch_of(PHASES["alignment"] + 1), before["F_t"]
    with torch.no_grad():
        x_st = before["G_st"](batch.x_s)
    inverted = nnf.softplus(-cycada.networks["D_f"](F_t(batch.x_t))).mean()
    (plain_segmentation_loss(F_t(x_st), batch.y_s) + weight * inverted).backward()
    for got, expected in zip(gradients(cycada)["F_t"], [p.grad for p in F_t.parameters()], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)
    assert taught(cycada) == {"F_t", "D_f"}
    assert changed({n: n_.state_dict() for n, n_ in before.items()}, weights(cycada)) == {"F_t", "D_f"}


def test_D_f_gathers_no_gradient_while_F_t_learns():
    cycada, found = without_gradients(grown("alignment")), []
    cycada.alignment.accuracies = [0.9]
    for name in ("D_f", "F_t_alignment"):
        cycada.optimizers[name].register_step_pre_hook(
            lambda *_: found.append([p.grad.clone() for p in cycada.networks["D_f"].parameters()])
        )
    do_step(cycada, PHASES["alignment"], SETTINGS)
    at_its_step, after_F_t = found
    assert all(torch.equal(a, b) for a, b in zip(at_its_step, after_F_t, strict=True))


# Interruptions.


@pytest.mark.parametrize(
    "stop", [pytest.param(stop, marks=() if stop in (4, 9) else pytest.mark.slow) for stop in range(1, STEPS)]
)
def test_resumed_after_any_step_it_ends_in_the_same_weights(stop):
    unbroken, first = method(), method()
    for step in range(STEPS):
        do_step(unbroken, step, SETTINGS)
    for step in range(stop):
        do_step(first, step, SETTINGS)
    second = method(seed=99)
    take_over(first, second)
    for step in range(stop, STEPS):
        do_step(second, step, SETTINGS)
    assert differences(weights(unbroken), weights(second)) == []
    assert differences(unbroken.extra_state(), second.extra_state()) == []


# Settings.


def test_patches_may_judge_the_scores():
    own = replace(OWN, alignment=replace(OWN.alignment, discriminator="patch"))
    cycada = grown("alignment", own)
    assert isinstance(cycada.networks["D_f"], PatchDiscriminator)
    before = weights(cycada)
    for step in (PHASES["alignment"], PHASES["alignment"] + 1):
        assert all(np.isfinite(value) for value in do_step(cycada, step, SETTINGS).values())
    assert changed(before, weights(cycada)) == {"F_t", "D_f"}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (replace(OWN, pretraining_share=0.0), "pretraining_share"),
        (replace(OWN, target_share=0.75), "target_share 0.75"),
    ],
)
def test_shares_that_cannot_be_meant(own, words):
    with pytest.raises(HipError, match=words) as refused:
        method(own)
    assert refused.value.kind == "bad_setting"


def test_with_an_F_s_from_a_model_the_translation_is_held_from_the_first_step():
    cycada = method(replace(OWN, pretraining_share=0.0, translation_share=0.5), start_from="a.hipmodel")
    assert set(cycada.train_step(batch_of(0), Moment(0, 1, 0.0), np.random.default_rng(0))) == LOSSES["translation"]


def test_every_setting_is_explained():
    assert set(attribute_docs(CycadaSettings)) == set(CycadaSettings.__dataclass_fields__) - {"alignment"}
