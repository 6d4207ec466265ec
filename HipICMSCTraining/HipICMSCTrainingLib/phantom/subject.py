"""One synthetic subject as CT or MR, with the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from HipICMSCTrainingLib.phantom import contrast
from HipICMSCTrainingLib.phantom.anatomy import Anatomy
from HipICMSCTrainingLib.phantom.fields import Texture, slabs
from HipICMSCTrainingLib.phantom.shape import POPULATIONS, HipShape, Population, draw_shape

CT_SPACING_MM = (1.25, 1.25, 1.25)
MRI_IN_PLANE_MM = 0.9
MRI_SLICE_MM = 4.5

_CT_STREAM, _MRI_STREAM = 0, 1  # subject 0 of the CTs is another person than subject 0 of the MRs
_SLAB_VOXELS = 600_000  # worked on at a time, so that the arrays stay in the processor's cache
_SAMPLE_MM = 1.5  # the thickest sample through a slice when it is averaged from several
_FINE_MM, _BROAD_MM, _BIAS_MM = 4.0, 14.0, 130.0


@dataclass(frozen=True)
class PhantomSubject:
    """A synthetic volume and all that is known about it.

    Attributes:
        image: int16; CT in HU, MR in arbitrary units.
        label: uint8 on the image's grid: 0 background, 1 hip bone, 2 proximal femur, solid.
        head_right, head_left: femoral head centres of the subject's right and left side (LPS, mm).
        shape: what was drawn for this subject.
    """

    image: sitk.Image
    label: sitk.Image
    head_right: tuple[float, float, float]
    head_left: tuple[float, float, float]
    shape: HipShape


def make_ct(
    seed: int,
    subject: int,
    *,
    spacing_mm: tuple[float, float, float] = CT_SPACING_MM,
    population: str = "ct",
    shape: HipShape | None = None,
) -> PhantomSubject:
    """Synthetic CT of the pelvis, axes along LPS; the same arguments give the same bytes.

    Args:
        spacing_mm: left-right, front-back, head-foot.
        population: key of POPULATIONS: whose shapes, and which field of view.
        shape: this shape in place of one drawn from the population.
    """
    rng = np.random.default_rng([seed, subject, _CT_STREAM])
    people = POPULATIONS[population]
    drawn = draw_shape(rng, people)
    anatomy = Anatomy(rng, shape or drawn)
    grid = _grid(anatomy, people, spacing_mm, np.eye(3))
    clean, label = _acquire(anatomy, grid, 1, contrast.varied(contrast.CT, rng, 0.03), rng)
    sigma_mm = rng.uniform(0.5, 0.75)
    values = contrast.with_ct_noise(clean, rng, sigma_mm / np.array(spacing_mm[::-1]), rng.uniform(9, 18))
    return _subject(anatomy, grid, values, label)


def make_mri(
    seed: int,
    subject: int,
    *,
    in_plane_mm: float = MRI_IN_PLANE_MM,
    slice_mm: float = MRI_SLICE_MM,
    fat_suppressed: bool = False,
    population: str = "mri",
    shape: HipShape | None = None,
) -> PhantomSubject:
    """Synthetic MR of the pelvis in slightly oblique coronal slices; the same arguments give the same bytes.

    Image axes: right to left, head to feet, front to back, turned by a few degrees. Thick slices average what lies in
    them (partial volume).

    Args:
        in_plane_mm: size of a pixel.
        slice_mm: thickness of a slice; slices adjoin.
        fat_suppressed: proton density with fat suppression (marrow darker than muscle) in place of T1.
        population: key of POPULATIONS: whose shapes, and which field of view.
        shape: this shape in place of one drawn from the population.
    """
    rng = np.random.default_rng([seed, subject, _MRI_STREAM])
    people = POPULATIONS[population]
    drawn = draw_shape(rng, people)
    anatomy = Anatomy(rng, shape or drawn)
    grid = _grid(anatomy, people, (in_plane_mm, in_plane_mm, slice_mm), _oblique_coronal(rng))
    sequence = contrast.FAT_SUPPRESSED if fat_suppressed else contrast.T1
    samples = math.ceil(slice_mm / _SAMPLE_MM) if slice_mm > 2 * in_plane_mm else 1
    clean, label = _acquire(anatomy, grid, samples, contrast.varied(sequence, rng), rng)
    bias = Texture(rng, clean.shape, grid.GetSpacing()[::-1], _BIAS_MM).on(slice(None))
    bias = np.exp(np.float32(rng.uniform(0.06, 0.14)) * bias)
    values = contrast.with_mr_noise(clean, rng, bias, rng.uniform(9, 18))
    return _subject(anatomy, grid, values, label)


def _acquire(
    anatomy: Anatomy, grid: sitk.Image, samples: int, look: contrast.Contrast, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free image (float32) and label (uint8) on ``grid``, averaged over ``samples`` planes within each slice."""
    fine_grid = _subdivided(grid, samples)
    columns, rows, depth = fine_grid.GetSize()
    spacing = fine_grid.GetSpacing()
    fine, broad = (Texture(rng, (depth, rows, columns), spacing[::-1], grain) for grain in (_FINE_MM, _BROAD_MM))
    image = np.empty((depth // samples, rows, columns), np.float32)
    label = np.empty(image.shape, np.uint8)
    slices = samples * max(1, _SLAB_VOXELS // (rows * columns * samples))
    voxel_mm = float(np.prod(spacing) ** (1 / 3))

    def averaged(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, samples, rows, columns).mean(axis=1)

    for piece, points in slabs(fine_grid, anatomy.body, slices):
        tissues = anatomy.tissues(points, voxel_mm)
        whole = slice(piece.start // samples, piece.stop // samples)
        image[whole] = averaged(contrast.painted(tissues, look, fine.on(piece), broad.on(piece)))
        label[whole] = np.where(averaged(tissues.hip_bone) >= 0.5, 1, np.where(averaged(tissues.femur) >= 0.5, 2, 0))
    return image, label


def _grid(
    anatomy: Anatomy, people: Population, spacing: tuple[float, float, float], direction: np.ndarray
) -> sitk.Image:
    """An empty image with the population's field of view about the subject's hips."""
    middle = (np.array(anatomy.head_centre(-1)) + anatomy.head_centre(1)) / 2 + people.view_offset_mm
    extent = np.abs(np.rint(direction)).T @ np.array(people.view_mm)  # along the image's own axes
    size = np.maximum(1, np.rint(extent / spacing)).astype(int)
    corner = middle - direction @ ((size - 1) / 2 * spacing)
    return _empty([int(n) for n in size], spacing, corner, direction.ravel())


def _subdivided(grid: sitk.Image, samples: int) -> sitk.Image:
    """The same space with ``samples`` planes in the place of each slice."""
    columns, rows, depth = grid.GetSize()
    x, y, z = grid.GetSpacing()
    origin = grid.TransformContinuousIndexToPhysicalPoint((0, 0, -0.5 + 0.5 / samples))
    return _empty((columns, rows, depth * samples), (x, y, z / samples), origin, grid.GetDirection())


def _empty(
    size: Sequence[int], spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float]
) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def _oblique_coronal(rng: np.random.Generator) -> np.ndarray:
    """Direction matrix of coronal slices turned by up to a few degrees about each axis."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(float(a) for a in np.radians(rng.uniform(-4, 4, 3))))
    coronal = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
    return np.array(turn.GetMatrix()).reshape(3, 3) @ coronal


def _subject(anatomy: Anatomy, grid: sitk.Image, values: np.ndarray, label: np.ndarray) -> PhantomSubject:
    image, truth = sitk.GetImageFromArray(values), sitk.GetImageFromArray(label)
    image.CopyInformation(grid)
    truth.CopyInformation(grid)
    return PhantomSubject(image, truth, anatomy.head_centre(-1), anatomy.head_centre(1), anatomy.shape)
