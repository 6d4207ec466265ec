"""A labelled CT made ready to be cut into slabs: what lies where, free of air, table and gas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.sphere import fit_sphere
from scipy import ndimage

#: What stands for gas inside the body: far from every tissue, so that it stays known after interpolation.
GAS_HU = -2000
#: Voxels of the maps, mm, and of the coarse ones, which decide how soft tissue follows a turning femur.
FINE_MM, COARSE_MM = 1.0, 4.0
#: Distances to bone are kept in tenths of a millimetre and end there.
FURTHEST_MM = 12.7
#: CTs of the pelvis end below the lesser trochanter, MRIs do not: the shaft is carried on as far as this.
EXTENSION_MM = 110
_LEAST_BONE_ML, _LEAST_SHAFT_MM2 = 20.0, 150.0
#: Where both bones are within such a distance, mm; and how many voxels are kept of a joint's and of all bone.
_AT_JOINT_MM, _AIMED_VOXELS = 15.0, 4000
#: About the middle between the heads the pubic bones part within the first, and are bone within the second (voxels);
#: at so many points at least. A slit is no wider than that, and a millimetre deeper into bone weighs as so many HU.
_PARTED_WITHIN, _PUBIS_WITHIN, _LEAST_PARTED = 8, 18, 200
_WIDEST_MM, _HU_A_MM = 6.0, 30
#: How much narrower, on each side, a cut ischium becomes on its way down (mm a mm).
_ENDS_WITHIN = 0.5


@dataclass(frozen=True)
class Femur:
    """A femur that can turn in its socket.

    Attributes:
        head: centre of its head, mm along the anatomy's axes.
        distance: coarse signed distance to it, mm, negative inside (z, y, x).
    """

    head: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Plane:
    """Points whose product with a unit normal is the offset; mm along the anatomy's axes."""

    normal: np.ndarray
    offset: float


@dataclass(frozen=True)
class Anatomy:
    """A CT on an isotropic grid of :data:`FINE_MM`; axes (z, y, x) run to the patient's head, back and left.

    Attributes:
        hu: int16; air and table are -1000, gas in the body :data:`GAS_HU`.
        hip, femur: int8, signed distance to the bone's surface in tenths of a millimetre, negative inside, ends at
            ± :data:`FURTHEST_MM`.
        hip_coarse: float32, signed distance to the hip bones, mm, on a grid of :data:`COARSE_MM`.
        femora: those whose head is in view.
        bone_voxels: (n, 3), a sample of voxels of the two bones, to aim slabs at; half of them lie about a joint.
    """

    hu: np.ndarray
    hip: np.ndarray
    femur: np.ndarray
    hip_coarse: np.ndarray
    femora: tuple[Femur, ...]
    bone_voxels: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.hu.shape

    @cached_property
    def symphysis(self) -> Plane | None:
        """The plane in which the two pubic bones part; None unless both are in view."""
        if len(self.femora) < 2:
            return None
        middle = round(float(np.mean([femur.head[2] for femur in self.femora])) / FINE_MM)
        if not _PUBIS_WITHIN <= middle < self.shape[2] - _PUBIS_WITHIN:
            return None
        columns = slice(middle - _PUBIS_WITHIN, middle + _PUBIS_WITHIN + 1)
        hip = self.hip[..., columns] / np.float32(10)
        # Where the label joins both bones, the HU between them tell where they part.
        softness = ndimage.gaussian_filter(hip - self.hu[..., columns] / np.float32(_HU_A_MM), (2, 2, 0))
        inner = slice(_PUBIS_WITHIN - _PARTED_WITHIN, _PUBIS_WITHIN + _PARTED_WITHIN + 1)
        beside = _PUBIS_WITHIN - _PARTED_WITHIN // 2
        bone = (hip[..., :beside].min(-1) < 0) & (hip[..., -beside:].min(-1) < 0)
        z, y = (bone & (hip[..., inner].max(-1) < _WIDEST_MM / 2)).nonzero()
        softness = softness[z, y, inner]
        # Of a slit of several equal voxels, its middle.
        first, last = softness.argmax(-1), 2 * _PARTED_WITHIN - softness[:, ::-1].argmax(-1)
        x = middle - _PARTED_WITHIN + (first + last) / 2
        keep = np.full(len(x), True)
        for _ in range(10):
            if keep.sum() < _LEAST_PARTED:
                return None
            system = np.stack([np.ones(len(x)), z, y], 1)
            level, along_z, along_y = np.linalg.lstsq(system[keep], x[keep], rcond=None)[0]
            keep = np.abs(system @ (level, along_z, along_y) - x) < _PARTED_WITHIN / 2
        normal = np.array([-along_z, -along_y, 1.0])
        return Plane(normal / np.linalg.norm(normal), level * FINE_MM / np.linalg.norm(normal))


