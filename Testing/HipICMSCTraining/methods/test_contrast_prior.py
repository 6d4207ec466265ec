"""The guess of the MR contrast: right order of tissues, padding kept, the same for every method that translates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.contrast_prior import ContrastPrior, guessed_mr, prior_terms, random_guess
from HipICMSCTrainingLib.methods.cycada import Cycada
from HipICMSCTrainingLib.methods.cyclegan import CycleGan
from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.methods.sifa import Sifa
from HipICMSCTrainingLib.methods.translation import TranslationSettings
from HipICMSCTrainingLib.settings.training import PRESETS

WINDOW = (-200.0, 600.0)


def slice_of(*hu: float) -> torch.Tensor:
    """One row of pixels with these Hounsfield units, rescaled from WINDOW."""
    values = torch.tensor(hu).clamp(*WINDOW)
    return ((values - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * 2 - 1).view(1, 1, 1, -1)


def test_t1_orders_the_tissues_as_on_mri() -> None:
    air, fat, muscle, marrow, cortex = guessed_mr(slice_of(-1000, -100, 50, 250, 600), WINDOW, "t1").flatten().tolist()
    assert fat > marrow > muscle > cortex
    assert air == pytest.approx(-1.0)
    assert fat == pytest.approx(0.7)  # a knot of the curve
    assert muscle == pytest.approx(-0.5)


def test_fat_suppression_darkens_fat_and_marrow_and_leaves_muscle_and_fluid() -> None:
    hu = slice_of(-1000, -100, 10, 50, 250, 600)
    air, fat, fluid, muscle, marrow, cortex = guessed_mr(hu, WINDOW, "fat-suppressed").flatten().tolist()
    assert fluid > muscle > marrow > cortex >= air
    assert fat == pytest.approx(-0.75)  # a knot of the curve
    assert fat < muscle - 0.5  # far enough apart for the muscles to stand out against the fat between them


def test_the_guess_follows_the_unit_and_not_the_window() -> None:
    wide = (-200.0, 1000.0)
    rescaled = (torch.tensor([-100.0, 50.0, 250.0]) - wide[0]) / (wide[1] - wide[0]) * 2 - 1
    assert torch.allclose(
        guessed_mr(rescaled.view(1, 1, 1, 3), wide, "t1"),
        guessed_mr(slice_of(-100, 50, 250), WINDOW, "t1"),
        atol=1e-5,
    )


@pytest.mark.parametrize("prior", ["t1", "fat-suppressed"])
def test_random_guesses_differ_repeat_and_keep_the_padding(prior: ContrastPrior) -> None:
    x_s = torch.full((2, 1, 16, 16), -1.0)
    x_s[..., 4:, :] = slice_of(50)[0, 0, 0, 0]
    first, again = (random_guess(x_s, WINDOW, prior, np.random.default_rng(3)) for _ in range(2))
    other = random_guess(x_s, WINDOW, prior, np.random.default_rng(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[..., :4, :] == -1).all()
    assert first.abs().max() <= 1


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    x_s, x_t = (torch.rand(1, 1, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (1, 32, 32), generator=random), x_t)


def losses_of(
    batch: Batch, stage: int, fraction: float, kind: type[Method] = Icmsc, **own: object
) -> tuple[Method, dict[str, float]]:
    torch.manual_seed(0)
    settings = dataclasses.replace(PRESETS["smoke"], batch_size=1)
    method = kind(settings, kind.Settings(**own), torch.device("cpu"), Distribution())
    return method, method.train_step(batch, Moment(0, stage, fraction), np.random.default_rng(0))


TRANSLATING = pytest.mark.parametrize("kind", [CycleGan, Cycada, Sifa, Icmsc])


@TRANSLATING
def test_the_prior_is_off_unless_asked_for(batch: Batch, kind: type[Method]) -> None:
    assert not {"prior", "prior_F"} & set(losses_of(batch, 1, 0.0, kind)[1])


@TRANSLATING
def test_the_prior_fades_while_translation_learns_alone_and_may_keep_a_rest(batch: Batch, kind: type[Method]) -> None:
    own = {"contrast_prior": "t1"}
    assert losses_of(batch, 1, 0.0, kind, **own)[1]["prior"] > 0
    assert "prior" not in losses_of(batch, 2, 0.0, kind, **own)[1]
    assert losses_of(batch, 2, 0.1, kind, **own, contrast_prior_rest=0.2)[1]["prior"] > 0


@pytest.mark.parametrize(("faded", "rest", "weight"), [(0.0, 0.0, 10.0), (0.75, 0.0, 2.5), (0.75, 0.5, 5.0)])
def test_the_prior_is_the_distance_of_both_generators_from_the_guess(faded: float, rest: float, weight: float) -> None:
    x_s = slice_of(-100, 50, 250, 600)
    own = TranslationSettings(contrast_prior="t1", contrast_prior_rest=rest)
    terms = prior_terms(x_s, torch.zeros_like(x_s), lambda x: x + 1, WINDOW, own, faded)
    guess = guessed_mr(x_s, WINDOW, "t1")
    assert terms["prior"][0] == pytest.approx(weight)
    by_hand = guess.abs().mean() + (guess + 1 - x_s).abs().mean()
    assert terms["prior"][1].item() == pytest.approx(by_hand.item())
    assert prior_terms(x_s, x_s, lambda x: x, WINDOW, own, 1.0).keys() == ({"prior"} if rest else set())


def test_f_t_learns_from_guesses_in_stage_1_and_f_s_does_not(batch: Batch) -> None:
    method, losses = losses_of(batch, 1, 0.0, contrast_prior="t1", contrast_prior_segmenter_weight=0.1)
    assert losses["prior_F"] > 0
    assert all(parameter.grad is not None for parameter in method.networks["F_t"].parameters())
    assert all(parameter.grad is None for parameter in method.networks["F_s"].parameters())


def test_cmsc_t_waits_for_its_start(batch: Batch) -> None:
    assert "cmsc_t" not in losses_of(batch, 2, 0.4, cmsc_t_start=0.5)[1]
    assert "cmsc_t" in losses_of(batch, 2, 0.5, cmsc_t_start=0.5)[1]
