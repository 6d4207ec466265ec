"""One hip and what is found in it, each part once and only when a measure asks for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, Field
from HipICMSCLib.measures.head import Head, fit_head, head_of_sphere, head_surface
from HipICMSCLib.measures.neck import Clock, Neck, clock_of, find_neck
from HipICMSCLib.measures.noise import BoundaryNoise
from HipICMSCLib.measures.rim import Rim, check_rim, find_rim, refind_rim, with_point
from HipICMSCLib.measures.shaft import Shaft, find_shaft, shaft_between
from HipICMSCLib.measures.side import unit

_T = TypeVar("_T")


@dataclass(frozen=True)
class Edits:
    """What a user has moved by hand; side coordinates, mm. What is None is found automatically.

    Attributes:
        head_centre, head_radius: of the femoral head.
        rim_points: points that the rim has to pass through.
        neck_base: the neck's axis goes from the head centre through it.
        roof_medial: the roof's medial end, of the acetabular index.
        shaft_upper, shaft_lower: ends of the shaft's axis.
        exits: where the surface leaves the head's sphere, by the mark of the alpha angle (``"Alpha_0130"``).
    """

    head_centre: np.ndarray | None = None
    head_radius: float | None = None
    rim_points: tuple[np.ndarray, ...] = ()
    neck_base: np.ndarray | None = None
    roof_medial: np.ndarray | None = None
    shaft_upper: np.ndarray | None = None
    shaft_lower: np.ndarray | None = None
    exits: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def of_head(self) -> bool:
        """Whether the head's sphere is not the one that was found."""
        return self.head_centre is not None or self.head_radius is not None


#: Nothing moved.
UNEDITED = Edits()


