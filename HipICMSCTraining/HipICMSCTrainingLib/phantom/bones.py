"""Hip bone, femur and sacrum as signed distances.

One hip is drawn in its own frame, the same for both sides: origin at the head centre, u to the side of the body,
v to the back, w to the head. Tables are for an average adult (size 1, head centres 176 mm apart); lengths in mm.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import ndimage
from skimage.draw import polygon

from HipICMSCTrainingLib.phantom.fields import (
    Points,
    ball,
    capsule,
    chain,
    ellipsoid,
    smooth_intersection,
    smooth_union,
    within_box,
)
from HipICMSCTrainingLib.phantom.shape import HipShape

HALF_DISTANCE_MM = 88.0  # from the midline to a head centre, in the tables

# The wing of the ilium lies along a bent sheet u = a − b·v and has this outline when seen from the side.
_WING_HEIGHT = (20, 28, 45, 55, 70, 85, 110, 130)
_WING_A = (-8, -7, -5.5, -5, -5, -2, 6, 12)
_WING_B = (0.22, 0.3, 0.4, 0.46, 0.55, 0.64, 0.8, 0.85)
_WING_OUTLINE = (  # (v, w) from the acetabular roof forward and round
    (-30, 18), (-38, 30), (-44, 40), (-41, 52), (-52, 62), (-66, 73), (-64, 84), (-54, 102), (-35, 116), (-5, 125),
    (28, 125), (58, 117), (78, 102), (82, 88), (74, 76), (66, 64), (44, 60), (32, 54), (29, 44), (34, 32), (38, 18),
)  # fmt: skip
_CREST_HALF_MM, _WING_HALF_MM, _BACK_HALF_MM, _ROOF_HALF_MM = 6.0, 4.2, 8.5, 10.0

# Control points (u, v, w, radius).
_ANTERIOR_COLUMN = ((-4, -32, 32, 10), (-17, -29, 14, 10), (-30, -32, 4, 9))
_SUPERIOR_RAMUS = ((-30, -32, 4, 9), (-52, -41, -9, 7), (-76, -44, -20, 7.5))
_POSTERIOR_COLUMN = ((-11, 26, 34, 12), (-14, 30, 5, 11), (-22, 30, -20, 10), (-26, 28, -40, 9))
_ISCHIUM = ((-13, 38, 24, 10), (-16, 42, 0, 8), (-19, 45, -22, 10), (-23, 45, -40, 10), (-31, 34, -52, 8))
_ISCHIAL_RAMUS = ((-29, 32, -50, 8), (-55, 8, -48, 5.5), (-76, -20, -38, 6.5))
_ISCHIAL_SPINE = ((-22, 40, 8, 6), (-31, 54, 6, 2.5))
_PUBIC_BODY = ((-81, -42, -25), (11, 9, 14))
_SOCKET_WALL_MM = 6.5
_SYMPHYSIS_HALF_MM = 2.2

_SACRUM = ((0, 47, 112, 24), (0, 66, 84, 20), (0, 84, 55, 14), (0, 91, 28, 10), (0, 82, 5, 6), (0, 68, -8, 3.5))
_SACRAL_ALA = ((24, 50, 104, 20), (40, 58, 95, 15), (34, 70, 72, 13), (24, 84, 50, 11), (13, 90, 26, 8))
_LAST_VERTEBRA = ((0, 24, 140), (26, 18, 17))


def stretched(point: tuple[float, ...], half_distance_mm: float) -> tuple[float, ...]:
    """Move a control point of the tables towards or from the midline so that the pelvis closes at the symphysis."""
    u = point[0] * half_distance_mm / HALF_DISTANCE_MM if point[0] < 0 else point[0]
    return (u, *point[1:])


def hip_bone(points: Points, shape: HipShape, femur: np.ndarray) -> np.ndarray:
    """Distance (mm) to one hip bone, whose socket keeps its gap to the given distance to the femur."""
    scaled = tuple(p / np.float32(shape.size) for p in points)
    half = shape.head_distance_mm / 2 / shape.size

    def solid(p: Points) -> np.ndarray:
        return _carved(_uncarved(p, half, shape), p, shape) * np.float32(shape.size)

    bone = within_box(scaled, (-half - 5, -80, -75), (70, 100, 140), solid)
    # The gap holds all round the femur, so a cam bump or a low trochanter never grows into the pelvis.
    return np.maximum(bone, np.float32(shape.joint_gap_mm - 0.2) - femur)


def _uncarved(points: Points, half: float, shape: HipShape) -> np.ndarray:
    """The hip bone before the socket is cut: wing, columns, rami and a ball of bone about the socket."""

    def rod(joints: tuple) -> np.ndarray:
        return chain(points, [stretched(j, half) for j in joints])

    socket_radius = (shape.head_radius_mm + shape.joint_gap_mm) / shape.size
    axis, depth = socket_opening(shape)
    past_rim = sum(p * np.float32(a) for p, a in zip(points, axis, strict=True)) - np.float32(depth * socket_radius)
    wall = smooth_intersection(ball(points, (-2, 1.5, 2.5), socket_radius + _SOCKET_WALL_MM), past_rim, 3)
    bone = smooth_union(_wing(points), wall, 14)
    bone = smooth_union(bone, rod(_ANTERIOR_COLUMN), 8)
    bone = smooth_union(bone, smooth_union(rod(_POSTERIOR_COLUMN), rod(_ISCHIUM), 8), 8)
    bone = smooth_union(bone, rod(_SUPERIOR_RAMUS), 6)
    bone = smooth_union(bone, rod(_ISCHIAL_RAMUS), 6)
    bone = smooth_union(bone, rod(_ISCHIAL_SPINE), 5)
    centre, semi_axes = _PUBIC_BODY
    bone = smooth_union(bone, ellipsoid(points, stretched(centre, half), semi_axes), 6)
    return smooth_intersection(bone, np.float32(_SYMPHYSIS_HALF_MM - half) - points[0], 2)


def _carved(bone: np.ndarray, points: Points, shape: HipShape) -> np.ndarray:
    """Cut the socket, its mouth, the acetabular fossa and notch out of the bone (which leaves the lunate surface)."""
    radius = (shape.head_radius_mm + shape.joint_gap_mm) / shape.size
    axis, depth = socket_opening(shape)
    along = sum(p * np.float32(a) for p, a in zip(points, axis, strict=True))
    outward = np.sqrt(np.maximum(sum(p * p for p in points) - along * along, 0))
    mouth_radius = math.sqrt(radius**2 - (depth * radius) ** 2)
    past_rim = along - np.float32(depth * radius)
    mouth = np.maximum(outward - np.float32(mouth_radius) - np.float32(0.25) * past_rim, -past_rim)

    fossa_axis = np.array([-0.75, 0.1, -0.6])
    fossa = ball(points, tuple(fossa_axis / np.linalg.norm(fossa_axis) * radius * 0.5), radius * 0.62)
    notch = capsule(points, (-4, -2, -0.6 * radius), (2, -6, -radius - 16), 8, 10)
    socket = np.minimum(ball(points, (0, 0, 0), radius), np.minimum(fossa, notch))
    bone = smooth_intersection(bone, -mouth, 3)
    return smooth_intersection(bone, -socket, 1.5)


def socket_opening(shape: HipShape) -> tuple[np.ndarray, float]:
    """Axis of the socket (unit u, v, w, out of the socket) and its rim plane's distance from the head centre.

    The distance is a share of the socket's radius, negative where the socket is shallower than a hemisphere. It is
    chosen so that the rim in the coronal plane through the head centre stands at the centre-edge angle.
    """
    inclination, version = math.radians(42), math.radians(shape.cup_version_deg)
    axis = np.array(
        [
            math.sin(inclination) * math.cos(version),
            -math.sin(version),
            -math.cos(inclination) * math.cos(version),
        ]
    )
    return axis, -math.cos(version) * math.cos(math.radians(shape.centre_edge_deg) + inclination)


def _wing(points: Points) -> np.ndarray:
    u, v, w = points
    slope = np.interp(w, _WING_HEIGHT, _WING_B).astype(np.float32)
    middle = np.interp(w, _WING_HEIGHT, _WING_A).astype(np.float32) - slope * v
    middle += np.float32(4e-4) * (v - 20) ** 2 * np.clip((w - 45) / 40, 0, 1)  # the iliac fossa is hollow
    outline, half_thickness, step, corner = _wing_tables()
    index = [(v - np.float32(corner[0])) / np.float32(step), (w - np.float32(corner[1])) / np.float32(step)]
    edge = ndimage.map_coordinates(outline, index, order=1, mode="nearest")
    half = ndimage.map_coordinates(half_thickness, index, order=1, mode="nearest")
    sheet = np.abs(u - middle) / np.sqrt(1 + slope * slope) - half
    return smooth_intersection(sheet, edge, 8)


@functools.lru_cache(maxsize=1)
def _wing_tables() -> tuple[np.ndarray, np.ndarray, float, tuple[float, float]]:
    """The wing's outline as a distance and its half thickness over (v, w), with step and first corner of the tables."""
    step, corner = 0.5, (-110.0, -30.0)
    v, w = (np.array(c) for c in zip(*_WING_OUTLINE, strict=True))
    inside = np.zeros((480, 400), bool)
    inside[polygon((v - corner[0]) / step, (w - corner[1]) / step, inside.shape)] = True
    distance = (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)) * step
    distance = ndimage.gaussian_filter(distance, 3 / step).astype(np.float32)

    height = corner[1] + step * np.arange(inside.shape[1])
    back = np.clip((corner[0] + step * np.arange(inside.shape[0])[:, None] - 30) / 25, 0, 1)
    half = _WING_HALF_MM + (_CREST_HALF_MM - _WING_HALF_MM) * np.clip((distance + 14) / 10, 0, 1)
    half = half + (_BACK_HALF_MM - half) * back
    roof = np.clip((62 - height) / 32, 0, 1)
    return distance, (half + (_ROOF_HALF_MM - half) * roof).astype(np.float32), step, corner


