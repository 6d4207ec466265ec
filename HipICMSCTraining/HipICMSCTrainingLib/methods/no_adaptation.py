"""No adaptation: a segmenter of CT reads MR as it is (method.md, Baselines; the lower bound of Table 1)."""

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
class NoAdaptationSettings:
    """The loss of F_s.

    Attributes:
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy.
    """

    dice_weight: float = 1.0


class NoAdaptation(Method):
    """F_s learns from labelled CT in both stages and never sees an MRI: what is gained where nothing is done.

    Its CTs are cut to the field of view of the MRI of the same step, as those of every method are
    (``share_field_of_view``).
    """

    Settings: ClassVar[type] = NoAdaptationSettings

    def __init__(
        self, settings: TrainingSettings, own: NoAdaptationSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.supervision = Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
        self.networks = {"F_s": self.supervision.segmenter}
        self.optimizers = {"F": self.supervision.optimizer}

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        return {"supervised": float(self.supervision.step(batch.x_s, batch.y_s, moment))}

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("F_s",),), segment_ct=("F_s",))