class Hip:
    """One hip of an image.

    Attributes:
        side: ``"right"`` or ``"left"``.
        femur, hip_bone: voxels of the bones; the hip bone may be missing, and of a skeleton both are.
        head: the femoral head's sphere, as edited; ``found_head`` is the automatic one.
        axes: (3, 3) unit vectors lateral, anterior and superior of the pelvis's frame in rows, side coordinates.
        frame_name: of that frame.
        edits: what a user has moved.
        cautions: sentences that a reader of any of its numbers must know.
    """

    def __init__(
        self,
        side: str,
        femur: Bone,
        hip_bone: Bone | None,
        head: Head,
        axes: np.ndarray,
        frame_name: str,
        edits: Edits = UNEDITED,
        cautions: tuple[str, ...] = (),
    ) -> None:
        self.side = side
        self.femur = femur
        self.hip_bone = hip_bone
        self.axes = axes
        self.frame_name = frame_name
        self.edits = edits
        self.cautions = cautions
        self.found_head = self.head = head
        if edits.of_head:
            self.head = self._edited_head()
        self._found: dict[str, Any] = {}
        self._before: Hip | None = None

    def seen_in(self, axes: np.ndarray) -> Hip:
        """The same hip, nothing of it found anew, in another frame of the pelvis."""
        hip = copy.copy(self)
        hip.axes = axes
        return hip

    def wavered(self, noise: BoundaryNoise) -> Hip:
        """The hip with its bones' boundary shifted a little at random; what rests on it is found anew."""
        hip = copy.copy(self)
        hip._found = {}
        if not self.edits.of_head:
            surface = self.once("surface", lambda: _near_head(self.femur, self.head))
            shifted = replace(surface, points=noise.shifted(surface.points, self.head.centre))
            hip.head = fit_head(shifted, self.head.centre, self.head.radius, self.head.toward_neck)
        hip._before = self
        hip._found["femur_field"] = noise.added(self.femur_field)
        if self.hip_bone is not None:
            hip._found["hip_field"] = noise.added(self.hip_field)
        if "shaft" in self._found:
            hip._found["shaft"] = self._found["shaft"]
        return hip

    def _edited_head(self) -> Head:
        centre = self.found_head.centre if self.edits.head_centre is None else self.edits.head_centre
        radius = self.found_head.radius if self.edits.head_radius is None else self.edits.head_radius
        if self.femur is None:
            return replace(self.found_head, centre=centre, radius=radius)
        return head_of_sphere(head_surface(self.femur), centre, radius, self.found_head.toward_neck)

    def once(self, name: str, find: Callable[[], _T]) -> _T:
        """What ``find`` returns or raises, remembered under ``name``."""
        if name not in self._found:
            try:
                self._found[name] = find()
            except HipError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, HipError):
            raise found
        return found

    @property
    def femur_field(self) -> Field:
        """Distances to the femur about head and neck."""
        return self.once("femur_field", self._femur_field)

    def _femur_field(self) -> Field:
        # Towards the neck the box reaches past its narrowest section, elsewhere just past the head.
        reach = self.head.radius * np.array([[-1, -1, -1], [1, 1, 1]]) + np.array([[-8.0], [8.0]])
        neck = 1.45 * self.head.radius * self.head.toward_neck + 1.1 * self.head.radius * np.array([[-1.0], [1.0]])
        low, high = np.minimum(reach[0], neck[0]), np.maximum(reach[1], neck[1])
        return self.femur.field(self.head.centre + low, self.head.centre + high)

    @property
    def hip_field(self) -> Field:
        """Distances to the hip bone about the head.

        Raises:
            HipError: ``no_hip_bone``.
        """
        return self.once("hip_field", self._hip_field)

    def _hip_field(self) -> Field:
        if self.hip_bone is None:
            raise HipError("no_hip_bone", f"There is no label of the {self.side} hip bone in this segmentation.")
        reach = self.head.radius + 14
        return self.hip_bone.field(self.head.centre - reach, self.head.centre + reach)

    @property
    def rim(self) -> Rim:
        """The acetabular rim.

        Raises:
            HipError: as `find_rim` and `check_rim`.
        """
        return self.once("rim", self._rim)

    def _rim(self) -> Rim:
        if self._before is not None:
            rim = refind_rim(self._before.rim, self.hip_field, self.head)
        else:
            rim = find_rim(self.hip_field, self.head, self.axes[2], self.axes[1])
        check_rim(rim, self.hip_bone, self.head)
        for point in self.edits.rim_points:
            rim = with_point(rim, point)
        return rim

    @property
    def neck(self) -> Neck:
        """The femoral neck.

        Raises:
            HipError: as `find_neck`.
        """
        return self.once("neck", self._neck)

    def _neck(self) -> Neck:
        start = None if self._before is None else self._before.neck.axis
        neck = find_neck(self.femur_field, self.femur, self.head, start)
        if self.edits.neck_base is not None:
            axis = unit(self.edits.neck_base - self.head.centre)
            neck = replace(neck, base=self.edits.neck_base, axis=axis)
        return neck

    @property
    def shaft(self) -> Shaft:
        """The femoral shaft.

        Raises:
            HipError: as `find_shaft` and `shaft_between`.
        """
        return self.once("shaft", self._shaft)

    def _shaft(self) -> Shaft:
        upper, lower = self.edits.shaft_upper, self.edits.shaft_lower
        if upper is not None and lower is not None:
            return shaft_between(upper, lower)
        shaft = find_shaft(self.femur, self.head)
        if upper is None and lower is None:
            return shaft
        return shaft_between(shaft.point if upper is None else upper, shaft.end if lower is None else lower)

    @property
    def clock(self) -> Clock:
        """The clock round the neck; without a shaft in view its 12 is the frame's superior.

        Raises:
            HipError: as `find_neck`.
        """
        return self.once("clock", self._clock)

    def _clock(self) -> Clock:
        try:
            return clock_of(self.neck, -self.shaft.axis, self.axes[1], True)
        except HipError:
            return clock_of(self.neck, self.axes[2], self.axes[1], False)


def _near_head(femur: Bone, head: Head) -> Any:
    surface = head_surface(femur)
    off = np.abs(np.linalg.norm(surface.points - head.centre, axis=1) - head.radius)
    # Every other point does: what is asked of them is how much the sphere moves.
    return replace(surface, points=surface.points[off < 6.0][::2])
