"""Coordinates of one side of the body, in which a left hip and its mirror image are the same hip.

Everything in this room is computed in *side coordinates*: lateral, anterior, superior, in mm, with the image's origin.
They are LPS but for signs, so one function serves both ways.
"""

from __future__ import annotations

import numpy as np

_SIGNS = {"right": np.array([-1.0, -1.0, 1.0]), "left": np.array([1.0, -1.0, 1.0])}


def other(side: str) -> str:
    """The other side of the body."""
    return "left" if side == "right" else "right"


def mirrored(points: np.ndarray, side: str) -> np.ndarray:
    """LPS points or directions (…, 3) in coordinates of ``side``, or the way back."""
    return np.asarray(points, float) * _SIGNS[side]


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (…, 3) of length 1."""
    vector = np.asarray(vector, float)
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def across(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The unit vector closest to ``vector`` among those orthogonal to the unit vector ``axis``."""
    return unit(vector - (vector @ axis) * axis)


def third(first: np.ndarray, second: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """The unit vector orthogonal to two others, on the side of ``toward`` (whose sign tells the hand)."""
    normal = unit(np.cross(first, second))
    return normal if normal @ toward >= 0 else -normal


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two vectors in degrees."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), np.dot(a, b))))
