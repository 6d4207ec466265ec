"""Orientation, resampling and the crop about the femoral heads, and the way back to the input's own grid.

Every volume is a SimpleITK image; world coordinates are LPS in millimetres. The networks read *coronal slices*:
arrays of shape (slice, row, column) whose rows run from head to foot and whose columns run from the patient's right
to the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.image_check import bad_spacing, oblique_axes

#: A voxel may have been read to lie this far from where its header says (numbers are rounded).
LARGEST_DISAGREEMENT_MM = 0.5
#: So far apart, in voxels, two images still have the same ones.
SAME_VOXEL_SHARE = 0.01
#: Where the largest spacing is no more than this many times the next one, there are no slices to speak of.
LEAST_SLICE_RATIO = 1.2
#: By patient axis (x, y, z): slices that lie one after the other along it.
PLANES = ("sagittal", "coronal", "axial")
#: Voxels; six times those of the paper's.
LARGEST_CROP = 2**26


@dataclass(frozen=True)
class CropSettings:
    """The region that the networks see, centred between the femoral heads (method.md, Data).

    Attributes:
        spacing_mm: size of the voxels that the networks read: left-right, front-back, head-foot.
        size: how many voxels the networks read, in the same order; 300 and 240 are the width and the height of a
            coronal slice. Width and height must be multiples of 4.
        largest_obliquity_deg: up to this angle between image axes and patient axes the volume is read along its own
            axes, so that an acquired coronal slice reaches the network without mixing with its neighbours; a volume
            that is turned further is resampled along the patient's axes.

    Raises:
        HipError: ``bad_setting`` for a region that is no region of a patient.
    """

    spacing_mm: tuple[float, float, float] = (1.25, 1.25, 1.0)
    size: tuple[int, int, int] = (300, 160, 240)
    largest_obliquity_deg: float = 20.0

    def __post_init__(self) -> None:
        if not all(0.1 <= mm <= 50 for mm in self.spacing_mm):
            raise HipError("bad_setting", "crop.spacing_mm are three numbers from 0.1 to 50 mm.")
        if not all(1 <= voxels <= 1024 for voxels in self.size) or math.prod(self.size) > LARGEST_CROP:
            raise HipError(
                "bad_setting", f"crop.size are three numbers from 1 to 1024, together {LARGEST_CROP} voxels at most."
            )
        if not 0 <= self.largest_obliquity_deg <= 90:
            raise HipError("bad_setting", "crop.largest_obliquity_deg is a number from 0 to 90.")


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: a SimpleITK image without its pixels."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def resample(self, image: sitk.Image, interpolator: int, outside: float) -> sitk.Image:
        """Sample ``image`` at this grid's voxels; ``outside`` stands where ``image`` has none."""
        return sitk.Resample(
            image,
            self.size,
            sitk.Transform(),
            interpolator,
            self.origin,
            self.spacing,
            self.direction,
            outside,
            image.GetPixelID(),
        )

    def image(self, voxels: np.ndarray) -> sitk.Image:
        """Put an array of shape (z, y, x) onto this grid."""
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


def image_at(voxels: np.ndarray, to_lps: np.ndarray, name: str) -> sitk.Image:
    """Voxels (z, y, x) where a matrix (4, 4) puts their indices (x, y, z) in LPS mm, its axes at right angles.

    Raises:
        HipError: ``bad_geometry`` where a voxel would lie too far from where the matrix puts it.
    """
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    if not np.isfinite(to_lps).all() or not (spacing > 0).all():
        raise bad_spacing(name, spacing)
    square = at_right_angles(to_lps, voxels.shape[::-1])
    if square is None:
        raise oblique_axes(name)
    image = sitk.GetImageFromArray(voxels.astype(voxels.dtype.newbyteorder("="), copy=False), isVector=False)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    image.SetDirection((square[:3, :3] / spacing).ravel().tolist())
    return image


def at_right_angles(to_world: np.ndarray, size: Sequence[int]) -> np.ndarray | None:
    """A matrix (4, 4) from voxel index (x, y, z) to mm, with the nearest axes at right angles.

    Args:
        size: of the volume, x, y, z.

    Returns:
        None where a voxel would come to lie too far from where the matrix puts it.
    """
    axes = to_world[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    left, _, right = np.linalg.svd(axes / spacing)
    square = left @ right * spacing
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(size) - 1)
    if np.abs(corners @ (square - axes).T).max() > LARGEST_DISAGREEMENT_MM:
        return None
    squared = to_world.copy()
    squared[:3, :3] = square
    return squared


