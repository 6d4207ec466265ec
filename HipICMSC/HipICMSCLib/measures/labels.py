"""Finds the four bones in a label image: by the values of their sides, or of bones whose sides share one value."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SIDES, segment_of
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, bone_of
from HipICMSCLib.measures.head import Head, find_head
from HipICMSCLib.measures.side import mirrored, other

LEAST_FEMUR_ML = 20.0
GREATEST_SECOND_PIECE = 0.05
#: Of the hip bone only pieces this near to the head centre matter (mm).
NEAR_JOINT_MM = 45.0
#: Radius of the right head to the left one: one person's usually are as alike as this. A larger difference may be a
#: disease of one hip or a resurfaced head, so it is a caution.
LEAST_RATIO, GREATEST_RATIO = 0.88, 1.14


@dataclass(frozen=True)
class Side:
    """What a label image has of one side: its bones and the femoral head, or why they cannot be measured.

    Attributes:
        cautions: sentences that a reader of any number of this side must know.
    """

    femur: Bone | None = None
    hip_bone: Bone | None = None
    head: Head | None = None
    refusal: HipError | None = None
    cautions: tuple[str, ...] = ()


def find_sides(labels: sitk.Image) -> dict[str, Side]:
    """The sides that a label image (values of `HipICMSCLib.anatomy.segments.SEGMENTS`) has bones of.

    A side that cannot be measured says why.
    """
    sides = {}
    for side in SIDES:
        femur, hip_bone = (bone_of(labels, segment_of(bone, side).value, side) for bone in (FEMUR, HIP_BONE))
        if femur is None and hip_bone is None:
            continue
        try:
            sides[side] = _checked(side, femur, hip_bone)
        except HipError as error:
            sides[side] = Side(femur, hip_bone, refusal=error)
    return _compared(sides)


def _checked(side: str, femur: Bone | None, hip_bone: Bone | None) -> Side:
    if femur is None:
        raise HipError("no_femur", f"There is no label of the {side} femur in this segmentation.")
    if femur.volume_ml < LEAST_FEMUR_ML:
        raise HipError(
            "too_small",
            f"The {side} femur's label has {femur.volume_ml:.0f} ml; {LEAST_FEMUR_ML:.0f} are the least to measure.",
        )
    _refuse_pieces(femur.mask, f"{side} femur")
    head = find_head(femur)
    if head.toward_neck[0] < 0:
        raise HipError(
            "side_mismatch",
            f"In what is labelled as the {side} femur the head lies lateral of its neck: the sides are swapped, or the "
            "sphere that was found is not the head's. Check the label's side and its shape about the head.",
        )
    if hip_bone is not None:
        _refuse_pieces(_near(hip_bone, head.centre), f"{side} hip bone about the joint")
    return Side(femur, hip_bone, head)


def _near(bone: Bone, centre: np.ndarray) -> np.ndarray:
    """The voxels (i, j, k) within `NEAR_JOINT_MM` of a point; no more than the box about it, for a bone is large."""
    middle, reach = bone.indices(centre), NEAR_JOINT_MM / bone.spacing
    first, last = (np.clip(np.floor(middle + r), 0, bone.mask.shape).astype(int) for r in (-reach, reach + 1))
    away = [(np.arange(f, e) - m) * step for f, e, m, step in zip(first, last, middle, bone.spacing, strict=True)]
    box = bone.mask[tuple(slice(f, e) for f, e in zip(first, last, strict=True))]
    return box & (sum(np.square(part) for part in np.ix_(*away)) < NEAR_JOINT_MM**2)


def _refuse_pieces(mask: np.ndarray, name: str) -> None:
    """More than one large piece; voxels that nearly touch, as from slice to slice, count as one."""
    if not mask.any():
        return
    pieces, count = ndimage.label(ndimage.binary_dilation(mask, np.ones((3, 3, 3))), np.ones((3, 3, 3)))
    if count < 2:
        return
    sizes = np.sort(np.bincount(pieces[mask], minlength=count + 1)[1:])
    if sizes[-2] > GREATEST_SECOND_PIECE * sizes.sum():
        raise HipError(
            "components",
            f"The label of the {name} is in several pieces, the second of which is "
            f"{100 * sizes[-2] / sizes.sum():.0f} % of it; remove what does not belong to it.",
        )


def _compared(sides: dict[str, Side]) -> dict[str, Side]:
    """Refuse both sides where the right head lies left of the left one; caution where the heads' sizes differ much."""
    heads = {side: found.head for side, found in sides.items() if found.head is not None}
    if len(heads) == 2:
        right, left = (mirrored(heads[side].centre, side)[0] for side in SIDES)
        if right > left:
            error = HipError(
                "side_mismatch", "The right femoral head lies left of the left one; the sides are swapped."
            )
            return {side: Side(found.femur, found.hip_bone, refusal=error) for side, found in sides.items()}
        ratio = heads["right"].radius / heads["left"].radius
        if not LEAST_RATIO <= ratio <= GREATEST_RATIO:
            caution = (
                f"The femoral heads differ more than one person's usually do: radius {heads['right'].radius:.1f} mm on "
                f"the right, {heads['left'].radius:.1f} mm on the left. Check both labels about the head."
            )
            return {side: replace(found, cautions=(caution,)) for side, found in sides.items()}
    return sides


