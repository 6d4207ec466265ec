"""Label images of phantom hips that were broken on purpose, and what of them must be refused with which code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, segment_of
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, head_centre, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes

_FEMUR, _HIP = (segment_of(bone, "right").value for bone in (FEMUR, HIP_BONE))
_RIM = ("LCEA", "VersionCentral", "Coverage")
_NECK = ("Alpha_0130", "AlphaMax")
_ALL = ("HeadRadius", *_RIM, *_NECK)
#: By kind of fault: the measures that must be refused, and the codes that are right.
BROKEN: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "hole in the rim": (_RIM, {"rim_missing", "rim_irregular"}),
    "second component of the femur": (_ALL, {"components"}),
    "truncated neck": (_NECK, {"neck_short"}),
    "fused joint": (_RIM, {"fused"}),
    "sides swapped": (_ALL, {"side_mismatch"}),
    "head cut by the image": (_ALL, {"head_cut"}),
    "rim cut by the image": (_RIM, {"rim_cut", "rim_missing"}),
    "hip bone missing": (_RIM, {"no_hip_bone"}),
    "femur a fleck": (_ALL, {"too_small"}),
    "dislocated head": (_RIM, {"dislocated", "socket_not_found", "rim_missing"}),
    "aspherical head": (_ALL, {"head_aspherical", "head_incomplete"}),
    "shaft cut": (("CCD_3D",), {"shaft_short"}),
    "no condyles": (("FemoralVersion",), {"no_condyles"}),
}


def broken_labels(kind: str, rng: np.random.Generator) -> sitk.Image:
    """A right hip with a fault of this kind; shape and place are random."""
    shapes = HipShapes(
        head_radius=rng.uniform(21, 27), fossa_step=45.0, depth=rng.uniform(-5, 2), version=rng.uniform(5, 25)
    )
    shapes = replace(shapes, neck_radius=0.62 * shapes.head_radius)
    if kind == "hole in the rim":
        shapes = replace(shapes, hole_clock=float(rng.uniform(-60, 60)))
    if kind == "fused joint":
        shapes = replace(shapes, fused=True)
    sampling = Sampling(low=(-150, -60, -150), high=(-30, 60, 50), shift=rng.uniform(-1, 1, 3))
    image = hip_labels({"right": shapes}, sampling)
    labels = sitk.GetArrayFromImage(image)
    z, y, x = np.indices(labels.shape, dtype=np.float32)
    points = np.stack([x, y, z], axis=-1) * image.GetSpacing() + image.GetOrigin() - head_centre("right", sampling)
    radius = np.linalg.norm(points, axis=-1)
    if kind == "second component of the femur":
        ball = np.linalg.norm(points - [-42, 0, 30], axis=-1) < 14
        labels[ball & (labels == 0)] = _FEMUR
    elif kind == "truncated neck":
        along = points @ (shapes.neck * [-1, -1, 1])
        labels[(labels == _FEMUR) & (along > 1.12 * shapes.head_radius)] = 0
    elif kind == "sides swapped":
        labels[labels > 0] += 1
        labels[labels == 2], labels[labels == 4] = 2, 4
    elif kind == "hip bone missing":
        labels[labels == _HIP] = 0
    elif kind == "femur a fleck":
        labels[(labels == _FEMUR) & (radius > 0.6 * shapes.head_radius)] = 0
    elif kind == "aspherical head":
        squashed = np.linalg.norm(points * [1, 1.45, 1], axis=-1) < shapes.head_radius
        labels[(labels == _FEMUR) & (radius < shapes.head_radius + 0.7) & ~squashed] = 0
    image_of = sitk.GetImageFromArray(labels)
    image_of.CopyInformation(image)
    _, head_y, head_z = image.TransformPhysicalPointToIndex(head_centre("right", sampling).tolist())
    if kind == "head cut by the image":
        return image_of[:, :, : head_z + 12]
    if kind == "rim cut by the image":
        # In front of the head, which stays whole, and through the socket about it.
        return image_of[:, head_y - round((shapes.head_radius + 1) / image.GetSpacing()[1]) :, :]
    if kind == "shaft cut":
        return image_of[:, :, 55:]
    if kind == "dislocated head":
        return _dislocated(image_of)
    return image_of


def _dislocated(image: sitk.Image) -> sitk.Image:
    """The femur pulled out of the socket by 30 mm."""
    labels = sitk.GetArrayFromImage(image)
    femur = labels == _FEMUR
    labels[femur] = 0
    moved = np.zeros_like(femur)
    moved[:-19, :, :-23] = femur[19:, :, 23:]
    labels[moved & (labels == 0)] = _FEMUR
    dislocated = sitk.GetImageFromArray(labels)
    dislocated.CopyInformation(image)
    return dislocated
