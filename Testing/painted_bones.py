"""Bones painted as balls into a cube about the world's origin, however it lies, and how sure a network is of them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads

RIGHT_HEAD, LEFT_HEAD = (-85.0, 0.0, 0.0), (85.0, 0.0, 0.0)
HEADS = FemoralHeads(RIGHT_HEAD, LEFT_HEAD)

AXIAL = np.eye(3)
FLIPPED = np.diag([-1.0, 1.0, -1.0])
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def rotation(degrees: float) -> np.ndarray:
    """A turn about the patient's z and then x axis."""
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


GRIDS = {
    "axial": (AXIAL, (3.0, 3.0, 3.0)),
    "flipped": (FLIPPED, (3.0, 3.0, 3.0)),
    "thick oblique coronal": (rotation(12) @ CORONAL, (2.0, 2.0, 5.2)),
    "oblique flipped": (rotation(-25) @ FLIPPED, (3.0, 2.0, 2.5)),
}


def empty_image(direction: np.ndarray, spacing: tuple[float, ...], extent_mm: float = 300.0) -> sitk.Image:
    """A cube about the world's origin."""
    image = sitk.Image([round(extent_mm / s) for s in spacing], sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel())
    middle = (np.array(image.GetSize()) - 1) / 2 * spacing
    image.SetOrigin(-direction @ middle)
    return image


def points_of(image: sitk.Image) -> np.ndarray:
    """LPS points (z, y, x, 3) of all voxels."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in reversed(image.GetSize())), indexing="ij")[::-1], -1)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return (index * image.GetSpacing() @ direction.T + image.GetOrigin()).astype(np.float32)


def painted(image: sitk.Image, *balls: tuple[int, tuple[float, float, float], float]) -> sitk.Image:
    """Paint balls (value, centre, radius in mm), later ones over earlier ones."""
    array = sitk.GetArrayFromImage(image)
    points = points_of(image)
    for value, centre, radius in balls:
        array[np.linalg.norm(points - np.float32(centre), axis=-1) <= radius] = value
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def hips(x_of_heads: tuple[float, ...] = (-85.0, 85.0)) -> list[tuple[int, tuple[float, float, float], float]]:
    """For each head a ball of hip bone about and above it and towards the middle, then the femur's head and shaft."""
    balls = []
    for x in x_of_heads:
        balls += [(1, (0.85 * x, 0.0, 20.0), 40.0), (2, (x, 0.0, 0.0), 24.0), (2, (x * 1.1, 0.0, -40.0), 22.0)]
    return balls


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def confidence_of(image: sitk.Image, *balls: tuple[float, tuple[float, float, float], float]) -> sitk.Image:
    """1 everywhere, but for balls (confidence, centre, radius in mm)."""
    array = np.ones(image.GetSize()[::-1], np.float32)
    points = points_of(image)
    for value, centre, radius in balls:
        array[np.linalg.norm(points - np.float32(centre), axis=-1) <= radius] = value
    confidence = sitk.GetImageFromArray(array)
    confidence.CopyInformation(image)
    return confidence
