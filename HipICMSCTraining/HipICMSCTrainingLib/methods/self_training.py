"""Self-training on unlabelled MRI: a teacher who read each MRI as a whole, and a student who sees a slab of it spoiled.

The teacher is F_t as it was when self-training began (Xie et al. 2020, noisy student): it has seen the whole slices,
in the mirror, too, and what the neighbours of a slice and the clean-up say (:mod:`..run.lessons`), which no network
that follows the student from slab to slab can. Only pixels of which it is sure count (Sohn et al. 2020, FixMatch).
Simulated slabs with labels stay in each step, so that nothing of them is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import summed_over_processes
from HipICMSCTrainingLib.methods.foreign_contrast import in_foreign_contrast
from HipICMSCTrainingLib.methods.losses import one_hot, segmentation_loss, soft_dice
from HipICMSCTrainingLib.simulation.acquisition import within_field_of_view


@dataclass(frozen=True)
class SelfTrainingSettings:
    """How F_t learns from its own predictions on MRI.

    Attributes:
        self_training_confidence: pixels count that the teacher calls bone with at least this probability.
        self_training_confidence_background: the same of what it calls background, of which there is far more: were
            both alike, bone that it half sees would be taught as background, and bones shrink; the further apart they
            are, the more bones grow.
        self_training_rate: the learning rate of F_t in self-training over that of the segmenters; linear to 0.
    """

    self_training_confidence: float = 0.75
    self_training_confidence_background: float = 0.8
    self_training_rate: float = 0.3


def sure_classes(bones: Tensor, of_bone: float, of_background: float) -> tuple[Tensor, Tensor]:
    """What is to be learned of slabs.

    Args:
        bones: (batch, 2, rows, columns), the teacher's probabilities of hip bone and femur.
        of_bone, of_background: the probability from which on the teacher is sure of each.

    Returns:
        Classes, and where the teacher is sure of them, each (batch, rows, columns).
    """
    highest, labels = torch.cat([1 - bones.sum(1, keepdim=True), bones], 1).max(1)
    return labels, highest >= torch.where(labels > 0, of_bone, of_background)


def confident_loss(logits: Tensor, labels: Tensor, sure: Tensor, dice_weight: float) -> Tensor:
    """L_seg (equation 2) over the pixels that are sure.

    Args:
        logits: (batch, classes, rows, columns).
        labels, sure: (batch, rows, columns).
    """
    logits, kept = logits.float(), sure.float()
    cross_entropy = nnf.cross_entropy(logits, labels, reduction="none")
    total, count = summed_over_processes(torch.stack([(cross_entropy * kept).sum(), kept.sum()]))
    mean = total / count.clamp_min(1)
    masked = kept[:, None]
    dice = soft_dice(logits.softmax(1) * masked, one_hot(labels, len(CLASS_NAMES)) * masked)
    return mean + dice_weight * (1 - dice)


def often_in_foreign_contrast(slab: Tensor, random: np.random.Generator) -> Tensor:
    """Every other slab has a contrast that may be of no sequence known.

    Args:
        slab: (slices, rows, columns) in [-1, 1].
    """
    return in_foreign_contrast((slab + 1) / 2, random) * 2 - 1 if random.random() < 0.5 else slab


def spoiled(slab: Tensor, random: np.random.Generator) -> Tensor:
    """A slab with another contrast, bias field, blur and noise, and with parts covered; nothing moves.

    Args:
        slab: (slices, rows, columns) in [-1, 1].
    """
    slab = (often_in_foreign_contrast(slab, random) + 1) / 2
    coarse = torch.from_numpy(random.normal(0, 0.2, (1, 1, 3, 3)).astype(np.float32)).to(slab.device)
    bias = nnf.interpolate(coarse, slab.shape[-2:], mode="bicubic", align_corners=True)[0].exp()
    slab = (slab * bias).clamp_min(0) ** float(np.exp(random.normal(0, 0.3)))
    if random.random() < 0.5:
        slab = nnf.avg_pool2d(slab, 3, stride=1, padding=1, count_include_pad=False)
    noise = random.normal(0, random.uniform(0, 0.06), slab.shape).astype(np.float32)
    slab = slab + torch.from_numpy(noise).to(slab.device)
    rows, columns = slab.shape[-2:]
    for _ in range(random.integers(0, 4)):
        height, width = (int(n) for n in random.uniform(0.06, 0.25, 2) * (rows, columns))
        top, left = int(random.integers(rows - height)), int(random.integers(columns - width))
        slab[:, top : top + height, left : left + width] = float(random.uniform(0, 1))
    return slab.clamp(0, 1) * 2 - 1


def ended(slab: Tensor, labels: Tensor, sure: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Every other slab ends earlier than the MRI did; beyond, there is no bone for sure.

    The teacher saw all of a bone, and so teaches what is left of it where a field of view cuts it.

    Args:
        slab: (slices, rows, columns) in [-1, 1].
        labels, sure: (rows, columns), of the whole slab.
    """
    # Background counts as 1 here, so that 0 is what lies beyond the end.
    brightness, left = within_field_of_view((slab + 1) / 2, labels + 1, random)
    beyond = left == 0
    return brightness * 2 - 1, labels.masked_fill(beyond, 0), sure | beyond


def self_training_losses(
    student: nn.Module,
    batch: Batch,
    own: SelfTrainingSettings,
    dice_weight: float,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """The two terms of a step by name.

    Args:
        batch: x_s are simulated slabs, y_s their classes, x_t real ones, bones_t what the teacher says of these.
    """
    x_s, x_t = batch.x_s, batch.x_t
    labels, sure = sure_classes(batch.bones_t, own.self_training_confidence, own.self_training_confidence_background)
    seen = [
        # Where bone ends is known of a simulated slab, so that bones do not grow where the contrast is foreign.
        (*ended(spoiled(mri, random), *known, random), often_in_foreign_contrast(simulated, random))
        for simulated, mri, *known in zip(x_s, x_t, labels, sure, strict=True)
    ]
    x_t, labels, sure, x_s = (torch.stack(part) for part in zip(*seen, strict=True))
    logits_s, logits_t = student(torch.cat([x_s, x_t])).split([len(x_s), len(x_t)])
    return {
        "simulated": segmentation_loss(logits_s, one_hot(batch.y_s, len(CLASS_NAMES)), dice_weight),
        "self_training": confident_loss(logits_t, labels, sure, dice_weight),
    }
