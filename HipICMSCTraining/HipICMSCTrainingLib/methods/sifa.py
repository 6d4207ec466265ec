"""SIFA: synergistic image and feature alignment (Chen et al., IEEE TMI 2020; method.md, Baselines).

CT is the source domain s (labelled), MR the target domain t. The encoder E is shared: with the decoder U behind it, it
translates MR to CT, and with the head S it segments, having learned from translated CT. Its features are aligned by
discriminators on the predictions, on those of a lower layer, and on the CT-like images that come out of U.
x_st = G_st(x_s), cyc_s = U(E(x_st)), x_ts = U(E(x_t)), cyc_t = G_st(x_ts).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from HipICMSCLib.networks.sifa_network import STRIDE, SifaEncoder, SifaHead, joined
from torch import Tensor, nn
from torch.func import functional_call

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.contrast_prior import ContrastPriorSettings, prior_terms
from HipICMSCTrainingLib.methods.image_pool import ImagePool, check_capacity
from HipICMSCTrainingLib.methods.losses import (
    GanLoss,
    adversarial_loss,
    discriminator_loss,
    one_hot,
    reconstruction_loss,
    segmentation_loss,
)
from HipICMSCTrainingLib.methods.method import Method, Moment, decay, set_learning_rate
from HipICMSCTrainingLib.methods.ways import Ways
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import frozen, parameters_of
from HipICMSCTrainingLib.networks.sifa_networks import AddingTranslator, SifaDecoder
from HipICMSCTrainingLib.settings.stages import TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings

GAN: GanLoss = "lsgan"


@dataclass(frozen=True)
class SifaSettings(ContrastPriorSettings):
    """The weights of SIFA's terms. Its authors train with a ``batch_size`` of 8. All its networks have the same rate,
    ``learning_rate_translation``.

    Attributes:
        adversarial_weight: of the translations' own terms: they should look real to D_t and D_s.
        reconstruction_weight: of the cycles: a slice that is translated there and back should be itself again.
        encoder_translation_weight: of both terms above, and of the contrast prior, in what E learns; G_st and U have
            them whole.
        dice_weight: of the Dice term against the cross-entropy in both segmentation losses.
        lower_segmentation_weight: of the segmentation loss of the lower layer's predictions.
        prediction_weight: of predictions on MR looking to D_P like those on translated CT.
        lower_prediction_weight: of the same for the lower layer's predictions and D_P_low.
        auxiliary_weight: of translations of MR looking to the auxiliary head of D_s like cycles of CT.
        l2_weight: of half the sum of squares of all weights of E and its heads.
        image_pool: how many earlier translations D_t and D_s are shown again now and then.

    Raises:
        HipError: ``bad_setting`` for an image_pool below 0.
    """

    adversarial_weight: float = 1.0
    reconstruction_weight: float = 10.0
    encoder_translation_weight: float = 0.1
    dice_weight: float = 1.0
    lower_segmentation_weight: float = 0.1
    prediction_weight: float = 0.1
    lower_prediction_weight: float = 0.01
    auxiliary_weight: float = 0.1
    l2_weight: float = 1e-4
    image_pool: int = 50

    def __post_init__(self) -> None:
        check_capacity(self.image_pool)


class Part(NamedTuple):
    """What one part of the objective gives.

    Attributes:
        loss: the weighted sum of its terms.
        shown: what the discriminators learn from, without gradient.
        terms: by name, as they are logged.
    """

    loss: Tensor
    shown: dict[str, Tensor]
    terms: dict[str, Tensor]


class SifaObjective(nn.Module):
    """The objective of all networks but the discriminators, in three parts that share no activation.

    So the backward pass of one runs before the next starts. ``judges`` are the discriminators by their names.
    """

    def __init__(self, settings: TrainingSettings, own: SifaSettings, distribution: Distribution) -> None:
        super().__init__()
        self.own, self.distribution = own, distribution
        self.ct_window_hu = settings.intensity.ct_window_hu
        self.bf16 = settings.precision == "bf16"
        self.G_st = AddingTranslator(settings.translator, settings.recompute)
        self.E = SifaEncoder(settings.segmenter)
        self.U = SifaDecoder(settings.segmenter, settings.translator)
        self.S = SifaHead(settings.segmenter)
        self.S_low = SifaHead(settings.segmenter)

    def forward(
        self,
        part: str,
        batch: Batch,
        judges: Mapping[str, nn.Module],
        x_st: Tensor | None = None,
        faded: float = 1.0,
    ) -> Part:
        """``part`` is "CT cycle", in which the prior has ``faded``, "MR cycle", or "segmentation" of ``x_st``."""
        if part == "CT cycle":
            return self._ct_cycle(batch.x_s, judges["D_t"], faded)
        if part == "MR cycle":
            return self._mr_cycle(batch.x_t, judges["D_s"])
        return self._segmentation(x_st, batch, judges)

    def _ct_cycle(self, x_s: Tensor, d_t: nn.Module, faded: float) -> Part:
        with self._autocast(x_s):
            x_st = self.G_st(x_s)
            cyc_s = self.U(self.E(x_st))
            terms = prior_terms(x_s, x_st, lambda x: self.U(self.E(x)), self.ct_window_hu, self.own, faded)
        terms |= {
            "adv_G_t": (self.own.adversarial_weight, adversarial_loss(d_t(x_st.float()), True, GAN)),
            "rec_s": (self.own.reconstruction_weight, reconstruction_loss(cyc_s, x_s)),
        }
        return _part(terms, x_st=x_st, cyc_s=cyc_s)

    def _mr_cycle(self, x_t: Tensor, d_s: nn.Module) -> Part:
        with self._autocast(x_t):
            x_ts = self.U(self.E(x_t))
            cyc_t = self.G_st(x_ts)
        real, _ = _heads(d_s(x_ts.float()))
        terms = {
            "adv_G_s": (self.own.adversarial_weight, adversarial_loss(real, True, GAN)),
            "rec_t": (self.own.reconstruction_weight, reconstruction_loss(cyc_t, x_t)),
        }
        return _part(terms, x_ts=x_ts)

    def _segmentation(self, x_st: Tensor, batch: Batch, judges: Mapping[str, nn.Module]) -> Part:
        """What E and its heads alone learn from: x_st comes without gradient, and U only passes the gradient on."""
        own, x_t, y_s = self.own, batch.x_t, one_hot(batch.y_s, len(CLASS_NAMES))
        with self._autocast(x_t):
            latent, lower = self.E.levels(x_st)
            p_st, p_st_low = self.S(latent), self.S_low(lower)
            latent, lower = self.E.levels(x_t)
            p_t, p_t_low = self.S(latent), self.S_low(lower)
            x_ts = _constant(self.U, joined(latent, x_t))
        supervised = segmentation_loss(p_st, y_s, own.dice_weight)
        supervised_low = segmentation_loss(p_st_low, y_s, own.dice_weight)
        p_st, p_st_low, p_t, p_t_low = (logits.float().softmax(1) for logits in (p_st, p_st_low, p_t, p_t_low))
        _, cycled = _heads(judges["D_s"](x_ts.float()))
        terms = {
            "supervised": (1.0, supervised),
            "supervised_low": (own.lower_segmentation_weight, supervised_low),
            "adv_P": (own.prediction_weight, adversarial_loss(judges["D_P"](p_t), True, GAN)),
            "adv_P_low": (own.lower_prediction_weight, adversarial_loss(judges["D_P_low"](p_t_low), True, GAN)),
            "aux": (own.auxiliary_weight, adversarial_loss(cycled, True, GAN)),
        }
        part = _part(terms, p_st=p_st, p_st_low=p_st_low, p_t=p_t, p_t_low=p_t_low)
        return part._replace(loss=part.loss + self.distribution.anchor(self.parameters()))

    def _autocast(self, x: Tensor) -> AbstractContextManager[None]:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16)


class Sifa(Method):
    """A shared encoder translates MRI to CT and segments; it learns to segment from translated CT, all at once."""

    Settings: ClassVar[type] = SifaSettings
    slice_multiple: ClassVar[int] = STRIDE

    def __init__(
        self, settings: TrainingSettings, own: SifaSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.settings, self.own, self.distribution = settings, own, distribution
        objective = SifaObjective(settings, own, distribution).to(device)
        width = settings.discriminator_width
        judges = {
            "D_t": PatchDiscriminator(width),
            "D_s": PatchDiscriminator(width, outputs=2),
            "D_P": PatchDiscriminator(width, inputs=len(CLASS_NAMES)),
            "D_P_low": PatchDiscriminator(width, inputs=len(CLASS_NAMES)),
        }
        self.judges = {name: judge.to(device) for name, judge in judges.items()}
        self.networks = dict(objective.named_children()) | self.judges
        self.objective = distribution.wrap(objective)
        self.wrapped_judges = {name: distribution.wrap(judge) for name, judge in self.judges.items()}
        betas, rate = settings.adam_betas_translation, settings.learning_rate_translation
        self.optimizers = {
            "G": torch.optim.Adam(parameters_of(objective.G_st, objective.U), rate, betas),
            # Adam's weight decay is the gradient of the L2 term.
            "E": torch.optim.Adam(
                parameters_of(objective.E, objective.S, objective.S_low), rate, weight_decay=own.l2_weight
            ),
            "D": torch.optim.Adam(parameters_of(*self.judges.values()), rate, betas),
        }
        self.pools = {"s": ImagePool(own.image_pool), "t": ImagePool(own.image_pool)}

    def train_step(self, batch: Batch, moment: Moment, random: np.random.Generator) -> dict[str, float]:
        self._set_learning_rates(moment)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

        # All but the discriminators, which only pass the gradient on.
        with frozen(*self.judges.values()):
            with self.distribution.accumulate(self.objective):
                faded = moment.stage_fraction if moment.stage == 1 else 1.0
                ct = self.objective("CT cycle", batch, self.judges, faded=faded)
                ct.loss.backward()
                mr = self.objective("MR cycle", batch, self.judges)
                mr.loss.backward()
            for parameter in self.networks["E"].parameters():
                parameter.grad *= self.own.encoder_translation_weight
            segmentation = self.objective("segmentation", batch, self.judges, ct.shown["x_st"])
            segmentation.loss.backward()
        self.optimizers["G"].step()
        self.optimizers["E"].step()

        judged = self._train_judges(batch, ct.shown | mr.shown | segmentation.shown, random)
        losses = ct.terms | mr.terms | segmentation.terms | judged
        return {name: float(value) for name, value in losses.items()}

    def _train_judges(self, batch: Batch, shown: dict[str, Tensor], random: np.random.Generator) -> dict[str, Tensor]:
        """One step of the discriminators, on images and predictions that gave the others no gradient."""
        judges = self.wrapped_judges
        x_st = self.pools["t"].exchange(shown["x_st"], random)
        x_ts = self.pools["s"].exchange(shown["x_ts"], random)
        of_t = judges["D_t"](torch.cat([batch.x_t, x_st])).chunk(2)
        real, cycled = _heads(judges["D_s"](torch.cat([batch.x_s, shown["cyc_s"], x_ts])))
        (on_x_s, _, on_x_ts), (_, on_cyc_s, aux_on_x_ts) = real.chunk(3), cycled.chunk(3)
        losses = {
            "adv_D_t": discriminator_loss(*of_t, GAN),
            "adv_D_s": discriminator_loss(on_x_s, on_x_ts, GAN),
            "aux_D_s": discriminator_loss(on_cyc_s, aux_on_x_ts, GAN),
        }
        for name, level in (("D_P", ""), ("D_P_low", "_low")):
            predictions = torch.cat([shown[f"p_st{level}"], shown[f"p_t{level}"]])
            losses[f"adv_{name}"] = discriminator_loss(*judges[name](predictions).chunk(2), GAN)
        sum(losses.values()).backward()
        self.optimizers["D"].step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _set_learning_rates(self, moment: Moment) -> None:
        """E belongs to the translation from MR to CT, so that it and its heads have the rate of that."""
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, self.settings.learning_rate_translation * decay(moment))

    def ways(self, stage: int = TOGETHER) -> Ways:
        return Ways((("E", "S"),), ct_to_mr=("G_st",), mr_to_ct=("E", "U"))

    @property
    def deployable(self) -> tuple[str, ...]:
        """The lower layer's head only serves the training."""
        return tuple(name for name in super().deployable if name != "S_low")

    def extra_state(self) -> dict[str, Any]:
        return {name: pool.images for name, pool in self.pools.items()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        for name, pool in self.pools.items():
            pool.images = list(state[name])


def _part(terms: Mapping[str, tuple[float, Tensor]], **shown: Tensor) -> Part:
    return Part(
        loss=sum(weight * value for weight, value in terms.values()),
        shown={name: image.detach().float() for name, image in shown.items()},
        terms={name: value.detach() for name, (_, value) in terms.items()},
    )


def _heads(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The answers of D_s: whether an image is a real CT, and whether it is a cycle of a CT."""
    return scores[:, :1], scores[:, 1:]


def _constant(network: nn.Module, x: Tensor) -> Tensor:
    """``network`` as a fixed function: what comes out has a gradient for ``x``, but none for the network."""
    return functional_call(network, {name: value.detach() for name, value in network.named_parameters()}, x)
