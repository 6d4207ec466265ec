"""The acetabular rim and the coverage of the head, as directions from the head centre.

A direction is covered where the hip bone's joint-side surface lies in it. The bound just outside that surface makes
the rim the joint-side edge; without it the outer corner would be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, Field
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.rays import along, first_hit, sphere_directions
from HipICMSCLib.measures.side import across, third, unit

#: Round the rim in steps of 3 degrees, clockwise seen from lateral on a right hip: 0 up, 90 anterior.
TURNS = np.arange(0, 360, 3.0)
#: The acetabular notch, 5 to 7 o'clock, has no rim.
NOTCH = (150.0, 210.0)
ORDER = 4
#: Bone this much beyond the joint-side surface no longer is that surface: so many times the surface's scatter, within
#: bounds (mm). A tight bound finds the edge of a clean label without bias, a wide one does not lose a ragged surface.
SCATTERS = 8.0
LEAST_BEYOND_MM, GREATEST_BEYOND_MM = 1.0, 2.0
GREATEST_GAP_MM = 8.0
GREATEST_MISSING = 60.0
#: A rim waves a little about a plane: so much of it may lie so far (mm) off its smooth curve, or off its plane.
GREATEST_RESIDUAL_MM, GREATEST_SHARE = 4.0, 0.15
GREATEST_WAVE_MM, GREATEST_WAVING = 6.0, 0.2
FUSED_MM, FUSED_SHARE = 0.5, 0.3
LEAST_ROOM_MM = 3.0
_POLAR_STEP = 1.5
_ALL_POLAR = np.arange(15.0, 166.0, _POLAR_STEP)
# Once the edge is roughly known, it is looked for about there.
_NEAR_EDGE = np.arange(-21.0, 27.1, _POLAR_STEP)
_RUN = 12.0  # degrees that must be covered inside the edge
_STEP_MM = 0.5
# Least and greatest amplitude A of the rim's Fourier terms (degrees); and how many neighbouring sectors a wavering line
# shifts together: one of 1.5 voxels has a correlation 5.3 mm long, which is 3.6 sectors about a head of 28 mm.
_AMPLITUDES, _CORRELATION = (1.5, 8.0), 4.0
_ROUNDS = 30
_CORNER = 1.0  # degrees
# A label of 1 mm knows an edge to a voxel: evenly spread, an SD of 0.3 mm, and 0.6 degrees about a head of 25 mm.
_VOXEL_MM, _VOXEL_DEG = 0.3, 0.6
_ABOUT = 7.5  # degrees to either side of a point of the rim in which its edge must have been found
_FLAT_MM = 6.0
# Across thick slices the surface is only known between two of them: bone this share of a slice farther still is it.
_OF_SLICE = 0.2
_GREATEST_OVERREACH = 4.0  # degrees
_SPHERE = sphere_directions(4000)
# The socket's sphere rests on what lies so far (degrees) inside the rim, and on no fewer directions.
_INSIDE_EDGE, _LEAST_OF_SOCKET = 4.0, 100


@dataclass(frozen=True)
class Rim:
    """The rim's angle from the socket's opening axis, round that axis; side coordinates.

    Attributes:
        centre: (3,) mm, of the femoral head.
        head_radius: mm.
        axis: (3,) unit vector out of the socket.
        up, front: (3,) unit vectors across it, 12 and 3 o'clock.
        raw: (turns,) degrees from ``axis`` where the edge was found, NaN where none was.
        polar: (turns,) degrees, the smooth rim.
        gap: (turns,) mm from the head's sphere to the joint-side surface inside the rim.
        beyond: mm, how far past that surface bone still counts as it.
        between: (turns,) mm by which that surface may lie farther than it seems, where the edge faces along thick
            slices.
        overreach: (turns,) degrees by which bone so far past the surface seemed to reach beyond the edge; ``raw`` and
            ``polar`` are without it.
        further: (turns,) degrees by which the bone goes on outside the edge at up to 6 mm more from the head, as a flat
            roof over a round head does; NaN where that is not known.
        share_fused: of the covered directions, those without any joint space.
        socket_centre, socket_radius: side coordinates (3,) and mm, of the sphere that fits the joint-side surface best;
            the head may lie off its middle.
    """

    centre: np.ndarray
    head_radius: float
    axis: np.ndarray
    up: np.ndarray
    front: np.ndarray
    raw: np.ndarray
    polar: np.ndarray
    gap: np.ndarray
    beyond: float
    between: np.ndarray
    overreach: np.ndarray
    further: np.ndarray
    share_fused: float
    socket_centre: np.ndarray
    socket_radius: float

    def directions(self, turns: np.ndarray, polar: np.ndarray) -> np.ndarray:
        """Unit vectors (…, 3) at angles in degrees round the axis and from it."""
        turns, polar = np.radians(turns)[..., None], np.radians(polar)[..., None]
        return np.cos(polar) * self.axis + np.sin(polar) * (np.cos(turns) * self.up + np.sin(turns) * self.front)

    def angles(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn (0 to 360) and polar angle in degrees of unit vectors (…, 3)."""
        turn = np.degrees(np.arctan2(directions @ self.front, directions @ self.up)) % 360
        return turn, np.degrees(np.arccos(np.clip(directions @ self.axis, -1, 1)))

    def around(self, values: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Values given at `TURNS`, at any turns (degrees)."""
        return np.interp(turns, TURNS, values, period=360)

    @property
    def curve(self) -> np.ndarray:
        """(720, 3) points of the smooth rim about the head centre, mm, every half degree from 12 o'clock."""
        turns = np.arange(0, 360, 0.5)
        radius = self.head_radius + self.around(self.gap, turns)
        return radius[:, None] * self.directions(turns, self.around(self.polar, turns))

    @property
    def found(self) -> np.ndarray:
        """(turns,) where the edge was found, outside the notch."""
        return np.isfinite(self.raw) & ~in_notch(TURNS)


@dataclass(frozen=True)
class RimPlane:
    """The plane of the rim: a point about the head centre (mm) and its unit normal out of the socket."""

    point: np.ndarray
    normal: np.ndarray


def in_notch(turns: np.ndarray) -> np.ndarray:
    """Whether turns (degrees) lie in the acetabular notch."""
    return (turns > NOTCH[0]) & (turns < NOTCH[1])


def find_rim(hip: Field, head: Head, superior: np.ndarray, anterior: np.ndarray) -> Rim:
    """The rim of a socket.

    Args:
        hip: distances to the hip bone about the head.
        head: its sphere.
        superior, anterior: (3,) directions that tell 12 and 3 o'clock.

    Raises:
        HipError: ``socket_not_found`` where next to nothing covers the head.
    """
    radii = np.arange(head.radius - 1.0, head.radius + 12, _STEP_MM)
    gap = first_hit(along(hip, head.centre, _SPHERE, radii), radii) - head.radius
    facing = gap < GREATEST_GAP_MM
    if facing.mean() < 0.05:
        raise HipError(
            "socket_not_found",
            "The hip bone covers next to nothing of the femoral head: the head is dislocated or a label is wrong.",
        )
    joint_gap = max(float(np.median(gap[facing])), 0.0)
    # With the fossa, whose floor is some millimetres deeper, the bone about the head is a bowl; without, a horseshoe.
    axis = -unit(_SPHERE[gap < joint_gap + 8.0].mean(axis=0))
    up = across(superior, axis)
    rim = Rim(
        centre=head.centre,
        head_radius=head.radius,
        axis=axis,
        up=up,
        front=third(axis, up, anterior),
        raw=np.full(len(TURNS), np.nan),
        polar=np.full(len(TURNS), 90.0),
        gap=np.full(len(TURNS), joint_gap),
        beyond=GREATEST_BEYOND_MM,
        between=np.zeros(len(TURNS)),
        overreach=np.zeros(len(TURNS)),
        further=np.full(len(TURNS), np.nan),
        share_fused=float((gap[facing] < FUSED_MM).mean()),
        socket_centre=head.centre,
        socket_radius=head.radius + joint_gap,
    )
    rim = _with_edge(rim, hip, rim.beyond, everywhere=True)
    # The rim's plane tells the axis better than what happens to lie about the head.
    axis = rim_plane(rim).normal
    up = across(superior, axis)
    rim = _with_edge(replace(rim, axis=axis, up=up, front=third(axis, up, anterior)), hip, rim.beyond, True)
    # Once the edge is known, the surface just inside it tells the gap there, and the bound can be tighter.
    gap, scatter = _gap_inside(rim, hip)
    beyond = float(np.clip(SCATTERS * scatter, LEAST_BEYOND_MM, GREATEST_BEYOND_MM))
    between = _OF_SLICE * hip.thickness(rim.directions(TURNS, rim.polar))
    rim = replace(rim, gap=gap, beyond=beyond, between=between)
    rim = _without_overreach(_with_edge(rim, hip, beyond + between), hip)
    return _with_socket(replace(rim, further=rim.polar - _with_edge(rim, hip, _FLAT_MM).raw), hip)


def refind_rim(rim: Rim, hip: Field, head: Head) -> Rim:
    """The rim of a socket or head that has changed a little since; what it is described by stays the same."""
    rim = replace(rim, centre=head.centre, head_radius=head.radius, gap=rim.gap + rim.head_radius - head.radius)
    rim = _with_edge(replace(rim, gap=_gap_inside(rim, hip)[0]), hip, rim.beyond + rim.between)
    return _with_socket(replace(rim, raw=rim.raw + rim.overreach, polar=rim.polar + rim.overreach), hip)


def seen_from(rim: Rim, superior: np.ndarray, anterior: np.ndarray) -> Rim:
    """The same line, with 12 and 3 o'clock where other directions (3,) tell them."""
    up = across(superior, rim.axis)
    front = third(rim.axis, up, anterior)
    there = np.cos(np.radians(TURNS))[:, None] * up + np.sin(np.radians(TURNS))[:, None] * front
    turns = np.degrees(np.arctan2(there @ rim.front, there @ rim.up)) % 360
    moved = {name: rim.around(getattr(rim, name), turns) for name in ("raw", "polar", "gap", "further")}
    return replace(rim, up=up, front=front, **moved)


def check_rim(rim: Rim, hip: Bone, head: Head) -> None:
    """Refuse a rim that measures would be wrong on.

    Raises:
        HipError: ``dislocated``, ``fused``, ``rim_missing``, ``rim_irregular`` or ``rim_cut``.
    """
    if rim.share_fused > FUSED_SHARE:
        raise HipError(
            "fused",
            f"Femur and hip bone touch over {100 * rim.share_fused:.0f} % of the joint, so the socket's surface is not "
            "known; separate the labels along the joint space.",
        )
    offset = socket_offset(rim)
    if offset > head.radius / 2:
        raise HipError("dislocated", f"The head's centre lies {offset:.0f} mm off the socket's: the hip is dislocated.")
    missing = 3.0 * np.count_nonzero(~np.isfinite(rim.raw) & ~in_notch(TURNS))
    if missing > GREATEST_MISSING:
        raise HipError(
            "rim_missing",
            f"The acetabular rim is missing over {missing:.0f} degrees of its round; check the hip bone's label there.",
        )
    outside = rim.directions(TURNS, rim.polar) * (rim.head_radius + rim.gap)[:, None]
    if hip.room_mm(rim.centre + outside[~in_notch(TURNS)]).min() < LEAST_ROOM_MM:
        raise HipError("rim_cut", "The acetabular rim is cut by the end of the image.")
    off = np.radians(np.abs(rim.raw - rim.polar)[rim.found]) * (head.radius + rim.gap[rim.found])
    _check_share(off, GREATEST_RESIDUAL_MM, GREATEST_SHARE, "a smooth curve")
    plane = rim_plane(rim)
    edge = rim.directions(TURNS, rim.raw)[rim.found] * (rim.head_radius + rim.gap[rim.found])[:, None]
    _check_share(np.abs((edge - plane.point) @ plane.normal), GREATEST_WAVE_MM, GREATEST_WAVING, "the rim's plane")


def _check_share(off_mm: np.ndarray, greatest_mm: float, share: float, what: str) -> None:
    if (off_mm > greatest_mm).mean() > share:
        raise HipError(
            "rim_irregular",
            f"The acetabular rim is irregular: {100 * (off_mm > greatest_mm).mean():.0f} % of it lie more than "
            f"{greatest_mm:.0f} mm off {what}; check the hip bone's label.",
        )


def check_seen(rim: Rim, turn: float) -> None:
    """Refuse a point of the smooth rim about which the edge itself was not found: there it is a guess.

    Args:
        turn: degrees.

    Raises:
        HipError: ``rim_missing``.
    """
    about = np.abs((TURNS - turn + 180) % 360 - 180) < _ABOUT
    if np.isfinite(rim.raw[about]).mean() < 0.5:
        raise HipError(
            "rim_missing", "The acetabular rim is missing where this is read from it; check the hip bone's label there."
        )


def socket_offset(rim: Rim) -> float:
    """mm by which the head is off the middle of its socket: the slope of the gap round the axis."""
    turns = np.radians(TURNS)
    keep = ~in_notch(TURNS)
    system = np.column_stack([np.ones(keep.sum()), np.cos(turns[keep]), np.sin(turns[keep])])
    slope = np.linalg.lstsq(system, rim.gap[keep], rcond=None)[0][1:]
    return float(np.hypot(*slope))


def covered(rim: Rim, hip: Field, directions: np.ndarray) -> np.ndarray:
    """Which directions (n, 3) from the head centre the joint-side surface covers."""
    turn, polar = rim.angles(directions)
    # Near the edge a direction counts as covered if the one just outside seems to be.
    near = np.abs(polar - rim.around(rim.polar, turn)) < 12
    outward = np.where(near, polar - rim.around(rim.overreach, turn), polar)
    # Only at the edge: within it, bone farther off is the fossa's floor.
    limit = rim.head_radius + rim.around(rim.gap, turn) + rim.beyond + near * rim.around(rim.between, turn)
    return _least_distance(hip, rim, rim.directions(turn, outward), limit) < 0


def rim_plane(rim: Rim) -> RimPlane:
    """The plane through the raw edge, which is sturdier than through the smooth one; the notch does not count."""
    keep = rim.found
    points = rim.directions(TURNS[keep], rim.raw[keep]) * (rim.head_radius + rim.gap[keep])[:, None]
    weights = (np.abs(rim.raw - rim.polar)[keep] < 8) * 1.0
    for _ in range(20):
        middle = np.average(points, axis=0, weights=weights)
        _, _, axes = np.linalg.svd((points - middle) * np.sqrt(weights)[:, None], full_matrices=False)
        off = (points - middle) @ axes[2]
        scale = max(1.4826 * float(np.median(np.abs(off))), 0.3)
        weights = np.maximum(1 - (off / (4.685 * scale)) ** 2, 0) ** 2
    normal = axes[2] if axes[2] @ rim.axis > 0 else -axes[2]
    return RimPlane(middle, normal)


def with_point(rim: Rim, point: np.ndarray, width: float = 15.0) -> Rim:
    """The rim after a point of it was moved by hand: within ``width`` degrees it passes through it.

    Args:
        point: (3,) side coordinates, mm.
    """
    away = point - rim.centre
    radius = float(np.linalg.norm(away))
    turn, polar = rim.angles(away / radius)
    off = np.abs((TURNS - turn + 180) % 360 - 180)
    share = np.where(off < width, np.cos(np.radians(90 * off / width)) ** 2, 0)
    return replace(
        rim,
        raw=np.where(off < width, polar, rim.raw),
        polar=rim.polar + share * (polar - rim.around(rim.polar, turn)),
        gap=rim.gap + share * (radius - rim.head_radius - rim.around(rim.gap, turn)),
    )


def _with_edge(rim: Rim, hip: Field, beyond_mm: float | np.ndarray, everywhere: bool = False) -> Rim:
    polar = np.broadcast_to(_ALL_POLAR, (len(TURNS), len(_ALL_POLAR)))
    if not everywhere:
        polar = np.clip(rim.polar[:, None] + _NEAR_EDGE, 5, 175)
    turns = np.broadcast_to(TURNS[:, None], polar.shape)
    limit = np.broadcast_to((rim.head_radius + rim.gap + beyond_mm)[:, None], polar.shape)
    level = _least_distance(hip, rim, rim.directions(turns, polar), limit)
    raw = _edge(level, polar)
    keep = np.isfinite(raw) & ~in_notch(TURNS)
    if keep.sum() < 2 * (2 * ORDER + 1):
        return replace(rim, raw=raw)
    return replace(rim, raw=raw, polar=smooth_round(raw, keep, ORDER, _VOXEL_DEG, _CORNER))


def _without_overreach(rim: Rim, hip: Field) -> Rim:
    """The edge at the surface itself: it moves inward as fast as it moved outward with the last millimetre past it.

    The rim's face slopes, so bone past the surface reaches farther out than the surface does. One slope, the whole
    rim's median, serves all of it, so that no noise is added.
    """
    # From a millimetre farther on, because at the edge itself the corner is rounded.
    wider, widest = (_with_edge(rim, hip, rim.beyond + rim.between + more) for more in (1.0, 2.0))
    slope = wider.raw - widest.raw
    keep = np.isfinite(slope) & ~in_notch(TURNS) & (np.abs(slope) < 5)
    if keep.sum() < 20:
        return rim
    overreach = np.clip((rim.beyond + rim.between) * np.median(slope[keep]), 0, _GREATEST_OVERREACH)
    return replace(rim, raw=rim.raw + overreach, polar=rim.polar + overreach, overreach=overreach)


def _with_socket(rim: Rim, hip: Field) -> Rim:
    """The sphere through the joint-side surface inside the rim (Gauss–Newton, Tukey's weights).

    The weights start wide, for the head may be some millimetres off the socket's middle, and end as narrow as the
    surface's scatter allows, so that the fossa's floor does not count.
    """
    turn, polar = rim.angles(_SPHERE)
    directions = _SPHERE[polar > rim.around(rim.polar, turn) + _INSIDE_EDGE]
    radii = np.arange(rim.head_radius - 1.0, rim.head_radius + GREATEST_GAP_MM + _STEP_MM, _STEP_MM)
    reached = first_hit(along(hip, rim.centre, directions, radii), radii)
    seen = np.isfinite(reached)
    points = rim.centre + reached[seen, None] * directions[seen]
    if len(points) < _LEAST_OF_SOCKET:
        return rim
    centre, radius, scale = rim.centre, float(np.median(reached[seen])), GREATEST_RESIDUAL_MM
    for _ in range(_ROUNDS):
        away = points - centre
        distance = np.linalg.norm(away, axis=1)
        residual = distance - radius
        weights = np.maximum(1 - (residual / scale) ** 2, 0) ** 2
        system = np.column_stack([away / distance[:, None], np.ones(len(points))])
        held = system.T @ (weights[:, None] * system) + 1e-6 * np.eye(4)
        step = np.linalg.solve(held, system.T @ (weights * residual))
        centre, radius = centre + step[:3], radius + float(step[3])
        scatter = 1.4826 * float(np.median(np.abs(residual)))
        scale = min(max(4.685 * scatter, LEAST_BEYOND_MM), GREATEST_RESIDUAL_MM)
        if np.abs(step).max() < 1e-3:
            break
    return replace(rim, socket_centre=centre, socket_radius=radius)


def _least_distance(hip: Field, rim: Rim, directions: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """The hip bone's least distance on each ray between the head and a limit: negative where the ray is covered."""
    steps = np.linspace(0, 1, int(np.ceil((limit.max() - rim.head_radius) / _STEP_MM)))
    start = rim.head_radius + 0.25
    radii = start + (limit - start)[..., None] * steps
    return along(hip, rim.centre, directions, radii).min(axis=-1)


def _edge(level: np.ndarray, polar: np.ndarray) -> np.ndarray:
    """From the open side inward, the first angle inside which at least 80 % are covered."""
    inside = level < 0
    run = round(_RUN / _POLAR_STEP)
    total = np.cumsum(np.pad(inside, ((0, 0), (1, run)), mode="edge"), axis=1)
    ahead = (total[:, run:] - total[:, :-run])[:, : level.shape[1]]
    starts = inside & (ahead >= 0.8 * run)
    first = starts.argmax(axis=1)
    rows = np.arange(len(level))
    before = np.maximum(first - 1, 0)
    here, outside = level[rows, first], level[rows, before]
    share = np.where(outside > 0, here / np.where(outside == here, 1, here - outside), 0)
    edge = polar[rows, first] - np.clip(share, 0, 1) * (polar[rows, first] - polar[rows, before])
    return np.where(starts.any(axis=1) & (first > 0), edge, np.nan)


def _gap_inside(rim: Rim, hip: Field) -> tuple[np.ndarray, float]:
    """The smooth gap round the rim, of the surface 4 to 22 degrees inside it, and how far that scatters (mm)."""
    turns, inward = np.meshgrid(TURNS, np.arange(4.0, 23.0, 2.0), indexing="ij")
    directions = rim.directions(turns, rim.polar[:, None] + inward)
    radii = np.arange(rim.head_radius - 1.0, rim.head_radius + GREATEST_GAP_MM + _STEP_MM, _STEP_MM)
    gap = first_hit(along(hip, rim.centre, directions, radii), radii) - rim.head_radius
    gap[~np.isfinite(gap)] = np.nan
    known = np.isfinite(gap).sum(axis=1) >= 4
    median = np.full(len(TURNS), np.nan)
    median[known] = np.nanmedian(gap[known], axis=1)
    keep = known & ~in_notch(TURNS)
    if keep.sum() < 20:
        return rim.gap, GREATEST_BEYOND_MM
    smooth = smooth_round(median, _on_joint_side(median, keep), 2, _VOXEL_MM, _VOXEL_MM)
    scatter = 1.4826 * float(np.nanmedian(np.abs(gap - smooth[:, None])[keep]))
    return smooth, scatter


def _on_joint_side(gap: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where the gap (turns,) is that of the joint-side surface, and not of the fossa's floor.

    The fossa is open towards the notch, and of a shallow socket it takes a part of the rim beside it: there no edge of
    the joint-side surface is in the label. A head off its socket's middle changes the gap, too, but evenly round it.
    """
    turns = np.radians(TURNS)
    even = np.column_stack([np.ones(len(turns)), np.cos(turns), np.sin(turns)])
    keep = known & (np.abs(gap - np.median(gap[known])) < GREATEST_BEYOND_MM)
    for _ in range(10):
        solved = np.linalg.lstsq(even[keep], gap[keep], rcond=None)[0]
        joint_side = known & (gap - even @ solved < GREATEST_BEYOND_MM)
        if joint_side.sum() < 20 or np.array_equal(joint_side, keep):
            break
        keep = joint_side
    return keep


def smooth_round(
    values: np.ndarray, keep: np.ndarray, order: int, least_scatter: float, least_scale: float
) -> np.ndarray:
    """A robust Fourier series (IRLS, Tukey) through the kept values at `TURNS`; smooth where none are.

    Its terms are held back the more the values scatter, and never less than if they did by ``least_scatter``: along the
    planes of its grid a label has steps a voxel high and many long, which the line would else follow. How large the
    terms are by nature is learnt from the rim itself (empirical Bayes, a term k has an amplitude of A / k²): a flat rim
    is not bent by a wavering line, and one that waves is followed. Values within 4.7 times ``least_scale`` of it always
    count: a real rim has corners that no wavering line explains.
    """
    turns = np.radians(TURNS)
    columns, number = [np.ones(len(turns))], [0]
    for k in range(1, order + 1):
        columns += [np.cos(k * turns), np.sin(k * turns)]
        number += [k, k]
    system = np.column_stack(columns)
    # Level and tilt are free.
    order_of = np.array(number, float)
    waves = order_of > 1
    # A third of a broken rim may be far off, so the first guess is the middle of the majority.
    spread = np.subtract(*np.percentile(values[keep], [75, 25]))
    weights = (np.abs(values[keep] - np.median(values[keep])) < spread + 8) * 1.0
    scale, amplitude = least_scatter, _AMPLITUDES[1]
    for _ in range(_ROUNDS):
        weighted = system[keep] * weights[:, None]
        prior = np.diag(waves * order_of**4 / amplitude**2)
        held = system[keep].T @ weighted + _CORRELATION * scale**2 * prior + 1e-6 * np.eye(len(prior))
        solved = np.linalg.solve(held, weighted.T @ values[keep])
        uncertain = _CORRELATION * scale**2 * np.diag(np.linalg.inv(held))
        amplitude = np.sqrt(np.mean((order_of**4 * (solved**2 + uncertain))[waves]))
        amplitude = float(np.clip(amplitude, *_AMPLITUDES))
        off = values[keep] - system[keep] @ solved
        scale = max(1.4826 * float(np.median(np.abs(off))), least_scatter)
        weights = np.maximum(1 - (off / (4.685 * max(scale, least_scale))) ** 2, 0) ** 2
    return system @ solved
