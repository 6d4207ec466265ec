"""CycleGAN: MR is translated to CT and segmented there (Zhu et al., ICCV 2017; method.md, Baselines).

This is ICMSC without consistency, the first row of Table 2: the translation knows nothing of the segmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.segmenter import Segmenter
from HipICMSCLib.translator import Translator
from torch import Tensor, nn

from HipICMSCTrainingLib.distribution import Distribution
from HipICMSCTrainingLib.losses import GanLoss
from HipICMSCTrainingLib.methods.method import Batch, Method, Moment, decay, frozen, parameters_of, set_learning_rate
from HipICMSCTrainingLib.methods.supervision import Supervision
from HipICMSCTrainingLib.methods.translation import ImageDiscriminators, TranslationWeights, cycle, objective
from HipICMSCTrainingLib.training_settings import TrainingSettings
from HipICMSCTrainingLib.ways import Ways


@dataclass(frozen=True)
class CycleGanSettings:
    """The weights of CycleGAN's terms, as in ICMSC.

    Attributes:
        adversarial_weight: weight of L_adv, equation 4: translations should look real to the discriminators.
        reconstruction_weight: weight of L_rec, equation 5: a slice that is translated there and back should be itself
            again.
        identity_weight: weight of leaving alone a slice that is in the wanted domain already (off, as in ICMSC).
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy in F_s's loss.
        gan_loss: what equation 4 measures: squared distances (lsgan) or cross-entropy (bce).
        image_pool: how many earlier translations each discriminator is shown again now and then.
    """

    adversarial_weight: float = 1.0
    reconstruction_weight: float = 10.0
    identity_weight: float = 0.0
    dice_weight: float = 1.0
    gan_loss: GanLoss = "lsgan"
    image_pool: int = 50


class Cycles(nn.Module):
    """G_st and G_ts with one domain's half of their objective."""

    def __init__(self, settings: TrainingSettings, own: TranslationWeights) -> None:
        super().__init__()
        self.own = own
        self.bf16 = settings.precision == "bf16"
        self.G_st = Translator(settings.translator, settings.recompute)
        self.G_ts = Translator(settings.translator, settings.recompute)

    def forward(self, half: str, batch: Batch, judge: nn.Module) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(total loss, translated image, the terms by name) of ``half`` "CT" or "MR"; ``judge`` is D_t or D_s."""
        with torch.autocast(batch.x_s.device.type, torch.bfloat16, enabled=self.bf16):
            if half == "CT":
                translated, _, terms = cycle(self.G_st, self.G_ts, batch.x_s, "s", self.own)
            else:
                translated, _, terms = cycle(self.G_ts, self.G_st, batch.x_t, "t", self.own)
        return objective(terms, translated, judge, "t" if half == "CT" else "s", self.own)


class CycleGan(Method):
    """Stage 1 trains translation alone; in stage 2 F_s learns beside it from CT alone, and reads translated MR."""

    Settings: ClassVar[type] = CycleGanSettings

    def __init__(
        self, settings: TrainingSettings, own: CycleGanSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.settings, self.distribution = settings, distribution
        cycles = Cycles(settings, own).to(device)
        self.supervision = Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
        self.discriminators = ImageDiscriminators(settings, own, device, distribution)
        self.networks = {"G_st": cycles.G_st, "G_ts": cycles.G_ts, "F_s": self.supervision.segmenter}
        self.networks |= self.discriminators.networks
        self.cycles = distribution.wrap(cycles)
        self.optimizers = {
            "G": torch.optim.Adam(
                parameters_of(cycles.G_st, cycles.G_ts),
                settings.learning_rate_translation,
                settings.adam_betas_translation,
            ),
            "F": self.supervision.optimizer,
            "D": self.discriminators.optimizer,
        }

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        for name in ("G", "D"):
            set_learning_rate(self.optimizers[name], self.settings.learning_rate_translation * decay(moment))
            self.optimizers[name].zero_grad(set_to_none=True)

        # Generators; the discriminators only pass the gradient on.
        with frozen(self.networks["D_s"], self.networks["D_t"]):
            with self.distribution.accumulate(self.cycles):
                loss, x_st, losses = self.cycles("CT", batch, self.networks["D_t"])
                loss.backward()
            loss, x_ts, mr_losses = self.cycles("MR", batch, self.networks["D_s"])
            loss.backward()
        self.optimizers["G"].step()
        losses |= mr_losses

        if moment.stage == 2:
            losses |= {"supervised": self.supervision.step(batch.x_s, batch.y_s, moment)}  # equation 3
        losses |= self.discriminators.step(batch, x_st, x_ts, random)
        return {name: float(value) for name, value in losses.items()}

    def ways(self) -> Ways:
        return Ways((("G_ts", "F_s"), ("F_s",)), segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))

    def extra_state(self) -> dict[str, Any]:
        return self.discriminators.state()

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state(state)