def anatomy_of(image: sitk.Image, labels: sitk.Image) -> Anatomy:
    """
    Args:
        image: CT in HU, any orientation.
        labels: on the same grid; 1 hip bone, 2 femur.
    """
    image, labels = sitk.DICOMOrient(image, "LPS"), sitk.DICOMOrient(labels, "LPS")
    distances = [_fine(_signed_distance(labels, value), 50.0) for value in (1, 2)]
    hu = _fine(sitk.Cast(without_surroundings(image), sitk.sitkFloat32), -1000.0)
    hu, hip, femur = carried_on(hu, *distances)
    return Anatomy(
        hu=np.clip(hu, GAS_HU, 3000).astype(np.int16),
        hip=_tenths(hip),
        femur=_tenths(femur),
        hip_coarse=_coarse(hip),
        femora=tuple(_femora(femur, hip)),
        bone_voxels=_to_aim_at(hip, femur),
    )


def shape_of(outline: sitk.Image) -> tuple[int, int, int]:
    """(z, y, x) of the anatomy that such a CT has, with its shafts carried on.

    Args:
        outline: an image of the CT's geometry.
    """
    directions = np.array(outline.GetDirection()).reshape(3, 3)
    lengths = (np.array(outline.GetSize()) - 1) * outline.GetSpacing()
    z, y, x = (lengths[np.abs(directions[axis]).argmax()] for axis in (2, 1, 0))
    return round((z + EXTENSION_MM) / FINE_MM), round(y / FINE_MM) + 1, round(x / FINE_MM) + 1


def without_surroundings(image: sitk.Image) -> sitk.Image:
    """The CT with everything outside the body as air, and gas inside it as :data:`GAS_HU`."""
    hu = sitk.GetArrayFromImage(image).astype(np.int16)
    # Thin parts such as a table's top are cut off from the body before the largest part is taken for it.
    components, count = ndimage.label(ndimage.binary_opening(hu > -350, iterations=2))
    if count:
        largest = np.bincount(components.ravel())[1:].argmax() + 1
        body = ndimage.binary_dilation(components == largest, iterations=3)
        body = np.stack([ndimage.binary_fill_holes(slice_) for slice_ in body])
        # Above the first and below the last slice the body goes on.
        gas = (hu < -400) & ndimage.binary_erosion(body, iterations=5, border_value=1)
        hu = np.where(gas, GAS_HU, np.where(body, hu, -1000)).astype(np.int16)
    clean = sitk.GetImageFromArray(hu)
    clean.CopyInformation(image)
    return clean