def femur(points: Points, shape: HipShape) -> tuple[np.ndarray, np.ndarray]:
    """Distance (mm) to one proximal femur, and the cortical thickness (mm) at each point."""
    scaled = tuple(p / np.float32(shape.size) for p in points)
    posed = _posed(scaled, shape)
    bone = within_box(posed, (-32, -45, -330), (75, 60, 32), lambda p: _femur_solid(p, shape)) * np.float32(shape.size)
    neck_end = _neck_end(shape)
    thickness = np.interp(posed[2] - np.float32(neck_end[2]), (-60, -30, -10, 15, 30), (5.8, 4.2, 2.2, 1.8, 1.5))
    return bone, thickness.astype(np.float32)


def _neck_end(shape: HipShape) -> np.ndarray:
    """Where the neck's axis meets the shaft's, in the femur's frame."""
    tilt, turn = math.radians(shape.neck_shaft_deg), math.radians(shape.anteversion_deg)
    return 46 * np.array([math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), math.cos(tilt)])


def _femur_solid(points: Points, shape: HipShape) -> np.ndarray:
    radius = shape.head_radius_mm / shape.size
    base = _neck_end(shape)

    def at(du: float, dv: float, dw: float) -> tuple[float, float, float]:
        return tuple(base + np.array([du, dv, dw]))

    # The shaft runs 6 degrees inward on its way to the knee; the neck is widest at its root.
    shaft = chain(points, [(*at(2, 1, -6), 15), (*at(-2, 0, -40), 14), (*at(-30, -6, -300), 13)])
    neck = capsule(points, tuple(0.3 * base), at(0, 0, -2), 0.62 * radius, 16)
    head = ball(points, (0, 0, 0), radius)
    if shape.cam_mm:
        toward = np.array([0.62, -0.55, 0.56])
        bump = ball(points, tuple(toward / np.linalg.norm(toward) * (radius + shape.cam_mm - 10)), 10)
        head = smooth_union(head, bump, 4)
    greater = smooth_union(
        ellipsoid(points, at(13, 7, 4), (10, 14, 19)), ellipsoid(points, at(10, 14, 16), (8, 9, 12)), 6
    )
    lesser = ellipsoid(points, at(-11, 13, -27), (9, 8, 11))
    bone = smooth_union(neck, shaft, 12)
    bone = smooth_union(bone, greater, 9)
    bone = smooth_union(bone, lesser, 8)
    return smooth_union(bone, head, 5)


