"""The guess of the MR contrast: right order of tissues, padding kept, F_t alone learns from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.contrast_prior import guessed_mr, random_guess
from HipICMSCTrainingLib.distribution import Distribution
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.method import Batch, Moment
from HipICMSCTrainingLib.training_settings import PRESETS

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


def test_the_guess_follows_the_unit_and_not_the_window() -> None:
    wide = (-200.0, 1000.0)
    rescaled = (torch.tensor([-100.0, 50.0, 250.0]) - wide[0]) / (wide[1] - wide[0]) * 2 - 1
    assert torch.allclose(
        guessed_mr(rescaled.view(1, 1, 1, 3), wide, "t1"),
        guessed_mr(slice_of(-100, 50, 250), WINDOW, "t1"),
        atol=1e-5,
    )


def test_random_guesses_differ_repeat_and_keep_the_padding() -> None:
    x_s = torch.full((2, 1, 16, 16), -1.0)
    x_s[..., 4:, :] = slice_of(50)[0, 0, 0, 0]
    first, again = (random_guess(x_s, WINDOW, "t1", np.random.default_rng(3)) for _ in range(2))
    other = random_guess(x_s, WINDOW, "t1", np.random.default_rng(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[..., :4, :] == -1).all()
    assert first.abs().max() <= 1


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    x_s, x_t = (torch.rand(1, 1, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (1, 32, 32), generator=random), x_t)


def losses_of(batch: Batch, stage: int, fraction: float, **own: object) -> tuple[Icmsc, dict[str, float]]:
    torch.manual_seed(0)
    settings = dataclasses.replace(PRESETS["smoke"], batch_size=1)
    method = Icmsc(settings, IcmscSettings(**own), torch.device("cpu"), Distribution())
    return method, method.train_step(batch, Moment(0, stage, fraction), np.random.default_rng(0))


def test_the_prior_is_off_unless_asked_for(batch: Batch) -> None:
    assert not {"prior", "prior_F"} & set(losses_of(batch, 1, 0.0)[1])


def test_the_prior_fades_over_stage_1_and_may_keep_a_rest(batch: Batch) -> None:
    assert "prior" in losses_of(batch, 1, 0.0, contrast_prior="t1")[1]
    assert "prior" not in losses_of(batch, 2, 0.0, contrast_prior="t1")[1]
    assert "prior" in losses_of(batch, 2, 0.5, contrast_prior="t1", contrast_prior_rest=0.2)[1]


def test_f_t_learns_from_guesses_in_stage_1_and_f_s_does_not(batch: Batch) -> None:
    method, losses = losses_of(batch, 1, 0.0, contrast_prior="t1", contrast_prior_segmenter_weight=0.1)
    assert losses["prior_F"] > 0
    assert all(parameter.grad is not None for parameter in method.networks["F_t"].parameters())
    assert all(parameter.grad is None for parameter in method.networks["F_s"].parameters())


def test_cmsc_t_waits_for_its_start(batch: Batch) -> None:
    assert "cmsc_t" not in losses_of(batch, 2, 0.4, cmsc_t_start=0.5)[1]
    assert "cmsc_t" in losses_of(batch, 2, 0.5, cmsc_t_start=0.5)[1]
