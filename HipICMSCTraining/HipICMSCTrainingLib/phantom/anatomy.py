"""One subject: shape, position and organs, and the share of each tissue in each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCTrainingLib.phantom import bones, soft_tissue
from HipICMSCTrainingLib.phantom.fields import FAR_MM, Body, Deformation, Points, ball, ellipsoid, within_box
from HipICMSCTrainingLib.phantom.shape import HipShape

_DEFORMATION_MM = 3.0
_HIP_CORTEX_MM = 1.9
_SKIN_MM = 1.8


@dataclass(frozen=True)
class Tissues:
    """Tissues of some voxels, all arrays of one shape.

    Attributes:
        layers: (tissue, coverage 0…1) from the outermost to the innermost; each is painted over those before it.
        density: of the trabecular bone, 0 (fatty marrow) to 1 (dense).
        hip_bone, femur: coverage 0…1 by the whole bone, cortex and marrow.
    """

    layers: tuple[tuple[str, np.ndarray], ...]
    density: np.ndarray
    hip_bone: np.ndarray
    femur: np.ndarray


class Anatomy:
    """A subject lying somewhere in the scanner, as a function of patient coordinates."""

    def __init__(self, rng: np.random.Generator, shape: HipShape) -> None:
        self.shape = shape
        tilt, roll, yaw = np.radians([shape.pelvic_tilt_deg, rng.normal(0, 1.2), rng.normal(0, 1.2)])
        rotation = _rotation(0, tilt) @ _rotation(1, roll) @ _rotation(2, yaw)
        self.body = Body(rng.normal(0, 15, 3), rotation, Deformation(rng, _DEFORMATION_MM))
        self._organs = soft_tissue.Organs(rng)
        self._muscles = soft_tissue.Muscles(rng)

    def head_centre(self, side: int) -> tuple[float, float, float]:
        """Femoral head centre in the patient (LPS, mm); ``side`` is −1 for the right, +1 for the left."""
        return self.body.patient((side * self.shape.head_distance_mm / 2, 0, 0))

    def tissues(self, points: Points, voxel_mm: float) -> Tissues:
        """Tissues at anatomical ``points``; edges are spread over ``voxel_mm`` so that borders are not jagged."""
        hip, femur, femur_cortex, joint, density = self._bones_and_joints(points)
        sacrum = bones.sacrum(points, self.shape, hip)
        under_fat = soft_tissue.compartment(points, self.shape)
        skin = under_fat - np.float32(self.shape.fat_mm)

        def cover(distance: np.ndarray) -> np.ndarray:
            return np.clip(0.5 - distance / np.float32(voxel_mm), 0, 1)

        pelvic = np.minimum(hip, sacrum)
        bone = np.minimum(pelvic, femur)
        marrow = np.minimum(pelvic + np.float32(_HIP_CORTEX_MM), femur + femur_cortex)
        layers = (
            ("skin", cover(skin)),
            ("fat", cover(skin + np.float32(_SKIN_MM))),
            ("muscle", cover(self._muscles.distance(points, under_fat, self.shape))),
            ("organ", cover(self._organs.solid(points))),
            ("fluid", cover(self._organs.fluid(points))),
            ("gas", cover(self._organs.gas(points))),
            ("vessel", cover(soft_tissue.vessels(points, self.shape))),
            ("cartilage", cover(joint)),
            ("cortex", cover(bone)),
            ("marrow", cover(marrow)),
        )
        return Tissues(layers, density, cover(hip), cover(femur))

    def _bones_and_joints(self, points: Points) -> tuple[np.ndarray, ...]:
        """Distances to hip bones, femora and cartilage, the femoral cortex's thickness, and the trabecular density."""
        x, y, z = points
        shape = self.shape
        half = np.float32(shape.head_distance_mm / 2)
        hip, femur, joint = (np.full(x.shape, FAR_MM) for _ in range(3))
        cortex = np.zeros_like(x)
        density = np.full_like(x, 0.3)
        for sign in (-1, 1):
            side = (sign * x - half, y, z)
            this_femur, this_cortex = bones.femur(side, shape)
            np.minimum(femur, this_femur, out=femur)
            np.minimum(hip, bones.hip_bone(side, shape, this_femur), out=hip)
            np.copyto(cortex, this_cortex, where=side[0] > -half)
            from_head = within_box(side, (-70, -70, -70), (70, 70, 70), lambda p: ball(p, (0, 0, 0), 0.0))
            np.minimum(joint, from_head - np.float32(shape.head_radius_mm + shape.joint_gap_mm), out=joint)
            # Dense in the head and the roof above it, fatty down the shaft.
            near = 0.75 * np.exp(-((from_head / np.float32(34)) ** 2))
            np.copyto(density, 0.25 + near - np.clip((-35 - z) / 120, 0, 0.3), where=side[0] > -half)
        disc = within_box(points, (-25, -75, -60), (25, -5, 10), lambda p: ellipsoid(p, (0, -42, -25), (5, 10, 15)))
        return hip, femur, cortex, np.minimum(joint, disc), density


def _rotation(axis: int, angle: float) -> np.ndarray:
    a, b = (i for i in range(3) if i != axis)
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix
