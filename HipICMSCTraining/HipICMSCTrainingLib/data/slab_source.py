"""Batches of slabs as a pure function of (seed, step, stage): simulated ones, and real CT and MRI in like planes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from HipICMSCLib.preprocessing.intensity import PADDING

from HipICMSCTrainingLib.data.batches import Batch, steps_per_epoch
from HipICMSCTrainingLib.data.slab_cache import Arrays, plane_of
from HipICMSCTrainingLib.data.slab_stack import ct_slab, slab_at, slab_covered
from HipICMSCTrainingLib.settings.simulation import SlabShape
from HipICMSCTrainingLib.settings.training import SELF_TRAINING, SIMULATION, TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import Anatomy
from HipICMSCTrainingLib.simulation.pose import draw_pose_in
from HipICMSCTrainingLib.simulation.simulator import simulated

#: Batches that are made before they are asked for.
_AHEAD = 6
#: Threads that make them; the network has the rest of the processor.
_LARGEST_CREW = 8


class SlabSource:
    """Draws the batch of any step; the next ones are made meanwhile in other threads.

    Args:
        anatomies: labelled CTs.
        weights: how often each is drawn, compared with one another.
        volumes: MRIs as :func:`cached_slices` gives them.
        rank, world_size: which of several processes this is; each draws other slabs.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        weights: Sequence[float],
        volumes: Sequence[Arrays],
        settings: TrainingSettings,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.anatomies, self.volumes, self.settings = anatomies, volumes, settings
        self.shares = np.array(weights) / sum(weights)
        self.rank, self.world_size = rank, world_size
        self.shape = settings.slab_shape
        # PyTorch gives a thread that never asked the number of threads that any other one set last.
        torch.get_num_threads()
        crew = max(1, min(_LARGEST_CREW, (os.cpu_count() or 2) - 1))
        self._crew = ThreadPoolExecutor(crew, initializer=torch.set_num_threads, initargs=(1,))
        self._waiting: dict[tuple[int, int], Future[Batch]] = {}

    @property
    def steps_per_epoch(self) -> int:
        mr_slices = sum(len(volume["slices"]) for volume in self.volumes)
        return steps_per_epoch(self.settings, 0, mr_slices, self.world_size)

    def draw(self, step: int, stage: int) -> Batch:
        """
        Args:
            stage: in simulation there is no x_t; in self-training x_s is simulated; in between x_s is CT.
        """
        for later in range(step, step + _AHEAD):
            if (later, stage) not in self._waiting:
                self._waiting[later, stage] = self._crew.submit(self._made, later, stage)
        batch = self._waiting.pop((step, stage)).result()
        # What was made ahead for a step that came otherwise, as at the end of a stage.
        self._waiting = {key: made for key, made in self._waiting.items() if key[0] > step and key[1] == stage}
        return batch

    def close(self) -> None:
        self._crew.shutdown(cancel_futures=True)

    def _made(self, step: int, stage: int) -> Batch:
        shape = self._shape(step, stage)
        samples = []
        for place in range(self.settings.batch_size):
            random = np.random.default_rng([self.settings.seed, step, place, self.rank, stage])
            anatomy = self.anatomies[random.choice(len(self.anatomies), p=self.shares)]
            if stage in (SIMULATION, SELF_TRAINING):
                slab = simulated(anatomy, self.settings.simulation, shape, random)
                x_t = self._mr_slab(random)[0] if stage == SELF_TRAINING else None
                samples.append((slab.image, slab.labels, x_t))
            else:
                samples.append(self._pair(anatomy, random))
        images, labels, others = zip(*samples, strict=True)
        x_t = None if others[0] is None else torch.stack(others)
        return Batch(torch.stack(images), torch.stack(labels), x_t)

    def _shape(self, step: int, stage: int) -> SlabShape:
        """Of a batch: in simulation of any size that the network takes, otherwise the whole patch."""
        if stage != SIMULATION:
            return self.shape
        multiple, simulation = self.settings.slab_unet.multiple, self.settings.simulation
        least = multiple * math.ceil(min(simulation.least_patch, simulation.patch) / multiple)
        sizes = range(least, simulation.patch + 1, multiple)
        random = np.random.default_rng([self.settings.seed, step, stage])
        return replace(self.shape, patch=int(random.choice(sizes)))

    def _pair(self, anatomy: Anatomy, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A CT slab in the plane of an MR slab; where a setting says so, both only where both volumes lie."""
        x_t, covered_t, volume = self._mr_slab(random)
        pose = draw_pose_in(plane_of(volume), float(volume["step_mm"][0]), anatomy, self.settings.simulation, random)
        image, classes = ct_slab(anatomy, pose, self.shape, self.settings.intensity)
        x_s, y_s = torch.from_numpy(image), torch.from_numpy(classes)
        if self.settings.share_field_of_view:
            both = covered_t & slab_covered(anatomy, pose, self.shape)
            x_s, x_t = x_s.where(both, PADDING), x_t.where(both, PADDING)
            y_s = y_s.where(both[self.shape.slices // 2], 0)
        return x_s, y_s, x_t

    def _mr_slab(self, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, Arrays]:
        """A slab somewhere in an MRI, what of it the MRI covers, and the MRI; as in a mirror as often as not."""
        volume = self.volumes[random.integers(len(self.volumes))]
        index = int(random.integers(len(volume["slices"])))
        corner = tuple(
            int(random.integers(min(0, size - self.shape.patch), max(0, size - self.shape.patch) + 1))
            for size in volume["slices"].shape[1:]
        )
        image = slab_at(volume["slices"], index, self.shape, corner)
        covered = slab_at(volume["covered"], index, self.shape, corner, fill=False)
        if plane_of(volume) == "sagittal":
            mirrored = (image[::-1], covered[::-1])
        else:
            mirrored = (image[..., ::-1], covered[..., ::-1])
        if self.settings.augmentation.flip and random.random() < 0.5:
            image, covered = mirrored
        return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(covered.copy()), volume
