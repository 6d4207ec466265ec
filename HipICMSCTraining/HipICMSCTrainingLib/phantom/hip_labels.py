"""Draws hips of `hip_shapes` into a label image, as a scanner would see them and with the errors of a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, segment_of
from scipy import ndimage

from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, femur, hip_bone

#: Half the distance of the head centres (mm).
HALF_DISTANCE_MM = 88.0
# A reader's line wavers over this many pixels.
WAVER_VOXELS = 1.5
_DISTANCES = {HIP_BONE: hip_bone, FEMUR: femur}
_TOWARDS_SIDE = {"right": np.array([-1.0, -1.0, 1.0]), "left": np.array([1.0, -1.0, 1.0])}


@dataclass(frozen=True)
class Sampling:
    """How the hips get into voxels.

    Attributes:
        spacing: mm by x, y, z of the image.
        low, high: corners of the image about the midpoint of the head centres, LPS, mm.
        turn: (3, 3) rotation of the anatomy about that midpoint, LPS.
        shift: mm by which the anatomy is off the grid, LPS.
        noise_voxels: standard deviation, in pixels, of a smooth random shift of the bones' boundary.
        in_plane: whether that shift is within slices of the largest spacing only.
        seed: of the shift.
    """

    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    low: tuple[float, float, float] = (-150.0, -60.0, -140.0)
    high: tuple[float, float, float] = (150.0, 60.0, 50.0)
    turn: np.ndarray | None = None
    shift: Sequence[float] = (0.0, 0.0, 0.0)
    noise_voxels: float = 0.0
    in_plane: bool = False
    seed: int = 0


def hip_labels(
    hips: Mapping[str, HipShapes], sampling: Sampling, bones: Sequence[int] = (HIP_BONE, FEMUR)
) -> sitk.Image:
    """The label image (values of `HipICMSCLib.anatomy.segments`) of one hip or two.

    A voxel is bone where at least half of it is. The image's axes are the patient's.

    Args:
        hips: by side, ``"right"`` or ``"left"``.
        sampling: grid, pose and noise.
        bones: those to draw, `HIP_BONE` or `FEMUR`.
    """
    spacing = np.array(sampling.spacing)
    size = np.floor((np.array(sampling.high) - sampling.low) / spacing).astype(int) + 1
    rng = np.random.default_rng(sampling.seed)
    labels = np.zeros(size[::-1], np.uint8)
    for side, shapes in hips.items():
        for bone, distance in ((b, _DISTANCES[b]) for b in bones):
            solid = _voxels(side, shapes, distance, size, sampling, rng)
            labels[solid.T & (labels == 0)] = segment_of(bone, side).value
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(sampling.spacing)
    image.SetOrigin(list(sampling.low))
    return image


def head_centre(side: str, sampling: Sampling) -> np.ndarray:
    """Where the head's centre lies in the image (3,), LPS."""
    centre = np.array([-HALF_DISTANCE_MM if side == "right" else HALF_DISTANCE_MM, 0, 0])
    return _turn(sampling) @ centre + sampling.shift


def _turn(sampling: Sampling) -> np.ndarray:
    return np.eye(3) if sampling.turn is None else sampling.turn


def _voxels(side: str, shapes: HipShapes, distance, size, sampling: Sampling, rng) -> np.ndarray:
    """(x, y, z) bool, slab by slab of z; voxels far from the surface are not subdivided."""
    spacing = np.array(sampling.spacing)
    thick = int(np.argmax(spacing))
    parts = [10 if spacing[axis] > 2 * spacing.min() and axis == thick else 3 for axis in range(3)]
    offsets = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in parts), indexing="ij"), -1).reshape(-1, 3)
    to_side = np.diag(_TOWARDS_SIDE[side]) @ _turn(sampling).T
    origin = to_side @ (np.array(sampling.low) - head_centre(side, sampling))
    steps = to_side * spacing
    noise = _noise(size, sampling, rng)
    reach = np.linalg.norm(spacing) / 2 + 0.1
    solid = np.zeros(size, bool)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    for z in range(size[2]):
        index = np.stack([x, y, np.full_like(x, z)], -1)
        points = (origin + index @ steps.T).astype(np.float32)
        here = distance(points, shapes)
        shift = 0.0 if noise is None else noise[..., z]
        solid[..., z] = here + shift < 0
        near = np.abs(here) < reach + (0 if noise is None else 4 * sampling.noise_voxels * spacing.min())
        if not near.any():
            continue
        there = points[near]
        value = 0.0
        if noise is not None:
            value = shift[near] * _steepness(distance, there, shapes, steps, thick if sampling.in_plane else None)
        share = np.zeros(len(there), np.float32)
        for offset in offsets:
            share += distance(there + (steps @ offset).astype(np.float32), shapes) + value < 0
        solid[..., z][near] = share >= len(offsets) / 2
    return solid


def _steepness(distance, points: np.ndarray, shapes: HipShapes, steps: np.ndarray, thick: int | None):
    """How much the distance changes within a slice: a shift within it moves the boundary by no more than that."""
    if thick is None:
        return 1.0
    change = 0.0
    for axis in range(3):
        if axis != thick:
            step = (steps[:, axis] / np.linalg.norm(steps[:, axis]) * 0.5).astype(np.float32)
            change = change + (distance(points + step, shapes) - distance(points - step, shapes)) ** 2
    return np.minimum(np.sqrt(change), 1)


def _noise(size: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> np.ndarray | None:
    if not sampling.noise_voxels:
        return None
    pixel = min(sampling.spacing)
    field = rng.standard_normal(size, np.float32)
    sigma = [WAVER_VOXELS * pixel / step for step in sampling.spacing]
    field = ndimage.gaussian_filter(field, sigma, mode="wrap", truncate=3)
    return field * np.float32(sampling.noise_voxels * pixel / field.std())
