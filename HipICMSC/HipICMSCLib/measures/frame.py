"""The pelvis's frame, in which tilt-dependent numbers are stated: the best of a ladder that the image allows.

APP needs the four landmarks of the anterior pelvic plane, BIHEAD both femoral heads; IMAGE is the image's own axes
(nothing corrected) and USER an anterior pelvic plane through landmarks that a user has moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from HipICMSCLib.anatomy.segments import SIDES
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone
from HipICMSCLib.measures.head import Head
from HipICMSCLib.measures.side import across, angle, mirrored, unit

NEAREST_HEADS_MM, FARTHEST_HEADS_MM = 130.0, 230.0
GREATEST_OBLIQUITY = 25.0
SHORTEST_PELVIS_MM = 120.0
BORDER_MM = 5.0
GREATEST_ASYMMETRY_MM = 10.0
#: A label must go on so far above the spines, as the iliac crest does, and below the tubercles, as the ischium does: of
#: one that ends sooner the foremost points are where it was cut.
BEYOND_LANDMARK_MM = 15.0
# Spines are looked for from so far above the head centres; below lie the anterior inferior ones.
_SPINES_FROM_MM = 40.0
# A label without pubis has a foremost point, too, which may be the ischium's: up to 26 degrees of tilt, alike on both
# sides. About the tubercles, so far above, below and behind them, a pubis reaches the midline, in 14 hips on CT to
# within 1 mm.
MIDLINE_MM, ABOUT_TUBERCLE_MM, BEHIND_TUBERCLE_MM = 15.0, 15.0, 30.0
#: Of the anterior pelvic plane: anterior superior iliac spines and pubic tubercles.
LANDMARKS = ("ASIS_R", "PT_R", "ASIS_L", "PT_L")
# Points moved by hand so that the spines' line is this near (degrees) to the line up to them tell no plane, ...
_LEAST_BETWEEN = 15.0
# ... and no pelvis in an image is turned this far.
_GREATEST_TURN = 90.0
_RIGHT = np.array([-1.0, 0.0, 0.0])
_SUPERIOR = np.array([0.0, 0.0, 1.0])

_CAUTIONS = {
    "APP": "",
    "BIHEAD": "Supine image tilt, not corrected.",
    "IMAGE": "Image axes: pelvic obliquity, rotation and tilt not corrected.",
    "USER": "Frame set by hand: its landmarks were moved.",
}


@dataclass(frozen=True)
class Frame:
    """Axes of the pelvis.

    Attributes:
        name: ``"APP"``, ``"BIHEAD"``, ``"IMAGE"`` or ``"USER"``.
        axes: (3, 3) unit vectors towards the patient's right, anterior and superior in rows, LPS.
        landmarks: LPS points (3,) it rests on, by name.
        obliquity: degrees between the line of the heads and the image's horizontal; NaN where there is no line.
    """

    name: str
    axes: np.ndarray
    landmarks: Mapping[str, np.ndarray]
    obliquity: float = float("nan")

    @property
    def caution(self) -> str:
        """What a reader of a number in this frame must know; empty under APP."""
        return _CAUTIONS[self.name]

    def of_side(self, side: str) -> np.ndarray:
        """(3, 3) unit vectors lateral, anterior and superior in rows, in coordinates of a side."""
        lateral = self.axes[0] if side == "right" else -self.axes[0]
        return mirrored(np.stack([lateral, self.axes[1], self.axes[2]]), side)


def tilted(axes: np.ndarray, degrees: float) -> np.ndarray:
    """Axes (3, 3) of a side, in which the pelvis appears tilted forward by so much."""
    turn = np.radians(degrees)
    lateral, anterior, superior = axes
    return np.stack(
        [
            lateral,
            np.cos(turn) * anterior + np.sin(turn) * superior,
            np.cos(turn) * superior - np.sin(turn) * anterior,
        ]
    )


def image_frame() -> Frame:
    """The image's own patient axes."""
    return Frame("IMAGE", np.diag([-1.0, -1.0, 1.0]), {})


