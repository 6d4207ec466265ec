"""From the network's two classes to four bones: stray components, sides and holes.

The network's result itself is never changed; what is made here is a second image on the same grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from HipICMSCLib.anatomy.doubts import Notice, notices_of
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.field_of_view import shows_one_hip
from HipICMSCLib.anatomy.heads_of_bones import side_in_scanner, side_told_by
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS, SIDES, segment_of
from HipICMSCLib.common.voxels import box_of, reach_along, steps_of

# A component beside the main one of its bone stays if it is at least this large ...
MIN_PIECE_ML = 1.0
MIN_PIECE_OF_MAIN = 0.01
# ... and not farther from the main one than a pubic ramus is long, which thick slices or low contrast may interrupt. A
# femur has no such thin part: in view, nothing of it is farther off than a few slices.
MAX_GAP_MM = {HIP_BONE: 40.0, FEMUR: 15.0}
# What a network is sure of hangs together more closely: gaps in it are rarely wider than a few slices, as between ilium
# and socket where the field of view ends behind them ...
SURE = 0.7
MAX_GAP_OF_SURE_MM = 20.0
# ... and what it is less sure of belongs to the bone that it lies at; strays hang on to bones by unsure bridges.
AROUND_SURE_MM = 6.0
# What meets the border of the image may hang together outside.
MAX_GAP_AT_BORDER_MM = 40.0
# The main component is sought about the femoral head if that is known: bone farther away is not of this hip.
MAIN_WITHIN_MM = 60.0
# Of several pieces of a hip bone the main one is that with most of itself so near to the femur: the socket, which where
# little of it is in view is smaller than a muscle may be that was taken for bone. One with at least this share as much
# there is part of the socket, too, where that is medial of the head or so much above it: a socket may be interrupted
# where the field of view ends behind it.
JOINT_MM = 10.0
OF_MAIN_AT_JOINT = 0.5
ROOF_ABOVE_HEAD_MM = 10.0
# Below the anterior spines a piece whose middle lies so much farther in front of the head than medial of it is the
# femoral vessels or a muscle: there, in 40 hips on CT, no bone but 0.1 % lay more than 30 mm so, below the centre 18.
BELOW_SPINES_MM = 20.0
FRONT_BEYOND_MEDIAL_MM = 25.0
# From here on down a femur is one piece at each level, if it is not broken: of 38 hips on CT the last level that showed
# two, of head or neck and trochanter, lay 47 mm below the top of the femur. So a further piece at levels that the
# femur has, too, is a muscle beside it.
ONE_SHAFT_BELOW_MM = 30.0
LEVEL_MM = 4.0
# A component with less than this on the other side of the midplane only leans over it and belongs to one side.
MIN_SPLIT_FRACTION = 0.05
# Half of a usual distance between adult femoral head centres: where the midplane lies if only one of them is known.
HALF_HEAD_DISTANCE_MM = 88.0
# The middle of a femur whose head is cut or out of view lies so much farther outside: from 15, 25 or 40 mm below the
# head's centre on, those of 38 hips on CT lay 119 to 121 mm beside the midline (SD 8).
MIDDLE_BESIDE_HEAD_MM = 35.0
# Slices this much thicker than their pixels are filled one by one, as 3-D cavities are rarely closed there.
THICK_SLICE_RATIO = 2.0
MAX_SLICE_HOLE_MM2 = 100.0


@dataclass(frozen=True)
class PostprocessingResult:
    """The bones of a result.

    Attributes:
        labels: uint8 image on the input's grid; values as in `HipICMSCLib.anatomy.segments.SEGMENTS`, 0 elsewhere.
        volumes_ml: volume of each segment by its value, in millilitres; 0 where it was not found.
        notices: what the user should know; empty if the result is as expected.
    """

    labels: sitk.Image
    volumes_ml: dict[int, float]
    notices: tuple[Notice, ...]


def separate_sides(
    classes: sitk.Image, heads: FemoralHeads, confidence: sitk.Image | None = None
) -> PostprocessingResult:
    """Tell the patient's right bones from the left ones, remove stray components and fill holes.

    A component of a class goes to one side as a whole, unless it lies on both sides of the midplane (hip bones that
    touch at the symphysis): then the plane splits it. Of each bone the main component stays, and each further one of
    at least 1 ml and 1 % of the main one that is not too far away from it, or from another one that stays: thick
    slices, faint rami and the field of view interrupt bones. Where a network's confidence is known, pieces are what it
    is sure of, and the rest of a bone is what lies at them.

    Args:
        classes: integer image, 0 background, 1 hip bone, 2 femur; any orientation. It is not modified.
        heads: femoral head centres, LPS, mm. The midplane lies between them, orthogonal to their line. If one is
            known it is a sagittal plane 88 mm medial to it; if none is, and the image is too narrow for both hips,
            123 mm medial to the femur's middle; otherwise it goes through the image centre.
        confidence: on the same grid, the network's probability of the class that it chose; None for a label map.
    """
    array = sitk.GetArrayViewFromImage(classes)
    sides = np.zeros(array.shape, np.uint8)
    box = box_of(array != 0)
    if box is not None:
        grid = _Grid(classes, box)
        point, leftwards = _midplane(classes, heads, grid, array[box])
        is_right = grid.signed_distance(point, leftwards) < 0
        sure = None if confidence is None else sitk.GetArrayViewFromImage(confidence)[box] >= SURE
        femora = _by_side(array[box] == FEMUR, sure, MAX_GAP_MM[FEMUR], is_right, leftwards, heads, grid, {})
        hip_bones = _by_side(
            array[box] == HIP_BONE, sure, MAX_GAP_MM[HIP_BONE], is_right, leftwards, heads, grid, femora
        )
        for bone, by_side in ((HIP_BONE, hip_bones), (FEMUR, femora)):
            for side, mask in by_side.items():
                sides[box][mask] = segment_of(bone, side).value
        _fill_holes(sides[box], grid)
    labels = sitk.GetImageFromArray(sides)
    labels.CopyInformation(classes)
    volumes = _volumes_ml(labels)
    return PostprocessingResult(labels, volumes, notices_of(labels, volumes, heads))


class _Grid:
    """A box of voxels of an image; array indices are (z, y, x)."""

    def __init__(self, image: sitk.Image, box: tuple[slice, ...]) -> None:
        self.start = tuple(axis.start for axis in box)
        self.image_shape = image.GetSize()[::-1]
        self.origin = np.array(image.TransformIndexToPhysicalPoint(self.start[::-1]))
        self.shape = tuple(axis.stop - axis.start for axis in box)
        self.spacing = np.array(image.GetSpacing()[::-1])
        self.steps = steps_of(image).T[::-1]
        self.voxel_ml = float(np.prod(self.spacing)) / 1000

    def signed_distance(self, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Distance (mm) of every voxel from a plane, positive where ``normal`` (LPS, unit length) points."""
        slopes = self.steps @ normal
        z, y, x = (slope * np.arange(size, dtype=np.float32) for slope, size in zip(slopes, self.shape, strict=True))
        return z[:, None, None] + y[:, None] + x + np.float32((self.origin - point) @ normal)

    def points(self, indices: np.ndarray) -> np.ndarray:
        """LPS points (mm), (n, 3), of array indices (n, 3)."""
        return self.origin + indices @ self.steps


