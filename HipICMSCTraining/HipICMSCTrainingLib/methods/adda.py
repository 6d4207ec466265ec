"""ADDA: the features of MR are made to look like those of CT (Tzeng et al., CVPR 2017; method.md, Baselines).

F_s learns from labelled CT. F_t starts as its copy; then its layers up to the last dilated block learn features of MR
that a discriminator D_f takes for F_s's features of CT, so that the layers behind them, which stay, can read them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import Segmenter
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.alignment import Alignment, AlignmentSettings
from HipICMSCTrainingLib.methods.at_rest import at_rest
from HipICMSCTrainingLib.methods.method import Method, Moment
from HipICMSCTrainingLib.methods.phases import phase_of_training, with_rest
from HipICMSCTrainingLib.methods.supervision import Supervision
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.networks.parameters import parameters_of
from HipICMSCTrainingLib.settings.stages import TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Of the features: F halves rows and columns twice.
STRIDE = 4


@dataclass(frozen=True)
class AddaSettings:
    """F_s's loss and when it ends.

    Attributes:
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy in F_s's loss.
        pretraining_share: the share of the whole training, 0 to 1, in which F_s learns, its rate going down linearly
            to 0; the alignment takes the rest. 0 is for a start from a model that has an F_s.
    """

    dice_weight: float = 1.0
    pretraining_share: float = 0.5
    alignment: AlignmentSettings = AlignmentSettings()


class FeatureEncoder(nn.Module):
    """What D_f judges: a slice → a segmenter's channels after the last dilated block, in fp32."""

    def __init__(self, segmenter: Segmenter, bf16: bool) -> None:
        super().__init__()
        self.segmenter, self.bf16 = segmenter, bf16

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.segmenter.features(x).float()


class Adda(Method):
    """F_s learns from CT, then its copy F_t learns to give features of MRI that look like F_s's features of CT."""

    Settings: ClassVar[type] = AddaSettings
    starts_with: ClassVar[str | None] = "F_s"  # F_t begins as its copy

    def __init__(
        self, settings: TrainingSettings, own: AddaSettings, device: torch.device, distribution: Distribution
    ) -> None:
        if own.pretraining_share == 0 and settings.start_from is None:
            raise HipError(
                "bad_setting",
                "ADDA aligns MRI with what F_s has learned from CT; let pretraining_share be above 0, or start from a "
                "model that has an F_s.",
            )
        self.settings = settings
        self.phases = with_rest({"pretraining": own.pretraining_share}, "alignment")
        self.supervision = Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
        F_t = Segmenter(settings.segmenter).to(device)
        for head in (F_t.decoder, F_t.upsample):
            head.requires_grad_(False)
        bf16 = settings.precision == "bf16"
        self.features_s = FeatureEncoder(self.supervision.segmenter, bf16)
        self.features_t = distribution.wrap(FeatureEncoder(F_t, bf16))
        self.alignment = Alignment(4 * settings.segmenter.width, STRIDE, settings, own.alignment, device, distribution)
        self.networks = {"F_s": self.supervision.segmenter, "F_t": F_t} | self.alignment.networks
        self.optimizers = {
            "F_s": self.supervision.optimizer,
            "F_t": torch.optim.Adam(
                parameters_of(F_t.encoder, F_t.residual), own.alignment.learning_rate, own.alignment.adam_betas
            ),
            "D_f": self.alignment.optimizer,
        }
        self.aligning = False

    def may_be_chosen(self, moment: Moment) -> bool:
        """Before, F_t is F_s, which has seen no MRI; a training without alignment has nothing else."""
        phase, _ = phase_of_training(moment, self.settings, self.phases)
        return phase == "alignment" or not self.phases["alignment"]

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        phase, fraction = phase_of_training(moment, self.settings, self.phases)
        # From the first step on, so that the running average of F_t does not remember a random network.
        if not self.aligning:
            self.networks["F_t"].load_state_dict(self.networks["F_s"].state_dict())
        self.aligning = phase == "alignment"
        if self.aligning:
            self.alignment.set_learning_rates(self.optimizers["F_t"], fraction)
            losses = self._align(batch)
        else:
            ending = replace(moment, stage=2, stage_fraction=fraction)  # the rate goes down to 0 with the phase
            losses = {"supervised": self.supervision.step(batch.x_s, batch.y_s, ending)}  # equation 3
        return {name: float(value) for name, value in losses.items()}

    def _align(self, batch: Batch) -> dict[str, Tensor | float]:
        F_t_learns = self.alignment.tells_apart()
        with torch.no_grad(), at_rest(self.networks["F_s"]):
            of_ct = self.features_s(batch.x_s)
        with torch.set_grad_enabled(F_t_learns):
            of_mr = self.features_t(batch.x_t)

        # The discriminator, on features that gave the segmenters no gradient.
        losses = self.alignment.step(of_ct, of_mr)

        # F_t, by the discriminator as it is now, which only passes the gradient on.
        inverted = self.alignment.inverted_loss(of_mr)
        if F_t_learns:
            self.optimizers["F_t"].zero_grad(set_to_none=True)
            inverted.backward()
            self.optimizers["F_t"].step()
        return losses | {"adv_F_t": inverted.detach()}

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("F_t",), ("F_s",)), segment_ct=("F_s",))

    def extra_state(self) -> dict[str, Any]:
        return self.alignment.state() | {"aligning": self.aligning}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.alignment.load_state(state)
        self.aligning = state["aligning"]
