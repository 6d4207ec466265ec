"""Unpaired batches as a pure function of (seed, step): a resumed training draws what an unbroken one would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from HipICMSCLib.preprocessing.intensity import PADDING
from torch import Tensor

from HipICMSCTrainingLib.data.augmentation import augment
from HipICMSCTrainingLib.data.slice_cache import CachedVolume
from HipICMSCTrainingLib.settings.stages import TOGETHER, TRANSLATION
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class Batch:
    """Unpaired slices: x_s and x_t (batch, channels, rows, columns) in [-1, 1], y_s (batch, rows, columns) of classes.

    In simulation x_s are simulated MRI and there is no x_t; in self-training they are simulated, too. y_t, as y_s, is
    there for a method that reads the labels of MRIs, and for no other. bones_t (batch, 2, rows, columns) is what a
    teacher says of x_t in self-training: how probably it is hip bone and femur. Where a run has corrected MRIs, x_c are
    some of them in every stage but stage 1, y_c their classes and w_c (batch, rows, columns), 0 to 1, how much each
    pixel counts.
    """

    x_s: Tensor
    y_s: Tensor
    x_t: Tensor | None
    y_t: Tensor | None = None
    bones_t: Tensor | None = None
    x_c: Tensor | None = None
    y_c: Tensor | None = None
    w_c: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        parts = (self.x_s, self.y_s, self.x_t, self.y_t, self.bones_t, self.x_c, self.y_c, self.w_c)
        return Batch(*(None if part is None else part.to(device) for part in parts))

    def with_corrected(self, drawn: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Batch:
        """Besides, corrected slices or slabs, each (channels, rows, columns), with classes and weights."""
        x_c, y_c, w_c = (torch.stack(part) for part in zip(*drawn, strict=True))
        return replace(self, x_c=x_c, y_c=y_c, w_c=w_c)


#: The order in which corrected MRIs have their turns is drawn from seeds of its own.
_ORDER_OF_CORRECTED = 1 << 29


class SliceStack:
    """The slices of all volumes of one domain, end to end."""

    def __init__(self, volumes: Sequence[CachedVolume]) -> None:
        self.slices = np.concatenate([volume["slices"] for volume in volumes])
        self.covered = np.concatenate([volume["covered"] for volume in volumes])
        self.position_mm = np.concatenate([volume["position_mm"] for volume in volumes])
        has_labels = all("labels" in volume for volume in volumes)
        self.labels = np.concatenate([volume["labels"] for volume in volumes]) if has_labels else None

    def __len__(self) -> int:
        return len(self.slices)

    def images(self, indices: Sequence[int]) -> Tensor:
        """(batch, 1, rows, columns) float32."""
        return torch.from_numpy(self.slices[list(indices)].astype(np.float32)).unsqueeze(1)

    def masks(self, indices: Sequence[int]) -> Tensor:
        """(batch, 1 or 2, rows, columns) uint8: what the volume covers and, where there are labels, the classes."""
        layers = [self.covered[list(indices)].astype(np.uint8)]
        if self.labels is not None:
            layers.append(self.labels[list(indices)])
        return torch.from_numpy(np.stack(layers, axis=1))

    def evenly(self, count: int) -> list[int]:
        """Up to ``count`` slices spread over all volumes, always the same ones."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)).tolist()