@dataclass(frozen=True)
class _Pieces:
    """Components of one class, each on one side of the patient."""

    labels: np.ndarray  # 0 background, else the piece's id
    ids_by_side: tuple[np.ndarray, np.ndarray]  # right, left
    sizes_ml: np.ndarray  # by id

    def mask_of(self, ids: list[int]) -> np.ndarray:
        wanted = np.zeros(len(self.sizes_ml), bool)
        wanted[ids] = True
        return wanted[self.labels]


def _midplane(
    image: sitk.Image, heads: FemoralHeads, grid: _Grid, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A point of the plane between right and left (LPS, mm) and its unit normal, which points to the left.

    Args:
        classes: of the voxels of ``grid``, which holds all bone.
    """
    if heads.right is None and heads.left is None and shows_one_hip(image):
        heads = _in_the_place_of_heads(grid, classes)
    sagittal = np.array([1.0, 0.0, 0.0])
    if heads.right is not None and heads.left is not None:
        right, left = np.array(heads.right), np.array(heads.left)
        return (right + left) / 2, (left - right) / np.linalg.norm(left - right)
    if heads.right is not None:
        return np.array(heads.right) + HALF_HEAD_DISTANCE_MM * sagittal, sagittal
    if heads.left is not None:
        return np.array(heads.left) - HALF_HEAD_DISTANCE_MM * sagittal, sagittal
    middle = [(size - 1) / 2 for size in image.GetSize()]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(middle)), sagittal


def _in_the_place_of_heads(grid: _Grid, classes: np.ndarray) -> FemoralHeads:
    """Where the head of the only femur would be from right to left, on its side; none where there is no femur."""
    hip, femur = (grid.points(np.argwhere(classes == bone)) for bone in (HIP_BONE, FEMUR))
    if not len(femur):
        return FemoralHeads(None, None)
    middle = femur.mean(axis=0)
    side = side_told_by(middle, hip, grid.voxel_ml) or side_in_scanner(middle)
    inwards = 1 if side == "right" else -1
    point = (float(middle[0]) + inwards * MIDDLE_BESIDE_HEAD_MM, float(middle[1]), float(middle[2]))
    return FemoralHeads(point, None) if side == "right" else FemoralHeads(None, point)


def _by_side(
    bone: np.ndarray,
    sure: np.ndarray | None,
    gap_mm: float,
    is_right: np.ndarray,
    leftwards: np.ndarray,
    heads: FemoralHeads,
    grid: _Grid,
    joints: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The pieces of a class that belong to the bone of each side.

    Args:
        bone: all voxels of the class.
        sure: where the network is; None if nobody knows.
        gap_mm: how far from the main piece a piece may be if nobody knows.
        leftwards: the patient's, LPS, unit length.
        joints: by side, the bone to which the main piece makes a joint.
    """
    core = bone if sure is None else bone & sure
    if core.sum() * grid.voxel_ml < MIN_PIECE_ML:
        core = bone
    is_part = core is not bone
    pieces = _pieces(core, is_right, grid)
    gap_mm = MAX_GAP_OF_SURE_MM if is_part else gap_mm
    kept = {
        side: pieces.mask_of(_kept_pieces(pieces, ids, getattr(heads, side), inwards, gap_mm, grid, joints.get(side)))
        for side, ids, inwards in zip(SIDES, pieces.ids_by_side, (leftwards, -leftwards), strict=True)
    }
    if not is_part:
        return kept
    around = reach_along(grid.spacing, AROUND_SURE_MM)
    right, left = (_near(mask, around, grid) & bone for mask in kept.values())
    return {"right": right & (is_right | ~left), "left": left & ~(is_right & right)}


def _near(mask: np.ndarray, reach_mm: np.ndarray, grid: _Grid) -> np.ndarray:
    """What lies so near to a mask, along each axis of the array and in an ellipsoid between them."""
    near, box = np.zeros_like(mask), box_of(mask)
    if box is not None:
        reach = np.ceil(reach_mm / grid.spacing).astype(int)
        box = tuple(
            slice(max(0, axis.start - by), min(size, axis.stop + by))
            for axis, by, size in zip(box, reach, mask.shape, strict=True)
        )
        near[box] = ndimage.distance_transform_edt(~mask[box], sampling=grid.spacing / reach_mm) <= 1
    return near


def _pieces(mask: np.ndarray, is_right: np.ndarray, grid: _Grid) -> _Pieces:
    components, count = ndimage.label(_bridged(mask, grid), np.ones((3, 3, 3)))
    # Only of the voxels in bone, which are few; np.bincount would make each a 64-bit number.
    ids, right_half = components[mask], is_right[mask]
    right = np.bincount(ids[right_half], minlength=count + 1)
    fraction = right / np.maximum(np.bincount(ids, minlength=count + 1), 1)
    leans_left, leans_right = fraction < MIN_SPLIT_FRACTION, fraction > 1 - MIN_SPLIT_FRACTION
    # Ids up to `count` are right, those above it left.
    ids += count * (leans_left[ids] | ~(right_half | leans_right[ids]))
    components[...] = 0
    components[mask] = ids
    sizes = np.bincount(ids, minlength=2 * count + 1) * grid.voxel_ml
    return _Pieces(components, (np.arange(1, count + 1), np.arange(count + 1, 2 * count + 1)), sizes)


def _bridged(mask: np.ndarray, grid: _Grid) -> np.ndarray:
    """Widen a mask by half the thickest spacing, so that an oblique bone holds together from slice to thick slice."""
    radius = [int(grid.spacing.max() / 2 / spacing) for spacing in grid.spacing[::-1]]
    if not any(radius):
        return mask
    wide = sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), radius, sitk.sitkBall)
    return sitk.GetArrayFromImage(wide)


