"""A hip of spheres, cones and planes, whose measures are known exactly: the yardstick of `HipICMSCLib.measures`.

Unlike the hips of `bones`, these do not look like a patient's; what counts is that every angle has one true value.
One hip is drawn in side coordinates (lateral, anterior, superior; mm) about its head centre.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

#: The alpha angle's tolerance, of which its truth depends (mm).
ALPHA_TOLERANCE_MM = 1.5
#: The cranial level of acetabular version: so far below the roof's apex (mm).
CRANIAL_BELOW_APEX_MM = 5.0
#: Of the cone of the fossa (degrees).
FOSSA_HALF_ANGLE = 40.0


@dataclass(frozen=True)
class HipShapes:
    """One hip; lengths in mm, angles in degrees.

    Attributes:
        head_radius: of the femoral head.
        neck_radius: of the neck, a cylinder about its axis.
        neck_shaft: angle between neck and shaft.
        femoral_version: how far the neck points forward of the condylar line.
        shaft_radius, shaft_below: of the shaft, and how far it reaches below the head centre.
        cam_radius: the neck's radius in the cam's sector; none without a cam.
        cam_clock, cam_half_width: middle of that sector on the clock (degrees from 12 towards 3) and half its width.
        condyles: whether the femur goes on to the knee.
        gap: bone to bone between head and socket.
        thickness: of the socket's wall.
        inclination, version: of the axis that the socket opens to, in the pelvis's frame.
        depth: how far the rim's plane lies beyond the head centre along that axis; negative is shallow.
        twist: more version and inclination of a second plane that cuts the socket, so that its rim is not flat and
            cranial and central version differ.
        fossa_step: angle from vertical, towards medial, where the fossa begins in the coronal plane; none without.
        fossa_depth: of the fossa.
        hole_clock, hole_half_width, hole_depth: a piece broken out of the rim (degrees, degrees, mm); none by default.
        fused: whether the joint space is filled.
        pelvis: whether ilium with its crest and pubis, with their landmarks, go with the socket.
    """

    head_radius: float = 24.0
    neck_radius: float = 15.0
    neck_shaft: float = 130.0
    femoral_version: float = 15.0
    shaft_radius: float = 14.0
    shaft_below: float = 150.0
    cam_radius: float | None = None
    cam_clock: float = 45.0
    cam_half_width: float = 30.0
    condyles: bool = False
    gap: float = 4.0
    thickness: float = 8.0
    inclination: float = 50.0
    version: float = 18.0
    depth: float = 0.0
    twist: float = 0.0
    fossa_step: float | None = None
    fossa_depth: float = 5.0
    hole_clock: float | None = None
    hole_half_width: float = 45.0
    hole_depth: float = 18.0
    fused: bool = False
    pelvis: bool = False

    @property
    def socket_radius(self) -> float:
        """Of the joint-side surface of the hip bone."""
        return self.head_radius + self.gap

    @property
    def neck_length(self) -> float:
        """From the head centre to the shaft's axis."""
        return 45 * self.head_radius / 24

    @functools.cached_property
    def neck(self) -> np.ndarray:
        """(3,) from the head centre along the neck."""
        down, turn = np.radians([self.neck_shaft, self.femoral_version])
        return np.array([np.sin(down) * np.cos(turn), -np.sin(down) * np.sin(turn), np.cos(down)])

    @functools.cached_property
    def clock(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions (3,) of 12 and 3 o'clock across the neck."""
        twelve = np.array([0, 0, 1.0]) - self.neck[2] * self.neck
        twelve /= np.linalg.norm(twelve)
        three = np.cross(self.neck, twelve)
        return twelve, three * np.sign(three[1])

    @functools.cached_property
    def opening(self) -> tuple[np.ndarray, ...]:
        """Axes (3,) of the planes that cut the socket."""
        first = _opening(self.inclination, self.version)
        if not self.twist:
            return (first,)
        return first, _opening(self.inclination + self.twist, self.version + self.twist)

    @functools.cached_property
    def fossa_axis(self) -> np.ndarray:
        """(3,) middle of the fossa, a cone about an axis in the coronal plane."""
        middle = np.radians(self.fossa_step + FOSSA_HALF_ANGLE)
        return np.array([-np.sin(middle), 0, np.cos(middle)])


#: Landmarks of the pelvis about the midpoint of the head centres: lateral, anterior, superior.
ASIS, PUBIC_TUBERCLE = np.array([118.0, 45.0, 98.0]), np.array([25.0, 45.0, -12.0])
_SYMPHYSIS = np.array([8.5, 40.0, -16.0])
# The iliac crest rises behind the spine, and the pubis goes on below its tubercle.
_CREST, _RAMUS = np.array([124.0, 5.0, 126.0]), np.array([14.0, 20.0, -45.0])
_LANDMARK_RADIUS = 9.0
_KNEE_BELOW = 380.0


def _opening(inclination: float, version: float) -> np.ndarray:
    i, v = np.radians([inclination, version])
    return np.array([np.sin(i) * np.cos(v), np.sin(i) * np.sin(v), -np.cos(i)])


def femur(points: np.ndarray, shapes: HipShapes) -> np.ndarray:
    """Signed distance (mm, float32; a bound of it off the surface) at points (…, 3) about the head centre."""
    lateral, anterior, superior = (points[..., i] for i in range(3))
    bone = _norm(points) - np.float32(shapes.head_radius)

    neck = shapes.neck.astype(np.float32)
    along = points @ neck
    radial = points - along[..., None] * neck
    from_axis = _norm(radial)
    radius = np.float32(shapes.neck_radius)
    if shapes.cam_radius is not None:
        twelve, three = (v.astype(np.float32) for v in shapes.clock)
        clock = np.degrees(np.arctan2(radial @ three, radial @ twelve))
        off = np.abs((clock - shapes.cam_clock + 180) % 360 - 180)
        end = np.interp(along, (1.0 * shapes.head_radius, 1.25 * shapes.head_radius), (1, 0))
        bump = (off < shapes.cam_half_width) * end * (shapes.cam_radius - shapes.neck_radius)
        radius = radius + bump.astype(np.float32)
    cylinder = np.maximum(from_axis - radius, np.maximum(-along, along - np.float32(shapes.neck_length)))
    bone = np.minimum(bone, cylinder)

    base = shapes.neck * shapes.neck_length
    top = base[2] + 8 * shapes.head_radius / 24
    from_shaft = np.hypot(lateral - np.float32(base[0]), anterior - np.float32(base[1]))
    end = _KNEE_BELOW - 20 if shapes.condyles else shapes.shaft_below
    shaft = np.maximum(from_shaft - np.float32(shapes.shaft_radius), np.maximum(superior - top, -end - superior))
    bone = np.minimum(bone, shaft)
    if shapes.condyles:
        for side in (-24, 24):
            knee = np.array([base[0] + side, base[1] - 10, -_KNEE_BELOW])
            bone = np.minimum(bone, _norm(points - knee.astype(np.float32)) - np.float32(20))
        # What joins both condyles lies in front of their back, so the tangent is theirs.
        upper, lower = (np.array([*base[:2], up - _KNEE_BELOW]) for up in (30, 5))
        bone = np.minimum(bone, _rod(points, upper, lower, 26))
    return bone


def hip_bone(points: np.ndarray, shapes: HipShapes) -> np.ndarray:
    """As `femur`, for the hip bone; ``pelvis`` needs heads 176 mm apart."""
    distance = _norm(points)
    inner = np.full(distance.shape, shapes.head_radius if shapes.fused else shapes.socket_radius, np.float32)
    outer = np.float32(shapes.socket_radius + shapes.thickness)
    bone = distance - outer
    if shapes.pelvis:
        middle = np.array([88.0, 0.0, 0.0])
        for landmark, out in ((ASIS, (-0.3, 0.1, 0.95)), (PUBIC_TUBERCLE, (-0.85, 0.4, -0.3))):
            start = np.array(out) / np.linalg.norm(out) * (shapes.socket_radius + shapes.thickness + 2)
            end = landmark - middle
            bone = np.minimum(bone, _rod(points, start, end, 7.5))
            bone = np.minimum(bone, _norm(points - end.astype(np.float32)) - np.float32(_LANDMARK_RADIUS))
        for start, end in ((PUBIC_TUBERCLE, _SYMPHYSIS), (_SYMPHYSIS, _RAMUS), (ASIS, _CREST)):
            bone = np.minimum(bone, _rod(points, start - middle, end - middle, 7.5))
        inner = np.where(distance < outer + 1, inner, 0)
    bone = np.maximum(bone, inner - distance)
    cut = np.full(distance.shape, -np.inf, np.float32)
    for axis in shapes.opening:
        cut = np.maximum(cut, points @ axis.astype(np.float32) - np.float32(shapes.depth))
    if shapes.hole_clock is not None:
        cut = np.maximum(cut, _hole(points, shapes))
    if shapes.pelvis:
        cut = np.where(distance < outer + 1, cut, -np.inf)
    bone = np.maximum(bone, cut)
    if shapes.fossa_step is not None:
        cosine = points @ shapes.fossa_axis.astype(np.float32) / np.maximum(distance, 1e-3)
        side = distance * np.sin(np.arccos(np.clip(cosine, -1, 1)) - np.float32(np.radians(FOSSA_HALF_ANGLE)))
        fossa = np.maximum(side, distance - np.float32(shapes.socket_radius + shapes.fossa_depth))
        bone = np.maximum(bone, -fossa)
    return bone


def _hole(points: np.ndarray, shapes: HipShapes) -> np.ndarray:
    axis = _opening(shapes.inclination, shapes.version)
    twelve = np.array([0, 0, 1.0]) - axis[2] * axis
    twelve /= np.linalg.norm(twelve)
    three = np.cross(axis, twelve)
    three = three * np.sign(three[1])
    clock = np.degrees(np.arctan2(points @ three, points @ twelve))
    off = np.abs((clock - shapes.hole_clock + 180) % 360 - 180) - shapes.hole_half_width
    from_axis = _norm(points - (points @ axis)[..., None] * axis)
    sideways = -np.sin(np.radians(np.clip(off, -90, 90))) * from_axis
    return np.minimum(sideways, points @ axis - (shapes.depth - shapes.hole_depth)).astype(np.float32)


def _rod(points: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    axis = end - start
    share = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return _norm(points - start - share[..., None] * axis) - np.float32(radius)


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def truth(shapes: HipShapes, turn: np.ndarray | None = None) -> dict[str, float]:
    """Every measure's true value, by its name in `HipICMSCLib.measures`; degrees, mm, percent.

    Args:
        turn: (3, 3) by which the pelvis is turned against the frame that the values are of, side coordinates; the frame
            is the pelvis's own without it.
    """
    return {
        "HeadRadius": shapes.head_radius,
        "Sphericity": 0.0,
        **_of_the_femur(shapes),
        **_of_the_socket(shapes, np.eye(3) if turn is None else turn),
        "JointSpaceUpper": shapes.gap,
    }


def _of_the_femur(shapes: HipShapes) -> dict[str, float]:
    reach = shapes.head_radius + ALPHA_TOLERANCE_MM
    values = {"CCD_3D": shapes.neck_shaft}
    for hour, clock in (("1200", 0), ("0100", 30), ("0130", 45), ("0200", 60), ("0300", 90)):
        cam = shapes.cam_radius is not None and abs(clock - shapes.cam_clock) < shapes.cam_half_width
        radius = shapes.cam_radius if cam else shapes.neck_radius
        values[f"Alpha_{hour}"] = float(np.degrees(np.arcsin(radius / reach)))
        values[f"Offset_{hour}"] = shapes.head_radius - shapes.neck_radius
    values["AlphaMax"] = float(np.degrees(np.arcsin(max(shapes.cam_radius or 0, shapes.neck_radius) / reach)))
    if shapes.condyles:
        values["FemoralVersion"] = shapes.femoral_version
    return values


def _of_the_socket(shapes: HipShapes, turn: np.ndarray) -> dict[str, float]:
    """From a dense sampling of the rim of the joint-side surface; the holes of broken sockets have no truth."""
    rim = _rim(shapes) @ turn.T * shapes.socket_radius
    crossing = rim[np.flatnonzero(np.sign(rim[:, 1]) != np.sign(np.roll(rim[:, 1], 1)))]
    edge = crossing[np.argmax(crossing[:, 2])]
    values = {"LCEA": _degrees(edge[0], edge[2])}
    # The upper part of the rim, 10 to 2 o'clock about the socket's axis, as an AP film shows it.
    axis = turn @ _opening(shapes.inclination, shapes.version)
    twelve = np.array([0, 0, 1.0]) - axis[2] * axis
    twelve /= np.linalg.norm(twelve)
    three = np.cross(axis, twelve)
    three *= np.sign(three[1])
    clock = np.degrees(np.arctan2(rim @ three, rim @ twelve))
    upper = rim[np.abs(clock) <= 60]
    lateral = upper[np.argmax(upper[:, 0])]
    values["LCEA_AP"] = _degrees(lateral[0], lateral[2])
    values["ExtrusionIndex"] = 50 * (1 - lateral[0] / shapes.head_radius)
    values["VersionCentral"] = _version_at(rim, 0.0)
    values["VersionCranial"] = _version_at(rim, shapes.socket_radius - CRANIAL_BELOW_APEX_MM)
    if not shapes.twist:
        values["RimVersion"] = _degrees(axis[1], axis[0])
        values["RimInclination"] = float(np.degrees(np.arccos(-axis[2])))
    values |= _coverage(shapes, turn)
    # In a turned coronal plane the fossa begins elsewhere.
    if shapes.fossa_step is not None and np.array_equal(turn, np.eye(3)):
        medial = np.radians(shapes.fossa_step)
        roof = shapes.socket_radius * np.array([-np.sin(medial), 0, np.cos(medial)])
        values["AI"] = _degrees(edge[2] - roof[2], edge[0] - roof[0])
    return values


def _rim(shapes: HipShapes, count: int = 36000) -> np.ndarray:
    """Directions (count, 3) of the joint-side edge, once round the socket's axis."""
    axis = _opening(shapes.inclination, shapes.version)
    first = np.cross(axis, [0, 1.0, 0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    turn = np.arange(count) * 2 * np.pi / count
    around = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
    low, high = np.zeros(count), np.full(count, np.pi)
    for _ in range(40):
        middle = (low + high) / 2
        inside = _socket_level(np.cos(middle)[:, None] * axis + np.sin(middle)[:, None] * around, shapes) < 0
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return np.cos(high)[:, None] * axis + np.sin(high)[:, None] * around


def _socket_level(directions: np.ndarray, shapes: HipShapes) -> np.ndarray:
    return np.max([shapes.socket_radius * directions @ axis - shapes.depth for axis in shapes.opening], axis=0)


def _version_at(rim: np.ndarray, level: float) -> float:
    crossing = np.flatnonzero(np.sign(rim[:, 2] - level) != np.sign(np.roll(rim[:, 2], 1) - level))
    if len(crossing) < 2:
        return float("nan")
    front, back = rim[crossing[np.argmax(rim[crossing, 1])]], rim[crossing[np.argmin(rim[crossing, 1])]]
    return _degrees(back[0] - front[0], front[1] - back[1])


def _coverage(shapes: HipShapes, turn: np.ndarray, step: float = 0.002) -> dict[str, float]:
    """Shares of the head's sphere, in percent; a grid of equal areas of about 0.05 mm."""
    heights, turns = np.arange(-1 + step / 2, 1, step), np.arange(0, 2 * np.pi, step * np.pi)
    height, round_it = np.meshgrid(heights, turns, indexing="ij")
    width = np.sqrt(1 - height**2)
    directions = np.stack([width * np.cos(round_it), width * np.sin(round_it), height], axis=-1)
    covered = _socket_level(directions @ turn, shapes) < 0
    if shapes.fossa_step is not None:
        covered &= directions @ turn @ shapes.fossa_axis < np.cos(np.radians(FOSSA_HALF_ANGLE))
    share = {"Coverage": covered.mean(), "CoverageUpper": covered[directions[..., 2] > 0].mean()}
    for name, axis, sign in (("CoverageAnterior", 1, 1), ("CoveragePosterior", 1, -1), ("CoverageCranial", 2, 1)):
        weight = np.maximum(sign * directions[..., axis], 0)
        share[name] = (weight * covered).sum() / weight.sum()
    return {name: float(100 * value) for name, value in share.items()}


def _degrees(opposite: float, adjacent: float) -> float:
    return float(np.degrees(np.arctan2(opposite, adjacent)))
