"""Slabs of one domain as scores and previews look at them: always the same ones, all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from HipICMSCLib.common.voxels import box_of
from HipICMSCLib.preprocessing.intensity import PADDING, IntensitySettings, rescale
from torch import Tensor

from HipICMSCTrainingLib.data.kept_arrays import Arrays
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, Anatomy
from HipICMSCTrainingLib.simulation.pose import AXES, Pose, points_of
from HipICMSCTrainingLib.simulation.simulator import labels_of, simulated, straight_section

#: Distance between the coronal slabs that a held-out CT is looked at in, and their thickness.
_STEP_MM, _THICKNESS_MM = 5.0, 4.0
#: Simulated slabs are drawn from a seed of their own, so that no training ever saw them.
_HELD_OUT = 1 << 30


class SlabStack:
    """The same to scores and previews as a SliceStack.

    Attributes:
        slabs: (slab, slices, rows, columns) float16 in [-1, 1], or what makes such slabs of their numbers when they are
            asked for.
        labels: (slab, rows, columns) uint8 classes of the middle slices; None for MRI.
        position_mm: of each slab's middle slice along its volume, from its middle.
    """

    def __init__(self, slabs: np.ndarray | SlabsOfMris, position_mm: np.ndarray, labels: np.ndarray | None) -> None:
        self.slabs, self.position_mm, self.labels = slabs, position_mm, labels

    def __len__(self) -> int:
        return len(self.position_mm)

    def images(self, indices: Sequence[int]) -> Tensor:
        """(batch, slices, rows, columns) float32."""
        return torch.from_numpy(self.slabs[list(indices)].astype(np.float32))

    def evenly(self, count: int) -> list[int]:
        """Up to ``count`` slabs spread over all volumes, always the same ones."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)).tolist()


class SlabsOfMris:
    """Every slice of some MRIs with its neighbours: kept, they would take as many times the memory as a slab has
    slices, and few are ever looked at."""

    def __init__(self, volumes: Sequence[Arrays], shape: SlabShape) -> None:
        self.shape = shape
        cornered = [(volume["slices"], _corner(volume, shape)) for volume in volumes]
        self._places = [(slices, index, corner) for slices, corner in cornered for index in range(len(slices))]

    def __getitem__(self, numbers: Sequence[int]) -> np.ndarray:
        """(slab, slices, rows, columns) float16, cut or padded about the middle of what each MRI covers."""
        places = [self._places[number] for number in numbers]
        return np.stack([slab_at(slices, index, self.shape, corner) for slices, index, corner in places]).astype(
            np.float16
        )