def same_geometry(first: sitk.Image, second: sitk.Image, tolerance_mm: float = 1e-3) -> bool:
    """Whether two images have the same voxels in the world; the corners may differ by ``tolerance_mm``."""
    if first.GetSize() != second.GetSize():
        return False
    last = [size - 1 for size in first.GetSize()]
    corners = [tuple(int(i) for i in corner) for corner in np.ndindex(*(2,) * first.GetDimension())]
    return all(
        np.allclose(
            first.TransformIndexToPhysicalPoint([c * n for c, n in zip(corner, last, strict=True)]),
            second.TransformIndexToPhysicalPoint([c * n for c, n in zip(corner, last, strict=True)]),
            rtol=0,
            atol=tolerance_mm,
        )
        for corner in corners
    )


def on_voxels_of(reference: sitk.Image, image: sitk.Image) -> sitk.Image | None:
    """``image`` on the voxels of ``reference`` if it has the same, in whatever order and direction its axes are stored;
    they may lie a hundredth of a voxel apart. None if it has others."""
    turned = _turned_as(reference, image)
    if turned is None or not same_geometry(turned, reference, SAME_VOXEL_SHARE * min(reference.GetSpacing())):
        return None
    turned.CopyInformation(reference)
    return turned


def within_voxels_of(reference: sitk.Image, labels: sitk.Image) -> sitk.Image | None:
    """As :func:`on_voxels_of`, of labels that may end before the image does, as Slicer saves them: beyond them there is
    none. None also where a label lies outside of the image."""
    turned = _turned_as(reference, labels)
    if turned is None:
        return None
    last = [size - 1 for size in turned.GetSize()]
    ends = np.array(
        [
            reference.TransformPhysicalPointToContinuousIndex(turned.TransformIndexToPhysicalPoint(corner))
            for corner in ([0, 0, 0], last)
        ]
    )
    if np.abs(ends - np.rint(ends)).max() > SAME_VOXEL_SHARE or (np.diff(np.rint(ends), axis=0) != last).any():
        return None
    start, size = np.rint(ends[0]).astype(int), np.array(reference.GetSize())
    first, beyond = np.maximum(start, 0), np.minimum(start + turned.GetSize(), size)
    voxels = sitk.GetArrayViewFromImage(turned)
    inside = tuple(slice(low, max(low, high)) for low, high in zip(first[::-1], beyond[::-1], strict=True))
    of_labels = tuple(slice(each.start - by, each.stop - by) for each, by in zip(inside, start[::-1], strict=True))
    placed = np.zeros(size[::-1], voxels.dtype)
    placed[inside] = voxels[of_labels]
    if np.count_nonzero(placed) < np.count_nonzero(voxels):
        return None
    return Grid.of(reference).image(placed)


def _turned_as(reference: sitk.Image, image: sitk.Image) -> sitk.Image | None:
    """``image`` with its axes in the order and directions of those of ``reference``, as nearly as may be."""
    order, flips = [], []
    for axis in np.array(reference.GetDirection()).reshape(3, 3).T:
        along = axis @ np.array(image.GetDirection()).reshape(3, 3)
        order.append(int(np.abs(along).argmax()))
        flips.append(bool(along[order[-1]] < 0))
    if sorted(order) != [0, 1, 2]:
        return None
    return sitk.Flip(sitk.PermuteAxes(image, order), flips, False)


def difference(reference: sitk.Image, image: sitk.Image) -> str:
    """In what the voxels of two images differ and by how much, to go on with "it …"."""
    if sorted(reference.GetSize()) != sorted(image.GetSize()):
        sizes = (" × ".join(map(str, each.GetSize())) for each in (image, reference))
        return "has {} voxels where there are {}".format(*sizes)
    spacings = [sorted(each.GetSpacing()) for each in (image, reference)]
    if not np.allclose(*spacings, rtol=1e-3):
        return "has voxels of {} mm where they are of {} mm".format(
            *(" × ".join(f"{step:.4g}" for step in spacing) for spacing in spacings)
        )
    middles = [
        np.array(each.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in each.GetSize()]))
        for each in (image, reference)
    ]
    apart = np.linalg.norm(middles[0] - middles[1])
    return f"lies {apart:.3g} mm apart" if apart > SAME_VOXEL_SHARE else "is turned or mirrored"


def obliquity_deg(image: sitk.Image) -> float:
    """The largest angle between an image axis and the patient axis nearest to it."""
    axes = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    return math.degrees(math.acos(min(1.0, float(axes.max(axis=0).min()))))


def slice_axis(image: sitk.Image) -> int | None:
    """The image axis along which slices follow one another; None where voxels are about even."""
    spacing = np.array(image.GetSpacing())
    _, second, largest = np.sort(spacing)
    return int(spacing.argmax()) if largest > LEAST_SLICE_RATIO * second else None


