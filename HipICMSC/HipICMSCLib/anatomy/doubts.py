"""What a user should know about a result: bones that are missing, cut, of an unlikely size or on an uncertain side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.field_of_view import border_in_words, is_cut, share_in_view
from HipICMSCLib.anatomy.heads_of_bones import side_of_head
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS, SIDES, segment_of

# What may lie in an image of an adult hip, from a tight crop about the joint to the whole bone.
PLAUSIBLE_ML = {HIP_BONE: (60.0, 600.0), FEMUR: (30.0, 350.0)}
MAX_SIDE_RATIO = 2.0


@dataclass(frozen=True)
class Notice:
    """Something the user should know about a result.

    Attributes:
        kind: stable machine-readable word.
        sentence: one whole sentence for a clinician.
    """

    kind: str
    sentence: str


def notices_of(labels: sitk.Image, volumes: dict[int, float], heads: FemoralHeads) -> tuple[Notice, ...]:
    """What makes a result implausible is said first.

    Args:
        labels: values as in `HipICMSCLib.anatomy.segments.SEGMENTS`.
        volumes: of each segment by its value, ml.
    """
    if not any(volumes.values()):
        return (
            Notice(
                "nothing_found",
                "No hip bone and no femur was found; check that the image shows a hip and that the model fits it.",
            ),
        )
    with_joint = [side for side in SIDES if _has_joint(side, volumes)]
    with_cut_joint = [
        side for side in with_joint if (head := getattr(heads, side)) is not None and is_cut(labels, head)
    ]
    return (
        *_notices_of_volumes(labels, with_joint, volumes, heads),
        *_notices_of_sides(labels, with_joint, volumes, heads),
        *_notices_of_cut_joints(with_cut_joint),
        *_notices_of_cut_bones(labels, [side for side in with_joint if side not in with_cut_joint]),
    )


def _has_joint(side: str, volumes: dict[int, float]) -> bool:
    """A femur, or a hip bone of some size; the pubis that a one-hip image shows of the other side is neither."""
    hip_bone = {s: volumes[segment_of(HIP_BONE, s).value] for s in SIDES}
    return volumes[segment_of(FEMUR, side).value] > 0 or hip_bone[side] > 0.25 * max(hip_bone.values())


def _notices_of_sides(
    labels: sitk.Image, with_joint: list[str], volumes: dict[int, float], heads: FemoralHeads
) -> list[Notice]:
    notices = []
    if heads.right is None and heads.left is None:
        notices.append(
            Notice(
                "sides_uncertain",
                "The femoral heads were not located, so where the middle between right and left lies is a guess; "
                "check the sides.",
            )
        )
    elif heads.right is None or heads.left is None:
        side = "right" if heads.left is None else "left"
        hip = np.isin(sitk.GetArrayViewFromImage(labels), [segment_of(HIP_BONE, each).value for each in SIDES])
        if side_of_head(getattr(heads, side), hip, labels) != side:
            notices.append(
                Notice(
                    "sides_uncertain",
                    f"What was found of the hip bone does not show that this is the {side} hip; check the side.",
                )
            )
    if len(with_joint) == 1:
        other = "left" if with_joint == ["right"] else "right"
        notices.append(
            Notice(
                "one_hip",
                f"Only the {with_joint[0]} hip was found; the {other} one is outside the image or was not recognised.",
            )
        )
    for side in with_joint:
        for segment in (s for s in SEGMENTS if s.side == side and not volumes[s.value]):
            notices.append(
                Notice("bone_missing", f"The {segment.short_name} was not found although its hip is in the image.")
            )
    return notices


def _notices_of_cut_joints(sides: list[str]) -> list[Notice]:
    return [
        Notice(
            "joint_cut",
            f"The image ends at the {side} hip joint: its bones are cut by the field of view, "
            "so shape and volume are not complete there.",
        )
        for side in sides
    ]


def _notices_of_cut_bones(labels: sitk.Image, sides: list[str]) -> list[Notice]:
    """Of hip bones alone: a proximal femur is cut by its name."""
    notices = []
    array = sitk.GetArrayViewFromImage(labels)
    for segment in (segment_of(HIP_BONE, side) for side in sides):
        places = [
            border_in_words(labels, axis, end)
            for axis, end in np.ndindex(3, 2)
            if (np.take(array, -end, axis=2 - axis) == segment.value).any()
        ]
        if places:
            sentence = f"The {segment.short_name} is cut by the border of the image {' and '.join(places)}; "
            notices.append(Notice("bone_cut", f"{sentence}its shape and volume are those of the part in view."))
    return notices


def _notices_of_volumes(
    labels: sitk.Image, with_joint: list[str], volumes: dict[int, float], heads: FemoralHeads
) -> list[Notice]:
    notices = []
    for side in with_joint:
        in_view = share_in_view(labels, getattr(heads, side))
        for segment in (s for s in SEGMENTS if s.side == side and volumes[s.value]):
            low, high = PLAUSIBLE_ML[segment.bone]
            low *= in_view
            if not low <= volumes[segment.value] <= high:
                notices.append(
                    Notice(
                        "volume_implausible",
                        f"The {segment.short_name} has {volumes[segment.value]:.0f} ml in this image, where "
                        f"{low:.0f} to {high:.0f} ml are expected of an adult; check it before use.",
                    )
                )
    for bone, name in ((HIP_BONE, "hip bone"), (FEMUR, "proximal femur")):
        right, left = (volumes[segment_of(bone, side).value] for side in SIDES)
        if len(with_joint) == 2 and min(right, left) and max(right, left) > MAX_SIDE_RATIO * min(right, left):
            notices.append(
                Notice(
                    "sides_differ",
                    f"The {name} has {right:.0f} ml on the right and {left:.0f} ml on the left; "
                    "one of them is incomplete or contains something else.",
                )
            )
    return notices
