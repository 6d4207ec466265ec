"""The adversarial stage of ADDA, which CyCADA ends with: a network of MR learns to give maps (features, or scores of
the classes) that a discriminator D_f takes for those of CT (method.md, Baselines)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from HipICMSCLib.common.errors import HipError
from torch import Tensor, nn

from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.losses import adversarial_loss, discriminator_loss
from HipICMSCTrainingLib.methods.method import set_learning_rate
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import frozen
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: PatchDiscriminator leaves nothing of smaller maps.
LEAST_PATCH_MAP = 24


@dataclass(frozen=True)
class AlignmentSettings:
    """How D_f and the network of MR play against each other.

    Attributes:
        discriminator: what D_f looks at: each position by itself (pixel, three 1 × 1 convolutions), or patches of
            positions (patch, a PatchGAN; it needs maps of at least 24 × 24 positions).
        least_accuracy: the network of MR learns from D_f only while D_f knows the domain of more than this share of
            positions, for one that guesses teaches nothing.
        accuracy_steps: D_f's accuracy is the mean of so many of its last steps; before it has done as many, it teaches
            nothing.
        learning_rate: Adam's, for D_f and for the network of MR; it goes down linearly to 0 with the alignment.
        adam_betas: Adam's two decay rates, for both.
    """

    discriminator: Literal["pixel", "patch"] = "pixel"
    least_accuracy: float = 0.6
    accuracy_steps: int = 100
    learning_rate: float = 1e-4
    adam_betas: tuple[float, float] = (0.5, 0.999)


class PixelDiscriminator(nn.Module):
    """D_f: maps (batch, inputs, rows, columns) → a score for each position, above 0 for CT."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, 4 * width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 2 * width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(maps)


class Alignment:
    """D_f with its optimiser and its accuracy of late.

    Args:
        channels: of the maps.
        stride: pixels of a slice for one position of the maps.

    Attributes:
        networks: ``D_f``.
        accuracies: the share of positions whose domain D_f knew, in each of its last steps.

    Raises:
        HipError: ``bad_setting`` if the maps are too small for patches, or an accuracy is that of no step.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        settings: TrainingSettings,
        own: AlignmentSettings,
        device: torch.device,
        distribution: Distribution,
    ) -> None:
        self.own, self.distribution = own, distribution
        if own.accuracy_steps < 1:
            raise HipError("bad_setting", f"alignment.accuracy_steps is {own.accuracy_steps}; give at least 1.")
        columns, _, rows = settings.crop.size
        if own.discriminator == "patch" and min(rows, columns) < LEAST_PATCH_MAP * stride:
            raise HipError(
                "bad_setting",
                f"Slices of {rows} × {columns} pixels are too small for alignment.discriminator patch; choose pixel.",
            )
        if own.discriminator == "patch":
            d_f = PatchDiscriminator(settings.discriminator_width, channels).to(device)
        else:
            d_f = PixelDiscriminator(channels, settings.discriminator_width).to(device)
        self.networks = {"D_f": d_f}
        self._d_f = distribution.wrap(d_f)
        self.optimizer = torch.optim.Adam(d_f.parameters(), own.learning_rate, own.adam_betas)
        self.accuracies: list[float] = []

    @property
    def accuracy(self) -> float:
        """The mean over D_f's last steps; 0 before its first."""
        return sum(self.accuracies) / max(len(self.accuracies), 1)

    def tells_apart(self) -> bool:
        """Whether D_f has been right so often of late that there is something to learn from it."""
        known = len(self.accuracies) == self.own.accuracy_steps
        return self.distribution.agree(known and self.accuracy > self.own.least_accuracy)

    def set_learning_rates(self, of_mr: torch.optim.Optimizer, fraction: float) -> None:
        """Adam's rate of D_f and of the network of MR when this much of the alignment is over, 0 to 1."""
        for optimizer in (self.optimizer, of_mr):
            set_learning_rate(optimizer, self.own.learning_rate * (1 - fraction))

    def step(self, maps_s: Tensor, maps_t: Tensor) -> dict[str, Tensor | float]:
        """Let D_f learn from maps of CT and of MR, which give their networks no gradient.

        Returns:
            D_f's loss and its accuracy of late, by name.
        """
        self.optimizer.zero_grad(set_to_none=True)
        scores_s, scores_t = self._d_f(torch.cat([maps_s.detach(), maps_t.detach()])).chunk(2)
        loss = discriminator_loss(scores_s, scores_t, "bce")
        loss.backward()
        self.optimizer.step()
        right = ((scores_s > 0).float().mean() + (scores_t <= 0).float().mean()) / 2
        self.accuracies = [*self.accuracies, self.distribution.mean(float(right))][-self.own.accuracy_steps :]
        return {"adv_D_f": loss.detach(), "accuracy_D_f": self.accuracy}

    def inverted_loss(self, maps_t: Tensor) -> Tensor:
        """How far D_f is from taking maps of MR for CT's; it passes the gradient on and gathers none."""
        with frozen(self.networks["D_f"]):
            return adversarial_loss(self.networks["D_f"](maps_t), True, "bce")

    def state(self) -> dict[str, Any]:
        """What :meth:`Method.extra_state` must hold of it."""
        return {"accuracies": self.accuracies}

    def load_state(self, state: dict[str, Any]) -> None:
        self.accuracies = list(state["accuracies"])
