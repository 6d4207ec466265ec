"""CycleGAN: MR is translated to CT and segmented there (Zhu et al., ICCV 2017; method.md, Baselines).

This is ICMSC without consistency, the first row of Table 2: the translation knows nothing of the segmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import Segmenter
from HipICMSCLib.networks.translator import Translator
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.contrast_prior import prior_terms
from HipICMSCTrainingLib.methods.method import Method, Moment, decay, set_learning_rate
from HipICMSCTrainingLib.methods.supervision import Supervision
from HipICMSCTrainingLib.methods.translation import ImageDiscriminators, Terms, TranslationSettings, cycle, objective
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.networks.parameters import frozen, parameters_of
from HipICMSCTrainingLib.settings.stages import TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class CycleGanSettings(TranslationSettings):
    """The weights of CycleGAN's terms and of F_s's.

    Attributes:
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy in F_s's loss.
    """

    dice_weight: float = 1.0


class Cycles(nn.Module):
    """G_st and G_ts with one domain's half of their objective."""

    def __init__(self, settings: TrainingSettings, own: TranslationSettings) -> None:
        super().__init__()
        self.own = own
        self.ct_window_hu = settings.intensity.ct_window_hu
        self.bf16 = settings.precision == "bf16"
        self.G_st = Translator(settings.translator, settings.recompute)
        self.G_ts = Translator(settings.translator, settings.recompute)

    def forward(
        self, half: str, batch: Batch, judge: nn.Module, faded: float
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(total loss, translated image, the terms by name) of ``half`` "CT" or "MR".

        ``judge`` is D_t or D_s, ``faded`` how far the contrast prior is gone.
        """
        with torch.autocast(batch.x_s.device.type, torch.bfloat16, enabled=self.bf16):
            terms, translated = self._ct(batch.x_s, faded) if half == "CT" else self._mr(batch.x_t)
        return objective(terms, translated, judge, "t" if half == "CT" else "s", self.own)

    def _ct(self, x_s: Tensor, faded: float) -> tuple[Terms, Tensor]:
        x_st, _, terms = cycle(self.G_st, self.G_ts, x_s, "s", self.own)
        return terms | prior_terms(x_s, x_st, self.G_ts, self.ct_window_hu, self.own, faded), x_st

    def _mr(self, x_t: Tensor) -> tuple[Terms, Tensor]:
        x_ts, _, terms = cycle(self.G_ts, self.G_st, x_t, "t", self.own)
        return terms, x_ts


class CycleGan(Method):
    """Stage 1 trains translation alone; in stage 2 F_s learns beside it from CT alone, and reads translated MR."""

    Settings: ClassVar[type] = CycleGanSettings

    def __init__(
        self, settings: TrainingSettings, own: CycleGanSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.settings, self.distribution = settings, distribution
        # First, as in ICMSC, so that both begin with the same translation where the seed is the same.
        self.discriminators = ImageDiscriminators(settings, own, device, distribution)
        cycles = Cycles(settings, own).to(device)
        self.supervision = Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
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
        faded = moment.stage_fraction if moment.stage == 1 else 1.0
        with frozen(self.networks["D_s"], self.networks["D_t"]):
            with self.distribution.accumulate(self.cycles):
                loss, x_st, losses = self.cycles("CT", batch, self.networks["D_t"], faded)
                loss.backward()
            loss, x_ts, mr_losses = self.cycles("MR", batch, self.networks["D_s"], faded)
            loss.backward()
        self.optimizers["G"].step()
        losses |= mr_losses

        if moment.stage == 2:
            losses |= {"supervised": self.supervision.step(batch.x_s, batch.y_s, moment)}  # equation 3
        losses |= self.discriminators.step(batch, x_st, x_ts, random)
        return {name: float(value) for name, value in losses.items()}

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("G_ts", "F_s"), ("F_s",)), segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))

    def extra_state(self) -> dict[str, Any]:
        return self.discriminators.state()

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state(state)