def carried_on(hu: np.ndarray, hip: np.ndarray, femur: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three volumes (z from foot to head) with their lowest slice repeated downwards.

    Each thigh moves on as its shaft did above; an ischium that the CT cuts comes to a blunt end. Nothing is added where
    the lowest slice shows no shaft.
    """
    shafts, count = ndimage.label(femur[1] < 0)
    if not count or (femur[1] < 0).sum() * FINE_MM**2 < _LEAST_SHAFT_MM2:
        return hu, hip, femur
    above = min(16, len(femur) - 1)
    centres, drifts = [], []
    for shaft in range(1, count + 1):
        low = np.argwhere(shafts == shaft).mean(0)
        near = np.argwhere(femur[above] < 0)
        near = near[np.linalg.norm(near - low, axis=1) < 40]
        centres.append(low)
        drifts.append(np.clip((low - near.mean(0)) / (above - 1), -0.35, 0.35) if len(near) else np.zeros(2))
    rows, columns = np.indices(hu.shape[1:])
    nearest = np.argmin([np.hypot(rows - y, columns - x) for y, x in centres], axis=0)

    def repeated(volume: np.ndarray, step: int) -> np.ndarray:
        moved = [ndimage.shift(volume[1], drift * step, order=1, mode="nearest") for drift in drifts]
        return np.choose(nearest, moved)

    added = []
    for step in range(round(EXTENSION_MM / FINE_MM), 0, -1):
        hu_here, hip_here, femur_here = (repeated(volume, step) for volume in (hu, hip, femur))
        ended = hip_here + _ENDS_WITHIN * step * FINE_MM
        # What is no longer ischium is the muscle at its tuberosity.
        hu_here = np.where((hip_here < 2) & (ended > 0), 55.0, hu_here)
        added.append((hu_here, ended, femur_here))
    return tuple(
        np.concatenate([np.stack(new), old[1:]])
        for new, old in zip(zip(*added, strict=True), (hu, hip, femur), strict=True)
    )


def _to_aim_at(hip: np.ndarray, femur: np.ndarray) -> np.ndarray:
    """Most bone is shaft and wing; what is hard to tell apart, and what a clinician looks at, is the joint."""
    bone, near = (hip < 0) | (femur < 0), (hip < _AT_JOINT_MM) & (femur < _AT_JOINT_MM)
    all_and_near = (np.argwhere(bone), np.argwhere(bone & near))
    return np.concatenate([voxels[:: max(1, len(voxels) // _AIMED_VOXELS)] for voxels in all_and_near]).astype(np.int16)


def _signed_distance(labels: sitk.Image, value: int) -> sitk.Image:
    """Between slices that lie apart, distances interpolate a shape as labels cannot."""
    # The filter measures from the outermost voxels of a mask, so the surface lies between its answers for both sides.
    inside, outside = (
        sitk.SignedMaurerDistanceMap(mask, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
        for mask in (labels == value, labels != value)
    )
    return (inside - outside) * 0.5


def _fine(image: sitk.Image, outside: float) -> np.ndarray:
    size = [
        max(1, round((n - 1) * mm / FINE_MM) + 1) for n, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    sampled = sitk.Resample(
        sitk.Cast(image, sitk.sitkFloat32), size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [FINE_MM] * 3,
        image.GetDirection(), outside,
    )  # fmt: skip
    return sitk.GetArrayFromImage(sampled)


def _coarse(distance: np.ndarray) -> np.ndarray:
    step = int(COARSE_MM / FINE_MM)
    return np.ascontiguousarray(distance[::step, ::step, ::step], dtype=np.float32)


def _tenths(distance: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(distance * 10), -FURTHEST_MM * 10, FURTHEST_MM * 10).astype(np.int8)


def _femora(femur: np.ndarray, hip: np.ndarray) -> list[Femur]:
    components, count = ndimage.label(femur < 0)
    found = []
    for value in range(1, count + 1):
        mask = components == value
        if mask.sum() * FINE_MM**3 / 1000 < _LEAST_BONE_ML:
            continue
        # The part of its surface that faces the socket is a piece of a sphere.
        facing = np.argwhere(mask & (femur > -1.0) & (hip < 7.0))
        head = fit_sphere(facing * FINE_MM) if len(facing) > 200 else None
        if head and 14 <= head.radius <= 34 and head.residual < 2.5:
            outside = ndimage.distance_transform_edt(~mask[::2, ::2, ::2], sampling=2 * FINE_MM)
            inside = ndimage.distance_transform_edt(mask[::2, ::2, ::2], sampling=2 * FINE_MM)
            found.append(Femur(head.centre, (outside - inside)[::2, ::2, ::2].astype(np.float32)))
    return found
