"""Signed distances (mm, negative inside) to simple bodies, their smooth unions, and fields on an image's grid.

Points are a triple of float32 arrays of one shape; their axes are the caller's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.voxels import steps_of

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Vector = Sequence[float]

FAR_MM = np.float32(60)  # the distance written where a body was not evaluated
_STRIDE = 8  # coordinates are computed at every eighth voxel of a plane and interpolated between


def capsule(points: Points, start: Vector, end: Vector, radius_start: float, radius_end: float) -> np.ndarray:
    """Distance to a round rod that tapers from one end to the other."""
    axis = [e - s for s, e in zip(start, end, strict=True)]
    length2 = sum(a * a for a in axis)
    offset = [p - np.float32(s) for p, s in zip(points, start, strict=True)]
    along = sum(o * np.float32(a / length2) for o, a in zip(offset, axis, strict=True))
    np.clip(along, 0, 1, out=along)
    distance2 = sum((o - along * np.float32(a)) ** 2 for o, a in zip(offset, axis, strict=True))
    return np.sqrt(distance2) - (np.float32(radius_start) + along * np.float32(radius_end - radius_start))


def chain(points: Points, joints: Sequence[Vector], blend_mm: float = 6.0) -> np.ndarray:
    """Distance to capsules one after the other; each joint is (three coordinates, radius)."""
    result = None
    for a, b in itertools.pairwise(joints):
        link = capsule(points, a[:3], b[:3], a[3], b[3])
        result = link if result is None else smooth_union(result, link, blend_mm)
    return result


def ball(points: Points, centre: Vector, radius: float) -> np.ndarray:
    """Distance to a sphere."""
    return np.sqrt(sum((p - np.float32(c)) ** 2 for p, c in zip(points, centre, strict=True))) - np.float32(radius)


def ellipsoid(points: Points, centre: Vector, semi_axes: Vector) -> np.ndarray:
    """Distance to an ellipsoid along the axes (first-order approximation, exact on the surface)."""
    offset = [p - np.float32(c) for p, c in zip(points, centre, strict=True)]
    level = np.sqrt(sum((o / np.float32(r)) ** 2 for o, r in zip(offset, semi_axes, strict=True)))
    slope = np.sqrt(sum((o / np.float32(r * r)) ** 2 for o, r in zip(offset, semi_axes, strict=True)))
    return level * (level - 1) / np.maximum(slope, np.float32(1e-4))


def smooth_union(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    """Union whose seam is filled with a fillet of about ``blend_mm``."""
    overlap = np.maximum(1 - np.abs(a - b) / np.float32(blend_mm), 0)
    return np.minimum(a, b) - overlap * overlap * np.float32(blend_mm / 4)


def smooth_intersection(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    """Intersection whose edges are rounded by about ``blend_mm``."""
    return -smooth_union(-a, -b, blend_mm)


def within_box(points: Points, low: Vector, high: Vector, distance: Callable[[Points], np.ndarray]) -> np.ndarray:
    """Evaluate ``distance`` only near the box and write FAR_MM elsewhere.

    Only in-plane windows are cut (array axes 1 and 2): slabs are thin along axis 0.
    """
    result = np.full(points[0].shape, FAR_MM, np.float32)
    near = np.ones(points[0][:, ::_STRIDE, ::_STRIDE].shape, bool)
    for p, a, b in zip(points, low, high, strict=True):
        sample = p[:, ::_STRIDE, ::_STRIDE]
        near &= (sample > a) & (sample < b)
    rows, columns = np.flatnonzero(near.any((0, 2))), np.flatnonzero(near.any((0, 1)))
    if rows.size:
        window = (
            slice(None),
            slice(max(rows[0] - 1, 0) * _STRIDE, (rows[-1] + 1) * _STRIDE + 1),
            slice(max(columns[0] - 1, 0) * _STRIDE, (columns[-1] + 1) * _STRIDE + 1),
        )
        result[window] = distance(tuple(p[window] for p in points))
    return result


class Deformation:
    """A smooth random displacement: a few waves of 90 to 200 mm, ``strength_mm`` strong in all."""

    def __init__(self, rng: np.random.Generator, strength_mm: float, waves: int = 6) -> None:
        direction = rng.normal(size=(waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        self._wave = direction * (2 * math.pi / rng.uniform(90, 200, (waves, 1)))
        self._phase = rng.uniform(0, 2 * math.pi, waves)
        self._push = rng.normal(0, strength_mm / math.sqrt(waves), (waves, 3))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Displacement in mm at ``points`` (…, 3)."""
        return np.cos(points @ self._wave.T + self._phase) @ self._push

    def origin_of(self, target: np.ndarray) -> np.ndarray:
        """The point that the deformation carries to ``target`` (3,)."""
        point = target
        for _ in range(30):  # a contraction: the displacement changes by far less than 1 mm a millimetre
            point = target - self(point)
        return point


