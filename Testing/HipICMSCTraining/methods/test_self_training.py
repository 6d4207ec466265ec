"""Self-training: what the teacher is sure of teaches, nothing else does; and the four stages of ICMSC on slabs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.icmsc import LARGEST_GRADIENT, LEAST_RATE, WARM_UP_STEPS, Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.methods.self_training import (
    SelfTrainingSettings,
    confident_loss,
    ended,
    self_training_losses,
    spoiled,
    sure_classes,
)
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, STAGES, TOGETHER, TRANSLATION
from method_steps import changed, weights
from packages import slab_threshold_network
from tiny_training import POOL, SLAB_ASSIGNMENTS, tiny_settings
from torch import nn

SETTINGS = tiny_settings(SLAB_ASSIGNMENTS)


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """Two pixels beside one another: (1, 3, 1, 2)."""
    return torch.tensor(probabilities).log().T.reshape(1, 3, 1, 2).requires_grad_()


def test_confident_loss_by_hand():
    logits = logits_of([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    labels, sure = torch.tensor([[[1, 0]]]), torch.tensor([[[True, True]]])
    dice = [2 * 0.6 / (0.2**2 + 0.6**2 + 1), 2 * 0.7 / (0.7**2 + 0.3**2 + 1), 0.0]
    expected = (-math.log(0.7) - math.log(0.6)) / 2 + 0.5 * (1 - sum(dice) / 3)
    assert confident_loss(logits, labels, sure, 0.5).item() == pytest.approx(expected, abs=1e-3)
    # Of the first pixel alone.
    sure = torch.tensor([[[True, False]]])
    dice = [0.0, 2 * 0.7 / (0.7**2 + 1), 0.0]
    expected = -math.log(0.7) + 0.5 * (1 - sum(dice) / 3)
    loss = confident_loss(logits, labels, sure, 0.5)
    assert loss.item() == pytest.approx(expected, abs=1e-3)
    loss.backward()
    assert logits.grad[..., 0].abs().max() > 0.01
    assert (logits.grad[..., 1] == 0).all()


def test_where_nothing_is_sure_nothing_is_learned():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = confident_loss(logits, torch.zeros(2, 8, 8, dtype=torch.long), torch.zeros(2, 8, 8, dtype=torch.bool), 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert (logits.grad == 0).all()


def test_what_the_teacher_is_sure_of_is_learned_bone_from_less_than_background():
    # Three pixels of hip bone, background and femur, each once surely and once not.
    hip_bone, femur = [0.75, 0.65, 0.1, 0.2, 0.0, 0.3], [0.2, 0.05, 0.02, 0.0, 0.71, 0.6]
    bones = torch.tensor([hip_bone, femur]).reshape(1, 2, 1, 6)
    labels, sure = sure_classes(bones, 0.7, 0.85)
    assert labels.tolist() == [[[1, 1, 0, 0, 2, 2]]]
    assert sure.tolist() == [[[True, False, True, False, True, False]]]


def test_a_spoiled_slab_keeps_its_place_and_its_range():
    bars = torch.full((3, 64, 64), -0.6)
    bars[..., 20:40] = 0.5
    seen = torch.stack([spoiled(bars, np.random.default_rng(seed)) for seed in range(100)])
    assert seen.min() >= -1
    assert seen.max() <= 1
    assert not torch.equal(seen[0], seen[1])
    # The contrast may be any, but what differs lies where it lay; covered parts average out.
    steps = seen.mean((1, 2)).diff(dim=-1).abs().mean(0)
    assert (seen[..., 30] - seen[..., 10]).abs().mean() > 0.2
    assert set(steps.topk(2).indices.tolist()) <= {18, 19, 20, 38, 39, 40}
    # All slices of a slab are covered alike.
    same = (spoiled(torch.zeros(3, 64, 64), np.random.default_rng(3)).diff(dim=0) == 0).all(0)
    assert same.float().mean() > 0.005
    assert torch.equal(spoiled(bars, np.random.default_rng(0)), seen[0])


def test_where_a_slab_ends_earlier_there_is_no_bone_for_sure_and_elsewhere_nothing_changes():
    slab, labels, sure = torch.full((3, 32, 32), 0.4), torch.full((32, 32), 2), torch.zeros(32, 32, dtype=torch.bool)
    shares = []
    for seed in range(40):
        seen, labels_left, sure_left = ended(slab, labels, sure, np.random.default_rng(seed))
        beyond = seen[1] == -1
        assert torch.allclose(seen, torch.where(beyond, -1.0, 0.4).expand_as(seen))
        assert torch.equal(labels_left, torch.where(beyond, 0, 2))
        assert torch.equal(sure_left, beyond)
        shares.append(float(beyond.float().mean()))
    assert 10 < np.count_nonzero(shares) < 30
    assert max(shares) < 1


def test_simulated_slabs_are_shown_in_foreign_contrasts_as_often_as_not_and_otherwise_as_they_are():
    class Watching(nn.Module):
        """Keeps what it is shown."""

        def __init__(self) -> None:
            super().__init__()
            self.network, self.shown = slab_threshold_network(gain=1.0), []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.shown.append(x)
            return self.network(x)

    student, given = Watching(), batch(SELF_TRAINING)
    random = np.random.default_rng(0)
    for _ in range(40):
        losses = self_training_losses(student, given, SelfTrainingSettings(), 1.0, random)
        assert set(losses) == {"simulated", "self_training"}
    simulated = [shown[:1] for shown in student.shown]
    as_they_are = sum(torch.equal(shown, given.x_s) for shown in simulated)
    assert 10 < as_they_are < 30
    # None is covered, turned or cut off: what sent nothing sends nothing.
    dark = given.x_s == given.x_s.min()
    assert all(float(shown[dark]) < -0.9 for shown in simulated)


# The stages.


def method(own: IcmscSettings | None = None, **changes) -> Icmsc:
    torch.manual_seed(0)
    settings = tiny_settings(SLAB_ASSIGNMENTS, **changes)
    return Icmsc(settings, own or IcmscSettings(image_pool=POOL), torch.device("cpu"), Distribution())


def batch(stage: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x_s, x_t = (torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2))
    y_s = torch.randint(0, 3, (1, 64, 64), generator=generator).to(torch.uint8)
    bones = (torch.rand(1, 3, 64, 64, generator=generator) * 6).softmax(1)[:, 1:] if stage == SELF_TRAINING else None
    return Batch(x_s, y_s, None if stage == SIMULATION else x_t, bones_t=bones)


def step(of: Icmsc, stage: int, fraction: float = 0.5, number: int = 1000) -> dict[str, float]:
    return of.train_step(batch(stage), Moment(number, stage, fraction), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("stage", "networks", "losses"),
    [
        (SIMULATION, {"F_t"}, {"simulated"}),
        (TRANSLATION, {"G_st", "G_ts", "D_s", "D_t"}, None),
        (TOGETHER, {"G_st", "G_ts", "D_s", "D_t", "F_s", "F_t"}, None),
        (SELF_TRAINING, {"F_t"}, {"simulated", "self_training"}),
    ],
    ids=STAGES,
)
def test_which_networks_a_stage_teaches(stage, networks, losses):
    trained = method()
    before = weights(trained)
    found = step(trained, stage)
    assert changed(before, weights(trained)) == networks
    assert all(math.isfinite(value) for value in found.values())
    if losses:
        assert set(found) == losses


def test_discriminators_are_not_exported():
    assert "D_s" not in method().deployable


def test_rates_of_each_stage():
    trained, base = method(), SETTINGS.learning_rate_segmentation

    def rate(stage: int, fraction: float, number: int = 10_000) -> float:
        trained._set_learning_rates(Moment(number, stage, fraction))
        return trained.optimizers["F"].param_groups[0]["lr"]

    assert rate(SIMULATION, 0.0) == pytest.approx(base)
    assert rate(SIMULATION, 0.5) == pytest.approx(base / 2)
    assert rate(SIMULATION, 1.0) == pytest.approx(base * LEAST_RATE)
    assert rate(SIMULATION, 0.0, number=0) == pytest.approx(base / WARM_UP_STEPS)
    # A short stage begins within its first tenth.
    half_begun = base * 0.5 * (0.5 + 0.5 * math.cos(0.05 * math.pi))
    assert rate(SIMULATION, 0.05, number=10) == pytest.approx(half_begun)
    assert rate(TRANSLATION, 0.7) == pytest.approx(base)
    assert rate(TOGETHER, 0.25) == pytest.approx(0.75 * base)
    share = IcmscSettings().self_training_rate
    assert rate(SELF_TRAINING, 0.0) == pytest.approx(share * base)
    assert rate(SELF_TRAINING, 0.5) == pytest.approx(share * base / 2)


def test_a_wild_gradient_is_held(monkeypatch):
    trained = method()
    norms = []

    def seen(parameters, largest: float, clip: Callable = nn.utils.clip_grad_norm_) -> torch.Tensor:
        parameters = list(parameters)
        before = clip(parameters, largest)
        after = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
        norms.append((float(before), float(after)))
        return before

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", seen)
    step(trained, SIMULATION)
    assert norms
    assert all(after <= min(before, LARGEST_GRADIENT) + 1e-4 for before, after in norms)


def test_simulation_teaches_what_it_shows():
    """Bright is femur, dark is hip bone: after some steps on such slabs F_t tells them."""
    trained, random, losses = method(learning_rate_segmentation=3e-3), torch.Generator().manual_seed(0), []
    for number in range(80):
        coarse = torch.rand(2, 3, 4, 4, generator=random) * 2 - 1
        x = nn.functional.interpolate(coarse, (32, 32))
        y = torch.where(x[:, 1] > 0.3, 2, torch.where(x[:, 1] < -0.3, 1, 0)).to(torch.uint8)
        moment = Moment(number + WARM_UP_STEPS, SIMULATION, 0.0)
        losses += trained.train_step(Batch(x, y, None), moment, np.random.default_rng(number)).values()
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


@pytest.mark.parametrize("stage", [SIMULATION, SELF_TRAINING])
def test_before_and_after_the_papers_stages_F_t_is_the_only_way(stage):
    ways = method().ways(stage)
    assert ways.segment_mr == (("F_t",),)
    assert (ways.segment_ct, ways.ct_to_mr, ways.mr_to_ct) == (None, None, None)
    assert method().ways().best == ("F_t",)
    assert method().ways().ct_to_mr == ("G_st",)


def test_losses_are_finite_in_bf16_too():
    trained = method(precision="bf16")
    for stage in range(len(STAGES)):
        assert all(math.isfinite(value) for value in step(trained, stage).values())


# Settings that do not go together.


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"icmsc"}))
def test_methods_that_read_crops_alone_refuse_slabs_in_a_sentence(name):
    with pytest.raises(HipError) as refused:
        METHODS[name].check_settings(SETTINGS)
    assert refused.value.kind == "bad_setting"
    assert "set reads to crop" in refused.value.sentence
    assert "icmsc" in refused.value.sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulation_epochs": 1}, "set reads to slabs"),
        ({"self_training_epochs": 2}, "set reads to slabs"),
        ({"stage1_epochs": 0, "stage2_epochs": 0}, "at least one epoch"),
    ],
    ids=str,
)
def test_stages_that_need_slabs_are_refused_on_crops(changes, words):
    with pytest.raises(HipError, match=words) as refused:
        Icmsc.check_settings(tiny_settings(**changes))
    assert refused.value.kind == "bad_setting"


def test_a_patch_that_the_network_cannot_halve_is_refused():
    from HipICMSCLib.common.settings import replaced

    with pytest.raises(HipError, match="give a multiple of 8"):
        Icmsc.check_settings(replaced(SETTINGS, "simulation.patch", 60))
    Icmsc.check_settings(replaced(SETTINGS, "simulation.patch", 72))
