"""One labelled bone as a surface: where it crosses between voxels, and how far a point is from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from HipICMSCLib.common.voxels import box_of
from HipICMSCLib.measures.side import mirrored

# Slices this much thicker than their pixels: between them the surface is not known, so only crossings within a slice
# are points of it.
THICK_RATIO = 2.0
# A label knows its surface to half a voxel; this much smoothing (voxels) evens out the steps of a slope.
_SMOOTHING = 0.7
# Between thick slices, so many finer ones.
_BETWEEN = 3
# Distances are computed up to here (mm); nothing looks farther.
_FAR_MM = 15.0


@dataclass(frozen=True)
class Crossings:
    """Points of a bone's surface where a line of voxels enters or leaves it.

    Attributes:
        points: (n, 3) side coordinates, mm.
        density: (3,) by axis of the grid, lines per mm² across it; 0 along the axis of thick slices.
        axes: (3, 3) unit vectors of the grid's axes, in rows.
    """

    points: np.ndarray
    density: np.ndarray
    axes: np.ndarray

    def weights(self, normals: np.ndarray) -> np.ndarray:
        """mm² of surface that each point stands for, given the unit normal (n, 3) there."""
        per_mm2 = np.abs(normals @ self.axes.T) @ self.density
        return 1 / np.maximum(per_mm2, 0.3 * self.density.max())


@dataclass(frozen=True)
class Field:
    """Signed distance (mm, negative inside) to a bone on a grid of voxels.

    Attributes:
        values: (i, j, k) float32; the grid's axes run towards lateral, anterior and superior.
        origin: (3,) of voxel 0, side coordinates.
        steps: (3, 3) from one voxel to the next, by axis in columns.
    """

    values: np.ndarray
    origin: np.ndarray
    steps: np.ndarray

    @property
    def thick_axis(self) -> int | None:
        """The axis across thick slices; none where voxels are about as deep as wide."""
        return _thick_axis(np.linalg.norm(self.steps, axis=0))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Distances at points (…, 3); beyond the grid those of its border."""
        index = (points.reshape(-1, 3) - self.origin) @ np.linalg.inv(self.steps).T
        values = ndimage.map_coordinates(self.values, index.T, order=1, mode="nearest", output=np.float32)
        return values.reshape(points.shape[:-1])

    def resliced(self, share: float) -> Field:
        """The field as slices would show it that lay a ``share`` (0 to 1) of their thickness farther on.

        Between slices it is interpolated, here once more, so what this changes is as large as what the slices' chance
        place has done already. A field without thick slices is returned as it is.
        """
        axis = self.thick_axis
        if axis is None:
            return self
        values = np.moveaxis(self.values, axis, 0)
        values = values[:-1] + np.float32(share) * (values[1:] - values[:-1])
        return Field(np.moveaxis(values, 0, axis), self.origin + share * self.steps[:, axis], self.steps)

    def between_slices(self) -> Field:
        """The field with `_BETWEEN` times as many slices, a Catmull-Rom spline between thick ones.

        A straight line between two slices cuts the corner of a round surface: of a neck, by 0.1 mm in the mean. A field
        without thick slices is returned as it is.
        """
        axis = self.thick_axis
        if axis is None:
            return self
        values = np.moveaxis(self.values, axis, 0)
        padded = np.concatenate([values[:1], values, values[-1:]])
        one, two, three, four = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
        fine = np.empty((_BETWEEN * (len(values) - 1) + 1, *values.shape[1:]), np.float32)
        for part in range(_BETWEEN):
            t = np.float32(part / _BETWEEN)
            fine[part:-1:_BETWEEN] = two + t / 2 * (
                (three - one) + t * (2 * one - 5 * two + 4 * three - four) + t * t * (3 * two - one - 3 * three + four)
            )
        fine[-1] = values[-1]
        steps = self.steps / np.where(np.arange(3) == axis, _BETWEEN, 1)
        return Field(np.moveaxis(fine, 0, axis), self.origin, steps)

    def leaning(self) -> np.ndarray | np.float32:
        """How many mm within a thick slice (i, j, k) cross one mm of depth below the surface: 1 where that stands
        upright on the slices, more where it leans. 1 in a field without thick slices.
        """
        axis = self.thick_axis
        if axis is None:
            return np.float32(1)
        apart = np.float32(np.linalg.norm(self.steps[:, axis]))
        change = np.abs(np.diff(np.moveaxis(self.values, axis, 0), axis=0)) / apart
        # From the slice before, or to the next one, whichever changes more.
        change = np.maximum(np.concatenate([change[:1], change]), np.concatenate([change, change[-1:]]))
        return np.moveaxis(np.hypot(np.float32(1), change), 0, axis)

    def thickness(self, directions: np.ndarray) -> np.ndarray:
        """mm (…) of a thick slice along unit vectors (…, 3); 0 where no axis has thick slices."""
        axis = self.thick_axis
        return np.zeros(directions.shape[:-1]) if axis is None else np.abs(directions @ self.steps[:, axis])


