"""Voxels of an image by LPS points, mm: which lie in it, what is there, how far a class is from one."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.voxels import points_of, steps_of


def ball_points(radius: float) -> np.ndarray:
    """Points (count, 3) of a ball about zero, 3 mm apart."""
    line = np.arange(-radius, radius + 1, 3.0)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.linalg.norm(points, axis=1) <= radius]


def _indices(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    """The inverse of :func:`points_of`; not rounded."""
    return (points - np.array(image.GetOrigin())) @ np.linalg.inv(steps_of(image)).T


def lies_in(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    indices = _indices(image, points)
    return ((indices >= -0.5) & (indices <= np.array(image.GetSize()) - 0.5)).all(axis=1)


def values_at(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    """The nearest voxels' values at those LPS points that lie in the image."""
    indices = np.rint(_indices(image, points[lies_in(image, points)])).astype(int)
    x, y, z = np.clip(indices, 0, np.array(image.GetSize()) - 1).T
    return sitk.GetArrayViewFromImage(image)[z, y, x]


def distance_mm(labels: sitk.Image, bone: int, point: tuple[float, float, float]) -> float:
    """From an LPS point to the nearest voxel of a class."""
    points = points_of(labels, np.argwhere(sitk.GetArrayViewFromImage(labels) == bone)[:, ::-1])
    return float(np.linalg.norm(points - np.array(point), axis=1).min())
