"""Step 1, where a slab lies: its plane, turns, scale, thickness and centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, Anatomy
from HipICMSCTrainingLib.simulation.drawing import drawn_name

#: Slice, row and column directions of each plane along (z to the head, y to the back, x to the left): the orientation
#: in which preprocessing hands acquired slices to the network.
AXES = {
    "coronal": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], float),
    "axial": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], float),
    "sagittal": np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], float),
}
#: Slices thicker than this are an average of thinner ones.
_SUB_SLICE_MM = 1.6
#: Between slices of 3-D sequences and those that a 2-D one excites.
_THIN_MM = 1.6
T = TypeVar("T", float, Tensor)
#: So many slabs are aimed at a bone. The others show what else a whole MRI does: belly, buttocks, skin.
AIMED_AT_BONE = 0.6
#: Where their middles are, as shares of the anatomy; along the slices they may lie anywhere in it.
_MIDDLES = (0.15, 0.85)


@dataclass(frozen=True)
class Pose:
    """Attributes:
    axes: (3, 3), rows are the directions of slices, rows and columns, each of a length in source mm per output mm.
    centre: the middle of the slab in the anatomy, mm (z, y, x).
    step_mm: distance between slices.
    thickness_mm: what one slice averages.
    mirrored: whether the patient is seen in a mirror.
    """

    plane: str
    axes: np.ndarray
    centre: np.ndarray
    step_mm: float
    thickness_mm: float
    mirrored: bool

    @property
    def sub_slices(self) -> int:
        """How many parallel planes one slice is averaged from."""
        return max(1, int(np.ceil(self.thickness_mm / _SUB_SLICE_MM)))


def draw_pose(anatomy: Anatomy, settings: SimulationSettings, random: np.random.Generator) -> Pose:
    """A slab of any plane and thickness somewhere in the anatomy, mostly at a bone."""
    plane = drawn_name(settings.shares("plane"), random)
    axes = _axes(plane, settings, random)
    thin, thick = settings.slice_mm
    if random.random() < settings.thin_fraction:
        step = random.uniform(thin, max(thin, min(_THIN_MM, thick)))
        thickness = step
    else:
        step = random.uniform(min(max(thin, _THIN_MM), thick), thick)
        thickness = step / random.uniform(1.0, 1.35)
    return _aimed(plane, axes, step, thickness, anatomy, random)


def draw_pose_in(
    plane: str, step_mm: float, anatomy: Anatomy, settings: SimulationSettings, random: np.random.Generator
) -> Pose:
    """A slab of this plane and distance between slices, as :func:`draw_pose`."""
    axes = _axes(plane, settings, random)
    thickness = step_mm / random.uniform(1.0, 1.35)
    return _aimed(plane, axes, step_mm, thickness, anatomy, random)


def _aimed(
    plane: str, axes: np.ndarray, step_mm: float, thickness_mm: float, anatomy: Anatomy, random: np.random.Generator
) -> Pose:
    centre, mirrored = _centre(axes, anatomy, random), bool(random.random() < 0.5)
    if mirrored:  # where the bone is then, of a patient who may lie beside the CT's middle
        centre[2] = _mirrored(centre[2], anatomy)
    return Pose(plane, axes, centre, step_mm, thickness_mm, mirrored)


def _axes(plane: str, settings: SimulationSettings, random: np.random.Generator) -> np.ndarray:
    nearest = plane if plane in AXES else random.choice(list(AXES))
    degrees = random.normal(0, settings.pose_deg, 3) if plane in AXES else random.uniform(-45, 45, 3)
    size = np.exp(random.normal(0, settings.size_sd)) * np.exp(random.normal(0, settings.size_sd / 2, 3))
    return AXES[nearest] @ rotation(degrees) / size


def _centre(axes: np.ndarray, anatomy: Anatomy, random: np.random.Generator) -> np.ndarray:
    if random.random() < AIMED_AT_BONE and len(anatomy.bone_voxels):
        at = anatomy.bone_voxels[random.integers(len(anatomy.bone_voxels))] * FINE_MM
        # Along the slices the bone stays in the slab; within them it may lie anywhere.
        return at + random.normal(0, 35, 2) @ axes[1:] + random.normal(0, 2) * axes[0]
    shares = random.uniform(*_MIDDLES, 3)
    shares[np.abs(axes[0]).argmax()] = random.random()
    return np.array(anatomy.shape) * FINE_MM * shares


def rotation(degrees: np.ndarray) -> np.ndarray:
    """About the first, second and third axis, one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def points_of(pose: Pose, anatomy: Anatomy, shape: SlabShape, count: int) -> Tensor:
    """Where the slab's (sub-)slices lie: (slices × sub-slices, rows, columns, 3), mm (z, y, x), float32.

    Args:
        count: so many rows and columns, from the patch's first to its last.
    """
    edge = (shape.patch - 1) / 2 * shape.pixel_mm
    across = np.linspace(-edge, edge, count)
    middle = (shape.slices - 1) / 2
    sub = ((np.arange(pose.sub_slices) + 0.5) / pose.sub_slices - 0.5) * pose.thickness_mm
    along = (((np.arange(shape.slices) - middle) * pose.step_mm)[:, None] + sub).ravel()
    slice_axis, row_axis, column_axis = (torch.from_numpy(axis).float() for axis in pose.axes)
    along, across = torch.from_numpy(along).float(), torch.from_numpy(across).float()
    points = (
        torch.from_numpy(pose.centre).float()
        + along[:, None, None, None] * slice_axis
        + across[:, None, None] * row_axis
        + across[:, None] * column_axis
    )
    if pose.mirrored:
        points[..., 2] = _mirrored(points[..., 2], anatomy)
    return points


def _mirrored(across: T, anatomy: Anatomy) -> T:
    """mm from right to left, as in a mirror in the CT's middle."""
    return (anatomy.shape[2] - 1) * FINE_MM - across
