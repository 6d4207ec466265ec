"""Two processes under torchrun do the very steps of one process with the batches of both, in every method and phase."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.adda import AddaSettings
from HipICMSCTrainingLib.methods.alignment import AlignmentSettings
from HipICMSCTrainingLib.methods.cycada import CycadaSettings
from HipICMSCTrainingLib.methods.cyclegan import CycleGanSettings
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.methods.no_adaptation import NoAdaptationSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.methods.self_training import ended, often_in_foreign_contrast, spoiled
from HipICMSCTrainingLib.methods.sifa import SifaSettings
from HipICMSCTrainingLib.methods.target_model import TargetModelSettings
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER, TRANSLATION
from tiny_training import ASSIGNMENTS, SLAB_ASSIGNMENTS, child, differences, tiny_settings
from torch import Tensor

#: By which share losses may differ, step by step: where predictions are targets, or batch norms have few pixels (SIFA's
#: have 24), rounding grows. And by which share all gradients of a network together, in the first step.
LOSSES, GRADIENTS = (1e-5, 3e-4, 1e-2), 5e-4
#: In Adam's denominator: where a gradient is none, as of a bias that a norm takes away again, its rounding must not
#: become a whole step.
EPS = 1e-3
CPU = torch.device("cpu")
CLOSE = AlignmentSettings(least_accuracy=0.0, accuracy_steps=1)


@dataclass(frozen=True)
class Phase:
    """Where a training of some settings stands."""

    own: Any
    stage: int
    fraction: float = 0.0
    assignments: dict[str, Any] = field(default_factory=lambda: ASSIGNMENTS)

    @property
    def reads_slabs(self) -> bool:
        return self.assignments is SLAB_ASSIGNMENTS


PHASES = {
    "icmsc, simulation": Phase(IcmscSettings(), SIMULATION, 0.3, SLAB_ASSIGNMENTS),
    "icmsc, stage 1": Phase(IcmscSettings(), TRANSLATION),
    "icmsc, stage 2": Phase(IcmscSettings(), TOGETHER),
    "icmsc, self-training": Phase(
        IcmscSettings(self_training_confidence=0.34, self_training_confidence_background=0.34),
        SELF_TRAINING,
        0.3,
        SLAB_ASSIGNMENTS,
    ),
    "no_adaptation": Phase(NoAdaptationSettings(), TOGETHER),
    "icmsc, stage 1 on slabs": Phase(IcmscSettings(), TRANSLATION, 0.0, SLAB_ASSIGNMENTS),
    "icmsc, stage 2 on slabs": Phase(IcmscSettings(), TOGETHER, 0.0, SLAB_ASSIGNMENTS),
    "icmsc, no consistency": Phase(
        IcmscSettings(imsc_s=False, imsc_t=False, cmsc_s=False, cmsc_t=False), TOGETHER
    ),
    "adda, pretraining": Phase(AddaSettings(alignment=CLOSE), TRANSLATION),
    "adda, alignment": Phase(AddaSettings(alignment=CLOSE), TOGETHER, 0.8),
    "cyclegan, stage 1": Phase(CycleGanSettings(), TRANSLATION),
    "cyclegan, stage 2": Phase(CycleGanSettings(), TOGETHER),
    "cycada, pretraining": Phase(CycadaSettings(alignment=CLOSE), TRANSLATION),
    "cycada, translation": Phase(CycadaSettings(alignment=CLOSE), TOGETHER, 0.1),
    "cycada, target": Phase(CycadaSettings(alignment=CLOSE), TOGETHER, 0.6),
    "cycada, alignment": Phase(CycadaSettings(alignment=CLOSE), TOGETHER, 0.95),
    "sifa, stage 1": Phase(SifaSettings(), TRANSLATION),
    "sifa, stage 2": Phase(SifaSettings(), TOGETHER),
    "target_model": Phase(TargetModelSettings(), TOGETHER),
}  # fmt: skip
#: The four stages, and batch norm; the rest takes a minute.
QUICK = tuple(PHASES)[:5]
every_phase = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PHASES]
)
pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Found:
    """Of some steps: the losses of each, and of the first the gradients as they are left; the weights, and what norms
    keep of images, in the end."""

    losses: list[dict[str, float]]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]
    kept: dict[str, Tensor]


def method_of(phase: Phase, distribution: Distribution) -> Method:
    torch.manual_seed(4)
    method = next(method for method in METHODS.values() if method.Settings is type(phase.own))
    return method(tiny_settings(phase.assignments), phase.own, CPU, distribution)


def batch_of(phase: Phase, seed: int) -> Batch:
    """One slice of each domain, or one slab."""
    generator = torch.Generator().manual_seed(seed)
    settings = tiny_settings(phase.assignments)
    channels, rows, columns = settings.image_shape
    x_s, x_t = (torch.rand(1, channels, rows, columns, generator=generator) * 2 - 1 for _ in range(2))
    # Classes of unlike size, or Dice would hardly tell whether it was summed over both.
    y_s, y_t = (
        (torch.rand(1, rows, columns, generator=generator) * (1.2 + seed % 2)).long().clamp(max=2) for _ in range(2)
    )
    bones = torch.rand(1, 3, rows, columns, generator=generator).mul(6).softmax(1)[:, 1:]
    return Batch(x_s, y_s, x_t, y_t, bones if phase.stage == SELF_TRAINING else None)


def joint(batches: Sequence[Batch]) -> Batch:
    parts = zip(*(vars(batch).values() for batch in batches), strict=True)
    return Batch(*(None if part[0] is None else torch.cat(part) for part in parts))


def chance(phase: Phase, step: int, rank: int) -> np.random.Generator:
    """The second process goes on where one process with both batches is after the first."""
    random = np.random.default_rng(step)
    if rank and phase.stage == SELF_TRAINING:
        batch = batch_of(phase, 0)
        (x_s,), (x_t,) = batch.x_s, batch.x_t
        no_bone = torch.zeros(x_t.shape[1:])
        ended(spoiled(x_t, random), no_bone, no_bone > 0, random)
        often_in_foreign_contrast(x_s, random)
    return random


def done(phase: Phase, ranks: Sequence[int], distribution: Distribution) -> Found:
    """Some steps with the batches of these processes."""
    method = method_of(phase, distribution)
    for optimizer in method.optimizers.values():
        for group in optimizer.param_groups:
            group["eps"] = EPS
    losses, gradients = [], {}
    for step in range(len(LOSSES)):
        batch = joint([batch_of(phase, 2 * step + rank) for rank in ranks])
        losses.append(
            method.train_step(batch, Moment(step, phase.stage, phase.fraction), chance(phase, step, ranks[0]))
        )
        if not step:
            gradients = {key: weight.grad.clone() for key, weight in weights_of(method) if weight.grad is not None}
    weights = {key: weight.detach().clone() for key, weight in weights_of(method)}
    kept = {
        f"{name}/{key}": value.clone()
        for name, network in method.networks.items()
        for key, value in network.named_buffers()
    }
    return Found(losses, gradients, weights, kept)


def weights_of(method: Method) -> list[tuple[str, torch.nn.Parameter]]:
    return [
        (f"{name}/{key}", weight)
        for name, network in method.networks.items()
        for key, weight in network.named_parameters()
    ]


def work(file: str, names: Sequence[str]) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    distribution = Distribution()
    found = {name: vars(done(PHASES[name], [distribution.rank], distribution)) for name in names}
    torch.save(found, f"{file}-{distribution.rank}.pt")
    distribution.close()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory):
    """By name of PHASES, what either process found; the slow ones are done when one of them is asked for first."""
    found: dict[str, list[Found]] = {}

    def of(name: str) -> list[Found]:
        if name not in found:
            file = tmp_path_factory.mktemp("ranks") / "found"
            names = QUICK if name in QUICK else [other for other in PHASES if other not in QUICK]
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
            process: subprocess.Popen = child([*command, str(file), *names])
            try:
                _, err = process.communicate(timeout=600)
            finally:
                process.kill()
            assert process.returncode == 0, err[-3000:]
            both = [torch.load(f"{file}-{rank}.pt") for rank in (0, 1)]
            found.update({each: [Found(**one[each]) for one in both] for each in names})
        return found[name]

    return of


def test_every_method_is_tested_here():
    assert {type(phase.own) for phase in PHASES.values()} == {method.Settings for method in METHODS.values()}


@every_phase
def test_both_processes_keep_the_same_weights(of_two_processes, name):
    first, second = of_two_processes(name)
    assert differences(first.gradients, second.gradients) == []
    assert differences(first.weights, second.weights) == []


@every_phase
def test_they_do_the_steps_of_one_process_with_both_batches(of_two_processes, name):
    two, one = of_two_processes(name), done(PHASES[name], (0, 1), Distribution())
    for step, expected in enumerate(one.losses):
        for loss, value in expected.items():
            mean = sum(found.losses[step][loss] for found in two) / 2
            assert mean == pytest.approx(value, rel=LOSSES[step], abs=1e-6), (step, loss)
    # What no loss reaches has a gradient of 0 where processes exchange it.
    assert not any(gradient.any() for key, gradient in two[0].gradients.items() if key not in one.gradients)
    networks = {key.split("/")[0] for key in one.gradients}
    for network in networks:
        keys = [key for key in one.gradients if key.startswith(f"{network}/")]
        error, size = (
            torch.stack([part[key].norm() for key in keys]).norm()
            for part in ({key: two[0].gradients[key] - one.gradients[key] for key in keys}, one.gradients)
        )
        assert error <= GRADIENTS * size, network


@every_phase
def test_their_norms_keep_what_those_of_one_process_keep(of_two_processes, name):
    """So those of a network at rest keep nothing new."""
    two, one = of_two_processes(name), done(PHASES[name], (0, 1), Distribution())
    for found in two:
        assert found.kept.keys() == one.kept.keys()
        for key, value in one.kept.items():
            assert torch.allclose(found.kept[key].float(), value.float(), rtol=1e-2, atol=1e-3), key


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2:])
