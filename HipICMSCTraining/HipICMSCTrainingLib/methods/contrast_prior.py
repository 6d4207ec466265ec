"""A first guess of what a CT would look like on MRI, from Hounsfield units alone (ours; not in the paper).

Left to itself, a CycleGAN may start with the contrast upside down: bright bone becomes dark, dark fat becomes bright,
and muscle and marrow change places (method.md, What goes wrong). A pointwise guess in stage 1, fading out, puts the
generators on the right side of that decision; what tissue really looks like they learn from the images. The same guess,
varied at random, gives F_t something to read from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as nnf
from HipICMSCLib.preprocessing.intensity import PADDING
from torch import Tensor

from HipICMSCTrainingLib.methods.losses import reconstruction_loss

ContrastPrior = Literal["none", "t1", "fat-suppressed"]

#: (HU, brightness on MR from -1 to 1), linear in between. T1: fat bright, muscle dark, marrow (trabecular bone)
#: between them, cortex as black as air. Fat-suppressed (proton density or T2): fat and marrow dark, muscle in between,
#: what holds as much water as fluid or cartilage brighter.
_KNOTS = {
    "t1": (
        (-200, -1.0), (-150, 0.3), (-100, 0.7), (-50, 0.5), (20, -0.5), (70, -0.5),
        (130, 0.1), (300, 0.2), (450, 0.0), (600, -0.8), (1000, -1.0),
    ),
    "fat-suppressed": (
        (-200, -1.0), (-150, -0.8), (-100, -0.75), (-50, -0.6), (10, 0.1), (50, -0.2), (80, -0.2),
        (130, -0.6), (300, -0.7), (450, -0.8), (600, -0.9), (1000, -1.0),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ContrastPriorSettings:
    """How strongly a guess holds the generators of a method that translates.

    Attributes:
        contrast_prior: a pointwise guess g of the MR contrast that holds the generators: adds ‖G_st(x_s) − g(x_s)‖₁ +
            ‖G_ts(g(x_s)) − x_s‖₁ (ours, off). Its weight fades to ``contrast_prior_rest`` of itself while translation
            is trained alone. Of T1-weighted MRIs muscle that was called bone teaches nothing in self-training.
        contrast_prior_weight: weight of the two terms of ``contrast_prior`` at the start.
        contrast_prior_rest: the share of ``contrast_prior_weight`` that is left afterwards.
    """

    contrast_prior: ContrastPrior = "none"
    contrast_prior_weight: float = 10.0
    contrast_prior_rest: float = 0.0


def prior_terms(
    x_s: Tensor,
    x_st: Tensor,
    G_ts: Callable[[Tensor], Tensor],
    ct_window_hu: tuple[float, float],
    own: ContrastPriorSettings,
    faded: float,
    guess: Tensor | None = None,
) -> dict[str, tuple[float, Tensor]]:
    """Weight and value of the term ``prior``; nothing where it is off or gone.

    Args:
        x_s, x_st: CT slices and what G_st makes of them.
        faded: how much of its way to ``contrast_prior_rest`` the weight has gone, 0 to 1.
        guess: what G_ts reads in place of g(x_s).
    """
    held = max(own.contrast_prior_rest, 1 - faded)
    if own.contrast_prior == "none" or held <= 0:
        return {}
    plain = guessed_mr(x_s, ct_window_hu, own.contrast_prior)
    back = G_ts(plain if guess is None else guess)
    return {
        "prior": (
            own.contrast_prior_weight * held,
            reconstruction_loss(x_st, plain) + reconstruction_loss(back, x_s),
        )
    }


def guessed_mr(x_s: Tensor, ct_window_hu: tuple[float, float], prior: ContrastPrior) -> Tensor:
    """Map CT slices in [-1, 1] pointwise to an MR-like contrast in [-1, 1]; padding stays padding.

    Args:
        x_s: (batch, 1, rows, columns), rescaled from ``ct_window_hu``.
    """
    return _mapped(x_s, ct_window_hu, _KNOTS[prior])


def _mapped(x_s: Tensor, ct_window_hu: tuple[float, float], knots: Sequence[tuple[float, float]]) -> Tensor:
    hu, brightness = np.array(knots).T
    lowest, highest = ct_window_hu
    places = (hu - lowest) / (highest - lowest) * 2 - 1
    mapped = np.interp(x_s.detach().cpu().numpy(), places, brightness)
    return torch.from_numpy(mapped.astype(np.float32)).to(x_s.device)


def random_guess(
    x_s: Tensor, ct_window_hu: tuple[float, float], prior: ContrastPrior, random: np.random.Generator
) -> Tensor:
    """:func:`guessed_mr` with the brightness of fat, muscle and marrow, sharpness, bias field and noise drawn anew.

    A segmenter that reads all of these has no single contrast to rely on.
    """
    fat, muscle, marrow = random.uniform(-0.3, 0.2), random.uniform(-0.2, 0.2), random.uniform(-0.3, 0.3)
    shifts = [
        0.0 if hu in (-200, 600, 1000) else fat if hu < 0 else muscle if hu < 100 else marrow for hu, _ in _KNOTS[prior]
    ]
    guess = _mapped(
        x_s, ct_window_hu, [(hu, value + shift) for (hu, value), shift in zip(_KNOTS[prior], shifts, strict=True)]
    )
    if random.random() < 0.7:
        blurred = nnf.avg_pool2d(nnf.pad(guess, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        guess = (guess + blurred) / 2
    coarse = torch.from_numpy(random.normal(0, 0.25, (len(x_s), 1, 4, 4)).astype(np.float32)).to(x_s.device)
    bias = nnf.interpolate(coarse, guess.shape[-2:], mode="bicubic").exp()
    noise = random.normal(0, random.uniform(0, 0.12), guess.shape).astype(np.float32)
    guess = (guess + 1) * bias - 1 + torch.from_numpy(noise).to(x_s.device)
    return guess.clamp(-1, 1).where(x_s > PADDING + 1e-3, PADDING)