def user_frame(landmarks: Mapping[str, np.ndarray]) -> Frame:
    """USER: the anterior pelvic plane through landmarks of which a user has moved some.

    Args:
        landmarks: LPS points (3,) by the names of `LANDMARKS`.

    Raises:
        HipError: ``frame_undefined`` where they tell no plane of a pelvis.
    """
    points = {name: np.asarray(landmarks[name], float) for name in LANDMARKS}
    right = points["ASIS_R"] - points["ASIS_L"]
    superior = points["ASIS_R"] + points["ASIS_L"] - points["PT_R"] - points["PT_L"]
    if min(np.linalg.norm(right), np.linalg.norm(superior)) > 1e-3:
        between = angle(right, superior)
        turns = angle(right, _RIGHT), angle(superior, _SUPERIOR)
        if _LEAST_BETWEEN < between < 180 - _LEAST_BETWEEN and max(turns) < _GREATEST_TURN:
            return Frame("USER", _plane_axes(points), points)
    raise HipError(
        "frame_undefined",
        "The moved iliac spines and pubic tubercles tell no plane of a pelvis: put the spines to the right and left "
        "above the tubercles, or reset them to automatic.",
    )


def head_frame(heads: Mapping[str, np.ndarray]) -> Frame:
    """BIHEAD: across through both head centres as they were found, up by the image.

    A centre that a user moves does not turn it: the other hip's numbers stay as they were.

    Args:
        heads: LPS centres (3,) by side.

    Raises:
        HipError: ``one_head``, ``heads_apart`` or ``oblique``.
    """
    if len(heads) < 2:
        raise HipError("one_head", "Only one femoral head is known, so obliquity and rotation cannot be corrected.")
    line = heads["right"] - heads["left"]
    distance = float(np.linalg.norm(line))
    if not NEAREST_HEADS_MM <= distance <= FARTHEST_HEADS_MM:
        raise HipError("heads_apart", f"The femoral heads are {distance:.0f} mm apart, which no adult pelvis has.")
    right = line / distance
    off = float(np.degrees(np.arccos(np.clip(right @ _RIGHT, -1, 1))))
    if off > GREATEST_OBLIQUITY:
        raise HipError("oblique", f"The line of the femoral heads is {off:.0f} degrees off the image's horizontal.")
    up = across(_SUPERIOR, right)
    landmarks = {f"Head_{side[0].upper()}": heads[side] for side in SIDES}
    return Frame("BIHEAD", np.stack([right, np.cross(up, right), up]), landmarks, off)


def plane_frame(bones: Mapping[str, Bone], heads: Mapping[str, np.ndarray]) -> Frame:
    """APP: the anterior pelvic plane through both anterior superior iliac spines and both pubic tubercles.

    A plane is rolled onto the front of the pelvis: the landmarks are the foremost points of each wing and pubis
    against it, and it goes through them, until nothing moves (independent of the pose: Lee et al. 2017,
    doi:10.1080/24699322.2017.1293737).

    Args:
        bones: hip bones by side, each in its side's coordinates.
        heads: LPS head centres by side, which part wing from pubis.

    Raises:
        HipError: ``pelvis_short``, ``landmark_at_border`` (of the image or of the label), ``landmarks_asymmetric``,
            ``pubis_missing``, or as `head_frame`.
    """
    frame = head_frame(heads)
    if len(bones) < 2:
        raise HipError("pelvis_short", "The anterior pelvic plane needs both hip bones, and only one is labelled.")
    surface = {side: mirrored(bone.crossings().points, side) for side, bone in bones.items()}
    for points in surface.values():
        if np.ptp(points @ frame.axes[2]) < SHORTEST_PELVIS_MM:
            raise HipError(
                "pelvis_short",
                f"The hip bone's label is shorter than {SHORTEST_PELVIS_MM:.0f} mm, so iliac spines or pubis are not "
                "in view.",
            )
    axes, middle = frame.axes, (heads["right"] + heads["left"]) / 2
    found: dict[str, np.ndarray] = {}
    for _ in range(60):
        before, found = found, {}
        for side, points in surface.items():
            found |= _foremost(points, side, axes, middle, heads[side])
        axes = _plane_axes(found)
        if before and max(np.linalg.norm(found[name] - before[name]) for name in found) < 1e-6:
            break
    for name, point in found.items():
        bone = bones["right" if name.endswith("R") else "left"]
        room = bone.room_mm(mirrored(point, "right" if name.endswith("R") else "left"))
        if room < max(BORDER_MM, 2 * bone.spacing.max()):
            raise HipError("landmark_at_border", f"The landmark {name} lies at the end of the image.")
    _check_symmetry(found, heads, axes)
    _check_pubis(surface, found, axes, middle)
    _check_ends(surface, found, axes, middle)
    return Frame("APP", axes, {name: found[name] for name in LANDMARKS}, frame.obliquity)


