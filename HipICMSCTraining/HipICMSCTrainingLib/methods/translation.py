"""What methods that translate share: the cycle of CycleGAN, its loss, and its discriminators (method.md, Losses)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.contrast_prior import ContrastPriorSettings
from HipICMSCTrainingLib.methods.image_pool import ImagePool, check_capacity
from HipICMSCTrainingLib.methods.losses import GanLoss, adversarial_loss, discriminator_loss, reconstruction_loss
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import parameters_of
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Weight and value of each term of an objective, by the term's name.
Terms = dict[str, tuple[float, Tensor]]


@dataclass(frozen=True)
class TranslationSettings(ContrastPriorSettings):
    """The weights of CycleGAN's terms.

    Attributes:
        adversarial_weight: weight of L_adv, equation 4: translations should look real to the discriminators.
        reconstruction_weight: weight of L_rec, equation 5: a slice that is translated there and back should be itself
            again.
        identity_weight: weight of leaving alone a slice that is in the wanted domain already (CycleGAN's; off in the
            paper).
        gan_loss: what equation 4 measures: squared distances (lsgan) or cross-entropy (bce).
        image_pool: how many earlier translations each discriminator is shown again now and then.

    Raises:
        HipError: ``bad_setting`` for an image_pool below 0.
    """

    adversarial_weight: float = 1.0
    reconstruction_weight: float = 10.0
    identity_weight: float = 0.0
    gan_loss: GanLoss = "lsgan"
    image_pool: int = 50

    def __post_init__(self) -> None:
        check_capacity(self.image_pool)


def cycle(
    there: nn.Module, back: nn.Module, x: Tensor, domain: Literal["s", "t"], own: TranslationSettings
) -> tuple[Tensor, Tensor, Terms]:
    """(there(x), back(there(x)), the domain's half of L_rec and, where it is on, the identity term)."""
    translated = there(x)
    cycled = back(translated)
    terms = {f"rec_{domain}": (own.reconstruction_weight, reconstruction_loss(cycled, x))}
    if own.identity_weight:
        terms[f"identity_{domain}"] = (own.identity_weight, reconstruction_loss(back(x), x))
    return translated, cycled, terms


def objective(
    terms: Terms, translated: Tensor, judge: nn.Module, domain: Literal["s", "t"], own: TranslationSettings
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The sum of the terms of one half and of L_adv, which ``judge`` finds in fp32.

    Args:
        judge: the discriminator of ``domain``, in which ``translated`` should look real.

    Returns:
        The total loss, the translated image in fp32, and the terms without gradient by their names.
    """
    with torch.autocast(translated.device.type, enabled=False):
        translated = translated.float()
        adversarial = adversarial_loss(judge(translated), True, own.gan_loss)
    total = own.adversarial_weight * adversarial
    for weight, value in terms.values():
        total = total + weight * value
    logged = {f"adv_G_{domain}": adversarial} | {name: value for name, (_, value) in terms.items()}
    return total, translated, {name: value.detach() for name, value in logged.items()}


class ImageDiscriminators:
    """D_s and D_t with their optimiser and the histories of what they were shown.

    Attributes:
        networks: ``D_s`` and ``D_t``.
        pools: by domain, ``s`` and ``t``.
    """

    def __init__(
        self, settings: TrainingSettings, own: TranslationSettings, device: torch.device, distribution: Distribution
    ) -> None:
        self.own = own
        channels = settings.image_shape[0]
        d_s = PatchDiscriminator(settings.discriminator_width, channels).to(device)
        d_t = PatchDiscriminator(settings.discriminator_width, channels).to(device)
        self.networks = {"D_s": d_s, "D_t": d_t}
        self._d_s, self._d_t = distribution.wrap(d_s), distribution.wrap(d_t)
        self.optimizer = torch.optim.Adam(
            parameters_of(d_s, d_t), settings.learning_rate_translation, settings.adam_betas_translation
        )
        self.pools = {"s": ImagePool(own.image_pool), "t": ImagePool(own.image_pool)}

    def step(self, batch: Batch, x_st: Tensor, x_ts: Tensor, random: np.random.Generator) -> dict[str, Tensor]:
        """Learn from real images and from translated ones, which give the generators no gradient; the losses by name.

        The gradients of the step before must be gone already.
        """
        judged = {}
        for domain, judge, real, translated in (("t", self._d_t, batch.x_t, x_st), ("s", self._d_s, batch.x_s, x_ts)):
            shown = self.pools[domain].exchange(translated, random)
            scores_real, scores_translated = judge(torch.cat([real, shown])).chunk(2)
            loss = discriminator_loss(scores_real, scores_translated, self.own.gan_loss)
            loss.backward()
            judged[f"adv_D_{domain}"] = loss.detach()
        self.optimizer.step()
        return judged

    def state(self) -> dict[str, Any]:
        """The histories, for :meth:`Method.extra_state`."""
        return {name: pool.images for name, pool in self.pools.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, pool in self.pools.items():
            pool.images = list(state[name])