def crop_grid(image: sitk.Image, centre_lps: Sequence[float], settings: CropSettings) -> Grid:
    """The grid on which the networks read ``image``.

    Columns and rows have the crop's spacing and size. Front to back, slices are the crop's where the image is sampled
    at least as densely; where its slices lie further apart (coronal MRI of 4 to 5 mm is common), they are taken as
    they were acquired, at their own positions: the network reads single slices, and an interpolated one would be a
    blend of two anatomies that nobody measured. Slices beyond the image are left out.

    Args:
        image: any orientation.
        centre_lps: midpoint of the femoral head centres, LPS mm.
    """
    if obliquity_deg(image) <= settings.largest_obliquity_deg:
        oriented = Grid.of(sitk.DICOMOrient(image, "LPS"))
    else:
        oriented = _bounding_grid(image, settings.spacing_mm)
    direction = np.array(oriented.direction).reshape(3, 3)
    # Positions along the grid's own axes, in mm. The inverse, as axes read from a file are not quite at right angles.
    along_axes = np.linalg.inv(direction)
    first = along_axes @ np.array(oriented.origin)
    centre = along_axes @ np.array(centre_lps, dtype=float)

    spacing = np.array(settings.spacing_mm, dtype=float)
    size = np.array(settings.size)
    start = centre - (size - 1) / 2 * spacing
    acquired = oriented.spacing[1]
    extent = settings.size[1] * settings.spacing_mm[1]
    if acquired > spacing[1]:
        spacing[1] = acquired
        lowest = math.ceil((centre[1] - extent / 2 - first[1]) / acquired)
        highest = math.floor((centre[1] + extent / 2 - first[1]) / acquired)
        lowest, highest = max(lowest, 0), min(highest, oriented.size[1] - 1)
        start[1] = first[1] + lowest * acquired
        size[1] = highest - lowest + 1
    else:
        last = first[1] + (oriented.size[1] - 1) * acquired
        skipped = max(0, math.ceil((first[1] - start[1]) / spacing[1] - 1e-6))
        start[1] += skipped * spacing[1]
        size[1] = min(size[1] - skipped, math.floor((last - start[1]) / spacing[1] + 1e-6) + 1)
    size[1] = max(int(size[1]), 1)
    return Grid(
        size=tuple(int(n) for n in size),
        spacing=tuple(float(s) for s in spacing),
        origin=tuple(float(p) for p in direction @ start),
        direction=oriented.direction,
    )


def onto_grid(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Sample an intensity volume on ``grid`` as float32, NaN where the image has no voxel.

    Along an axis that becomes coarser the volume is smoothed first by what the wider voxel would average
    (difference of the two point spreads, full width at half maximum = spacing); no other axis is touched.
    """
    image = sitk.Cast(image, sitk.sitkFloat32)
    image_axes = np.array(image.GetDirection()).reshape(3, 3)
    grid_axes = np.array(grid.direction).reshape(3, 3)
    for axis in range(3):
        nearest = int(np.argmax(np.abs(grid_axes.T @ image_axes[:, axis])))
        fine, coarse = image.GetSpacing()[axis], grid.spacing[nearest]
        # A recursive filter needs four samples; so short an axis has nothing to smooth.
        if coarse > fine * 1.001 and image.GetSize()[axis] >= 4:
            sigma = math.sqrt(coarse**2 - fine**2) / (2 * math.sqrt(2 * math.log(2)))
            image = sitk.RecursiveGaussian(image, sigma, direction=axis)
    return grid.resample(image, sitk.sitkLinear, math.nan)


def coronal_slices(image: sitk.Image) -> np.ndarray:
    """A volume on a crop grid as an array (slice front to back, row head to foot, column right to left)."""
    return sitk.GetArrayFromImage(image).transpose(1, 0, 2)[:, ::-1]


def from_coronal_slices(slices: np.ndarray, grid: Grid) -> sitk.Image:
    """The inverse of :func:`coronal_slices`."""
    return grid.image(np.ascontiguousarray(slices[:, ::-1].transpose(1, 0, 2)))


def _bounding_grid(image: sitk.Image, spacing_mm: Sequence[float]) -> Grid:
    """A grid along the patient's axes that holds the whole image."""
    size = image.GetSize()
    corners = np.array(
        [image.TransformContinuousIndexToPhysicalPoint([c * (n - 1) for c, n in zip(corner, size, strict=True)])
         for corner in np.ndindex(2, 2, 2)]
    )  # fmt: skip
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    voxels = np.floor((highest - lowest) / np.array(spacing_mm)).astype(int) + 1
    return Grid(
        size=tuple(int(n) for n in voxels),
        spacing=tuple(float(s) for s in spacing_mm),
        origin=tuple(float(p) for p in lowest),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