def find_frame(bones: Mapping[str, Bone], heads: Mapping[str, Head]) -> tuple[Frame, tuple[str, ...]]:
    """The highest frame of the ladder that passes, and why the higher ones did not (one sentence each)."""
    centres = {side: mirrored(head.centre, side) for side, head in heads.items()}
    reasons = []
    for name, find in (("APP", lambda: plane_frame(bones, centres)), ("BIHEAD", lambda: head_frame(centres))):
        try:
            return find(), tuple(reasons)
        except HipError as error:
            reasons.append(f"{name} refused: {error.sentence}")
    return image_frame(), tuple(reasons)


def _plane_axes(landmarks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Right, anterior and superior in rows: right along the spines, in the plane through the tubercles' middle."""
    right = unit(landmarks["ASIS_R"] - landmarks["ASIS_L"])
    upper, lower = landmarks["ASIS_R"] + landmarks["ASIS_L"], landmarks["PT_R"] + landmarks["PT_L"]
    up = across(upper - lower, right)
    return np.stack([right, np.cross(up, right), up])


def _foremost(points: np.ndarray, side: str, axes: np.ndarray, middle: np.ndarray, head: np.ndarray) -> dict:
    """The foremost points of wing and pubis, each a mean over the voxels within half a millimetre."""
    right, front, up = axes @ (points - middle).T
    outward = right if side == "right" else -right
    beside = float(abs((head - middle) @ axes[0]))
    above = up - float((head - middle) @ axes[2])
    parts = {
        "ASIS": (above > _SPINES_FROM_MM) & (outward > 0.5 * beside),
        "PT": (above < 25) & (outward < 0.6 * beside) & (above > -60),
    }
    landmarks = {}
    for name, part in parts.items():
        if not part.any():
            raise HipError("pelvis_short", f"No bone is in view where the landmark {name} is looked for.")
        near = front[part] > front[part].max() - 0.5
        landmarks[f"{name}_{side[0].upper()}"] = points[part][near].mean(axis=0)
    return landmarks


def _check_ends(
    surface: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], axes: np.ndarray, middle: np.ndarray
) -> None:
    """Whether each landmark is the bone's own foremost point and not where the label ends."""
    for side, points in surface.items():
        spine, tubercle = (found[f"{name}_{side[0].upper()}"] @ axes[2] for name in ("ASIS", "PT"))
        height = points @ axes[2]
        for beyond, where in (
            (height.max() - spine, "above its iliac spine"),
            (tubercle - height.min(), "below its pubic tubercle"),
        ):
            if beyond < BEYOND_LANDMARK_MM:
                raise HipError(
                    "landmark_at_border",
                    f"The label of the {side} hip bone ends {max(beyond, 0):.0f} mm {where}, and the bone goes on for "
                    f"at least {BEYOND_LANDMARK_MM:.0f} mm; label it whole for the anterior pelvic plane.",
                )
        if spine - middle @ axes[2] < _SPINES_FROM_MM + BORDER_MM:
            raise HipError(
                "landmark_at_border",
                f"The foremost point of the {side} hip bone's label lies too near to the head to be the anterior "
                "superior iliac spine; label the bone up to its crest for the anterior pelvic plane.",
            )


def _check_pubis(
    surface: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], axes: np.ndarray, middle: np.ndarray
) -> None:
    """Whether what is called a tubercle is part of a bone that reaches the midline."""
    for side, points in surface.items():
        _, front, up = axes @ (points - found[f"PT_{side[0].upper()}"]).T
        about = (np.abs(up) < ABOUT_TUBERCLE_MM) & (front > -BEHIND_TUBERCLE_MM)
        outward = (points[about] - middle) @ (axes[0] if side == "right" else -axes[0])
        if outward.min(initial=np.inf) > MIDLINE_MM:
            raise HipError(
                "pubis_missing",
                f"No {side} pubis that reaches the midline is in the label, so its tubercle is not known.",
            )


def _check_symmetry(found: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray], axes: np.ndarray) -> None:
    """Each landmark against its twin mirrored at the plane midway between the heads."""
    middle = (heads["right"] + heads["left"]) / 2
    across_heads = unit(heads["right"] - heads["left"])
    for name in ("ASIS", "PT"):
        twin = found[f"{name}_L"] - middle
        off = float(np.linalg.norm(found[f"{name}_R"] - middle - (twin - 2 * (twin @ across_heads) * across_heads)))
        if off > GREATEST_ASYMMETRY_MM:
            raise HipError(
                "landmarks_asymmetric",
                f"The two landmarks {name} are {off:.0f} mm from being mirror images, so at least one is wrong.",
            )