@dataclass(frozen=True)
class Bone:
    """A bone's voxels, cut out of a label image, with their axes towards lateral, anterior and superior.

    Attributes:
        mask: (i, j, k) bool.
        origin, steps: as of `Field`.
        image: (3, 2) first and last voxel of the whole image, in indices of ``mask``.
    """

    mask: np.ndarray
    origin: np.ndarray
    steps: np.ndarray
    image: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """(3,) mm by axis of the grid."""
        return np.linalg.norm(self.steps, axis=0)

    @property
    def thick_axis(self) -> int | None:
        """The axis across thick slices; none where voxels are about as deep as wide."""
        return _thick_axis(self.spacing)

    @property
    def slice_normal(self) -> np.ndarray | None:
        """The unit normal of thick slices."""
        axis = self.thick_axis
        return None if axis is None else self.steps[:, axis] / self.spacing[axis]

    @property
    def pixel_mm(self) -> float:
        """The voxel's width within a slice."""
        return float(np.delete(self.spacing, np.argmax(self.spacing)).mean())

    @property
    def volume_ml(self) -> float:
        """Of the label."""
        return float(self.mask.sum() * np.prod(self.spacing) / 1000)

    def points(self, indices: np.ndarray) -> np.ndarray:
        """Side coordinates (…, 3) of (fractional) voxel indices."""
        return self.origin + np.asarray(indices) @ self.steps.T

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Fractional voxel indices (…, 3) of points."""
        return (np.asarray(points) - self.origin) @ np.linalg.inv(self.steps).T

    def room_mm(self, points: np.ndarray) -> np.ndarray:
        """How far (…) each point (…, 3) is from the end of the image; negative beyond it."""
        index = self.indices(points)
        return (np.minimum(index - self.image[:, 0] + 0.5, self.image[:, 1] + 0.5 - index) * self.spacing).min(axis=-1)

    def at_end(self, points: np.ndarray) -> np.ndarray:
        """Whether the image ends at each point (…, 3) of the surface, which then is none of the bone's."""
        index = self.indices(points)
        return ((index < self.image[:, 0]) | (index > self.image[:, 1])).any(axis=-1)

    def cut_near(self, point: np.ndarray, within_mm: float) -> bool:
        """Whether the bone meets the end of the image this near to a point."""
        for axis, end in itertools.product(range(3), (0, 1)):
            layer = int(self.image[axis, end])
            if not 0 <= layer < self.mask.shape[axis]:
                continue
            at_end = np.argwhere(np.take(self.mask, layer, axis))
            away = self.points(np.insert(at_end, axis, layer, axis=1)) - point
            if (np.einsum("ni,ni->n", away, away) < within_mm**2).any():
                return True
        return False

    def crossings(self) -> Crossings:
        """Points of the surface."""
        density, found = np.zeros(3), []
        for axis in range(3):
            if axis == self.thick_axis:
                continue
            index = np.argwhere(np.diff(self.mask.view(np.int8), axis=axis) != 0)
            index = index + 0.5 * (np.arange(3) == axis)
            found.append(index)
            density[axis] = 1 / np.prod(np.delete(self.spacing, axis))
        return Crossings(self.points(np.concatenate(found)), density, (self.steps / self.spacing).T)

    def field(self, low: np.ndarray, high: np.ndarray) -> Field:
        """Signed distances in the box between two corners (3,) of side coordinates."""
        corners = self.indices(np.array(list(itertools.product(*zip(low, high, strict=True)))))
        first = np.floor(corners.min(axis=0)).astype(int)
        last = np.ceil(corners.max(axis=0)).astype(int)
        box = np.zeros(last - first + 1, bool)
        begin, end = np.clip(first, 0, self.mask.shape), np.clip(last + 1, 0, self.mask.shape)
        here = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        there = tuple(slice(b, e) for b, e in zip(begin - first, end - first, strict=True))
        box[there] = self.mask[here]
        return Field(self._distances(box), self.points(first), self.steps)

    def _distances(self, mask: np.ndarray) -> np.ndarray:
        """Half a voxel is where the surface lies between two voxels; nothing is smoothed across thick slices."""
        distance = np.where(mask, -_depth(mask, self.spacing), _depth(~mask, self.spacing))
        sigma = [0 if axis == self.thick_axis else _SMOOTHING for axis in range(3)]
        return ndimage.gaussian_filter(distance, sigma, truncate=3)


def bone_of(labels: sitk.Image, value: int, side: str) -> Bone | None:
    """The voxels of a label image that have a value, or None where there are none.

    Args:
        labels: integer image; its geometry is LPS, as SimpleITK's always is.
        value: of the bone.
        side: the patient's side, ``"right"`` or ``"left"``.
    """
    mask = (sitk.GetArrayViewFromImage(labels) == value).T
    steps = mirrored((np.array(labels.GetDirection()).reshape(3, 3) * labels.GetSpacing()).T, side).T
    origin = mirrored(np.array(labels.GetOrigin()), side)
    unit_steps = np.abs(steps / np.linalg.norm(steps, axis=0))
    order = max(itertools.permutations(range(3)), key=lambda axes: unit_steps[[0, 1, 2], list(axes)].sum())
    mask, steps = mask.transpose(order), steps[:, list(order)]
    for axis in range(3):
        if steps[axis, axis] < 0:
            mask = np.flip(mask, axis)
            origin = origin + steps[:, axis] * (mask.shape[axis] - 1)
            steps = steps * np.where(np.arange(3) == axis, -1.0, 1.0)
    found = box_of(mask)
    if found is None:
        return None
    first = np.array([max(axis.start - 2, 0) for axis in found])
    last = np.array([min(axis.stop + 1, n - 1) for axis, n in zip(found, mask.shape, strict=True)])
    box = np.ascontiguousarray(mask[tuple(slice(f, e + 1) for f, e in zip(first, last, strict=True))])
    image = np.stack([-first, np.array(mask.shape) - 1 - first], axis=1)
    return Bone(box, origin + steps @ first, steps, image)


def _thick_axis(spacing: np.ndarray) -> int | None:
    return int(np.argmax(spacing)) if spacing.max() > THICK_RATIO * spacing.min() else None


def _depth(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """mm from each voxel of a mask to the nearest outside it; an equal share on both sides of the surface cancels."""
    if mask.all():
        return np.full(mask.shape, _FAR_MM, np.float32)
    return np.minimum(ndimage.distance_transform_edt(mask, spacing), _FAR_MM).astype(np.float32)
