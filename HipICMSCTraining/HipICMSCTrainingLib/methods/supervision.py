"""A segmenter that learns from labelled slices of one domain and from nothing else (equation 3)."""

from __future__ import annotations

import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, Segmenter
from torch import Tensor

from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.losses import one_hot, segmentation_loss
from HipICMSCTrainingLib.methods.method import Moment, decay, set_learning_rate
from HipICMSCTrainingLib.settings.training import TrainingSettings


class Supervision:
    """Trains ``segmenter`` with L_seg; Adam's rate is constant in stage 1 and linear to 0 in stage 2."""

    def __init__(
        self,
        segmenter: Segmenter,
        settings: TrainingSettings,
        dice_weight: float,
        device: torch.device,
        distribution: Distribution,
    ) -> None:
        self.segmenter = segmenter.to(device)
        self.dice_weight = dice_weight
        self.rate = settings.learning_rate_segmentation
        self.bf16 = settings.precision == "bf16"
        self.optimizer = torch.optim.Adam(self.segmenter.parameters(), self.rate)
        self._wrapped = distribution.wrap(self.segmenter)

    def step(self, x: Tensor, y: Tensor, moment: Moment) -> Tensor:
        """Learn from slices (batch, 1, rows, columns) and their classes (batch, rows, columns); the loss."""
        set_learning_rate(self.optimizer, self.rate * decay(moment))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self._wrapped(x)
        loss = segmentation_loss(logits, one_hot(y, len(CLASS_NAMES)), self.dice_weight)
        loss.backward()
        self.optimizer.step()
        return loss.detach()
