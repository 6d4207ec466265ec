"""Body outline, muscles and organs as signed distances, drawn around the bones.

Muscle tables are in the frame of one hip (see bones.py): (u, v, w, radius) in mm along each bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from HipICMSCTrainingLib.phantom.bones import HALF_DISTANCE_MM, stretched
from HipICMSCTrainingLib.phantom.fields import (
    FAR_MM,
    Points,
    capsule,
    chain,
    ellipsoid,
    smooth_intersection,
    smooth_union,
    within_box,
)
from HipICMSCTrainingLib.phantom.shape import HipShape

_FAT_PLANE_MM = 2.4  # fat between neighbouring muscles
_FULLNESS_MM = 5.5  # bundles swell by this much until they meet

_MUSCLES = {
    "gluteus maximus 1": ((-40, 84, 88, 8), (-8, 72, 66, 15), (26, 58, 25, 15), (46, 42, -25, 10), (48, 26, -70, 5)),
    "gluteus maximus 2": ((-52, 96, 68, 10), (-24, 92, 42, 17), (10, 78, 0, 18), (36, 56, -45, 12), (42, 36, -85, 6)),
    "gluteus maximus 3": (
        (-62, 98, 40, 10),
        (-42, 98, 12, 17),
        (-12, 84, -22, 19),
        (18, 64, -60, 13),
        (32, 44, -95, 5),
    ),
    "gluteus maximus 4": ((-68, 94, 15, 8), (-52, 94, -10, 14), (-28, 82, -40, 16), (4, 66, -75, 10)),
    "gluteus maximus 5": ((-36, 76, 40, 9), (-10, 66, 10, 13), (20, 54, -25, 11)),
    "gluteus medius 1": ((48, -34, 104, 3), (54, -30, 75, 9), (58, -18, 40, 10), (54, 0, 5, 7)),
    "gluteus medius 2": ((34, -10, 118, 3), (40, -8, 90, 10), (48, -4, 50, 11), (53, 6, 5, 7)),
    "gluteus medius 3": ((14, 20, 120, 3), (24, 18, 92, 11), (38, 14, 50, 12), (52, 12, 5, 7)),
    "gluteus medius 4": ((-8, 46, 114, 3), (4, 42, 92, 11), (24, 32, 55, 12), (48, 20, 8, 7)),
    "gluteus minimus 1": ((22, -18, 80, 8), (28, -14, 52, 11), (42, -6, 5, 6)),
    "gluteus minimus 2": ((10, 6, 85, 7), (16, 6, 58, 12), (34, 0, 25, 9), (44, -2, -5, 6)),
    "gluteus minimus 3": ((-2, 28, 80, 6), (6, 24, 55, 10), (34, 8, 15, 7)),
    "tensor fasciae latae": ((44, -55, 72, 8), (58, -38, 20, 13), (62, -18, -50, 9), (62, -10, -90, 4)),
    "iliacus": ((6, -5, 112, 10), (-2, -22, 80, 15), (-6, -38, 42, 14), (-4, -48, 8, 13), (8, 0, -48, 7)),
    "psoas": ((-52, 20, 190, 20), (-40, -14, 80, 18), (-26, -38, 38, 14), (-14, -50, 6, 10), (6, 4, -46, 6)),
    "rectus femoris": ((8, -46, 34, 6), (18, -52, -5, 12), (26, -46, -60, 17), (6, -48, -260, 17)),
    "sartorius": ((34, -68, 66, 6), (20, -66, 10, 9), (0, -60, -50, 9), (-60, -25, -270, 10)),
    "vastus lateralis": ((50, -6, -42, 8), (50, -4, -75, 18), (42, -8, -130, 24), (22, -10, -280, 20)),
    "vastus intermedius": ((26, -16, -50, 8), (22, -20, -90, 17), (2, -24, -280, 17)),
    "vastus medialis": ((8, -10, -60, 6), (2, -14, -100, 13), (-8, -18, -160, 18), (-34, -14, -290, 20)),
    "pectineus": ((-58, -50, -8, 8), (-34, -40, -24, 12), (-4, -14, -46, 8)),
    "adductor longus": ((-74, -50, -32, 7), (-48, -44, -62, 15), (-20, -24, -150, 13), (-18, -10, -240, 6)),
    "adductor brevis": ((-72, -34, -42, 7), (-44, -22, -62, 14), (-8, -8, -85, 9)),
    "adductor magnus": ((-46, 16, -56, 9), (-36, 12, -85, 20), (-20, 16, -140, 24), (-36, 12, -290, 12)),
    "gracilis": ((-80, -28, -46, 5), (-68, -18, -80, 9), (-58, 20, -300, 8)),
    "obturator externus": ((-58, -22, -26, 10), (-34, 0, -32, 11), (-10, 20, -22, 8), (22, 22, -14, 5)),
    "obturator internus": ((-62, -16, -20, 8), (-44, 10, 0, 9), (-36, 30, 8, 8), (-26, 56, 6, 7), (14, 30, 0, 5)),
    "quadratus femoris": ((-16, 46, -36, 9), (10, 42, -36, 11), (34, 34, -34, 8)),
    "piriformis": ((-64, 72, 56, 9), (-34, 62, 36, 11), (10, 40, 14, 7), (36, 18, 6, 4)),
    "hamstrings": ((-26, 52, -44, 7), (-18, 56, -80, 15), (-10, 50, -150, 20), (-22, 44, -300, 20)),
    "rectus abdominis": ((-64, -92, 190, 12), (-66, -90, 60, 12), (-76, -56, -10, 7)),
    "spinal muscles": ((-58, 98, 200, 22), (-62, 100, 95, 16), (-70, 104, 50, 8)),
    "levator ani": ((-76, -26, -18, 4), (-58, 20, -12, 5), (-72, 58, 0, 5), (-84, 66, -2, 5)),
}

_VESSELS = {
    "artery": ((-58, 20, 130, 6), (-36, -30, 60, 5.5), (-18, -62, 12, 5), (-14, -58, -40, 4.5), (-34, 0, -280, 4)),
    "vein": ((-62, 30, 130, 7), (-42, -20, 60, 6.5), (-29, -60, 12, 6), (-23, -52, -40, 5.5), (-38, 8, -280, 4.5)),
}

_TORSO_HEIGHT = (-90, -40, 20, 80, 140)
_TORSO_HALF_WIDTH = (150, 168, 166, 160, 158)  # the compartment under the subcutaneous fat
_TORSO_HALF_DEPTH = (88, 92, 96, 100, 100)
_TORSO_MIDDLE_Y = (14, 12, 10, 8, 6)


def compartment(points: Points, shape: HipShape) -> np.ndarray:
    """Distance to what lies under the subcutaneous fat: torso and thighs (points from the midline)."""
    x, y, z = points
    half_width = np.interp(z, _TORSO_HEIGHT, _TORSO_HALF_WIDTH).astype(np.float32)
    half_width = half_width + np.float32(shape.head_distance_mm / 2 - HALF_DISTANCE_MM)
    half_depth = np.interp(z, _TORSO_HEIGHT, _TORSO_HALF_DEPTH).astype(np.float32)
    middle = np.interp(z, _TORSO_HEIGHT, _TORSO_MIDDLE_Y).astype(np.float32)
    # A flattened oval: the exponent 2.4 squares it off a little.
    level = (np.abs(x / half_width) ** np.float32(2.4) + np.abs((y - middle) / half_depth) ** np.float32(2.4)) ** (
        np.float32(1 / 2.4)
    )
    torso = smooth_intersection((level - 1) * half_depth, -z - np.float32(62), 30)
    mirrored = (np.abs(x), y, z)
    half = shape.head_distance_mm / 2
    thigh = capsule(mirrored, (half + 6, 4, -40), (half - 22, 8, -330), 74, 60)
    return smooth_union(torso, thigh, 24)


class Muscles:
    """The muscles of both sides and of the belly wall; bundles differ a little in size and place between the sides."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._bundles = {
            sign: [_varied(np.array(joints, float), rng) for joints in _MUSCLES.values()] for sign in (-1, 1)
        }

    def distance(self, points: Points, under_fat: np.ndarray, shape: HipShape) -> np.ndarray:
        """Distance to all muscles, each parted from its neighbours by a plane of fat.

        ``under_fat`` is the distance to what lies under the subcutaneous fat, see ``compartment``.
        """
        nearest = np.full(under_fat.shape, FAR_MM)
        second = nearest.copy()

        def add(bundle: np.ndarray) -> None:
            np.minimum(second, np.maximum(nearest, bundle), out=second)
            np.minimum(nearest, bundle, out=nearest)

        for sign, bundles in self._bundles.items():
            side = _side(points, sign, shape)
            for joints in bundles:
                add(_rod(side, joints, shape))
        add(smooth_intersection(np.abs(under_fat + 7) - 6, np.maximum(45 - points[2], points[1] - 45), 10))
        apart = (np.float32(_FAT_PLANE_MM) - (second - nearest)) / 2
        return np.maximum(np.maximum(nearest, apart), under_fat)