class Body:
    """Where the subject lies: turns patient coordinates (LPS, mm) into the coordinates the anatomy is drawn in.

    The latter have their origin at the midpoint of the head centres, x to the left, y to the back, z to the head,
    before tilt, turn and deformation.
    """

    def __init__(self, position: Vector, rotation: np.ndarray, deformation: Deformation) -> None:
        self._position = np.asarray(position, float)
        self._rotation = rotation
        self._deformation = deformation

    def anatomical(self, patient: np.ndarray) -> np.ndarray:
        """Anatomical coordinates of patient points (…, 3)."""
        turned = (patient - self._position) @ self._rotation.T
        return turned + self._deformation(turned)

    def patient(self, anatomical: Vector) -> tuple[float, float, float]:
        """Where an anatomical point (3,) lies in the patient."""
        turned = self._deformation.origin_of(np.asarray(anatomical, float))
        return tuple(float(v) for v in turned @ self._rotation + self._position)


def slabs(grid: sitk.Image, body: Body, slices: int) -> Iterator[tuple[slice, Points]]:
    """Anatomical coordinates of the voxels of ``grid``, a few slices of its third axis at a time.

    Yields the range of array axis 0 and three float32 arrays (slices, rows, columns).
    """
    columns, rows, depth = grid.GetSize()
    basis = steps_of(grid)
    row_weights, row_at = _interpolation(rows)
    column_weights, column_at = _interpolation(columns)
    for first in range(0, depth, slices):
        piece = slice(first, min(first + slices, depth))
        index = np.meshgrid(np.arange(piece.start, piece.stop), row_at, column_at, indexing="ij")
        patient = np.stack(index[::-1], axis=-1) @ basis.T + np.array(grid.GetOrigin())
        coarse = body.anatomical(patient).astype(np.float32)
        yield piece, tuple(row_weights @ coarse[..., axis] @ column_weights.T for axis in range(3))


class Texture:
    """Smooth random values, about unit variance, over a grid of ``shape`` (slices, rows, columns)."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], spacing: Vector, grain_mm: float) -> None:
        nodes = [max(2, math.ceil(n * s / grain_mm) + 1) for n, s in zip(shape, spacing, strict=True)]
        # Linear interpolation between nodes averages, so the nodes get more than unit variance.
        self._nodes = rng.standard_normal(nodes, np.float32) * np.float32(1.8)
        self._weights = [_linear_weights(np.linspace(0, m - 1, n), m) for n, m in zip(shape, nodes, strict=True)]

    def on(self, piece: slice) -> np.ndarray:
        """Values on some slices."""
        depth, rows, columns = self._weights
        planes = np.tensordot(depth[piece], self._nodes, axes=(1, 0))
        return rows @ planes @ columns.T


def _interpolation(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (count, nodes) from every eighth voxel to all, and the nodes' voxel indices."""
    nodes = math.ceil((count - 1) / _STRIDE) + 1
    return _linear_weights(np.arange(count) / _STRIDE, nodes), np.arange(nodes) * _STRIDE


def _linear_weights(position: np.ndarray, nodes: int) -> np.ndarray:
    """Matrix that interpolates linearly between ``nodes`` values at fractional positions."""
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(nodes))).astype(np.float32)
