"""Alpha angle round the neck, cam extent and head-neck offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, Field
from HipICMSCLib.measures.head import GREATEST_RMS_MM, Head
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.measure import Definition, Mark, Measure, Value
from HipICMSCLib.measures.neck import Clock, Neck
from HipICMSCLib.measures.rays import along, first_exit

#: The surface has left the head's sphere where it is this much outside (mm).
TOLERANCE_MM = 1.5
#: Clock positions every 5 degrees from 12 towards 3 o'clock.
CLOCK = np.arange(0, 360, 5.0)
#: Angles from the neck's axis (degrees).
GAMMA = np.arange(14.0, 136.0)
LEAST, GREATEST = 25.0, 120.0
#: A cam is where alpha is larger than this (van Klij 2020, PMC7418265).
CAM_ABOVE = 60.0
# Through slices this thick, a surface within so many degrees of facing along them is not known: 45, and what the neck's
# axis, by which the clock is told, and the clock's 12 may be off there.
THICK_MM, FACING = 2.5, 50.0
_RUN, _RUN_SHARE = 12, 0.8
_REACH_MM = 6.0
# Five degrees of clock and one from the neck's axis a step.
_WINDOW = (7, 5)
_OUTLIER_MM = 4.7
# About the point where it leaves the sphere, the femur is a straight line in each radial plane: so far (mm) along the
# neck's axis towards the neck and towards the head, and over this many steps of clock to either side.
_TOWARD_NECK_MM, _TOWARD_HEAD_MM, _CLOCK_STEPS = 8.0, 1.5, 4
# Its slope is held to that of the surface this many steps about, as if that were known from a line of that variance.
_SLOPE_STEPS, _SLOPE_HELD_MM2 = 9, 3.0
_LINE_OUTLIER_MM, _GREATEST_MOVE = 3.0, 8.0
_STEP_MM = 0.75
_HALF_HOURS = {"1200": 0.0, "0100": 30.0, "0130": 45.0, "0200": 60.0, "0300": 90.0}


@dataclass(frozen=True)
class Profile:
    """The femur's surface about the head, by clock position and angle from the neck.

    Attributes:
        excess: (clock, gamma) mm outside the sphere, a robust mean over 15 degrees of clock to either side; capped.
        alpha: (clock,) degrees; NaN where the surface does not leave the sphere.
        hidden: (clock,) whether thick slices hide the junction there.
    """

    excess: np.ndarray
    alpha: np.ndarray
    hidden: np.ndarray


def find_profile(femur: Field, bone: Bone, head: Head, neck: Neck, clock: Clock) -> Profile:
    """The profile of a femur whose head, neck and clock are known."""
    turns, gamma = np.meshgrid(CLOCK, GAMMA, indexing="ij")
    polar = np.radians(gamma)[..., None]
    directions = np.cos(polar) * neck.axis + np.sin(polar) * clock.spoke(turns)
    radii = np.arange(head.radius - 3, head.radius + _REACH_MM + _STEP_MM / 2, _STEP_MM)
    excess = first_exit(along(femur.between_slices(), head.centre, directions, radii), radii) - head.radius
    smooth = _smooth(excess)
    hidden = np.zeros(len(CLOCK), bool)
    if bone.thick_axis is not None and bone.spacing.max() > THICK_MM:
        hidden = np.abs(clock.spoke(CLOCK) @ bone.slice_normal) > np.cos(np.radians(FACING))
    return Profile(smooth, _on_a_line(excess, head.radius, _leaving(smooth)), hidden)


def _smooth(excess: np.ndarray) -> np.ndarray:
    """The mean over `_WINDOW` (clock, gamma) of what is no outlier against the median there (Tukey's weights).

    The mean wavers less than the median; the median keeps out a step at the end of a bump.
    """
    clock, gamma = (size // 2 for size in _WINDOW)
    padded = np.pad(np.pad(excess, ((clock, clock), (0, 0)), mode="wrap"), ((0, 0), (gamma, gamma)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW).reshape(*excess.shape, -1)
    median = np.median(windows, axis=-1, keepdims=True)
    weights = np.maximum(1 - ((windows - median) / _OUTLIER_MM) ** 2, 0) ** 2
    return (weights * windows).sum(axis=-1) / weights.sum(axis=-1)


def _leaving(excess: np.ndarray) -> np.ndarray:
    """From the neck's side, the first angle from which on the surface stays on the sphere for 80 % of 12 degrees."""
    on_sphere = excess <= TOLERANCE_MM
    total = np.cumsum(np.pad(on_sphere, ((0, 0), (1, _RUN)), mode="edge"), axis=1)
    ahead = (total[:, _RUN:] - total[:, :-_RUN])[:, : excess.shape[1]]
    starts = on_sphere & (ahead >= _RUN_SHARE * _RUN)
    first = starts.argmax(axis=1)
    rows = np.arange(len(excess))
    before = np.maximum(first - 1, 0)
    here, outside = excess[rows, first], excess[rows, before]
    share = np.where(outside > TOLERANCE_MM, (TOLERANCE_MM - here) / np.where(outside == here, 1, outside - here), 0)
    alpha = GAMMA[first] - np.clip(share, 0, 1) * (GAMMA[first] - GAMMA[before])
    return np.where(starts.any(axis=1) & (alpha >= LEAST) & (alpha <= GREATEST), alpha, np.nan)


def _on_a_line(excess: np.ndarray, radius: float, alpha: np.ndarray) -> np.ndarray:
    """Alpha (clock,) where a line through the surface about the first guess of it leaves the sphere.

    So it rests on a piece of bone of 9 mm along the neck, where at one point the label's line wavers. In cylindrical
    coordinates about the neck's axis a neck is nearly straight, so the line is no bias where it is steep on the sphere.
    """
    known = np.isfinite(alpha)
    polar = np.radians(GAMMA)
    near = _neighbours(_CLOCK_STEPS)
    along, out = (((radius + excess) * part)[near] for part in (np.cos(polar), np.sin(polar)))
    usable = (excess < _REACH_MM - 0.1)[near] * _tapered(_CLOCK_STEPS)[:, None]
    reach = radius + TOLERANCE_MM
    found, kept = np.where(known, alpha, 60.0), 1.0
    for _ in range(2):
        start = reach * np.cos(np.radians(found))
        off = along - start[:, None, None]
        towards = np.where(off > 0, off / _TOWARD_NECK_MM, off / _TOWARD_HEAD_MM)
        window = usable * np.clip(1 - towards**2, 0, 1) * (found[:, None, None] + 15 > GAMMA)
        for _ in range(2):
            weights = window * kept
            level, slope, enough = _lines(off, out, weights, known)
            residual = out - level[:, None, None] - slope[:, None, None] * off
            kept = np.maximum(1 - (residual / _LINE_OUTLIER_MM) ** 2, 0) ** 2
        # Of the line's two crossings with the sphere that on the neck's side.
        square, half = 1 + slope**2, level * slope + start
        under_root = half**2 - square * (level**2 + start**2 - reach**2)
        step = (np.sqrt(np.maximum(under_root, 0)) - half) / square
        new = np.degrees(np.arctan2(level + slope * step, start + step))
        usual = known & enough & (under_root > 0) & (np.abs(new - alpha) < _GREATEST_MOVE)
        found = np.where(usual, new, found)
    return np.where(known & (found >= LEAST) & (found <= GREATEST), found, np.nan)


def _lines(
    off: np.ndarray, out: np.ndarray, weights: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level and slope (clock,) of weighted lines through (clock, n, m) points, and whether there are enough points."""
    total = weights.sum(axis=(1, 2))
    enough = known & (total > 1)
    total = np.maximum(total, 1e-9)
    off_mean, out_mean = ((weights * values).sum(axis=(1, 2)) / total for values in (off, out))
    off, out = off - off_mean[:, None, None], out - out_mean[:, None, None]
    variance, both = ((weights * off * values).sum(axis=(1, 2)) / total for values in (off, out))
    about, taper = _neighbours(_SLOPE_STEPS), _tapered(_SLOPE_STEPS)
    wide = [(taper * np.where(enough, total * values, 0)[about]).sum(axis=1) for values in (both, variance)]
    usual = wide[0] / np.maximum(wide[1], 1e-6)
    slope = (both + _SLOPE_HELD_MM2 * usual) / (variance + _SLOPE_HELD_MM2)
    return out_mean - slope * off_mean, slope, enough


def _neighbours(steps: int) -> np.ndarray:
    """Indices (clock, 2 steps + 1) of the clock positions about each."""
    return (np.arange(len(CLOCK))[:, None] + np.arange(-steps, steps + 1)) % len(CLOCK)


def _tapered(steps: int) -> np.ndarray:
    """Weights (2 steps + 1,) of neighbours, less the farther they are."""
    return 1 - (np.arange(-steps, steps + 1) / (steps + 1)) ** 2


def alpha_of(exit_point: np.ndarray, centre: np.ndarray, axis: np.ndarray) -> float:
    """Degrees at the head centre between the neck's axis and the point where the surface leaves the sphere."""
    away = exit_point - centre
    return float(np.degrees(np.arccos(np.clip(away @ axis / np.linalg.norm(away), -1, 1))))


def hour_of(degrees: float) -> str:
    """A clock position as a clock shows it, e.g. ``"1:30"``."""
    minutes = round((degrees % 360) * 2)
    return f"{(minutes // 60) or 12}:{minutes % 60:02d}"


def profile_of(hip: Hip) -> Profile:
    """The profile of a hip's femur.

    Raises:
        HipError: ``head_aspherical``, or as for neck and clock.
    """
    if hip.head.rms > GREATEST_RMS_MM:
        raise HipError("head_aspherical", "The femoral head is too far from a sphere for an alpha angle.")
    return hip.once("profile", lambda: find_profile(hip.femur_field, hip.femur, hip.head, hip.neck, hip.clock))


def _cautions(hip: Hip) -> tuple[str, ...]:
    if hip.clock.from_shaft:
        return ()
    return ("The shaft is not in view, so 12 o'clock is the frame's superior direction.",)


def _known(profile: Profile, index: int) -> float:
    hour = hour_of(CLOCK[index])
    if profile.hidden[index]:
        raise HipError(
            "slices_too_thick",
            f"At {hour} o'clock the head-neck junction faces along the thick slices, so it is not known there.",
        )
    if np.isnan(profile.alpha[index]):
        raise HipError(
            "no_junction",
            f"At {hour} o'clock the surface does not leave the head's sphere between {LEAST:.0f} and {GREATEST:.0f} "
            "degrees from the neck.",
        )
    return float(profile.alpha[index])


def _exit_point(hip: Hip, alpha: float, degrees: float) -> np.ndarray:
    polar = np.radians(alpha)
    direction = np.cos(polar) * hip.neck.axis + np.sin(polar) * hip.clock.spoke(np.array(degrees))
    return hip.head.centre + (hip.head.radius + TOLERANCE_MM) * direction


def _alpha_at(name: str, degrees: float):
    def of(hip: Hip) -> Value:
        moved = hip.edits.exits.get(name)
        if moved is None:
            alpha = _known(profile_of(hip), int(degrees // 5))
            moved = _exit_point(hip, alpha, degrees)
        else:
            alpha = alpha_of(moved, hip.head.centre, hip.neck.axis)
        points = np.stack([hip.neck.base, hip.head.centre, moved])
        return Value(alpha, (Mark(name, "angle", points, ("neck", "C", "exit")),), _cautions(hip))

    return of


def _accepted(profile: Profile) -> np.ndarray:
    return ~profile.hidden & np.isfinite(profile.alpha)


def _alpha_max(hip: Hip) -> tuple[float, float, tuple[str, ...]]:
    """Largest alpha of the accepted positions, its clock position (degrees), and what to know of it."""
    profile = profile_of(hip)
    accepted = _accepted(profile)
    if accepted.sum() < len(CLOCK) / 3:
        raise HipError("no_junction", "At most positions round the neck the head-neck junction is not known.")
    best = int(np.where(accepted, profile.alpha, -np.inf).argmax())
    missing = [hour_of(d) for d in CLOCK[::6] if not accepted[int(d // 5)]]
    notes = (f"Not known at {', '.join(missing)} o'clock.",) if missing else ()
    return float(profile.alpha[best]), float(CLOCK[best]), notes + _cautions(hip)


def _maximum(hip: Hip) -> Value:
    alpha, degrees, notes = _alpha_max(hip)
    points = np.stack([hip.neck.base, hip.head.centre, _exit_point(hip, alpha, degrees)])
    margin = [
        _exit_point(hip, a, d)
        for a, d, known in zip(profile_of(hip).alpha, CLOCK, _accepted(profile_of(hip)), strict=True)
        if known
    ]
    marks = (
        Mark("Alpha_max", "angle", points, ("neck", "C", "exit"), editable=False),
        Mark("NeckAxis", "line", np.stack([hip.head.centre, hip.neck.base]), ("C", "neck")),
        Mark("CamMargin", "curve", np.array(margin), tuple(f"M{i}" for i in range(len(margin))), editable=False),
    )
    return Value(alpha, marks, notes)


def _cam_extent(hip: Hip) -> Value:
    profile = profile_of(hip)
    _, _, notes = _alpha_max(hip)
    step = CLOCK[1] - CLOCK[0]
    return Value(float(step * (profile.alpha[_accepted(profile)] > CAM_ABOVE).sum()), cautions=notes)


def _cam_region(profile: Profile) -> np.ndarray:
    return (GAMMA > CAM_ABOVE) & (GAMMA < GREATEST) & _accepted(profile)[:, None]


def _cam_peak(hip: Hip) -> Value:
    profile = profile_of(hip)
    _, _, notes = _alpha_max(hip)
    return Value(float(max(np.where(_cam_region(profile), profile.excess, 0).max(), 0)), cautions=notes)


def _cam_volume(hip: Hip) -> Value:
    profile = profile_of(hip)
    _, _, notes = _alpha_max(hip)
    inner = hip.head.radius + TOLERANCE_MM
    outer = np.maximum(hip.head.radius + profile.excess, inner)
    solid_angle = np.sin(np.radians(GAMMA)) * np.radians(1) * np.radians(CLOCK[1] - CLOCK[0])
    cells = _cam_region(profile) * (outer**3 - inner**3) / 3 * solid_angle
    return Value(float(cells.sum() / 1000), cautions=notes)


def _offset(hip: Hip, name: str, degrees: float) -> tuple[float, Mark]:
    """Between lines parallel to the neck's axis through the head's and the neck's outermost points."""
    profile = profile_of(hip)
    index = int(degrees // 5)
    _known(profile, index)
    spoke = hip.clock.spoke(np.array(degrees))
    on_head = (GAMMA >= 60) & (GAMMA <= 120)
    polar = np.radians(GAMMA[on_head])[:, None]
    directions = np.cos(polar) * hip.neck.axis + np.sin(polar) * spoke
    bulge = np.clip(profile.excess[index, on_head], 0, None)
    # Inside the tolerance it is the sphere: the steps of the label are no bump.
    bulge = np.where(bulge > TOLERANCE_MM, bulge, 0)
    points = hip.head.centre + (hip.head.radius + bulge)[:, None] * directions
    head_point = points[((points - hip.head.centre) @ spoke).argmax()]
    fan = np.radians(np.arange(degrees - 15, degrees + 16, 3.0))
    spokes = np.cos(fan)[:, None] * hip.clock.twelve + np.sin(fan)[:, None] * hip.clock.three
    radii = np.arange(0, 1.25 * hip.head.radius, _STEP_MM)
    radius = float(np.median(first_exit(along(hip.femur_field, hip.neck.base, spokes, radii), radii)))
    neck_point = hip.neck.base + radius * spoke
    number = float((head_point - neck_point) @ spoke)
    return number, Mark(name, "line", np.stack([head_point, neck_point]), ("head", "neck"), editable=False)


def _offset_at(hour: str, ratio: bool):
    def of(hip: Hip) -> Value:
        number, mark = _offset(hip, f"Offset_{hour}", _HALF_HOURS[hour])
        if ratio:
            return Value(number / (2 * hip.head.radius), cautions=_cautions(hip))
        return Value(number, (mark,), _cautions(hip))

    return of


_AXIS = "the neck's axis goes through the head centre and the centre of the neck's narrowest part"
MEASURES = (
    *(
        Measure(
            Definition(
                f"Alpha_{hour}", f"Alpha angle at {hour_of(degrees)}", "deg",
                f"At the head centre between the neck's axis and the point where the surface leaves the head's sphere "
                f"by {TOLERANCE_MM} mm, in the radial plane of this hour (3 is anterior); {_AXIS}.",
                class_width=15,
            ),
            _alpha_at(f"Alpha_{hour}", degrees),
        )
        for hour, degrees in _HALF_HOURS.items()
    ),
    Measure(
        Definition(
            "AlphaMax", "Largest alpha angle", "deg",
            "Of all positions round the neck where it is known, every 5 degrees.", class_width=15, is_largest=True,
        ),
        _maximum,
    ),
    Measure(
        Definition(
            "AlphaMaxClock", "Clock position of the largest alpha", "h", "As hours, 3 is anterior.", has_interval=False
        ),
        lambda hip: Value((_alpha_max(hip)[1] / 30) % 12, cautions=_alpha_max(hip)[2]),
    ),
    Measure(
        Definition(
            "CamExtent", f"Arc with alpha over {CAM_ABOVE:.0f} degrees", "deg",
            "Round the neck, of the positions where alpha is known; threshold of van Klij 2020, PMC7418265.",
        ),
        _cam_extent,
    ),
    Measure(
        Definition(
            "CamPeak", "Highest bump over the sphere", "mm",
            f"Between {CAM_ABOVE:.0f} and {GREATEST:.0f} degrees from the neck, up to {_REACH_MM:.0f} mm.",
        ),
        _cam_peak,
    ),
    Measure(
        Definition(
            "CamVolume", "Volume of the bump", "ml",
            f"Bone more than {TOLERANCE_MM} mm outside the sphere, between {CAM_ABOVE:.0f} and {GREATEST:.0f} degrees "
            "from the neck.",
        ),
        _cam_volume,
    ),
    *(
        Measure(
            Definition(
                f"Offset_{hour}", f"Head-neck offset at {hour_of(_HALF_HOURS[hour])}", "mm",
                "In the radial plane of this hour, between lines parallel to the neck's axis through the outermost "
                "points of the head and of the neck at its narrowest.", signed=True,
            ),
            _offset_at(hour, ratio=False),
        )
        for hour in ("1200", "0130", "0300")
    ),
    Measure(
        Definition(
            "OffsetRatio_0130", "Head-neck offset ratio at 1:30", "", "Offset by the diameter of the head's sphere.",
            signed=True,
        ),
        _offset_at("0130", ratio=True),
    ),
)  # fmt: skip