def with_our_values(labels: sitk.Image, values: Mapping[str, Sequence[int]]) -> sitk.Image:
    """A label image of another tool with the values of `HipICMSCLib.anatomy.segments.SEGMENTS`.

    Args:
        labels: integer image.
        values: its values by bone: ``"hip"`` and ``"femur"`` where right and left share them and are to be told apart,
            else ``"right-hip"``, ``"left-hip"``, ``"right-femur"`` and ``"left-femur"``.

    Raises:
        HipError: ``bad_values``, or as of `find_head` where no head tells the sides.
    """
    if not values.keys() <= _NAMES.keys() | {"hip", "femur"} or ("hip" in values or "femur" in values) == bool(
        values.keys() & _NAMES.keys()
    ):
        raise HipError(
            "bad_values",
            "Give the values of hip and femur, or of right-hip, left-hip, right-femur and left-femur; not of both "
            "kinds.",
        )
    if not any("femur" in name for name in values):
        raise HipError("bad_values", "Give the values of the femur, too: without it nothing can be measured.")
    shared = [number for number, often in Counter(itertools.chain(*map(set, values.values()))).items() if often > 1]
    if shared:
        raise HipError("bad_values", f"The value {shared[0]} is given for two bones; each voxel is of one.")
    array = sitk.GetArrayViewFromImage(labels)
    ours = np.zeros(array.shape, np.uint8)
    for name, given in values.items():
        value = _NAMES[name].value if name in _NAMES else {"hip": HIP_BONE, "femur": FEMUR}[name]
        ours[np.isin(array, list(given))] = value
    image = sitk.GetImageFromArray(ours)
    image.CopyInformation(labels)
    return _told_apart(image) if "femur" in values else image


_NAMES = {
    f"{side}-{name}": segment_of(bone, side) for side in SIDES for name, bone in (("hip", HIP_BONE), ("femur", FEMUR))
}


def _told_apart(classes: sitk.Image) -> sitk.Image:
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(classes == FEMUR, True), sortByObjectSize=True)
    voxel_ml = float(np.prod(classes.GetSpacing())) / 1000
    sizes = np.bincount(sitk.GetArrayViewFromImage(pieces).ravel())[1:3] * voxel_ml
    heads = {}
    failed = HipError("no_femur", "There is no femur in this label map; check the values given for it.")
    for number, size in enumerate(sizes, start=1):
        if size < LEAST_FEMUR_ML:
            continue
        try:
            head = find_head(bone_of(pieces, number, "right"))
        except HipError as error:
            failed = error
            continue
        side = "right" if head.toward_neck[0] > 0 else "left"
        # Two necks to one side: what lies where decides.
        side = other(side) if side in heads else side
        heads[side] = tuple(mirrored(head.centre, "right").tolist())
    if not heads:
        raise failed
    return separate_sides(classes, FemoralHeads(heads.get("right"), heads.get("left"))).labels
