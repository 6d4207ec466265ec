"""The supervised term on corrected MRIs, beside the paper's losses: what a person completed, and hardly more."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from torch import Tensor

from HipICMSCTrainingLib.data.distribution import summed_over_processes
from HipICMSCTrainingLib.methods.losses import one_hot, soft_dice


def corrections_loss(logits: Tensor, classes: Tensor, weights: Tensor, dice_weight: float) -> Tensor:
    """L_seg (equation 2) over the pixels that count.

    The cross-entropy is the sum of weight times entropy over the number of pixels with any weight, so that a slab of
    nothing but soft targets (weight 0.1) pulls a tenth as much as one that was completed. The Dice term is taken over
    the pixels of weight 1 alone, and is left out where there are none.

    Args:
        logits: (batch, classes, rows, columns).
        classes: (batch, rows, columns).
        weights: as classes, 0 to 1; where they are 0 it does not matter what the class is.
    """
    logits = logits.float()
    entropy = nnf.cross_entropy(logits, classes.long(), reduction="none")
    full = (weights == 1)[:, None].float()
    # Over all processes, which then agree whether there is a Dice term, whose sums each waits for.
    total, pixels, known = summed_over_processes(
        torch.stack([(entropy * weights).sum(), (weights > 0).sum().float(), full.sum()])
    )
    loss = total / pixels.clamp_min(1)
    if not known:
        return loss
    dice = soft_dice(logits.softmax(1) * full, one_hot(classes, len(CLASS_NAMES)) * full)
    return loss + dice_weight * (1 - dice)
