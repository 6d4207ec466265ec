"""The losses of ICMSC, one function an equation (arXiv 2012.12570; gaps filled as in method.md, Losses).

Segmenters give logits; every loss is computed in float32.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

from HipICMSCTrainingLib.data.distribution import summed_over_processes

GanLoss = Literal["lsgan", "bce"]
TargetKind = Literal["hard", "soft"]

DICE_EPSILON = 1e-5


def soft_dice(probabilities: Tensor, target: Tensor) -> Tensor:
    """Mean over classes of 2Σyp / (Σy² + Σp²), sums over pixels, batch and processes.

    Args:
        probabilities, target: (batch, classes, rows, columns).
    """
    dimensions = (0, 2, 3)
    overlap = 2 * (probabilities * target).sum(dimensions)
    total = (probabilities**2).sum(dimensions) + (target**2).sum(dimensions)
    overlap, total = summed_over_processes(torch.stack([overlap, total]))
    return ((overlap + DICE_EPSILON) / (total + DICE_EPSILON)).mean()


def segmentation_loss(logits: Tensor, target: Tensor, dice_weight: float = 1.0) -> Tensor:
    """L_seg(x, y, F), equation 2: mean cross-entropy + λ1 · (1 − Dice).

    Args:
        logits: F(x), (batch, classes, rows, columns).
        target: class probabilities of the same shape (one-hot where the target is a label).
        dice_weight: λ1.
    """
    logits = logits.float()
    cross_entropy = nnf.cross_entropy(logits, target)
    return cross_entropy + dice_weight * (1 - soft_dice(logits.softmax(1), target))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(batch, rows, columns) of class numbers → (batch, classes, rows, columns) of float32."""
    return nnf.one_hot(labels.long(), classes).movedim(-1, 1).float()


def prediction_target(logits: Tensor, kind: TargetKind) -> Tensor:
    """A prediction that serves as a target: without gradient, one-hot (equation 2's y) or as probabilities."""
    logits = logits.detach().float()
    return logits.softmax(1) if kind == "soft" else one_hot(logits.argmax(1), logits.shape[1])


def adversarial_loss(scores: Tensor, real: bool, kind: GanLoss) -> Tensor:
    """L_adv, equation 4: how far a discriminator's scores are from calling the images real (or translated)."""
    wanted = torch.full_like(scores, 1.0 if real else 0.0)
    if kind == "lsgan":
        return nnf.mse_loss(scores, wanted)
    return nnf.binary_cross_entropy_with_logits(scores, wanted)


def discriminator_loss(scores_real: Tensor, scores_translated: Tensor, kind: GanLoss) -> Tensor:
    """A discriminator's own side of L_adv, halved as CycleGAN does to slow it against the generators."""
    return 0.5 * (adversarial_loss(scores_real, True, kind) + adversarial_loss(scores_translated, False, kind))


def reconstruction_loss(cycled: Tensor, original: Tensor) -> Tensor:
    """One domain's half of L_rec, equation 5: the mean absolute difference after translation there and back."""
    return nnf.l1_loss(cycled.float(), original)
