"""Finds the femoral heads in a CT or MR volume of the pelvis, without any learned part.

A femoral head is the one large ball in the pelvis, and it comes in mirror-image pairs. Coarse to fine: edges vote for
the centres of balls; pairs of them are ranked by how well their surroundings mirror each other and by their distance;
the heads of the best pairs are fitted on the original intensities; the best fitted pair wins, or the best ball where
there is one hip. Edges count without their sign, so bright marrow (T1, CT) and dark marrow (fat suppression) are alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.anatomy.field_of_view import shows_one_hip
from HipICMSCLib.common.errors import HipError

COARSE = 2.5  # mm, grid for the votes and the mirror images
FINE = 1.5  # mm, grid of the fit: at 2 mm the joint space of a CT is gone and the fit drifts by up to 20 mm
RADII = np.arange(16.0, 30.0, 2.0)  # mm, of femoral heads with their cartilage
CT_WINDOW = (0.0, 400.0)  # HU: keeps fat, air and metal from outweighing the edge between bone and muscle
VOTERS = 200_000  # edge voxels
CANDIDATES = 30  # a true head was at worst the 19th strongest ball of its volume
PAIRS = 10  # a true pair was at worst the 7th most symmetrical pair of its volume
FITTED_BALLS = 14
SAME_BALL = 10.0  # mm

# Measured on 19 CT and 16 MR volumes, turned by 20 degrees, inverted, cut to one hip, and cut 45 mm above the heads.
# True pairs score 2.05 or more, 1.74 when turned. False pairs score at most 1.62 above the hips, and 0.7 in uniform
# noise. A pelvis with a prosthesis on one side, in 3 mm voxels, scores 1.36 and is refused.
LEAST_PAIR_SCORE = 1.68
# True heads have a roundness of 0.78 or more. Above the hips nothing is rounder than 0.71 in all but two MR volumes:
# organs of 0.78 and 1.09, which would pass for a head in an image of one hip that reaches as high.
LEAST_ROUNDNESS = 0.75

_NO_HIP = (
    "No hip joint was found in this image: check that it shows the hips, or give the femoral head centres yourself."
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


@dataclass(frozen=True)
class _Ball:
    centre: np.ndarray  # x, y, z in mm, LPS
    edges: np.ndarray  # 0 to 1 in each of _DIRECTIONS: is there an edge on the surface, at a right angle to the radius?

    @cached_property
    def roundness(self) -> float:
        """0 to 2: how much of the whole surface is an edge, plus how much in its weaker parts.

        A muscle or a bone's corner has no edge at all in some octants; a head lacks it in one or two, towards the neck.
        """
        octants = sorted(self.edges[octant].mean() for octant in _OCTANTS)
        return float(self.edges.mean() + np.mean(octants[1:4]))


@dataclass(frozen=True)
class _Pair:
    right: _Ball
    left: _Ball
    score: float


def _lattice(reach: float, step: float) -> np.ndarray:
    """Points (count, 3) of a cube about zero."""
    line = np.arange(-reach, reach + step / 2, step)
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)


def _directions(count: int) -> np.ndarray:
    """Unit vectors (count, 3) spread evenly over the sphere, along a spiral with golden-ratio turns."""
    turn = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * turn / count), np.pi * (1 + 5**0.5) * turn
    return np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1).astype(
        np.float32
    )


_T = TypeVar("_T")
_DIRECTIONS = _directions(150)
_OCTANTS = [(np.sign(_DIRECTIONS) == signs).all(axis=1) for signs in itertools.product((-1, 1), repeat=3)]


def find_femoral_heads(image: sitk.Image) -> FemoralHeads:
    """Find the centres of the femoral heads in a CT (HU) or MR volume of any orientation and contrast.

    Args:
        image: scalar 3-D volume of the pelvis or of one hip.

    Raises:
        HipError: ``no_hip`` when no head is found.
    """
    image = sitk.DICOMOrient(image, "LPS")  # so that the storage order of the voxels cannot matter
    low, high = _extent(image)
    if min(high - low) < 2 * RADII.min():
        raise HipError("no_hip", _NO_HIP, "The image is thinner than a femoral head.")
    balls, pairs = _balls_and_pairs(image)
    pair = max(pairs, key=lambda pair: pair.score, default=None)
    if pair is not None and pair.score >= LEAST_PAIR_SCORE:
        return FemoralHeads(_point(pair.right), _point(pair.left))
    if not shows_one_hip(image):  # what is round there and has no partner is rather the bladder
        raise HipError("no_hip", _NO_HIP, "The image is wide enough for two femoral heads, but no pair was found.")
    ball = max(balls, key=lambda ball: ball.roundness, default=None)
    if ball is None or ball.roundness < LEAST_ROUNDNESS:
        raise HipError("no_hip", _NO_HIP, "Nothing in the image is as round as a femoral head.")
    return FemoralHeads(_point(ball), None) if _is_right(ball) else FemoralHeads(None, _point(ball))


def head_at(image: sitk.Image, point: tuple[float, float, float]) -> FemoralHeads:
    """The only head of an image, where its centre is known but not its side, which the neck tells.

    Args:
        point: its centre, LPS mm; stays as it is.
    """
    image = _averaged(sitk.Cast(sitk.DICOMOrient(image, "LPS"), sitk.sitkFloat32), FINE)
    ball = _fit_ball(image, _window(sitk.GetArrayViewFromImage(image)), np.array(point))
    return FemoralHeads(point, None) if _is_right(ball) else FemoralHeads(None, point)


def _balls_and_pairs(image: sitk.Image) -> tuple[list[_Ball], list[_Pair]]:
    """The fitted balls, and all pairs of them that lie as two femoral heads may."""
    image = _averaged(sitk.Cast(image, sitk.sitkFloat32), FINE)
    grid = _isotropic_grid(image)
    window = _window(sitk.GetArrayViewFromImage(grid))
    contrast = _local_contrast(sitk.GetArrayFromImage(grid), window)
    covered = _covered(grid, image)
    mirror = _MirrorImages(grid, np.where(covered, contrast, np.nan))
    candidates = [
        np.array(grid.TransformIndexToPhysicalPoint(index)) for index in _peaks(_ball_votes(contrast, covered))
    ]
    balls = [_fit_ball(image, window, centre) for centre in _most_likely_heads(candidates, mirror)]
    balls = _without_repeats(balls)
    pairs = []
    for right, left in _in_order(balls, [ball.centre for ball in balls]):
        likeness, oddness = mirror.likeness(right.centre, left.centre), _oddness(right.centre, left.centre)
        pairs.append(_Pair(right, left, right.roundness + left.roundness + 0.7 * likeness - oddness))
    return balls, pairs


def _isotropic_grid(image: sitk.Image) -> sitk.Image:
    """The image on an axis-aligned LPS grid of COARSE mm that holds all of it."""
    low, high = _extent(image)
    return _resampled(_averaged(image, COARSE), low, np.floor((high - low) / COARSE).astype(int) + 1, COARSE)


def _extent(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest x, y, z in mm of the voxel centres."""
    last = np.array(image.GetSize()) - 1.0
    corners = [
        image.TransformContinuousIndexToPhysicalPoint((last * corner).tolist())
        for corner in itertools.product((0, 1), repeat=3)
    ]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _averaged(image: sitk.Image, spacing: float) -> sitk.Image:
    """The image with whole voxels averaged up to ``spacing`` mm, so that its detail does not alias on such a grid."""
    return sitk.BinShrink(image, [int(max(spacing // step, 1)) for step in image.GetSpacing()])


def _resampled(image: sitk.Image, origin: np.ndarray, size: np.ndarray, spacing: float) -> sitk.Image:
    """The image on an axis-aligned LPS grid; beyond its end its last voxels go on, so that the end is no edge."""
    return sitk.Resample(
        image,
        np.asarray(size).tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        np.asarray(origin).tolist(),
        [spacing] * 3,
        np.eye(3).ravel().tolist(),
        useNearestNeighborExtrapolator=True,
    )


def _covered(grid: sitk.Image, image: sitk.Image) -> np.ndarray:
    """Which voxels of the grid lie in the image, two voxels from its end or more: an oblique image leaves corners."""
    everywhere = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    everywhere.CopyInformation(image)
    covered = sitk.GetArrayFromImage(sitk.Resample(everywhere, grid, sitk.Transform(), sitk.sitkNearestNeighbor)) > 0
    return ndimage.binary_erosion(covered, iterations=2, border_value=1)


def _window(values: np.ndarray) -> tuple[float, float]:
    """The intensities that matter: of bone and muscle in a CT, all but the extremes in an MR image."""
    if values.min() < -500:
        return CT_WINDOW
    low, high = np.percentile(values, [1, 99.5])
    return float(low), float(high)


def _local_contrast(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Intensities relative to their surroundings of 75 mm, in units of the spread there (no bias field, no unit)."""
    low, high = window
    values = (np.clip(values, low, high) - low) / max(high - low, 1e-6)
    surroundings = int(75 / COARSE)
    mean = ndimage.uniform_filter(values, surroundings)
    variance = ndimage.uniform_filter(values**2, surroundings) - mean**2
    return (values - mean) / (np.sqrt(np.maximum(variance, 0)) + 0.1)


def _ball_votes(contrast: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every edge votes for the centres of balls along its normal, to both sides: votes of the best radius by voxel."""
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(contrast, 0.7)))
    magnitude = np.linalg.norm(gradient, axis=0)
    weak, strong = np.percentile(magnitude[covered], [80, 90]) if covered.any() else (0, 0)
    edges = np.argwhere(covered & (magnitude > max(weak, 1e-6))).T
    edges = edges[:, :: edges.shape[1] // VOTERS + 1]  # neighbours vote alike, so a part of them will do
    weight = np.minimum(magnitude[tuple(edges)] / max(strong, 1e-6), 1).astype(float)
    normal = gradient[(slice(None), *edges)] / magnitude[tuple(edges)]
    margin = int(np.ceil(RADII.max() / COARSE))  # so that every vote falls inside
    position = edges.astype(np.float32) + margin
    depth, height, width = np.array(contrast.shape) + 2 * margin
    by_radius = []
    for radius in RADII:
        votes = np.zeros(depth * height * width)
        for step in (radius / COARSE, -radius / COARSE):
            z, y, x = np.rint(position + np.float32(step) * normal).astype(np.int64)
            votes += np.bincount((z * height + y) * width + x, weight, votes.size)
        votes = votes.reshape(depth, height, width)[margin:-margin, margin:-margin, margin:-margin].astype(np.float32)
        votes = ndimage.gaussian_filter(votes, 1.0)
        by_radius.append(votes / (4 * np.pi * (radius / COARSE) ** 2))  # votes that a whole sphere gives
    neighbours = [(one + next_one) / 2 for one, next_one in itertools.pairwise(by_radius)]
    return np.max(neighbours, axis=0)


def _peaks(votes: np.ndarray) -> list[list[int]]:
    """Indices x, y, z of the strongest local maxima, best first."""
    maxima = np.argwhere((votes == ndimage.maximum_filter(votes, 5)) & (votes > 0))
    order = np.argsort(-votes[tuple(maxima.T)])[:CANDIDATES]
    return maxima[order, ::-1].tolist()


def _most_likely_heads(candidates: list[np.ndarray], mirror: _MirrorImages) -> list[np.ndarray]:
    """The candidates of the most symmetrical pairs, then the strongest others, FITTED_BALLS in all."""
    pairs = list(_in_order(candidates, candidates))
    pairs.sort(key=lambda pair: _oddness(*pair) - mirror.likeness(*pair))
    ranked = [*itertools.chain.from_iterable(pairs[:PAIRS]), *candidates]
    likely: list[np.ndarray] = []
    for point in ranked:
        if all(np.linalg.norm(point - other) > 5 for other in likely):
            likely.append(point)
    return likely[:FITTED_BALLS]


def _in_order(things: list[_T], centres: list[np.ndarray]) -> Iterator[tuple[_T, _T]]:
    """Every two things whose centres lie as two femoral heads may, the patient's right one first."""
    for (one, at), (other, at_other) in itertools.combinations(zip(things, centres, strict=True), 2):
        distance = np.linalg.norm(at_other - at)
        # Up to 30 degrees of tilt: a patient who lies askew, a scan that is turned.
        if 130 < distance < 230 and abs(at_other[0] - at[0]) > distance * np.cos(np.deg2rad(30)):
            yield (one, other) if at[0] < at_other[0] else (other, one)


def _oddness(right: np.ndarray, left: np.ndarray) -> float:
    """How far a pair is from heads 175 mm apart and level."""
    apart = left - right
    distance = np.linalg.norm(apart)
    tilt = np.rad2deg(np.arccos(min(abs(apart[0]) / distance, 1)))
    return 0.05 * ((distance - 175) / 25) ** 2 + 0.05 * (tilt / 15) ** 2


class _MirrorImages:
    """Compares the surroundings of two points, one of them mirrored at the plane midway between them."""

    OFFSETS = _lattice(42.0, 7.0)

    def __init__(self, grid: sitk.Image, contrast: np.ndarray) -> None:
        self._origin = np.array(grid.GetOrigin())
        self._contrast = contrast

    def likeness(self, right: np.ndarray, left: np.ndarray) -> float:
        """Correlation, -1 to 1; 0 where too little of either is in the image."""
        normal = (left - right) / np.linalg.norm(left - right)
        mirrored = self.OFFSETS - 2 * (self.OFFSETS @ normal)[:, None] * normal
        here, there = self._values(right + self.OFFSETS), self._values(left + mirrored)
        known = np.isfinite(here) & np.isfinite(there)
        if known.sum() < 0.2 * known.size or min(np.std(here[known]), np.std(there[known])) < 1e-6:
            return 0.0
        return float(np.corrcoef(here[known], there[known])[0, 1])

    def _values(self, points: np.ndarray) -> np.ndarray:
        index = ((points - self._origin) / COARSE)[:, ::-1].T
        return ndimage.map_coordinates(self._contrast, index, order=1, mode="constant", cval=np.nan)


def _fit_ball(image: sitk.Image, window: tuple[float, float], centre: np.ndarray) -> _Ball:
    """The roundest ball whose centre is within 12 mm of ``centre``."""
    reach = int(48 / FINE)
    box = _resampled(image, centre - reach * FINE, np.full(3, 2 * reach + 1), FINE)
    values = ndimage.gaussian_filter(np.clip(sitk.GetArrayViewFromImage(box), *window), 0.6)
    gradient = np.stack(np.gradient(values)[::-1])
    magnitude = np.linalg.norm(gradient, axis=0)
    gradient /= np.maximum(magnitude, 1e-6)
    strength = np.minimum(magnitude / max(np.percentile(magnitude, 90), 1e-6), 1)
    edges = np.concatenate([gradient, strength[None]]).reshape(4, -1)

    offset = np.zeros(3)
    for lattice in (_lattice(12.0, 3.0), _lattice(2.0, 1.0)):
        offsets = offset + lattice[np.linalg.norm(lattice, axis=1) <= 12]
        by_direction = _edges_on_spheres(edges, values.shape, (reach + offsets / FINE).astype(np.float32))
        best = by_direction.mean(axis=1).argmax()
        offset = offsets[best]
    return _Ball(centre + offset, by_direction[best])


def _edges_on_spheres(edges: np.ndarray, shape: tuple[int, ...], centres: np.ndarray) -> np.ndarray:
    """Edge strength times alignment with the radius (count, directions) about each centre, of its best radius."""
    best = np.full((len(centres), len(_DIRECTIONS)), -1, np.float32)
    for radius in RADII:
        points = np.rint(centres[:, None] + np.float32(radius / FINE) * _DIRECTIONS).astype(np.int32)
        flat = (points[..., 2] * shape[1] + points[..., 1]) * shape[2] + points[..., 0]
        x, y, z, strength = edges[:, flat]
        cosine = x * _DIRECTIONS[:, 0] + y * _DIRECTIONS[:, 1] + z * _DIRECTIONS[:, 2]
        aligned = (cosine * cosine) ** 2 * strength
        rounder = aligned.mean(axis=1) > best.mean(axis=1)
        best[rounder] = aligned[rounder]
    return best


def _without_repeats(balls: list[_Ball]) -> list[_Ball]:
    """Of balls that were fitted to the same place, the roundest."""
    kept: list[_Ball] = []
    for ball in sorted(balls, key=lambda ball: -ball.roundness):
        if all(np.linalg.norm(ball.centre - other.centre) > SAME_BALL for other in kept):
            kept.append(ball)
    return kept


def _is_right(ball: _Ball) -> bool:
    """Whether a single head is the patient's right one: its neck, where the surface has no edge, points outwards."""
    lateral_right = _DIRECTIONS @ np.array([-0.8, 0.0, -0.6]) > 0.6
    lateral_left = _DIRECTIONS @ np.array([0.8, 0.0, -0.6]) > 0.6
    return ball.edges[lateral_right].mean() < ball.edges[lateral_left].mean()


def _point(ball: _Ball) -> tuple[float, float, float]:
    return tuple(float(value) for value in ball.centre)
