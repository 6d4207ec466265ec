"""Where a result should be looked at first: the places about the bones at which the network was least sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.voxels import points_of

#: Every outline is a thin band in which the classes are even, so single voxels say nothing: doubt is what is left
#: when it is averaged over a region that a reader takes in at one glance.
SIGMA_MM = 5.0
#: What lies further away from every bone does not change a bone.
REACH_MM = 20.0
#: Places that are nearer to each other are seen in the same view.
SEPARATION_MM = 20.0
#: Less is not worth a look, whatever its rank.
LEAST_DOUBT = 0.02
#: Finer voxels are averaged first, as the smoothing takes their detail anyway.
_WORKING_SPACING_MM = 2.5


@dataclass(frozen=True)
class Place:
    """Somewhere to look.

    Attributes:
        point_lps: LPS mm.
        doubt: mean doubt of the network in its class around the point, 0 to 1.
        bone: ``short_name`` of the nearest segment; empty where no bone was found.
    """

    point_lps: tuple[float, float, float]
    doubt: float
    bone: str


def doubtful_places(confidence: sitk.Image, labels: sitk.Image, most: int = 12) -> tuple[Place, ...]:
    """The places of greatest doubt within `REACH_MM` of a bone, worst first, at least `SEPARATION_MM` apart.

    Args:
        confidence: probability of the network's own class, 0 where it saw nothing.
        labels: values of `SEGMENTS` on the same grid. Without any bone, all that the network saw is looked through.
        most: how many places at most.
    """
    doubt, grid = _smoothed_doubt(confidence)
    peaks = np.argwhere((doubt == maximum_filter(doubt, size=3, mode="constant")) & (doubt >= LEAST_DOUBT))
    values = doubt[tuple(peaks.T)]
    points = points_of(grid, peaks[:, ::-1])

    label_array = sitk.GetArrayViewFromImage(labels)
    bone_indices = np.argwhere(label_array)
    bones = np.full(len(points), "", object)
    near = np.ones(len(points), bool)
    if len(bone_indices):
        names = {segment.value: segment.short_name for segment in SEGMENTS}
        distances, nearest = cKDTree(points_of(labels, bone_indices[:, ::-1]), balanced_tree=False).query(points)
        bones = [names[value] for value in label_array[tuple(bone_indices[nearest].T)]]
        near = distances <= REACH_MM

    chosen: list[int] = []
    for i in np.argsort(-values, kind="stable"):
        if len(chosen) == most:
            break
        if near[i] and all(np.linalg.norm(points[i] - points[j]) >= SEPARATION_MM for j in chosen):
            chosen.append(i)
    return tuple(Place(tuple(points[i].tolist()), float(values[i]), bones[i]) for i in chosen)


def confidence_percent(confidence: sitk.Image) -> sitk.Image:
    """Confidence as uint8 in per cent, 0 to 100, on the same grid: small enough to be kept with a result."""
    percent = sitk.GetImageFromArray(np.round(100 * sitk.GetArrayViewFromImage(confidence)).astype(np.uint8))
    percent.CopyInformation(confidence)
    return percent


def _smoothed_doubt(confidence: sitk.Image) -> tuple[np.ndarray, sitk.Image]:
    """Doubt (z, y, x), averaged over what the network saw, 0 elsewhere; and an image on whose grid it lies."""
    confidence_array = sitk.GetArrayViewFromImage(confidence)
    seen = (confidence_array > 0).astype(np.float32)
    averaged = []
    for array in (seen, seen - confidence_array):
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(confidence)
        averaged.append(sitk.BinShrink(image, _shrink_factors(confidence)))
    grid = averaged[0]
    sigma = SIGMA_MM / np.array(grid.GetSpacing()[::-1])
    weight, doubt = (gaussian_filter(sitk.GetArrayFromImage(image), sigma, mode="constant") for image in averaged)
    return np.where(sitk.GetArrayViewFromImage(grid) > 0.5, doubt / np.maximum(weight, 1e-6), 0.0), grid


def _shrink_factors(image: sitk.Image) -> list[int]:
    return [
        max(1, min(size, int(_WORKING_SPACING_MM / spacing)))
        for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