def _kept_pieces(
    pieces: _Pieces,
    ids: np.ndarray,
    head: tuple[float, float, float] | None,
    inwards: np.ndarray,
    gap_mm: float,
    grid: _Grid,
    joint: np.ndarray | None,
) -> list[int]:
    """Ids of the main piece of a bone, of others that are as near to the joint, and of what belongs to them, from each
    to the next; ``inwards`` is the patient's left on the right side and right on the left one, LPS."""
    large = sorted(ids[pieces.sizes_ml[ids] >= MIN_PIECE_ML], key=lambda i: -pieces.sizes_ml[i])
    if not large:
        return []
    boxes = ndimage.find_objects(pieces.labels)
    points = {piece: _points_of(pieces.labels, piece, boxes[piece - 1], grid) for piece in large}
    if joint is not None and head is not None:
        large = [i for i in large if not _is_before_the_joint(points[i], head, inwards)] or large
    at_joint = {}
    if joint is not None and len(large) > 1:
        voxels = np.argwhere(_near(joint, np.full(3, JOINT_MM), grid) & (pieces.labels > 0))
        piece_there = pieces.labels[tuple(voxels.T)]
        at_joint = {i: grid.points(voxels[piece_there == i]) for i in large}
        large.sort(key=lambda i: -len(at_joint[i]))
    main = _main_piece(large, points, head)
    enough = OF_MAIN_AT_JOINT * len(at_joint.get(main, ()))
    of_socket = [i for i, here in at_joint.items() if len(here) >= enough > 0 and _is_socket(here, head, inwards)]
    kept = [main, *(i for i in of_socket if i != main)]
    least = MIN_PIECE_OF_MAIN * pieces.sizes_ml[main]
    left = [i for i in large if i not in kept and pieces.sizes_ml[i] >= least]
    if joint is None and head is not None:  # a femur's own pieces
        left = [i for i in left if not _is_beside_the_shaft(points[i], points[main], head)]
    for piece in kept:  # which grows meanwhile
        tree = cKDTree(points[piece])
        near = [i for i in left if tree.query(points[i])[0].min() <= _largest_gap_mm(gap_mm, boxes[i - 1], grid)]
        kept += near
        left = [i for i in left if i not in near]
    return kept


