"""A hip reduced to what its lines and angles rest on, without its voxels: numbers follow a point while it is moved.

Small and plain, so that it can be kept with a scene. What needs the bones themselves (coverage, alpha where nobody set
its point) is not known from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.acetabular_index import find_roof
from HipICMSCLib.measures.frame import Frame
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.hip import Edits, Hip
from HipICMSCLib.measures.measure import Measure, Value
from HipICMSCLib.measures.neck import Neck
from HipICMSCLib.measures.registry import TOPICS
from HipICMSCLib.measures.rim import TURNS, Rim, seen_from, with_point
from HipICMSCLib.measures.shaft import Shaft, shaft_between
from HipICMSCLib.measures.side import mirrored, unit

Point = tuple[float, float, float]
Numbers = tuple[float | None, ...]

#: What a measure of a topic rests on beside the frame: which of its numbers are out of date when that is moved.
_RESTS_ON = {
    "Femoral head": ("head",),
    "Centre-edge": ("head", "rim"),
    # Its clock is set by the shaft.
    "Head-neck junction": ("head", "neck", "shaft"),
    "Acetabular version": ("head", "rim"),
    "Acetabular roof": ("head", "rim"),
    "Coverage": ("head", "rim"),
    "Neck and shaft": ("head", "neck", "shaft"),
    "Femoral version": ("head", "neck", "shaft"),
    "Joint space": ("head", "rim"),
}
_NO_VOXELS = "no_voxels"
# A skeleton is written with all its digits; a frame measured again from the same points may differ by rounding.
_SAME_AXES = 1e-9


@dataclass(frozen=True)
class MovedPoints:
    """What a user has moved by hand on one side, LPS mm; the plain form of `Edits`, attributes as there."""

    head_centre: Point | None = None
    head_radius: float | None = None
    rim_points: tuple[Point, ...] = ()
    neck_base: Point | None = None
    roof_medial: Point | None = None
    shaft_upper: Point | None = None
    shaft_lower: Point | None = None
    exits: dict[str, Point] = field(default_factory=dict)

    def edits(self, side: str) -> Edits:
        """The same in coordinates of a side."""

        def there(point: Point | None) -> np.ndarray | None:
            return None if point is None else mirrored(np.array(point), side)

        return Edits(
            there(self.head_centre),
            self.head_radius,
            tuple(there(point) for point in self.rim_points),
            there(self.neck_base),
            there(self.roof_medial),
            there(self.shaft_upper),
            there(self.shaft_lower),
            {name: there(point) for name, point in self.exits.items()},
        )

    @property
    def moved(self) -> set[str]:
        """Which of head, rim, neck and shaft are not where they were found."""
        head = self.head_centre is not None or self.head_radius is not None
        shaft = self.shaft_upper is not None or self.shaft_lower is not None
        parts = {"head": head, "rim": bool(self.rim_points), "neck": self.neck_base is not None, "shaft": shaft}
        return {name for name, is_moved in parts.items() if is_moved}


@dataclass(frozen=True)
class RimLine:
    """`Rim` without what only finding it needs; numbers at `TURNS`, None where the edge was not found."""

    axis: Point
    up: Point
    front: Point
    raw: Numbers
    polar: Numbers
    gap: Numbers
    further: Numbers
    socket_centre: Point
    socket_radius: float


@dataclass(frozen=True)
class ShaftLine:
    """`Shaft` as far as angles need it."""

    point: Point
    axis: Point
    length: float


@dataclass(frozen=True)
class Skeleton:
    """One hip without edits; side coordinates, mm. What was refused is None.

    Attributes:
        axes: lateral, anterior and superior of the pelvis's frame.
        toward_neck, rms, p95, axis_ratio: as of `Head`.
        neck_base, neck_radius, narrowest: as of `Neck`.
        roof_medial: the roof's medial end.
    """

    side: str
    frame_name: str
    axes: tuple[Point, Point, Point]
    head_centre: Point
    head_radius: float
    toward_neck: Point
    rms: float
    p95: float
    axis_ratio: float
    rim: RimLine | None = None
    neck_base: Point | None = None
    neck_radius: float = 0.0
    narrowest: float = 0.0
    shaft: ShaftLine | None = None
    roof_medial: Point | None = None


def skeleton_of(hip: Hip) -> Skeleton:
    """The skeleton of a hip that nobody has edited."""
    head = hip.head
    found = Skeleton(
        hip.side, hip.frame_name, tuple(_point(axis) for axis in hip.axes), _point(head.centre), float(head.radius),
        _point(head.toward_neck), float(head.rms), float(head.p95), float(head.axis_ratio),
    )  # fmt: skip
    if (rim := _unless_refused(lambda: hip.rim)) is not None:
        line = RimLine(
            _point(rim.axis), _point(rim.up), _point(rim.front), _numbers(rim.raw), _numbers(rim.polar),
            _numbers(rim.gap), _numbers(rim.further), _point(rim.socket_centre),
            float(rim.socket_radius),
        )  # fmt: skip
        found = replace(found, rim=line)
    if (neck := _unless_refused(lambda: hip.neck)) is not None:
        found = replace(
            found, neck_base=_point(neck.base), neck_radius=float(neck.radius), narrowest=float(neck.narrowest)
        )
    if (shaft := _unless_refused(lambda: hip.shaft)) is not None:
        found = replace(found, shaft=ShaftLine(_point(shaft.point), _point(shaft.axis), float(shaft.length)))
    if (roof := _unless_refused(lambda: find_roof(hip))) is not None:
        found = replace(found, roof_medial=_point(roof.medial))
    return found


@dataclass(frozen=True)
class Followed:
    """What follows of moved points.

    Attributes:
        values: of the measures that are known from points alone, by their definition's id; marks are LPS.
        refused: those that such a move makes impossible, with the reason.
        outdated: ids of those that the bones have to be asked for anew.
    """

    values: dict[str, Value]
    refused: dict[str, HipError]
    outdated: set[str]


def follow(skeleton: Skeleton, points: MovedPoints, frame: Frame | None = None) -> Followed:
    """The numbers of a hip whose points were moved; a few milliseconds.

    Args:
        frame: that a user has set by hand; none for the skeleton's own.
    """
    own_axes = np.array(skeleton.axes)
    axes = own_axes if frame is None else frame.of_side(skeleton.side)
    turned = np.abs(axes - own_axes).max() > _SAME_AXES
    hip = _hip_of(skeleton, points.edits(skeleton.side), axes if turned else None)
    moved = points.moved
    followed = Followed({}, {}, set())
    for topic, group in TOPICS.items():
        for measure in group:
            name = measure.definition.id
            try:
                value = _value(measure, topic, hip)
            except HipError as error:
                if error.kind != _NO_VOXELS:
                    followed.refused[name] = error
                elif moved & set(_RESTS_ON[topic]) or (turned and _turns(measure, topic, skeleton)):
                    followed.outdated.add(name)
                continue
            marks = tuple(replace(m, points=mirrored(m.points, skeleton.side)) for m in value.marks)
            followed.values[name] = replace(value, marks=marks)
    return followed


def _value(measure: Measure, topic: str, hip: Hip) -> Value:
    # These look at the bones themselves.
    name, edits = measure.definition.id, hip.edits
    out_of_round = topic == "Femoral head" and name != "HeadRadius"
    of_roof = name == "AI_apex" or (name == "AI" and edits.roof_medial is None)
    if topic == "Femoral version" or of_roof or (out_of_round and edits.of_head):
        raise HipError(_NO_VOXELS, "This is not known without the bones.")
    return measure.of(hip)


def _turns(measure: Measure, topic: str, skeleton: Skeleton) -> bool:
    """Whether another frame changes it; the clock round a neck without a shaft in view is the frame's."""
    return measure.definition.tilts or (topic == "Head-neck junction" and skeleton.shaft is None)


