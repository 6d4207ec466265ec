"""A CT of the simplest patient with two hips: every surface is a sphere, a cylinder or a plane, so all is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

#: LPS mm. Heads are balls, shafts cylinders to the lower end, a hip bone is what of a thick shell lies above its head.
HEADS = {"right": (-60.0, 10.0, 30.0), "left": (60.0, 10.0, 30.0)}
HEAD_RADIUS, SHAFT_RADIUS = 24.0, 13.0
SHAFT_OUTWARDS = 12.0
SOCKET_RADIUS, PELVIS_RADIUS = 28.0, 46.0
BODY = (118.0, 80.0)  # half axes of the trunk's ellipse, left-right and front-back
GAS_CENTRE, GAS_RADIUS = (0.0, -30.0, 40.0), 16.0
TABLE_BACK = 92.0  # its upper side, 12 mm behind the body
MUSCLE, FAT, BONE, TABLE, AIR = 55, -100, 500, 200, -1000


@dataclass(frozen=True)
class SimplePatient:
    """``ct`` in HU and ``labels`` (1 hip bone, 2 femur) on one grid."""

    ct: sitk.Image
    labels: sitk.Image


def simple_patient(
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    sides: tuple[str, ...] = ("right", "left"),
    direction: np.ndarray | None = None,
    ischium: bool = False,
) -> SimplePatient:
    """
    Args:
        spacing: along the image's axes.
        sides: whose hips there are.
        direction: the image's axes, as columns; the patient's where None.
        ischium: whether a column of hip bone behind each head runs through the lower end, as in a CT that ends high.
    """
    grid = _grid(spacing, np.eye(3) if direction is None else direction)
    x, y, z = positions(grid)
    in_body = (x / BODY[0]) ** 2 + (y / BODY[1]) ** 2 < 1
    hu = np.where(in_body, MUSCLE, AIR)
    hu[(y > TABLE_BACK) & (y < TABLE_BACK + 6)] = TABLE
    hu[in_body & (x**2 / BODY[0] ** 2 + y**2 / BODY[1] ** 2 > 0.8)] = FAT
    hu[_distance((x, y, z), GAS_CENTRE) < GAS_RADIUS] = AIR
    labels = np.zeros(hu.shape, np.uint8)
    for side in sides:
        head = HEADS[side]
        away = _distance((x, y, z), head)
        labels[(away > SOCKET_RADIUS) & (away < PELVIS_RADIUS) & (z > head[2])] = 1
        if ischium:
            labels[(np.hypot(x - head[0] * 0.6, y - 45) < 11) & (z < head[2])] = 1
        outwards = SHAFT_OUTWARDS * np.sign(head[0])
        shaft = (np.hypot(x - head[0] - outwards, y - head[1]) < SHAFT_RADIUS) & (z < head[2])
        labels[(away < HEAD_RADIUS) | shaft] = 2
    hu[labels > 0] = BONE
    images = [sitk.GetImageFromArray(array) for array in (hu.astype(np.int16), labels)]
    for image in images:
        image.CopyInformation(grid)
    return SimplePatient(*images)


def positions(grid: sitk.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and z (LPS) of every voxel's centre, each an array in SimpleITK's order (z, y, x)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.GetSize()[::-1]), indexing="ij")[::-1], axis=-1)
    axes = np.array(grid.GetDirection()).reshape(3, 3) * np.array(grid.GetSpacing())
    return tuple(np.moveaxis(index @ axes.T + grid.GetOrigin(), -1, 0))


def _grid(spacing: tuple[float, float, float], direction: np.ndarray) -> sitk.Image:
    extent = np.array([244.0, 190.0, 136.0])[np.abs(direction).argmax(axis=0)]
    size = np.round(extent / spacing).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((-direction @ ((size - 1) / 2 * np.array(spacing)) + [0.0, 10.0, 14.0]).tolist())
    return grid


def _distance(points: tuple[np.ndarray, np.ndarray, np.ndarray], centre: tuple[float, float, float]) -> np.ndarray:
    return np.sqrt(sum((p - c) ** 2 for p, c in zip(points, centre, strict=True)))
