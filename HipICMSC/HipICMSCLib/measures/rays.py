"""Rays through a bone's distance field: where they leave it, where they reach it, and plane sections of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.measures.bone import Field


def sphere_directions(count: int) -> np.ndarray:
    """Unit vectors (count, 3), evenly spread over the sphere (a Fibonacci spiral)."""
    number = np.arange(count) + 0.5
    height = 1 - 2 * number / count
    turn = np.pi * (1 + np.sqrt(5)) * number
    width = np.sqrt(1 - height**2)
    return np.stack([width * np.cos(turn), width * np.sin(turn), height], axis=1)


def along(field: Field, start: np.ndarray, directions: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distances (…, radii) of the bone on rays from ``start`` (3,); ``radii`` may differ by ray (…, n) or not (n,)."""
    radii = np.broadcast_to(radii, (*directions.shape[:-1], np.shape(radii)[-1]))
    return field.at(start + radii[..., None] * directions[..., None, :])


def first_exit(distances: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Radius where each ray first is outside the bone: the first radius or the last where it always or never is."""
    return _first(distances > 0, distances, radii)


def first_hit(distances: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Radius where each ray first is inside the bone; infinite where it never is."""
    inside = distances < 0
    return np.where(inside.any(axis=-1), _first(inside, distances, radii), np.inf)


def _first(there: np.ndarray, distances: np.ndarray, radii: np.ndarray) -> np.ndarray:
    radii = np.broadcast_to(radii, distances.shape)
    last = distances.shape[-1] - 1
    index = np.where(there.any(axis=-1), there.argmax(axis=-1), last)[..., None]
    before = np.maximum(index - 1, 0)
    here, there_before = (np.take_along_axis(distances, i, -1) for i in (index, before))
    change = here - there_before
    share = np.where(np.abs(change) > 1e-6, here / np.where(change == 0, 1, change), 0.0)
    share = np.clip(share, 0, 1)
    at, at_before = (np.take_along_axis(radii, i, -1) for i in (index, before))
    return (at - share * (at - at_before))[..., 0]


@dataclass(frozen=True)
class Section:
    """A plane section of a bone about a point.

    Attributes:
        centre: (3,) of its area, side coordinates.
        radius: mm, of the circle of the same area.
        closed: whether it ends before the section's limit in every direction.
        rim: (n, 3) points of its border, evenly about its first point.
    """

    centre: np.ndarray
    radius: float
    closed: bool
    rim: np.ndarray


_TURNS = np.arange(48) * 2 * np.pi / 48


def section(field: Field, point: np.ndarray, first: np.ndarray, second: np.ndarray, limit_mm: float) -> Section:
    """The section through ``point`` (inside the bone) in the plane of two orthogonal unit vectors."""
    spokes = np.cos(_TURNS)[:, None] * first + np.sin(_TURNS)[:, None] * second
    radii = np.arange(0, limit_mm + 0.5, 1.0)
    rim = first_exit(along(field, point, spokes, radii), radii)
    area = 0.5 * np.mean(rim**2) * 2 * np.pi
    shift = (rim**3 / 3) @ spokes * (2 * np.pi / len(_TURNS)) / max(area, 1e-9)
    closed = bool(rim.max() < radii[-1] - 0.5)
    return Section(point + shift, float(np.sqrt(area / np.pi)), closed, point + rim[:, None] * spokes)