def _is_socket(points: np.ndarray, head: tuple[float, float, float] | None, inwards: np.ndarray) -> bool:
    """Whether hip bone at a joint (n, 3) is where a socket is: medial of the head, or above it."""
    if head is None:
        return False
    medial, _, above = _beside_head(points, head, inwards)
    return above > ROOF_ABOVE_HEAD_MM or medial > 0


def _is_before_the_joint(points: np.ndarray, head: tuple[float, float, float], inwards: np.ndarray) -> bool:
    """Whether a piece (n, 3) lies where the femoral vessels run and no hip bone is."""
    medial, in_front, above = _beside_head(points, head, inwards)
    return above < BELOW_SPINES_MM and in_front - medial > FRONT_BEYOND_MEDIAL_MM


def _is_beside_the_shaft(points: np.ndarray, main: np.ndarray, head: tuple[float, float, float]) -> bool:
    """Whether most of a piece (n, 3) lies where the main piece of a femur (m, 3) is all that the femur has."""
    level, levels_of_main = (np.round(z / LEVEL_MM) for z in (points[:, 2], main[:, 2]))
    return bool(points[:, 2].max() < head[2] - ONE_SHAFT_BELOW_MM and np.isin(level, levels_of_main).mean() > 0.5)


def _beside_head(points: np.ndarray, head: tuple[float, float, float], inwards: np.ndarray) -> np.ndarray:
    """How far medial of a head, in front of it and above it (mm) the middle of points (LPS) lies.

    Args:
        inwards: of the patient's side, LPS, unit length.
    """
    leftwards = np.copysign(1.0, inwards[0]) * inwards
    forwards = np.cross(leftwards, (0.0, 0.0, 1.0))
    axes = np.array([inwards, forwards / np.linalg.norm(forwards), (0.0, 0.0, 1.0)])
    return axes @ (points.mean(axis=0) - head)