def _corner(volume: Arrays, shape: SlabShape) -> tuple[int, int]:
    """Of a patch about the middle of what an MRI covers, which lies in a corner of its slices, with padding beside."""
    rows, columns = box_of(volume["covered"].any(0)) or (slice(0, shape.patch),) * 2
    return tuple((part.start + part.stop - shape.patch) // 2 for part in (rows, columns))


def _slices_in(volume: Arrays) -> int:
    return len(volume["slices"])


def mr_stack(volumes: Sequence[Arrays], shape: SlabShape) -> SlabStack:
    """Every slice of some MRIs with its neighbours, cut or padded about the middle of what it covers."""
    positions = [
        (np.arange(_slices_in(volume)) - (_slices_in(volume) - 1) / 2) * float(volume["step_mm"][0])
        for volume in volumes
    ]
    return SlabStack(SlabsOfMris(volumes, shape), np.concatenate(positions).astype(np.float32), None)


def corrected_stack(volumes: Sequence[Arrays], shape: SlabShape) -> SlabStack:
    """Every slice of some corrected MRIs as :func:`mr_stack` has it, with those of its classes that count fully."""
    stack, one = mr_stack(volumes, shape), replace(shape, slices=1)
    labels = [
        slab_at(volume["classes"] * (volume["weights"] == 1), index, one, _corner(volume, shape), fill=0)[0]
        for volume in volumes
        for index in range(_slices_in(volume))
    ]
    return SlabStack(stack.slabs, stack.position_mm, np.stack(labels))


def ct_stack(anatomies: Sequence[Anatomy], shape: SlabShape, intensity: IntensitySettings) -> SlabStack:
    """Coronal slabs through some CTs at the height of their hips, from front to back."""
    slabs, labels, positions = [], [], []
    for anatomy in anatomies:
        middle = np.array(anatomy.shape) * FINE_MM / 2
        # A CT may reach up to the ribs, where there is nothing to be scored.
        middle[0] = np.median(anatomy.bone_voxels[:, 0]) * FINE_MM
        reach = middle[1] * 0.8
        for offset in np.arange(-reach, reach, _STEP_MM):
            pose = Pose(
                "coronal", AXES["coronal"], middle + offset * AXES["coronal"][0], _STEP_MM, _THICKNESS_MM, False
            )
            image, classes = ct_slab(anatomy, pose, shape, intensity)
            slabs.append(image)
            labels.append(classes)
            positions.append(offset)
    return SlabStack(np.stack(slabs).astype(np.float16), np.array(positions, np.float32), np.stack(labels))


def simulated_stack(
    anatomies: Sequence[Anatomy], settings: SimulationSettings, shape: SlabShape, count: int
) -> SlabStack:
    """Simulated slabs of some CTs, of which no training sees one."""
    slabs = [
        simulated(anatomies[number % len(anatomies)], settings, shape, np.random.default_rng([_HELD_OUT, number]))
        for number in range(count)
    ]
    images = np.stack([slab.image.numpy() for slab in slabs]).astype(np.float16)
    return SlabStack(images, np.zeros(count, np.float32), np.stack([slab.labels.numpy() for slab in slabs]))


def ct_slab(
    anatomy: Anatomy, pose: Pose, shape: SlabShape, intensity: IntensitySettings
) -> tuple[np.ndarray, np.ndarray]:
    """A slab of the CT itself: (slices, rows, columns) float32 in [-1, 1], and the classes of its middle slice."""
    section = straight_section(anatomy, pose, shape)
    profile = torch.full((pose.sub_slices,), 1 / pose.sub_slices)
    # Gas, which the anatomy marks, is as dark as air in any window.
    hu = section.hu.unflatten(0, (shape.slices, pose.sub_slices)).mean(1).numpy()
    return rescale(hu, "CT", intensity), labels_of(section, profile, shape.slices).numpy()


def slab_covered(anatomy: Anatomy, pose: Pose, shape: SlabShape) -> Tensor:
    """Where a slab lies within the CT: (slices, rows, columns) bool."""
    points = points_of(replace(pose, thickness_mm=0.0), anatomy, shape, shape.patch)
    last = (torch.tensor(anatomy.shape) - 1) * FINE_MM
    return ((points >= 0) & (points <= last)).all(-1)


def slab_at(
    slices: np.ndarray, index: int, shape: SlabShape, corner: tuple[int, int], fill: float = PADDING
) -> np.ndarray:
    """A slice of a volume with its neighbours (the outermost slices are repeated), cut to the patch.

    Args:
        slices: (slice, row, column).
        corner: first row and column of the patch, which may lie outside.
        fill: what stands outside.
    """
    half = shape.slices // 2
    chosen = slices[np.clip(np.arange(index - half, index + half + 1), 0, len(slices) - 1)]
    patch = np.full((shape.slices, shape.patch, shape.patch), fill, slices.dtype)
    inside = [
        slice(max(first, 0), max(first, 0, min(first + shape.patch, size)))
        for first, size in zip(corner, slices.shape[1:], strict=True)
    ]
    target = [slice(part.start - first, part.stop - first) for part, first in zip(inside, corner, strict=True)]
    patch[:, target[0], target[1]] = chosen[:, inside[0], inside[1]]
    return patch