def _varied(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One bundle of one subject: moved, thinner or thicker, and swollen until it meets its neighbours."""
    joints = joints.copy()
    joints[:, :3] += rng.normal(0, 2, 3)
    joints[:, 3] = (joints[:, 3] + _FULLNESS_MM) * rng.normal(1, 0.07)
    return joints


def vessels(points: Points, shape: HipShape) -> np.ndarray:
    """Distance to the large vessels of both sides."""
    result = np.full(points[0].shape, FAR_MM)
    for sign in (-1, 1):
        side = _side(points, sign, shape)
        for joints in _VESSELS.values():
            np.minimum(result, _rod(side, joints, shape), out=result)
    return result


def _side(points: Points, sign: int, shape: HipShape) -> Points:
    x, y, z = points
    return sign * x - np.float32(shape.head_distance_mm / 2), y, z


def _rod(side: Points, joints: Sequence[Sequence[float]], shape: HipShape) -> np.ndarray:
    moved = [stretched(j, shape.head_distance_mm / 2) for j in joints]
    radius = max(j[3] for j in moved) + 6
    low = [min(j[axis] for j in moved) - radius for axis in range(3)]
    high = [max(j[axis] for j in moved) + radius for axis in range(3)]
    return within_box(side, low, high, lambda p: chain(p, moved))


class Organs:
    """Bladder, rectum, uterus or prostate, and bowel loops, some with gas; placed at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        fill = rng.uniform(0.75, 1.2)
        self._bladder = ((rng.normal(0, 4), -32, 18 + 8 * fill), (40 * fill, 28 * fill, 24 * fill))
        self._womb = ((rng.normal(0, 6), 6, 34), (26, 18, 22))
        self._rectum = ((0, 62, 70, 15), (4, 66, 35, 17), (0, 54, 5, 14), (0, 46, -30, 8), (0, 50, -50, 6))
        self._rectal_gas = ((1, 62, 32), (rng.uniform(2, 11), 8, rng.uniform(6, 20)))
        self._loops = [
            (rng.uniform((-85, -75, 52), (85, 15, 135)), rng.uniform(11, 20), rng.uniform(11, 18)) for _ in range(26)
        ]
        self._gas_in_loop = rng.random(len(self._loops)) < 0.2

    def fluid(self, points: Points) -> np.ndarray:
        """Distance to the urine in the bladder."""
        (centre, semi_axes) = self._bladder
        low, high = (np.subtract(centre, 70), np.add(centre, 70))
        return within_box(points, low, high, lambda p: ellipsoid(p, centre, semi_axes))

    def solid(self, points: Points) -> np.ndarray:
        """Distance to bladder wall, womb or prostate, rectum and bowel loops."""
        result = self.fluid(points) - np.float32(3.5)
        result = np.minimum(
            result, within_box(points, (-60, -30, 0), (60, 50, 75), lambda p: ellipsoid(p, *self._womb))
        )
        result = np.minimum(result, within_box(points, (-30, 20, -70), (40, 95, 100), lambda p: chain(p, self._rectum)))
        for centre, radius, length in self._loops:
            np.minimum(result, _loop(points, centre, radius, length), out=result)
        return result

    def gas(self, points: Points) -> np.ndarray:
        """Distance to the gas in rectum and bowel."""
        centre, semi_axes = self._rectal_gas
        low, high = (np.subtract(centre, 40), np.add(centre, 40))
        result = within_box(points, low, high, lambda p: ellipsoid(p, centre, semi_axes))
        for (centre, radius, length), has_gas in zip(self._loops, self._gas_in_loop, strict=True):
            if has_gas:
                np.minimum(result, _loop(points, centre, radius - 4, length - 4), out=result)
        return result


def _loop(points: Points, centre: np.ndarray, radius: float, length: float) -> np.ndarray:
    semi_axes = (length * 1.3, radius, radius)
    low, high = centre - 45, centre + 45
    return within_box(points, low, high, lambda p: ellipsoid(p, centre, semi_axes))
