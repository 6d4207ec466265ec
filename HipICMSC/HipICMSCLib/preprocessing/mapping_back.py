"""The way back: from probabilities where the network read an image to classes on the image's own voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.preprocessing.geometry import Grid


def classes_and_confidence(
    readings: Sequence[Sequence[sitk.Image]], image: sitk.Image
) -> tuple[sitk.Image, sitk.Image]:
    """Each voxel's most probable class, and how probable that is.

    Probabilities, not labels, are interpolated, so that outlines keep their place between the network's pixels. Only
    the part of the input that was read is computed.

    Args:
        readings: one or more readings of the image, whose mean counts; each gives the probability of every class but
            background, on a grid of its own. All cover the same part of the image, or nearly so.
        image: the input.

    Returns:
        uint8 classes and float32 confidence on the input's grid; both 0 where the image was not read.
    """
    corner, size = _overlap(Grid.of(readings[0][0]), image)
    target = Grid.of(sitk.RegionOfInterest(image, size, corner))
    foreground = sum(np.stack([_sampled(target, volume) for volume in reading]) for reading in readings) / len(readings)
    grid = Grid.of(readings[0][0])
    ones = grid.image(np.ones(grid.size[::-1], np.uint8))
    inside = sitk.GetArrayFromImage(target.resample(ones, sitk.sitkNearestNeighbor, 0)) > 0
    # The first of equals counts, as in np.argmax, which takes thrice the time along the first axis.
    classes, confidence = np.zeros(inside.shape, np.uint8), 1.0 - foreground.sum(0)
    for number, probability in enumerate(foreground, start=1):
        classes[probability > confidence] = number
        np.maximum(confidence, probability, out=confidence)
    confidence[~inside] = 0.0
    return _pasted(classes, image, corner), _pasted(confidence, image, corner)


def _sampled(target: Grid, volume: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(target.resample(volume, sitk.sitkLinear, 0.0))


def _overlap(grid: Grid, image: sitk.Image) -> tuple[list[int], list[int]]:
    """The smallest box of input voxels that holds all of the crop: first index and size."""
    crop = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    crop.SetSpacing(grid.spacing)
    crop.SetOrigin(grid.origin)
    crop.SetDirection(grid.direction)
    corners = np.array(
        [
            image.TransformPhysicalPointToContinuousIndex(
                crop.TransformContinuousIndexToPhysicalPoint(
                    [c * n - 0.5 for c, n in zip(corner, grid.size, strict=True)]
                )
            )
            for corner in np.ndindex(2, 2, 2)
        ]
    )
    last = np.array(image.GetSize()) - 1
    first = np.clip(np.floor(corners.min(axis=0)), 0, last).astype(int)
    final = np.clip(np.ceil(corners.max(axis=0)), 0, last).astype(int)
    return first.tolist(), (final - first + 1).tolist()


def _pasted(part: np.ndarray, image: sitk.Image, corner: list[int]) -> sitk.Image:
    """``part`` in an otherwise empty volume on the grid of ``image``."""
    whole = np.zeros(image.GetSize()[::-1], part.dtype)
    x, y, z = corner
    depth, height, width = part.shape
    whole[z : z + depth, y : y + height, x : x + width] = part
    return Grid.of(image).image(whole)