class BatchSource:
    """Draws the batch of any step.

    Args:
        ct, mr: training slices of both domains; MR's have labels only for a method that reads them.
        rank, world_size: which of several processes this is; each draws other slices.
        corrected: corrected MRIs as `cached_corrections` gives them.
    """

    def __init__(
        self,
        ct: SliceStack,
        mr: SliceStack,
        settings: TrainingSettings,
        rank: int = 0,
        world_size: int = 1,
        corrected: Sequence[CachedVolume] = (),
    ) -> None:
        self.ct, self.mr, self.settings = ct, mr, settings
        self.corrected = corrected
        self.rank, self.world_size = rank, world_size

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.settings, len(self.ct), len(self.mr), self.world_size)

    def busy_threads(self, stage: int) -> int:
        """None: slices are cut when they are asked for."""
        return 0

    def draw(self, step: int, stage: int = TOGETHER) -> Batch:
        """Augmented slices; corrected MRIs come beside them once F_t learns.

        CT slices come in shuffled order, so that an epoch sees each once, and for each an MR slice from a similar place
        between front and back.
        """
        random = np.random.default_rng([self.settings.seed, step, self.rank])
        ct = [self._ct_index(step, place) for place in range(self.settings.batch_size)]
        mr = [self._mr_index(self.ct.position_mm[index], random) for index in ct]
        x_s, masks_s = augment(self.ct.images(ct), self.ct.masks(ct), self.settings.augmentation, random)
        x_t, masks_t = augment(self.mr.images(mr), self.mr.masks(mr), self.settings.augmentation, random)
        covered_s, y_s, covered_t = masks_s[:, :1] > 0, masks_s[:, 1], masks_t[:, :1] > 0
        y_t = None if self.mr.labels is None else masks_t[:, 1]
        if self.settings.share_field_of_view:
            both = covered_s & covered_t
            x_s, x_t = x_s.where(both, PADDING), x_t.where(both, PADDING)
            y_s = y_s.where(both[:, 0], 0)
            y_t = None if y_t is None else y_t.where(both[:, 0], 0)
        batch, of_corrected = Batch(x_s, y_s, x_t, y_t), corrected_in_a_batch(self.settings, self.corrected, stage)
        if not of_corrected:
            return batch
        first = (step * self.world_size + self.rank) * of_corrected
        return batch.with_corrected([self._corrected(first + place, random) for place in range(of_corrected)])

    def close(self) -> None:
        """Nothing is made ahead."""

    def _corrected(self, drawn: int, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """An augmented slice of a corrected MRI of which something counts, its classes and weights."""
        volume = self.corrected[in_turn(self.settings.seed, drawn, len(self.corrected))]
        index = int(random.choice(np.flatnonzero((volume["weights"] > 0).any((1, 2)))))
        image = torch.from_numpy(volume["slices"][index].astype(np.float32))
        masks = torch.from_numpy(np.stack([volume[name][index].astype(np.float32) for name in ("classes", "weights")]))
        (image,), ((classes, weights),) = augment(image[None, None], masks[None], self.settings.augmentation, random)
        return image, classes.to(torch.uint8), weights

    def _ct_index(self, step: int, place: int) -> int:
        drawn = (step * self.settings.batch_size + place) * self.world_size + self.rank
        epoch, position = divmod(drawn, len(self.ct))
        order = np.random.default_rng([self.settings.seed, epoch, 1 << 20]).permutation(len(self.ct))
        return int(order[position])

    def _mr_index(self, position_mm: float, random: np.random.Generator) -> int:
        distance = np.abs(self.mr.position_mm - position_mm)
        near = np.flatnonzero(distance <= self.settings.position_window_mm)
        return int(random.choice(near)) if len(near) else int(distance.argmin())


def corrected_in_a_batch(settings: TrainingSettings, corrected: Sequence[CachedVolume], stage: int) -> int:
    """How many slices of corrected MRIs a batch has: their share, at least one where there are any and F_t learns."""
    if not corrected or not settings.corrections_share or stage == TRANSLATION:
        return 0
    return max(1, round(settings.corrections_share * settings.batch_size))


def in_turn(seed: int, drawn: int, count: int) -> int:
    """The corrected MRI of ``count`` that comes after so many were drawn by all processes together: each has its turn
    before one has the next."""
    turn, place = divmod(drawn, count)
    return int(np.random.default_rng([seed, turn, _ORDER_OF_CORRECTED]).permutation(count)[place])


def steps_per_epoch(settings: TrainingSettings, ct_slices: int, mr_slices: int, world_size: int = 1) -> int:
    """The number in the settings or else the paper's rule, for so many training slices and processes.

    Slabs are cut out of a CT anywhere, so that it has no number of slices; there those of MRI alone count.
    """
    if settings.steps_per_epoch is not None:
        return settings.steps_per_epoch
    longest = mr_slices if settings.reads == "slabs" else max(ct_slices, mr_slices)
    return longest // (settings.batch_size * world_size) or 1
