"""Finds the femoral heads in a CT or MR volume of the pelvis, without any learned part.

A femoral head is the one large ball in the pelvis, and it comes in mirror-image pairs. So: edges vote for the centres of
spheres, pairs of candidates are judged by how well their surroundings mirror each other and by their distance, and the
winners are refined on the sphere's surface.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.errors import HipError

SPACING = 2.5  # mm, of the working grid
HEAD_RADII = np.arange(17.0, 31.0, 2.0)  # mm
CT_WINDOW = (0.0, 400.0)  # HU: keeps fat, air and metal from outweighing the edge between bone and muscle
CANDIDATES = 30

_NO_HIP = (
    "No hip joint was found in this image; check that it shows the hips or give the femoral head centres yourself."
)


@dataclass(frozen=True)
class FemoralHeads:
    """Centres of the femoral heads in millimetres, LPS; None where a head is not in the image.

    Attributes:
        right: the patient's right head (smaller x).
        left: the patient's left head.
    """

    right: tuple[float, float, float] | None
    left: tuple[float, float, float] | None

    def midpoint(self) -> np.ndarray:
        """The point (3,) midway between the heads, or the centre of the only one."""
        return np.mean([head for head in (self.right, self.left) if head is not None], axis=0)


def find_femoral_heads(image: sitk.Image) -> FemoralHeads:
    """Find the centres of the femoral heads in a CT (HU) or MR volume of any orientation and contrast.

    Args:
        image: scalar 3-D volume of the pelvis or of one hip.

    Raises:
        HipError: ``no_hip`` when no head is found.
    """
    grid = _isotropic_grid(image)
    contrast = _local_contrast(sitk.GetArrayFromImage(grid))
    strength, radius = _sphere_votes(contrast)
    candidates = _peaks(strength, radius)
    pairs = [
        (_pair_score(contrast, *pair), pair)
        for pair in itertools.combinations(candidates, 2)
        if _could_be_a_pair(*pair)
    ]
    if not pairs:
        raise HipError("no_hip", _NO_HIP)
    _, pair = max(pairs, key=lambda scored: scored[0])
    right, left = sorted((_world(grid, head.index) for head in pair), key=lambda point: point[0])
    return FemoralHeads(right, left)


@dataclass(frozen=True)
class _Ball:
    index: np.ndarray  # z, y, x on the working grid
    radius: float  # mm
    strength: float  # votes


def _isotropic_grid(image: sitk.Image) -> sitk.Image:
    """The image on an axis-aligned LPS grid of SPACING that holds all of it; outside is the image's minimum."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    for axis, spacing in enumerate(image.GetSpacing()):
        if spacing < 0.7 * SPACING:  # without this smoothing the finer detail would alias
            image = sitk.RecursiveGaussian(image, 0.5 * SPACING, direction=axis)
    last = np.array(image.GetSize()) - 1.0
    corners = [
        image.TransformContinuousIndexToPhysicalPoint((last * corner).tolist())
        for corner in itertools.product((0, 1), repeat=3)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    size = np.floor((high - low) / SPACING).astype(int) + 1
    outside = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(
        image,
        size.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        low.tolist(),
        [SPACING] * 3,
        np.eye(3).ravel().tolist(),
        outside,
    )


def _local_contrast(values: np.ndarray) -> np.ndarray:
    """Intensities relative to their surroundings of 25 mm, in units of the spread there (no bias field, no unit)."""
    low, high = CT_WINDOW if values.min() < -500 else np.percentile(values, [1, 99.5])
    values = (np.clip(values, low, high) - low) / max(high - low, 1e-6)
    mean = ndimage.gaussian_filter(values, 25 / SPACING)
    variance = ndimage.gaussian_filter(values**2, 25 / SPACING) - mean**2
    return (values - mean) / (np.sqrt(np.maximum(variance, 0)) + 0.1)


def _sphere_votes(contrast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every edge votes for the sphere centres along its normal, inwards and outwards: votes and best radius by voxel."""
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(contrast, 0.7)))
    magnitude = np.linalg.norm(gradient, axis=0)
    weak, strong = np.percentile(magnitude, [70, 90])
    edges = np.nonzero(magnitude > weak)
    weight = np.minimum(magnitude[edges] / max(strong, 1e-6), 1)
    normal = gradient[(slice(None), *edges)] / magnitude[edges]
    shape = np.array(contrast.shape)[:, None]
    by_radius = []
    for radius in HEAD_RADII:
        votes = np.zeros(contrast.size)
        for step in (radius / SPACING, -radius / SPACING):
            target = np.rint(edges + step * normal).astype(int)
            inside = ((target >= 0) & (target < shape)).all(axis=0)
            flat = np.ravel_multi_index(tuple(target[:, inside]), contrast.shape)
            votes += np.bincount(flat, weight[inside], contrast.size)
        votes = ndimage.gaussian_filter(votes.reshape(contrast.shape), 1.0)
        by_radius.append(votes / (4 * np.pi * (radius / SPACING) ** 2))
    neighbours = (np.stack(by_radius[:-1]) + np.stack(by_radius[1:])) / 2
    best = neighbours.argmax(axis=0)
    return neighbours.max(axis=0), (HEAD_RADII[best] + HEAD_RADII[best + 1]) / 2


def _peaks(strength: np.ndarray, radius: np.ndarray) -> list[_Ball]:
    """The strongest local maxima, best first."""
    maxima = np.argwhere((strength == ndimage.maximum_filter(strength, 5)) & (strength > 0))
    order = np.argsort(-strength[tuple(maxima.T)])[:CANDIDATES]
    return [
        _Ball(index.astype(float), float(radius[tuple(index)]), float(strength[tuple(index)]))
        for index in maxima[order]
    ]


def _could_be_a_pair(one: _Ball, other: _Ball) -> bool:
    apart = (other.index - one.index) * SPACING
    distance = np.linalg.norm(apart)
    return 130 < distance < 230 and abs(apart[2]) > distance * np.cos(np.deg2rad(30))


def _pair_score(contrast: np.ndarray, one: _Ball, other: _Ball) -> float:
    apart = (other.index - one.index) * SPACING
    distance = np.linalg.norm(apart)
    tilt = np.rad2deg(np.arccos(abs(apart[2]) / distance))
    return (
        np.log(one.strength * other.strength)
        + 3 * _mirror_likeness(contrast, one.index, other.index)
        - 0.5 * ((distance - 175) / 25) ** 2
        - 0.5 * (tilt / 15) ** 2
    )


_OFFSETS = np.stack(np.meshgrid(*[np.arange(-45, 46, 5.0)] * 3, indexing="ij")).reshape(3, -1) / SPACING


def _mirror_likeness(contrast: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the surroundings of two points, one of them mirrored at the plane midway between them."""
    normal = (other - one) / np.linalg.norm(other - one)
    mirrored = _OFFSETS - 2 * normal[:, None] * (normal @ _OFFSETS)
    here = ndimage.map_coordinates(contrast, one[:, None] + _OFFSETS, order=1, mode="constant", cval=np.nan)
    there = ndimage.map_coordinates(contrast, other[:, None] + mirrored, order=1, mode="constant", cval=np.nan)
    known = np.isfinite(here) & np.isfinite(there)
    if known.sum() < 0.2 * known.size:
        return 0.0
    return float(np.corrcoef(here[known], there[known])[0, 1])


def _world(grid: sitk.Image, index: np.ndarray) -> tuple[float, float, float]:
    return grid.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
