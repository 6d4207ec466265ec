"""Target model: a segmenter that learns from labelled MR (method.md, Baselines; the upper bound of Table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import Segmenter

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.methods.supervision import Supervision
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.settings.stages import TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class TargetModelSettings:
    """The loss of F_t.

    Attributes:
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy.
    """

    dice_weight: float = 1.0


class TargetModel(Method):
    """F_t learns from labels of the MRIs themselves in both stages, which no adaptation has: what could be reached.

    Its MRIs are cut to the field of view of the CT of the same step, as those of every method are
    (``share_field_of_view``).
    """

    Settings: ClassVar[type] = TargetModelSettings
    reads_mr_labels: ClassVar[bool] = True

    def __init__(
        self, settings: TrainingSettings, own: TargetModelSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.supervision = Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
        self.networks = {"F_t": self.supervision.segmenter}
        self.optimizers = {"F": self.supervision.optimizer}

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        return {"supervised": float(self.supervision.step(batch.x_t, batch.y_t, moment))}

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("F_t",),))