def _hip_of(skeleton: Skeleton, edits: Edits, axes: np.ndarray | None) -> Hip:
    """A hip whose parts are known and which has no bones to look for more of them.

    Args:
        axes: of another frame, set by hand; none for the skeleton's own.
    """
    nan = float("nan")
    head = Head(
        np.array(skeleton.head_centre), skeleton.head_radius, np.array(skeleton.toward_neck), skeleton.rms,
        skeleton.p95, nan, skeleton.axis_ratio, nan,
    )  # fmt: skip
    # In another frame the roof's medial end lies in another plane.
    if edits.roof_medial is None and skeleton.roof_medial is not None and axes is None:
        edits = replace(edits, roof_medial=np.array(skeleton.roof_medial))
    name = skeleton.frame_name if axes is None else "USER"
    hip = Hip(skeleton.side, None, None, head, np.array(skeleton.axes) if axes is None else axes, name, edits)
    for name in ("femur_field", "hip_field", "surface", "profile", "coverage"):
        _know(hip, name, lambda: None)
    _know(hip, "shaft", lambda: _shaft(skeleton, edits))
    _know(hip, "rim", lambda: _rim(skeleton, hip.head, edits, axes))
    _know(hip, "neck", lambda: _neck(skeleton, hip.head, edits))
    return hip


