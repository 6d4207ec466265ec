"""All measures of a label image: the one call of command line, worker and report.

What follows a point while a user moves it, without any voxel, stands in `HipICMSCLib.measures.skeleton`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.frame import Frame, find_frame, image_frame, tilted, user_frame
from HipICMSCLib.measures.hip import UNEDITED, Edits, Hip
from HipICMSCLib.measures.labels import Side, find_sides
from HipICMSCLib.measures.measure import Definition, Mark, Value
from HipICMSCLib.measures.noise import boundary_noises
from HipICMSCLib.measures.registry import MEASURES
from HipICMSCLib.measures.side import mirrored

#: Repeats with a wavering boundary that an interval rests on.
REPEATS = 50
#: A number is shown with what it would be if the pelvis were tilted by so much (degrees).
TILT = 5.0
_LEAST_SUCCESS = 0.8
_THICK = (
    "Thick slices: the interval counts in that they might lie elsewhere and that the label wavers by a fraction of a "
    "pixel, in each slice by itself; a slice in which a bone was missed it does not count in."
)


@dataclass(frozen=True)
class Row:
    """One measure of one side, as a table shows it.

    Attributes:
        side: ``"right"`` or ``"left"``.
        definition: what was measured.
        value: in the definition's unit; NaN where refused.
        auto_value: without what the user has moved.
        low, high: 95 % interval for a wavering boundary of the labels; NaN where there is none, as where the number
            rests on nothing but what the user has set.
        frame: of the pelvis; empty where the number does not depend on it.
        tilt_slope: change per degree of forward tilt of the pelvis; NaN where it does not depend on it.
        tilt_back, tilt_forward: the value were the pelvis tilted 5 degrees; NaN likewise and under APP.
        status: ``"auto"``, ``"edited"``, ``"uncertain"`` (the interval is wider than a class) or ``"refused"``.
        reason, sentence: why it was refused or is uncertain, as a code and for a reader.
        cautions: what a reader of the number must know.
        marks: to show it by; LPS, mm.
    """

    side: str
    definition: Definition
    value: float
    auto_value: float
    low: float = float("nan")
    high: float = float("nan")
    frame: str = ""
    tilt_slope: float = float("nan")
    tilt_back: float = float("nan")
    tilt_forward: float = float("nan")
    status: str = "auto"
    reason: str = ""
    sentence: str = ""
    cautions: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def is_edited(self) -> bool:
        """Whether the user has moved what it rests on, whatever its status is."""
        return not np.isnan(self.value) and self.value != self.auto_value


@dataclass(frozen=True)
class Hips:
    """What measures start from.

    Attributes:
        sides: by side.
        frame: of the pelvis.
        found_frame: the automatic one, where a user has moved its landmarks; else ``frame``.
        frame_notes: why no better frame was found.
        spacing: mm by x, y, z of the label image.
        edits: what a user has moved, by side.
    """

    sides: Mapping[str, Side]
    frame: Frame
    found_frame: Frame
    frame_notes: tuple[str, ...]
    spacing: tuple[float, float, float]
    edits: Mapping[str, Edits] = field(default_factory=dict)

    def hip(self, side: str) -> Hip:
        """One hip, as edited.

        Raises:
            HipError: why it cannot be measured.
        """
        found = self.sides[side]
        if found.refusal is not None:
            raise found.refusal
        axes = self.frame.of_side(side)
        edits = self.edits.get(side, UNEDITED)
        return Hip(side, found.femur, found.hip_bone, found.head, axes, self.frame.name, edits, found.cautions)


@dataclass(frozen=True)
class Morphometry:
    """All measures of a label image."""

    hips: Hips
    rows: tuple[Row, ...]


def find_hips(labels: sitk.Image, frame: Frame | None = None) -> Hips:
    """Bones, heads and frame of a label image.

    Args:
        labels: integer image with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`, any orientation.
        frame: set by hand; else the best that passes.

    Raises:
        HipError: ``nothing_to_measure`` where the image has none of the bones.
    """
    sides = find_sides(labels)
    if not sides:
        raise HipError("nothing_to_measure", "None of the four bones is in this label map; check its values.")
    heads = {side: found.head for side, found in sides.items() if found.head is not None}
    bones = {side: sides[side].hip_bone for side in heads if sides[side].hip_bone is not None}
    notes: tuple[str, ...] = ()
    if frame is None:
        frame, notes = find_frame(bones, heads) if heads else (image_frame(), ())
    return Hips(sides, frame, frame, notes, labels.GetSpacing())


def measure(
    labels: sitk.Image,
    frame: Frame | None = None,
    repeats: int = REPEATS,
    progress: Callable[[float], None] = lambda share: None,
    edits: Mapping[str, Edits] | None = None,
    landmarks: Mapping[str, np.ndarray] | None = None,
) -> Morphometry:
    """All measures of all sides of a label image; arguments and errors as of `find_hips` and `user_frame`.

    Args:
        edits: what a user has moved, by side.
        landmarks: of the pelvis's frame, where a user has moved some; as of `user_frame`.
        repeats: with a wavering boundary, for the intervals; 0 for none.
        progress: is told the share done, 0 to 1.
    """
    hips = replace(find_hips(labels, frame), edits=edits or {})
    if landmarks:
        hips = replace(hips, frame=user_frame(landmarks))
    rows: list[Row] = []
    for number, side in enumerate(hips.sides):

        def share(done: float, number: int = number) -> None:
            progress((number + done) / len(hips.sides))

        try:
            hip = hips.hip(side)
        except HipError as error:
            rows += [_refused(side, m.definition, error) for m in MEASURES]
            continue
        rows += measured(hip, hips.frame, repeats, share, hips.found_frame)
    progress(1.0)
    return Morphometry(hips, tuple(rows))


def measured(
    hip: Hip,
    frame: Frame,
    repeats: int = REPEATS,
    progress: Callable[[float], None] = lambda share: None,
    found_frame: Frame | None = None,
) -> list[Row]:
    """All rows of one hip; of an edited one with its automatic values beside.

    Args:
        frame: in which the hip is measured.
        found_frame: the automatic one, where that is another.
    """
    automatic, found_frame = hip, found_frame or frame
    if hip.edits is not UNEDITED or found_frame is not frame:
        axes = found_frame.of_side(hip.side)
        automatic = Hip(hip.side, hip.femur, hip.hip_bone, hip.found_head, axes, found_frame.name)
    rows = [_row(hip, automatic, m.definition, m.of, frame) for m in MEASURES]
    if repeats:
        rows = _with_intervals(hip, rows, repeats, progress)
    return rows


def _row(hip: Hip, automatic: Hip, definition: Definition, of: Callable[[Hip], Value], frame: Frame) -> Row:
    try:
        value = of(hip)
    except HipError as error:
        return _refused(hip.side, definition, error)
    if hip.femur.thick_axis is not None and definition.class_width is not None:
        value = replace(value, cautions=(*value.cautions, _THICK))
    value = replace(value, cautions=(*value.cautions, *hip.cautions))
    auto = value.number if automatic is hip else _number(of, automatic)
    row = Row(
        side=hip.side,
        definition=definition,
        value=value.number,
        auto_value=auto,
        status="auto" if auto == value.number else "edited",
        cautions=value.cautions,
        marks=tuple(replace(m, points=mirrored(m.points, hip.side)) for m in value.marks),
    )
    if not definition.tilts:
        return row
    back, forward = (_number(of, hip.seen_in(tilted(hip.axes, degrees))) for degrees in (-1.0, 1.0))
    row = replace(row, frame=frame.name, tilt_slope=(forward - back) / 2)
    if frame.name == "APP":
        return row
    back, forward = (_number(of, hip.seen_in(tilted(hip.axes, degrees))) for degrees in (-TILT, TILT))
    cautions = (*value.cautions, frame.caution)
    return replace(row, tilt_back=back, tilt_forward=forward, cautions=cautions)


def _number(of: Callable[[Hip], Value], hip: Hip) -> float:
    try:
        return of(hip).number
    except HipError:
        return float("nan")


def _refused(side: str, definition: Definition, error: HipError) -> Row:
    nan = float("nan")
    return Row(side, definition, nan, nan, status="refused", reason=error.kind, sentence=error.sentence)


def _with_intervals(hip: Hip, rows: list[Row], repeats: int, progress: Callable[[float], None]) -> list[Row]:
    numbers = np.full((repeats, len(rows)), np.nan)
    noises = boundary_noises(hip.head.centre, 2.2 * hip.head.radius + 10, hip.femur.pixel_mm, repeats)
    for repeat, noise in enumerate(noises):
        wavered = hip.wavered(noise)
        for number, (row, m) in enumerate(zip(rows, MEASURES, strict=True)):
            if row.status != "refused":
                numbers[repeat, number] = _number(m.of, wavered)
        progress((repeat + 1) / repeats)
    return [_with_interval(row, numbers[:, number]) for number, row in enumerate(rows)]


def _with_interval(row: Row, numbers: np.ndarray) -> Row:
    if row.status == "refused" or not row.definition.has_interval:
        return row
    known = numbers[np.isfinite(numbers)]
    if len(known) and np.ptp(known) == 0:
        return row
    if len(known) < _LEAST_SUCCESS * len(numbers):
        sentence = (
            f"With the label's boundary shifted by a fraction of a voxel this could be measured in {len(known)} of "
            f"{len(numbers)} trials only, so it is not reliable."
        )
        return replace(row, status="uncertain", reason="unstable", sentence=sentence)
    # A wavering boundary on top of the label's own shifts the middle; only the spread is taken.
    # A rank of n values is expected at rank / (n + 1). By rank / n, numpy's usual way, an interval of 50 repeats would
    # hold 91 of 100 further ones, not 95.
    low, middle, high = np.percentile(known, [2.5, 50, 97.5], method="weibull")
    below, above = middle - low, high - middle
    if row.definition.is_largest:
        below, above = above, below
    low, high = row.value - below, row.value + above
    row = replace(row, low=low if row.definition.may_be_negative else max(low, 0.0), high=high)
    width = row.definition.class_width
    if width is not None and row.high - row.low > width:
        sentence = f"The interval is wider than {width:g} {row.definition.unit}, so it tells no class."
        return replace(row, status="uncertain", reason="interval_wide", sentence=sentence)
    return row
