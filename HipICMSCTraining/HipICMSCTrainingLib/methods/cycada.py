"""CyCADA: CT is translated to MR with its meaning kept, then scores are aligned (Hoffman et al., ICML 2018; method.md).

Its three stages follow each other over the whole training: CycleGAN, held by the semantic loss of an F_s that has
learned from CT; F_t, which learns from translated CT with its labels; and ADDA on the scores of the classes, in which
F_t makes its scores of MR look like those of translated CT.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, Segmenter
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.alignment import Alignment, AlignmentSettings
from HipICMSCTrainingLib.methods.at_rest import at_rest
from HipICMSCTrainingLib.methods.cyclegan import Cycles
from HipICMSCTrainingLib.methods.losses import one_hot, prediction_target, segmentation_loss
from HipICMSCTrainingLib.methods.method import Method, Moment, decay, set_learning_rate
from HipICMSCTrainingLib.methods.phases import phase_of_training, with_rest
from HipICMSCTrainingLib.methods.supervision import Supervision
from HipICMSCTrainingLib.methods.translation import ImageDiscriminators, Terms, TranslationSettings, objective
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.networks.parameters import frozen, parameters_of
from HipICMSCTrainingLib.settings.stages import TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class CycadaSettings(TranslationSettings):
    """The weights of CyCADA's terms, and how its stages share the training.

    Attributes:
        semantic: whether F_s, once it has learned, holds the translation: CE(F_s(G_st(x_s)), y_s) +
            CE(F_s(G_ts(x_t)), argmax F_s(x_t)).
        semantic_weight: weight of both terms of the semantic loss.
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy where F_s and F_t learn
            from labels.
        alignment_weight: weight of D_f's opinion against F_t's own loss on translated CT in the last stage.
        target_from_source: whether F_t starts as a copy of F_s, so that it learns sooner, or from chance.
        pretraining_share: the share of the whole training, 0 to 1, in which F_s learns from CT beside a translation
            that it does not hold yet; F_s is frozen afterwards. 0 is for a start from a model that has an F_s.
        translation_share: the share after that in which the translation, now held by F_s, goes on learning while its
            rate goes down linearly to 0.
        target_share: the share after that in which F_t learns from translated CT alone, its rate going down linearly
            to 0; the alignment takes the rest.
    """

    semantic: bool = True
    semantic_weight: float = 1.0
    dice_weight: float = 1.0
    alignment_weight: float = 0.1
    target_from_source: bool = True
    pretraining_share: float = 0.25
    translation_share: float = 0.35
    target_share: float = 0.25
    # A single pixel's scores of three classes hardly tell the domain, and D_f would never be right often enough.
    alignment: AlignmentSettings = AlignmentSettings(discriminator="patch")


class SemanticCycles(Cycles):
    """CycleGAN's halves with those of the semantic loss."""

    def forward(
        self, half: str, batch: Batch, judge: nn.Module, faded: float, F_s: nn.Module | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """As :class:`Cycles`; ``F_s`` holds the translation and gathers no gradient, None leaves it free."""
        with torch.autocast(batch.x_s.device.type, torch.bfloat16, enabled=self.bf16):
            terms, translated = self._ct(batch.x_s, faded) if half == "CT" else self._mr(batch.x_t)
            if F_s is not None:
                terms |= self._semantic(half, batch, translated, F_s)
        return objective(terms, translated, judge, "t" if half == "CT" else "s", self.own)

    def _semantic(self, half: str, batch: Batch, translated: Tensor, F_s: nn.Module) -> Terms:
        if half == "CT":
            name, meaning = "semantic_s", one_hot(batch.y_s, len(CLASS_NAMES))
        else:
            name = "semantic_t"
            with torch.no_grad():
                meaning = prediction_target(F_s(batch.x_t), "hard")
        return {name: (self.own.semantic_weight, _cross_entropy(F_s(translated), meaning))}


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return segmentation_loss(logits, target, dice_weight=0.0)


class Streams(nn.Module):
    """F_t's scores of translated CT and of MR, each slice stream by itself, in fp32."""

    def __init__(self, F_t: Segmenter, bf16: bool) -> None:
        super().__init__()
        self.F_t, self.bf16 = F_t, bf16

    def forward(self, x_st: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.bf16):
            return self.F_t(x_st).float(), self.F_t(x_t).float()


class Cycada(Method):
    """Translates CT to MRI with its meaning kept, trains F_t on it, and aligns F_t's scores of MRI with those of it."""

    Settings: ClassVar[type] = CycadaSettings
    starts_with: ClassVar[str | None] = "F_s"  # F_t begins as its copy

    def __init__(
        self, settings: TrainingSettings, own: CycadaSettings, device: torch.device, distribution: Distribution
    ) -> None:
        if own.pretraining_share == 0 and settings.start_from is None:
            raise HipError(
                "bad_setting",
                "CyCADA holds the translation by what F_s has learned from CT; let pretraining_share be above 0, or "
                "start from a model that has an F_s.",
            )
        self.settings, self.own, self.distribution = settings, own, distribution
        shares = {name: getattr(own, f"{name}_share") for name in ("pretraining", "translation", "target")}
        self.phases = with_rest(shares, "alignment")
        self.discriminators = ImageDiscriminators(settings, own, device, distribution)
        cycles = SemanticCycles(settings, own).to(device)
        self.source, self.target = (
            Supervision(Segmenter(settings.segmenter), settings, own.dice_weight, device, distribution)
            for _ in range(2)
        )
        self.alignment = Alignment(len(CLASS_NAMES), 1, settings, own.alignment, device, distribution)
        F_s, F_t = self.source.segmenter, self.target.segmenter
        self.networks = {"G_st": cycles.G_st, "G_ts": cycles.G_ts, "F_s": F_s, "F_t": F_t}
        self.networks |= self.discriminators.networks | self.alignment.networks
        self.cycles = distribution.wrap(cycles)
        self.streams = distribution.wrap(Streams(F_t, settings.precision == "bf16"))
        self.optimizers = {
            "G": torch.optim.Adam(
                parameters_of(cycles.G_st, cycles.G_ts),
                settings.learning_rate_translation,
                settings.adam_betas_translation,
            ),
            "D": self.discriminators.optimizer,
            "F_s": self.source.optimizer,
            "F_t": self.target.optimizer,
            "F_t_alignment": torch.optim.Adam(F_t.parameters(), own.alignment.learning_rate, own.alignment.adam_betas),
            "D_f": self.alignment.optimizer,
        }
        self.target_began = False

    def may_be_chosen(self, moment: Moment) -> bool:
        """Before, F_t is F_s, which has seen no MRI; a training that ends so has nothing else."""
        phase, _ = phase_of_training(moment, self.settings, self.phases)
        learned = ("target", "alignment")
        return phase in learned or not any(self.phases[name] for name in learned)

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        phase, fraction = phase_of_training(moment, self.settings, self.phases)
        # From the first step on, so that the running average of F_t does not remember a random network.
        if self.own.target_from_source and not self.target_began:
            self.networks["F_t"].load_state_dict(self.networks["F_s"].state_dict())
        self.target_began = phase in ("target", "alignment")
        # Rates stay as they are as in stage 1, or go down to 0 with the phase as in stage 2.
        begun, ending = replace(moment, stage=1), replace(moment, stage=2, stage_fraction=fraction)
        if phase == "pretraining":
            losses = self._translate(batch, begun, random, None, fraction)
            losses |= {"supervised": self.source.step(batch.x_s, batch.y_s, ending)}  # equation 3
        elif phase == "translation":
            F_s = self.networks["F_s"] if self.own.semantic else None
            losses = self._translate(batch, ending, random, F_s, 1.0)
        elif phase == "target":
            losses = {"supervised_t": self.target.step(self._translated(batch.x_s), batch.y_s, ending)}
        else:
            self.alignment.set_learning_rates(self.optimizers["F_t_alignment"], fraction)
            losses = self._align(batch)
        return {name: float(value) for name, value in losses.items()}

    def _translate(
        self, batch: Batch, moment: Moment, random: np.random.Generator, F_s: nn.Module | None, faded: float
    ) -> dict[str, Tensor]:
        """CycleGAN's step, held by ``F_s`` where it is given, and by what is left of the contrast prior."""
        for name in ("G", "D"):
            set_learning_rate(self.optimizers[name], self.settings.learning_rate_translation * decay(moment))
            self.optimizers[name].zero_grad(set_to_none=True)

        # Generators; the discriminators and F_s only pass the gradient on.
        with frozen(self.networks["D_s"], self.networks["D_t"]), at_rest(self.networks["F_s"]):
            with self.distribution.accumulate(self.cycles):
                loss, x_st, ct_losses = self.cycles("CT", batch, self.networks["D_t"], faded, F_s)
                loss.backward()
            loss, x_ts, mr_losses = self.cycles("MR", batch, self.networks["D_s"], faded, F_s)
            loss.backward()
        self.optimizers["G"].step()
        return ct_losses | mr_losses | self.discriminators.step(batch, x_st, x_ts, random)

    @torch.no_grad()
    def _translated(self, x_s: Tensor) -> Tensor:
        with torch.autocast(x_s.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return self.networks["G_st"](x_s).float()

    def _align(self, batch: Batch) -> dict[str, Tensor | float]:
        """D_f tells F_t's scores of translated CT from those of MR, as in the authors' code. F_t goes on learning from
        translated CT, so that its scores keep their meaning meanwhile."""
        F_t_listens = self.alignment.tells_apart()
        scores_st, scores_t = self.streams(self._translated(batch.x_s), batch.x_t)

        # The discriminator, on scores that gave F_t no gradient.
        losses = self.alignment.step(scores_st, scores_t)

        # F_t, by the discriminator as it is now, which only passes the gradient on.
        supervised = segmentation_loss(scores_st, one_hot(batch.y_s, len(CLASS_NAMES)), self.own.dice_weight)
        inverted = self.alignment.inverted_loss(scores_t)
        total = supervised + self.own.alignment_weight * inverted if F_t_listens else supervised
        self.optimizers["F_t_alignment"].zero_grad(set_to_none=True)
        total.backward()
        self.optimizers["F_t_alignment"].step()
        return losses | {"supervised_t": supervised.detach(), "adv_F_t": inverted.detach()}

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("F_t",), ("G_ts", "F_s"), ("F_s",)), segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))

    def extra_state(self) -> dict[str, Any]:
        return self.discriminators.state() | self.alignment.state() | {"target_began": self.target_began}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state(state)
        self.alignment.load_state(state)
        self.target_began = state["target_began"]
