"""ICMSC: intra- and cross-modality semantic consistency (arXiv 2012.12570; method.md).

CT is the source domain s (labelled), MR the target domain t (unlabelled). Names are the paper's:
x_st = G_st(x_s), cyc_s = G_ts(x_st), x_ts = G_ts(x_t), cyc_t = G_st(x_ts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from HipICMSCLib.networks.segmenter import segmenter_of
from HipICMSCLib.networks.translator import Translator
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.contrast_prior import prior_terms, random_guess
from HipICMSCTrainingLib.methods.corrections import corrections_loss
from HipICMSCTrainingLib.methods.losses import TargetKind, one_hot, prediction_target, segmentation_loss
from HipICMSCTrainingLib.methods.method import Method, Moment, decay, set_learning_rate
from HipICMSCTrainingLib.methods.self_training import SelfTrainingSettings, self_training_losses, spoiled
from HipICMSCTrainingLib.methods.translation import ImageDiscriminators, Terms, TranslationSettings, cycle, objective
from HipICMSCTrainingLib.methods.ways import Route, Ways
from HipICMSCTrainingLib.networks.parameters import frozen, parameters_of
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER, TRANSLATION
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Of a stage in which F_t learns alone: steps of its beginning, and of a short one the share that begins it, whichever
#: is less; the share of the rate that is left at its end, and the largest norm of a gradient.
WARM_UP_STEPS, WARM_UP_SHARE, LEAST_RATE, LARGEST_GRADIENT = 200, 0.1, 0.01, 1.0


@dataclass(frozen=True)
class IcmscSettings(TranslationSettings, SelfTrainingSettings):
    """Equation 1's weights and the switches of Table 2.

    Attributes:
        imsc_weight: weight of both terms of equation 6: a slice and its cycle should be segmented alike.
        cmsc_weight: weight of both terms of equation 7: a slice and its translation should be segmented alike.
        dice_weight: λ1 of equation 2, the weight of the Dice term against the cross-entropy in every segmentation loss.
        imsc_s: whether equation 6 has its CT term.
        imsc_t: whether equation 6 has its MR term.
        cmsc_s: whether equation 7 has its CT term; without it F_t learns nothing from labels, unless the contrast prior
            teaches it.
        cmsc_t: whether equation 7 has its MR term.
        cmsc_t_symmetric: adds L_seg(x_ts, F_t(x_t), F_s), through which cmsc_t reaches the generators too (ours, off).
        contrast_prior_segmenter_weight: weight of L_seg(g'(x_s), y_s, F_t) in both stages, g' being the guess varied at
            random, which G_ts then reads in place of g(x_s), too: it keeps F_t from following translations that call
            something else bone (ours, off).
        cmsc_t_start: the share of stage 2, 0 to 1, after which cmsc_t begins, for F_s(G_ts(x_t)) is a poor teacher at
            first.
        target: whether predictions that serve as targets are one-hot or probabilities.
    """

    imsc_weight: float = 0.1
    cmsc_weight: float = 0.1
    dice_weight: float = 1.0
    imsc_s: bool = True
    imsc_t: bool = True
    cmsc_s: bool = True
    cmsc_t: bool = True
    cmsc_t_symmetric: bool = False
    contrast_prior_segmenter_weight: float = 0.0
    cmsc_t_start: float = 0.0
    target: TargetKind = "hard"


class Cycles(nn.Module):
    """One domain's half of the objective of generators and segmenters.

    Each translated and cycled image and each segmentation is computed once and serves every term that names it. The
    two halves share no activation, so the trainer runs the backward pass of one before it starts the other.
    """

    def __init__(self, settings: TrainingSettings, own: IcmscSettings, distribution: Distribution) -> None:
        super().__init__()
        self.own = own
        self.ct_window_hu = settings.intensity.ct_window_hu
        self.bf16 = settings.precision == "bf16"
        self.corrections_weight = settings.corrections_weight
        self.distribution = distribution
        slices = settings.image_shape[0]
        self.G_st = Translator(settings.translator, settings.recompute, slices)
        self.G_ts = Translator(settings.translator, settings.recompute, slices)
        slab_unet = settings.slab_unet if settings.reads == "slabs" else None
        self.F_s = segmenter_of(settings.segmenter, slab_unet)
        self.F_t = segmenter_of(settings.segmenter, slab_unet)

    def forward(
        self, half: str, batch: Batch, moment: Moment, judge: nn.Module, guess: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(total loss, translated image, the terms by name) of ``half`` "CT" or "MR".

        ``judge`` is D_t or D_s, ``guess`` an MR-like version of x_s that F_t reads besides.
        """
        with torch.autocast(batch.x_s.device.type, torch.bfloat16, enabled=self.bf16):
            terms, translated = self._ct(batch, moment, guess) if half == "CT" else self._mr(batch, moment)
        total, translated, logged = objective(terms, translated, judge, "t" if half == "CT" else "s", self.own)
        if half == "MR":
            total = total + self.distribution.anchor(self.parameters())
        return total, translated, logged

    def _ct(self, batch: Batch, moment: Moment, guess: Tensor | None) -> tuple[Terms, Tensor]:
        own = self.own
        x_s, y_s = batch.x_s, one_hot(batch.y_s, len(CLASS_NAMES))
        x_st, cyc_s, terms = cycle(self.G_st, self.G_ts, x_s, "s", own)
        if guess is not None:
            loss = segmentation_loss(self.F_t(guess), y_s, own.dice_weight)
            terms["prior_F"] = (own.contrast_prior_segmenter_weight, loss)
        faded = moment.stage_fraction if moment.stage == TRANSLATION else 1.0
        terms |= prior_terms(x_s, x_st, self.G_ts, self.ct_window_hu, own, faded, guess)
        if moment.stage == TRANSLATION:
            return terms, x_st
        p_s = self.F_s(x_s)
        terms["supervised"] = (1.0, segmentation_loss(p_s, y_s, own.dice_weight))  # equation 3
        if own.imsc_s:  # equation 6, first term
            target = prediction_target(p_s, own.target)
            terms["imsc_s"] = (own.imsc_weight, segmentation_loss(self.F_s(cyc_s), target, own.dice_weight))
        if own.cmsc_s:  # equation 7, first term
            terms["cmsc_s"] = (own.cmsc_weight, segmentation_loss(self.F_t(x_st), y_s, own.dice_weight))
        return terms, x_st

    def _mr(self, batch: Batch, moment: Moment) -> tuple[Terms, Tensor]:
        own = self.own
        x_t = batch.x_t
        x_ts, cyc_t, terms = cycle(self.G_ts, self.G_st, x_t, "t", own)
        if moment.stage == TRANSLATION:
            return terms, x_ts
        p_t = self.F_t(x_t)
        target_t = prediction_target(p_t, own.target)
        if own.imsc_t:  # equation 6, second term
            terms["imsc_t"] = (own.imsc_weight, segmentation_loss(self.F_t(cyc_t), target_t, own.dice_weight))
        if own.cmsc_t and moment.stage_fraction >= own.cmsc_t_start:  # equation 7, second term; only F_t learns from it
            with torch.no_grad():
                target_s = prediction_target(self.F_s(x_ts), own.target)
            terms["cmsc_t"] = (own.cmsc_weight, segmentation_loss(p_t, target_s, own.dice_weight))
        if own.cmsc_t_symmetric:
            loss = segmentation_loss(self.F_s(x_ts), target_t, own.dice_weight)
            terms["cmsc_t_symmetric"] = (own.cmsc_weight, loss)
        if batch.x_c is not None:
            loss = corrections_loss(self.F_t(batch.x_c), batch.y_c, batch.w_c, own.dice_weight)
            terms["corrections"] = (self.corrections_weight, loss)
        return terms, x_ts


class Icmsc(Method):
    """Stage 1 trains translation alone; stage 2 adds the segmenters and their consistency (paper section 2.3).

    On slabs, F_t may learn from simulated MRI before, and from its own predictions afterwards (both ours). In all but
    stage 1 it may learn from MRIs, too, whose results a person corrected.
    """

    Settings: ClassVar[type] = IcmscSettings
    learns_from_corrections: ClassVar[bool] = True
    reads_slabs: ClassVar[bool] = True
    # Of the mean teacher that self-training had.
    retired_settings: ClassVar[frozenset[str]] = frozenset({"teacher_decay"})

    def __init__(
        self, settings: TrainingSettings, own: IcmscSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.settings, self.own, self.distribution = settings, own, distribution
        # First, as in CycleGAN, so that both begin with the same translation where the seed is the same.
        self.discriminators = ImageDiscriminators(settings, own, device, distribution)
        cycles = Cycles(settings, own, distribution).to(device)
        segmenters_and_generators = {"G_st": cycles.G_st, "G_ts": cycles.G_ts, "F_s": cycles.F_s, "F_t": cycles.F_t}
        self.networks = segmenters_and_generators | self.discriminators.networks
        self.cycles = distribution.wrap(cycles)
        betas, rate = settings.adam_betas_translation, settings.learning_rate_translation
        self.optimizers = {
            "G": torch.optim.Adam(parameters_of(cycles.G_st, cycles.G_ts), rate, betas),
            "F": torch.optim.Adam(parameters_of(cycles.F_s, cycles.F_t), settings.learning_rate_segmentation),
            "D": self.discriminators.optimizer,
        }

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        self._set_learning_rates(moment)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if moment.stage in (SIMULATION, SELF_TRAINING):
            return self._train_F_t(batch, moment, random)
        return self._train_all(batch, moment, random)

    def _train_F_t(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        """A step on simulated MRI, in self-training on real MRI and in either on corrected ones too; nothing is
        translated."""
        F_t, own = self.networks["F_t"], self.own
        with torch.autocast(batch.x_s.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            if moment.stage == SIMULATION:
                target = one_hot(batch.y_s, len(CLASS_NAMES))
                losses = {"simulated": segmentation_loss(F_t(batch.x_s), target, own.dice_weight)}
            else:
                losses = self_training_losses(F_t, batch, own, own.dice_weight, random)
            if batch.x_c is not None:
                # As often as not as another scanner might have given them.
                x_c = batch.x_c
                if random.random() < 0.5:
                    x_c = torch.stack([spoiled(slab, random) for slab in x_c])
                loss = corrections_loss(F_t(x_c), batch.y_c, batch.w_c, own.dice_weight)
                losses["corrections"] = self.settings.corrections_weight * loss
        sum(losses.values()).backward()
        self.distribution.average_gradients(F_t)
        # A slab of nothing but a few pixels of bone can throw a network far.
        nn.utils.clip_grad_norm_(F_t.parameters(), LARGEST_GRADIENT)
        self.optimizers["F"].step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _train_all(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        """A step of the paper's two stages."""

        guess = None
        if self.own.contrast_prior != "none" and self.own.contrast_prior_segmenter_weight:
            guess = random_guess(batch.x_s, self.settings.intensity.ct_window_hu, self.own.contrast_prior, random)

        # Generators and segmenters; the discriminators only pass the gradient on.
        with frozen(self.networks["D_s"], self.networks["D_t"]):
            with self.distribution.accumulate(self.cycles):
                loss, x_st, ct_terms = self.cycles("CT", batch, moment, self.networks["D_t"], guess)
                loss.backward()
            loss, x_ts, mr_terms = self.cycles("MR", batch, moment, self.networks["D_s"])
            loss.backward()
        self.optimizers["G"].step()
        if moment.stage == TOGETHER or guess is not None:
            self.optimizers["F"].step()

        judged = self.discriminators.step(batch, x_st, x_ts, random)
        return {name: float(value) for name, value in (ct_terms | mr_terms | judged).items()}

    def _set_learning_rates(self, moment: Moment) -> None:
        """G and D constant in stage 1 and linear to 0 in stage 2; F linear to 0 in stage 2.

        In simulation F_t begins slowly and ends along a cosine; in self-training its rate is a share, linear to 0.
        """
        for name in ("G", "D"):
            set_learning_rate(self.optimizers[name], self.settings.learning_rate_translation * decay(moment))
        rate = self.settings.learning_rate_segmentation
        if moment.stage == SIMULATION:
            wave = 0.5 + 0.5 * math.cos(math.pi * moment.stage_fraction)
            begun = max((moment.step + 1) / WARM_UP_STEPS, moment.stage_fraction / WARM_UP_SHARE)
            rate *= min(1.0, begun) * max(wave, LEAST_RATE)
        elif moment.stage == SELF_TRAINING:
            rate *= self.own.self_training_rate * (1 - moment.stage_fraction)
        else:
            rate *= decay(moment)
        set_learning_rate(self.optimizers["F"], rate)

    def ways(self, stage: int = TOGETHER) -> Ways:
        """F_t reads MR itself; before cmsc_s comes in it learns nothing, and F_s reads the translation (Table 2)."""
        if stage in (SIMULATION, SELF_TRAINING):
            return Ways((("F_t",),))
        segment_mr: tuple[Route, ...] = (("G_ts", "F_s"), ("F_s",))
        if self.own.cmsc_s:
            segment_mr = (("F_t",), *segment_mr)
        return Ways(segment_mr, segment_ct=("F_s",), ct_to_mr=("G_st",), mr_to_ct=("G_ts",))

    def extra_state(self) -> dict[str, Any]:
        return self.discriminators.state()

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state(state)


def table2_rows() -> dict[str, IcmscSettings]:
    """The rows of the paper's Table 2, each with one consistency term more than the one before it.

    F_t learns nothing before the third row, so that :meth:`Icmsc.ways` offers F_s(G_ts) as the best route of the first
    two.
    """
    none = IcmscSettings(imsc_s=False, imsc_t=False, cmsc_s=False, cmsc_t=False)
    return {
        "no consistency": none,
        "+ IMSC_S": replace(none, imsc_s=True),
        "+ CMSC_S": replace(none, imsc_s=True, cmsc_s=True),
        "+ IMSC_T": replace(none, imsc_s=True, cmsc_s=True, imsc_t=True),
        "+ CMSC_T": IcmscSettings(),
    }
