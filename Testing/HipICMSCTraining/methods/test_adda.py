"""ADDA's step: what D_f and F_t learn from by hand, what stays frozen, when F_t rests, and where its phases lie."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.adda import Adda, AddaSettings
from HipICMSCTrainingLib.methods.alignment import AlignmentSettings
from HipICMSCTrainingLib.methods.at_rest import at_rest
from HipICMSCTrainingLib.methods.description import attribute_docs
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.run.trainer import Trainer
from method_steps import STEPS, batch_of, changed, do_step, moment_of, take_over, weights
from tiny_training import differences, tiny_settings
from torch.nn import functional as nnf

SETTINGS = tiny_settings()
#: Half of the training: steps 0 to 5 train F_s, 6 to 11 align F_t.
FIRST_ALIGNED = 6
PRETRAINING, ALIGNMENT = Moment(2, 1, 0.5), Moment(8, 2, 0.5)
EAGER = AddaSettings(alignment=AlignmentSettings(least_accuracy=0.0, accuracy_steps=1))
SLOWER = AddaSettings(alignment=AlignmentSettings(least_accuracy=0.0, accuracy_steps=2))


def method(own: AddaSettings = EAGER, **changes) -> Adda:
    """Always the same start, with an F_s that has learned something."""
    torch.manual_seed(5)
    return Adda(tiny_settings(**changes), own, torch.device("cpu"), Distribution())


def aligning(own: AddaSettings = EAGER) -> Adda:
    """In the middle of the alignment, with accuracies that let F_t learn."""
    adda = method(own)
    for step in range(FIRST_ALIGNED):
        do_step(adda, step, SETTINGS)
    adda.train_step(batch_of(50), ALIGNMENT, np.random.default_rng(0))
    adda.alignment.accuracies = [0.7] * own.alignment.accuracy_steps
    return adda


def gradients(network: torch.nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


# The losses.


def test_both_losses_are_cross_entropies_of_which_domain_the_features_are_of():
    adda, batch = aligning(SLOWER), batch_of(51)
    F_s, F_t, D_f = (copy.deepcopy(adda.networks[name]) for name in ("F_s", "F_t", "D_f"))
    losses = adda.train_step(batch, ALIGNMENT, np.random.default_rng(0))
    with torch.no_grad():
        of_ct, of_mr = F_s.features(batch.x_s), F_t.features(batch.x_t)
        assert of_ct.shape == of_mr.shape == (1, 4 * SETTINGS.segmenter.width, 6, 8)
        scores_s, scores_t = D_f(of_ct), D_f(of_mr)
        # -log σ(s) for CT and -log(1 - σ(t)) for MR, half each.
        by_hand = 0.5 * (nnf.softplus(-scores_s).mean() + nnf.softplus(scores_t).mean())
        assert losses["adv_D_f"] == pytest.approx(by_hand.item(), rel=1e-5)
        right = torch.cat([scores_s.flatten() > 0, scores_t.flatten() <= 0]).float().mean()
        assert adda.alignment.accuracies == pytest.approx([0.7, right.item()])  # those of the last two steps
        assert losses["accuracy_D_f"] == pytest.approx((0.7 + right.item()) / 2)
        # Labels are inverted: MR should pass for CT, before the discriminator as it is after its step.
        inverted = nnf.softplus(-adda.networks["D_f"](of_mr)).mean()
        assert losses["adv_F_t"] == pytest.approx(inverted.item(), rel=1e-5)
    assert set(losses) == {"adv_D_f", "accuracy_D_f", "adv_F_t"}


def test_F_s_learns_equation_3_from_CT_alone():
    adda, batch = method(), batch_of(51)
    F_s = copy.deepcopy(adda.networks["F_s"])
    losses = adda.train_step(batch, PRETRAINING, np.random.default_rng(0))
    logits, y = F_s(batch.x_s), nnf.one_hot(batch.y_s, 3).permute(0, 3, 1, 2).float()
    p = logits.softmax(1)
    overlap, squares = (p * y).sum((0, 2, 3)), (p * p + y * y).sum((0, 2, 3))
    by_hand = -(y * p.log()).sum(1).mean() + 1 - ((2 * overlap + 1e-5) / (squares + 1e-5)).mean()
    assert losses == {"supervised": pytest.approx(by_hand.item(), rel=1e-5)}
    other = method()
    assert other.train_step(replace(batch, x_t=-batch.x_t), PRETRAINING, np.random.default_rng(0)) == losses
    assert differences(weights(adda), weights(other)) == []


# What learns and what stays.


def test_the_inverted_loss_teaches_F_t_up_to_its_last_dilated_block_and_nothing_else():
    adda, batch = aligning(), batch_of(51)
    of_judge = []
    adda.optimizers["D_f"].register_step_pre_hook(lambda *_: of_judge.append(gradients(adda.networks["D_f"])))
    for network in adda.networks.values():
        network.zero_grad(set_to_none=True)
    F_t = copy.deepcopy(adda.networks["F_t"])
    adda.train_step(batch, ALIGNMENT, np.random.default_rng(0))
    assert all(gradient is None for gradient in gradients(adda.networks["F_s"]))
    for head in ("decoder", "upsample"):
        assert all(gradient is None for gradient in gradients(getattr(adda.networks["F_t"], head)))
        assert not any(p.requires_grad for p in getattr(adda.networks["F_t"], head).parameters())
    # D_f only passes the gradient on.
    assert all(torch.equal(a, b) for a, b in zip(of_judge[0], gradients(adda.networks["D_f"]), strict=True))

    nnf.softplus(-adda.networks["D_f"](F_t.features(batch.x_t))).mean().backward()
    for part in ("encoder", "residual"):
        pairs = zip(gradients(getattr(F_t, part)), gradients(getattr(adda.networks["F_t"], part)), strict=True)
        for expected, got in pairs:
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)


def test_in_the_alignment_F_s_and_the_head_of_F_t_stay_to_the_last_bit():
    adda = method()
    for step in range(FIRST_ALIGNED):
        do_step(adda, step, SETTINGS)
    before = weights(adda)
    for step in range(FIRST_ALIGNED, STEPS):
        do_step(adda, step, SETTINGS)
    after = weights(adda)
    assert changed(before, after) == {"F_t", "D_f"}  # F_s's batch statistics stay, too
    kept = {key for key, value in after["F_t"].items() if torch.equal(value, before["F_s"][key])}
    assert kept >= {key for key in after["F_t"] if key.startswith(("decoder.", "upsample."))}
    learned = {name for name, _ in adda.networks["F_t"].named_parameters()} - kept
    assert learned and all(name.startswith(("encoder.", "residual.")) for name in learned)
    assert "encoder.0.weight" in learned


def test_a_network_at_rest_reads_the_statistics_of_its_slice_and_keeps_none():
    F_s = aligning().networks["F_s"]
    before, x = copy.deepcopy(F_s.state_dict()), batch_of(51).x_s
    with at_rest(F_s):
        rested = F_s(x)
    assert differences(before, F_s.state_dict()) == []
    learning = F_s(x)
    assert torch.equal(rested, learning)
    assert differences(before, F_s.state_dict()) != []
    assert all(p.requires_grad for p in F_s.parameters())


# The rule of 60 %.


@pytest.mark.parametrize(
    ("accuracies", "learns"),
    [
        ([], False), ([0.9], False),  # D_f has hardly learned
        ([0.6, 0.6], False), ([0.61, 0.61], True), ([0.9, 0.2], False), ([0.3, 0.95], True),
    ],
)  # fmt: skip
def test_F_t_learns_only_while_D_f_knows_more_than_60_percent(accuracies, learns):
    adda = aligning(AddaSettings(alignment=AlignmentSettings(accuracy_steps=2)))
    adda.alignment.accuracies = list(accuracies)
    before = {name: p.detach().clone() for name, p in adda.networks["F_t"].named_parameters()}
    judge = copy.deepcopy(adda.networks["D_f"].state_dict())
    adda.train_step(batch_of(51), ALIGNMENT, np.random.default_rng(0))
    after = dict(adda.networks["F_t"].named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before) == learns
    assert differences(judge, adda.networks["D_f"].state_dict()) != []  # D_f goes on learning


def test_the_accuracy_is_that_of_the_last_steps():
    adda = aligning(AddaSettings(alignment=AlignmentSettings(accuracy_steps=3)))
    adda.alignment.accuracies = [0.0, 0.9, 1.0]
    adda.train_step(batch_of(51), ALIGNMENT, np.random.default_rng(0))
    assert adda.alignment.accuracies[:2] == [0.9, 1.0]
    assert len(adda.alignment.accuracies) == 3
    assert adda.alignment.accuracy == pytest.approx(sum(adda.alignment.accuracies) / 3)


# Phases.


def test_F_t_starts_as_an_exact_copy_of_F_s_and_then_goes_its_own_way():
    adda, found = method(), []
    F_s, F_t = adda.networks["F_s"], adda.networks["F_t"]
    for step in range(FIRST_ALIGNED):
        do_step(adda, step, SETTINGS)
    hook = F_t.encoder.register_forward_pre_hook(
        lambda *_: found.append(differences(dict(F_s.state_dict()), dict(F_t.state_dict())))
    )
    for step in range(FIRST_ALIGNED, STEPS):
        do_step(adda, step, SETTINGS)
    hook.remove()
    assert len(found) == STEPS - FIRST_ALIGNED
    assert found[0] == []
    assert "/encoder.0.weight" in found[2]


@pytest.mark.parametrize(
    ("share", "stages", "aligned"), [(0.5, (1, 2), 6), (0.25, (1, 2), 3), (0.5, (0, 3), 6), (0.5, (3, 0), 6)]
)
def test_the_alignment_begins_after_its_share_of_the_whole_training(share, stages, aligned):
    settings = tiny_settings(stage1_epochs=stages[0], stage2_epochs=stages[1])
    adda = method(replace(EAGER, pretraining_share=share), stage1_epochs=stages[0], stage2_epochs=stages[1])
    names, rates = [], []
    for step in range(STEPS):
        names.append(set(do_step(adda, step, settings)))
        rates.append(adda.optimizers["F_s"].param_groups[0]["lr"])
    assert names == [{"supervised"}] * aligned + [{"adv_D_f", "accuracy_D_f", "adv_F_t"}] * (STEPS - aligned)
    assert rates[:aligned] == pytest.approx([1e-3 * (1 - step / aligned) for step in range(aligned)])


def test_only_what_was_aligned_is_chosen_unless_nothing_ever_is():
    chosen = [method().may_be_chosen(moment_of(step, SETTINGS)) for step in range(STEPS)]
    assert chosen == [False] * FIRST_ALIGNED + [True] * (STEPS - FIRST_ALIGNED)
    assert method(replace(EAGER, pretraining_share=1.0)).may_be_chosen(moment_of(0, SETTINGS))


def test_the_weights_that_a_run_keeps_are_of_its_alignment(tiny_data, tmp_path):
    """Ten steps train F_s, two align F_t; a score after each epoch of four."""
    run = tiny_data.start(tmp_path / "run", replace(EAGER, pretraining_share=10 / 12))
    Trainer(run).train()
    scored = [line["step"] for line in run.metrics() if "scores" in line]
    assert {4, 8, 12} <= set(scored)
    assert run.checkpoints.selection()["step"] == 12


def test_the_alignment_has_adam_with_a_rate_from_1e_4_to_0_and_a_first_beta_of_a_half():
    adda = method()
    for step in range(STEPS):
        do_step(adda, step, SETTINGS)
        expected = 1e-4 * min(1.0, (STEPS - step) / (STEPS - FIRST_ALIGNED))
        for name in ("F_t", "D_f"):
            group = adda.optimizers[name].param_groups[0]
            assert (group["lr"], group["betas"]) == (pytest.approx(expected), (0.5, 0.999))


@pytest.mark.parametrize("stop", [3, FIRST_ALIGNED - 1, FIRST_ALIGNED, FIRST_ALIGNED + 1, STEPS - 2])
def test_resumed_in_either_phase_it_ends_in_the_same_weights(stop):
    unbroken, first = method(), method()
    for step in range(STEPS):
        do_step(unbroken, step, SETTINGS)
    for step in range(stop):
        do_step(first, step, SETTINGS)
    torch.manual_seed(99)
    second = Adda(SETTINGS, EAGER, torch.device("cpu"), Distribution())
    take_over(first, second)
    for step in range(stop, STEPS):
        do_step(second, step, SETTINGS)
    assert differences(weights(unbroken), weights(second)) == []
    assert unbroken.extra_state() == second.extra_state()


def test_a_pretrained_F_s_needs_no_phase_of_its_own():
    adda = method(replace(EAGER, pretraining_share=0.0), start_from="a.hipmodel")
    F_s = copy.deepcopy(adda.networks["F_s"].state_dict())
    assert set(do_step(adda, 0, SETTINGS)) == {"adv_D_f", "accuracy_D_f", "adv_F_t"}
    assert differences(F_s, adda.networks["F_s"].state_dict()) == []
    assert torch.equal(adda.networks["F_t"].upsample.weight, adda.networks["F_s"].upsample.weight)
    assert torch.equal(adda.networks["F_t"].encoder[0].weight, adda.networks["F_s"].encoder[0].weight)


# Settings.


def test_patches_judge_features_that_are_large_enough_for_them():
    own = replace(EAGER, alignment=replace(EAGER.alignment, discriminator="patch"))
    adda = method(own, crop=CropSettings(spacing_mm=(2.0, 8.0, 2.0), size=(112, 16, 96)))
    assert isinstance(adda.networks["D_f"], PatchDiscriminator)
    adda.alignment.accuracies = [0.9] * own.alignment.accuracy_steps
    before = weights(adda)
    losses = adda.train_step(batch_of(1, 96, 112), ALIGNMENT, np.random.default_rng(0))
    assert all(np.isfinite(value) for value in losses.values())
    assert changed(before, weights(adda)) == {"F_t", "D_f"}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (AddaSettings(pretraining_share=0.0), "pretraining_share"),
        (AddaSettings(pretraining_share=1.5), "pretraining_share 1.5"),
        (AddaSettings(pretraining_share=-0.5), "pretraining_share -0.5"),
        (AddaSettings(alignment=AlignmentSettings(discriminator="patch")), "choose pixel"),
        (AddaSettings(alignment=AlignmentSettings(accuracy_steps=0)), "at least 1"),
    ],
)
def test_settings_that_cannot_be_meant(own, words):
    with pytest.raises(HipError, match=words) as refused:
        method(own)
    assert refused.value.kind == "bad_setting"
    assert refused.value.sentence.endswith(".")


@pytest.mark.parametrize("cls", [AddaSettings, AlignmentSettings])
def test_every_setting_is_explained(cls):
    wanted = set(cls.__dataclass_fields__) - {"alignment"}
    assert set(attribute_docs(cls)) == wanted
