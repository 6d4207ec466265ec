"""What a measure is: its definition, its value, and the points it was read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from HipICMSCLib.measures.hip import Hip


@dataclass(frozen=True)
class Reference:
    """Where values of healthy or typical hips lie. Never a diagnosis.

    Attributes:
        low, high: in the measure's unit.
        source: publication that states them, with what they are.
    """

    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Definition:
    """What is measured.

    Attributes:
        id: stable name; never changes its meaning, a new meaning gets a new ``version``.
        name: what a user reads.
        unit: ``"mm"``, ``"deg"``, ``"%"``, ``"ml"``, ``"h"`` (of the clock) or ``""``.
        text: one sentence that says how.
        tilts: whether the number depends on the pelvis's frame.
        reference: usual values; none where no source states them for this very definition.
        class_width: a wider interval than this says nothing; none where no classes are in use.
        version: of this definition.
        has_interval: whether a wavering boundary moves it up as well as down. A place on a clock has no lower and upper
            end, and what any roughness of a label only raises (or lowers) lies outside of its own interval.
        signed: whether a length, volume or share may be below 0; angles may.
        is_largest: whether it is the largest of many numbers. A rough label has pushed such a one up about as far as
            one more roughness does, so that its interval reaches down as far as repeats go up (the basic bootstrap).
    """

    id: str
    name: str
    unit: str
    text: str
    tilts: bool = False
    reference: Reference | None = None
    class_width: float | None = None
    version: int = 1
    has_interval: bool = True
    is_largest: bool = False
    signed: bool = False

    @property
    def may_be_negative(self) -> bool:
        return self.signed or self.unit == "deg"


@dataclass(frozen=True)
class Mark:
    """Geometry to show a measure by, which becomes a markup.

    Attributes:
        name: without the side, e.g. ``"LCEA"``.
        kind: ``"point"``, ``"line"``, ``"angle"``, ``"curve"`` or ``"plane"`` (a point and its normal's tip).
        points: (n, 3) side coordinates, mm.
        labels: of the points.
        editable: whether a user may move it, which moves the number.
    """

    name: str
    kind: str
    points: np.ndarray
    labels: tuple[str, ...]
    editable: bool = True


@dataclass(frozen=True)
class Value:
    """A number and what it rests on.

    Attributes:
        number: in the definition's unit.
        marks: to show it by.
        cautions: sentences that a reader of the number must know.
    """

    number: float
    marks: tuple[Mark, ...] = ()
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """A definition and how its value is found.

    Attributes:
        definition: what.
        of: from a hip to a value; raises `HipError`, whose kind is the reason's code, where it cannot be known.
    """

    definition: Definition
    of: Callable[[Hip], Value]