def _know(hip: Hip, name: str, find: Callable[[], object]) -> None:
    def known() -> object:
        part = find()
        if part is None:
            raise HipError(_NO_VOXELS, "This is not known without the bones.")
        return part

    _unless_refused(lambda: hip.once(name, known))


def _rim(skeleton: Skeleton, head: Head, edits: Edits, axes: np.ndarray | None) -> Rim | None:
    if skeleton.rim is None:
        return None
    line = skeleton.rim
    unknown = np.full(len(TURNS), math.nan)
    rim = Rim(
        centre=np.array(skeleton.head_centre),
        head_radius=skeleton.head_radius,
        axis=np.array(line.axis),
        up=np.array(line.up),
        front=np.array(line.front),
        raw=_array(line.raw),
        polar=_array(line.polar),
        gap=_array(line.gap),
        beyond=math.nan,
        between=unknown,
        overreach=unknown,
        further=_array(line.further),
        share_fused=math.nan,
        socket_centre=np.array(line.socket_centre),
        socket_radius=line.socket_radius,
    )
    rim = _about(rim, head)
    if axes is not None:
        rim = seen_from(rim, axes[2], axes[1])
    for point in edits.rim_points:
        rim = with_point(rim, point)
    return rim


def _about(rim: Rim, head: Head) -> Rim:
    """The same line in space, described about a head that was moved."""
    if rim.head_radius == head.radius and (rim.centre == head.centre).all():
        return rim
    points = rim.centre + rim.directions(TURNS, rim.polar) * (rim.head_radius + rim.gap)[:, None]
    away = points - head.centre
    turns, polar = rim.angles(unit(away))
    order = np.argsort(turns)

    def at_turns(values: np.ndarray) -> np.ndarray:
        return np.interp(TURNS, turns[order], values[order], period=360)

    new = at_turns(polar)
    gap = at_turns(np.linalg.norm(away, axis=1)) - head.radius
    return replace(
        rim, centre=head.centre, head_radius=head.radius, raw=rim.raw - rim.polar + new, polar=new, gap=gap
    )  # fmt: skip


def _neck(skeleton: Skeleton, head: Head, edits: Edits) -> Neck | None:
    if skeleton.neck_base is None:
        return None
    base = np.array(skeleton.neck_base) if edits.neck_base is None else edits.neck_base
    return Neck(base, unit(base - head.centre), skeleton.neck_radius, skeleton.narrowest)


def _shaft(skeleton: Skeleton, edits: Edits) -> Shaft | None:
    line = skeleton.shaft
    if line is None:
        return None
    nan = float("nan")
    shaft = Shaft(np.array(line.point), np.array(line.axis), line.length, nan, nan)
    if edits.shaft_upper is None and edits.shaft_lower is None:
        return shaft
    return shaft_between(
        shaft.point if edits.shaft_upper is None else edits.shaft_upper,
        shaft.end if edits.shaft_lower is None else edits.shaft_lower,
    )


def _unless_refused(find):
    try:
        return find()
    except HipError:
        return None


def _point(values: np.ndarray) -> Point:
    return tuple(float(value) for value in values)


def _numbers(values: np.ndarray) -> Numbers:
    return tuple(None if math.isnan(value) else float(value) for value in values)


def _array(numbers: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if number is None else number for number in numbers])