def _posed(points: Points, shape: HipShape) -> Points:
    """Into the frame of a femur that is flexed, abducted and rotated about the head centre."""
    u, v, w = points
    u, w = _turned(u, w, shape.abduction_deg)
    v, w = _turned(v, w, -shape.flexion_deg)
    u, v = _turned(u, v, shape.rotation_deg)
    return u, v, w


def _turned(a: np.ndarray, b: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    cosine, sine = np.float32(math.cos(math.radians(degrees))), np.float32(math.sin(math.radians(degrees)))
    return cosine * a + sine * b, cosine * b - sine * a


def sacrum(points: Points, shape: HipShape, hip_bones: np.ndarray) -> np.ndarray:
    """Distance (mm) to sacrum, coccyx and last vertebra, clear of ``hip_bones``; ``points`` are from the midline."""
    wide = shape.head_distance_mm / 2 / HALF_DISTANCE_MM

    def solid(p: Points) -> np.ndarray:
        mirrored = (np.abs(p[0]), p[1], p[2])
        bone = chain(mirrored, [(x * wide, y, z, r) for x, y, z, r in _SACRUM])
        bone = smooth_union(bone, chain(mirrored, [(x * wide, y, z, r) for x, y, z, r in _SACRAL_ALA]), 22)
        return np.minimum(bone, ellipsoid(mirrored, *_LAST_VERTEBRA))

    scaled = tuple(p / np.float32(shape.size) for p in points)
    bone = within_box(scaled, (-75, -5, -20), (75, 120, 165), solid) * np.float32(shape.size)
    return np.maximum(bone, np.float32(2.5) - hip_bones)
