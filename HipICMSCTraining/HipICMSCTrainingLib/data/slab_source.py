"""Batches of slabs as a pure function of (seed, step, stage): simulated ones, and real CT and MRI in like planes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from HipICMSCLib.preprocessing.intensity import PADDING
from torch import Tensor

from HipICMSCTrainingLib.data.augmentation import augment
from HipICMSCTrainingLib.data.batches import Batch, corrected_in_a_batch, in_turn, steps_per_epoch
from HipICMSCTrainingLib.data.kept_arrays import Arrays
from HipICMSCTrainingLib.data.slab_cache import padded_size, plane_of
from HipICMSCTrainingLib.data.slab_stack import ct_slab, slab_at, slab_covered
from HipICMSCTrainingLib.settings.simulation import SlabShape
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import Anatomy
from HipICMSCTrainingLib.simulation.pose import AIMED_AT_BONE, draw_pose_in
from HipICMSCTrainingLib.simulation.simulator import simulated

#: Batches that are made before they are asked for: at least so many, and so many for each thread that makes them.
_AHEAD, _AHEAD_OF_EACH = 6, 2


class SlabSource:
    """Draws the batch of any step; the next ones are made meanwhile in other threads.

    Args:
        anatomies: labelled CTs.
        weights: how often each is drawn, compared with one another.
        volumes: MRIs as :func:`cached_slices` gives them.
        mri_weights: how often each of these is drawn, compared with the others of its plane.
        corrected: corrected MRIs as :func:`cached_corrections` gives them.
        rank, world_size: which of several processes this is; each draws other slabs.
        makers: how many threads make batches.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        weights: Sequence[float],
        volumes: Sequence[Arrays],
        mri_weights: Sequence[float],
        settings: TrainingSettings,
        rank: int = 0,
        world_size: int = 1,
        corrected: Sequence[Arrays] = (),
        makers: int = 1,
    ) -> None:
        self.anatomies, self.volumes, self.settings = anatomies, volumes, settings
        self.corrected = corrected
        #: Of each corrected MRI, where its bones are: (pixel, 3) slice, row and column of hip bone and of femur.
        self._bones = [_bones_in(volume) for volume in corrected]
        self.shares = np.array(weights) / sum(weights)
        self.mri_shares = _shares_of_mris(volumes, mri_weights)
        self.rank, self.world_size = rank, world_size
        self.shape = settings.slab_shape
        # PyTorch gives a thread that never asked the number of threads that any other one set last.
        torch.get_num_threads()
        self._makers = makers
        self._crew = ThreadPoolExecutor(makers, initializer=torch.set_num_threads, initargs=(1,))
        self._waiting: dict[tuple[int, int], Future[Batch]] = {}
        #: Of each volume, in self-training, how probably it is hip bone and femur: uint8 (2, slice, row, column), 255
        #: is 1.
        self.lessons: Sequence[np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        mr_slices = sum(len(volume["slices"]) for volume in self.volumes)
        return steps_per_epoch(self.settings, 0, mr_slices, self.world_size)

    def busy_threads(self, stage: int) -> int:
        """How many cores batches of a stage keep busy: a slab takes as long to simulate as to learn from."""
        return self._makers - 1 if stage in (SIMULATION, SELF_TRAINING) else 0

    def draw(self, step: int, stage: int) -> Batch:
        """
        Args:
            stage: in simulation there is no x_t; in self-training x_s is simulated; in between x_s is CT. Corrected
                MRIs take a share of what is simulated, and come beside the pairs of stage 2.
        """
        for later in range(step, step + max(_AHEAD, _AHEAD_OF_EACH * self._makers)):
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
        of_corrected = corrected_in_a_batch(self.settings, self.corrected, stage)
        # What is simulated stays in each batch, so that little of it is forgotten; pairs for the paper's losses all do.
        replaced = 0 if stage == TOGETHER else of_corrected
        for place in range(max(1, self.settings.batch_size - replaced)):
            random = self._random(step, place, stage)
            anatomy = self.anatomies[random.choice(len(self.anatomies), p=self.shares)]
            if stage in (SIMULATION, SELF_TRAINING):
                slab = simulated(anatomy, self.settings.simulation, shape, random)
                mri = self._mr_slab(random) if stage == SELF_TRAINING else None
                samples.append((slab.image, slab.labels, mri and mri.image, mri and mri.bones))
            else:
                samples.append((*self._pair(anatomy, random), None))
        x_s, y_s, x_t, bones_t = (None if part[0] is None else torch.stack(part) for part in zip(*samples, strict=True))
        batch = Batch(x_s, y_s, x_t, bones_t=bones_t)
        if not of_corrected:
            return batch
        before = (step * self.world_size + self.rank) * of_corrected
        return batch.with_corrected(
            [
                self._corrected_slab(before + place, shape, self._random(step, self.settings.batch_size + place, stage))
                for place in range(of_corrected)
            ]
        )

    def _random(self, step: int, place: int, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, step, place, self.rank, stage])

    def _corrected_slab(self, drawn: int, shape: SlabShape, random: np.random.Generator) -> tuple[Tensor, ...]:
        """A slab of a corrected MRI, its classes and weights: mostly about a bone, turned and scaled a little, in a
        mirror as often as not.

        Args:
            drawn: how many were drawn before it, by all processes.
        """
        number = in_turn(self.settings.seed, drawn, len(self.corrected))
        volume, bones = self.corrected[number], self._bones[number]
        if bones and random.random() < AIMED_AT_BONE:
            of_one = bones[random.integers(len(bones))]  # the smaller of the two as often as the other
            index, *pixel = (int(number) for number in of_one[random.integers(len(of_one))])
            corner = _corner_about(pixel, padded_size(volume, self.settings.slab), shape.patch, random)
        else:
            counts = volume["weights"] > 0
            index = int(random.choice(np.flatnonzero(counts.any((1, 2)))))
            corner = _corner_within(counts[index], padded_size(volume, self.settings.slab), shape.patch, random)
        one = replace(shape, slices=1)
        slab = slab_at(volume["slices"], index, shape, corner)
        classes, weights = (slab_at(volume[name], index, one, corner, fill=0)[0] for name in ("classes", "weights"))
        if self.settings.augmentation.flip and random.random() < 0.5:
            slab = _in_a_mirror(slab, volume)
            classes, weights = (_in_a_mirror(part, volume) for part in (classes, weights))
        image = torch.from_numpy(slab.astype(np.float32))
        masks = torch.from_numpy(np.stack([classes, weights]).astype(np.float32))
        # A mirror exchanges the slices of a sagittal slab, too, so it is none of the augmentation's here.
        moved = replace(self.settings.augmentation, flip=False)
        (image,), ((classes, weights),) = augment(image[None], masks[None], moved, random)
        return image, classes.to(torch.uint8), weights

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
        mri = self._mr_slab(random)
        x_t, step_mm = mri.image, float(mri.volume["step_mm"][0])
        pose = draw_pose_in(plane_of(mri.volume), step_mm, anatomy, self.settings.simulation, random)
        image, classes = ct_slab(anatomy, pose, self.shape, self.settings.intensity)
        x_s, y_s = torch.from_numpy(image), torch.from_numpy(classes)
        if self.settings.share_field_of_view:
            both = mri.covered & slab_covered(anatomy, pose, self.shape)
            x_s, x_t = x_s.where(both, PADDING), x_t.where(both, PADDING)
            y_s = y_s.where(both[self.shape.slices // 2], 0)
        return x_s, y_s, x_t

    def _mr_slab(self, random: np.random.Generator) -> _MrSlab:
        """A slab somewhere in an MRI; as in a mirror as often as not."""
        number = random.choice(len(self.volumes), p=self.mri_shares)
        volume, shape = self.volumes[number], self.shape
        index = int(random.integers(len(volume["slices"])))
        size = padded_size(volume, self.settings.slab)
        corner = _corner_within(volume["covered"][index], size, shape.patch, random)
        parts = [
            slab_at(volume["slices"], index, shape, corner),
            slab_at(volume["covered"], index, shape, corner, fill=False),
        ]
        if self.lessons is not None:
            one = replace(shape, slices=1)
            parts += [slab_at(bone, index, one, corner, fill=0)[0] for bone in self.lessons[number]]
        if self.settings.augmentation.flip and random.random() < 0.5:
            parts = [_in_a_mirror(part, volume) for part in parts]
        image, covered, *bones = (torch.from_numpy(part.copy()) for part in parts)
        return _MrSlab(image.float(), covered, volume, torch.stack(bones).float() / 255 if bones else None)


@dataclass(frozen=True)
class _MrSlab:
    """Attributes:
    image: (slices, rows, columns) float32 in [-1, 1].
    covered: bool, what of it the MRI has.
    volume: the MRI.
    bones: (2, rows, columns), what a teacher says of the middle slice; None where none teaches.
    """

    image: torch.Tensor
    covered: torch.Tensor
    volume: Arrays
    bones: torch.Tensor | None = None


def _shares_of_mris(volumes: Sequence[Arrays], weights: Sequence[float]) -> np.ndarray:
    """How often each MRI is drawn: a plane as the root of how many MRIs it has, so that a rare one is not drowned."""
    planes = [plane_of(volume) for volume in volumes]
    of_plane = {plane: sum(w for w, own in zip(weights, planes, strict=True) if own == plane) for plane in planes}
    shares = np.array(
        [w * planes.count(plane) ** 0.5 / of_plane[plane] for w, plane in zip(weights, planes, strict=True)]
    )
    return shares / shares.sum()


def _in_a_mirror(part: np.ndarray, volume: Arrays) -> np.ndarray:
    """Of a slab ([slices, ]rows, columns), left and right exchanged."""
    if plane_of(volume) != "sagittal":
        return part[..., ::-1]
    # From the left, a sagittal slab has its slices in the other order.
    return part[::-1] if part.ndim == 3 else part


def _bones_in(volume: Arrays) -> list[np.ndarray]:
    """(pixel, 3) slice, row and column of each class of bone that there is, as far as it counts fully."""
    known = np.where(volume["weights"] == 1, volume["classes"], 0)
    places = [np.argwhere(known == value).astype(np.int16) for value in range(1, len(CLASS_NAMES))]
    return [place for place in places if len(place)]


def _corner_about(
    pixel: Sequence[int], size: Sequence[int], patch: int, random: np.random.Generator
) -> tuple[int, int]:
    """First row and column of a patch that shows a pixel anywhere in it, and as little as may be beyond the image."""
    corner = []
    for at, pixels in zip(pixel, size, strict=True):
        least, most = sorted((0, pixels - patch))
        corner.append(int(random.integers(max(least, at - patch + 1), min(most, at) + 1)))
    return corner[0], corner[1]


def _corner_within(
    covered: np.ndarray, size: Sequence[int], patch: int, random: np.random.Generator
) -> tuple[int, int]:
    """First row and column of a patch within what an image covers, or about all of it where that is smaller; anywhere
    in its size where it covers nothing."""
    corner = []
    for axis in (1, 0):
        filled = np.flatnonzero(covered.any(axis))
        first, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, size[1 - axis])
        corner.append(int(random.integers(min(first, end - patch), max(first, end - patch) + 1)))
    return corner[0], corner[1]