def _largest_gap_mm(gap_mm: float, box: tuple[slice, ...], grid: _Grid) -> float:
    """How far from its main piece a piece of a bone, which ``box`` just holds, may be: more with thick slices, and more
    at the border."""
    at_border = any(
        start + axis.start == 0 or start + axis.stop == size
        for start, axis, size in zip(grid.start, box, grid.image_shape, strict=True)
    )
    gap = max(gap_mm, 3 * float(grid.spacing.max()))
    return max(gap, MAX_GAP_AT_BORDER_MM) if at_border else gap


def _points_of(labels: np.ndarray, piece: int, box: tuple[slice, ...], grid: _Grid) -> np.ndarray:
    """LPS points (mm) of a piece; of a large one some ten thousand, a few millimetres apart."""
    indices = np.argwhere(labels[box] == piece) + [axis.start for axis in box]
    return grid.points(indices[:: max(1, len(indices) // 10_000)])


def _main_piece(ordered: list[int], points: dict[int, np.ndarray], head: tuple[float, float, float] | None) -> int:
    """The first piece about the head; the first of all if there is none or the head is not known."""
    near = [
        piece
        for piece in ordered
        if head is not None and np.linalg.norm(points[piece] - np.array(head), axis=1).min() <= MAIN_WITHIN_MM
    ]
    return (near or ordered)[0]


def _fill_holes(sides: np.ndarray, grid: _Grid) -> None:
    """Fill cavities of each segment in place: all that are closed in 3-D, and small ones within a thick slice."""
    thick = int(np.argmax(grid.spacing))
    in_plane = np.delete(grid.spacing, thick)
    is_thick = grid.spacing[thick] > THICK_SLICE_RATIO * in_plane.max()
    max_pixels = int(MAX_SLICE_HOLE_MM2 / np.prod(in_plane))
    for segment in SEGMENTS:
        box = box_of(sides == segment.value)
        if box is None:
            continue
        part = sides[box]
        mask = part == segment.value
        holes = _closed_background(mask)
        if is_thick:
            for plane, holes_of_plane in zip(np.moveaxis(mask, thick, 0), np.moveaxis(holes, thick, 0), strict=True):
                holes_of_plane |= _closed_background(plane, max_pixels)
        part[holes & (part == 0)] = segment.value


def _closed_background(mask: np.ndarray, max_size: int | None = None) -> np.ndarray:
    """Background that the mask closes off (6-connected, in a plane 4-connected), up to ``max_size`` voxels each."""
    # The padding joins all background that reaches the border into component 1.
    background, count = ndimage.label(np.pad(~mask, 1, constant_values=True))
    closed = np.ones(count + 1, bool)
    closed[:2] = False
    if max_size is not None:
        closed &= np.bincount(background.ravel(), minlength=count + 1) <= max_size
    return closed[background][(slice(1, -1),) * mask.ndim]


def _volumes_ml(labels: sitk.Image) -> dict[int, float]:
    counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=5)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    return {segment.value: float(counts[segment.value]) * voxel_ml for segment in SEGMENTS}
