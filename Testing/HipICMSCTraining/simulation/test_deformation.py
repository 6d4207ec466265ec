"""Other patients from one: a femur turns in its socket about its head, and a warp bends without tearing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.settings.simulation import SimulationSettings
from HipICMSCTrainingLib.simulation.deformation import deformed
from HipICMSCTrainingLib.simulation.pose import rotation
from scipy.spatial.transform import Rotation
from simple_patient import PELVIS_RADIUS, SHAFT_OUTWARDS, SOCKET_RADIUS

STIFF = SimulationSettings(warp_mm=0.0, femur_deg=(0.0, 0.0, 0.0))


def moved(points: np.ndarray, anatomy, settings: SimulationSettings, seed: int = 0) -> np.ndarray:
    at = torch.from_numpy(np.asarray(points, np.float32)).reshape(-1, 1, 1, 3)
    return deformed(at, anatomy, settings, np.random.default_rng(seed)).numpy().reshape(-1, 3)


def points_in_shaft(head: np.ndarray) -> np.ndarray:
    return np.array([head - (down, 0, SHAFT_OUTWARDS) for down in range(35, 90, 5)])


def points_in_hip_bone(head: np.ndarray) -> np.ndarray:
    """Well within the shell above the head, and away from the femur."""
    middle = (SOCKET_RADIUS + 3 * PELVIS_RADIUS) / 4
    directions = [rotation(np.array([0.0, tilt, 0.0])) @ (1, 0, 0) for tilt in range(-50, 60, 10)]
    return np.array([head + middle * direction for direction in directions])


def test_without_any_deformation_nothing_moves(anatomy):
    points = np.random.default_rng(0).uniform(0, anatomy.shape, (500, 3))
    assert np.abs(moved(points, anatomy, STIFF) - points).max() < 1e-3


@pytest.mark.parametrize("turns", [(20.0, 0.0, 0.0), (0.0, 20.0, 0.0), (8.0, 6.0, 12.0)])
def test_a_femur_turns_about_its_head_while_the_hip_bone_stays(anatomy, turns):
    (femur,) = anatomy.femora
    settings = replace(STIFF, femur_deg=turns)
    # What lies here after the turn, and where it lay before.
    after = points_in_shaft(femur.head)
    before = moved(after, anatomy, settings)
    assert np.linalg.norm(before - after, axis=1).max() > 2
    turn, residual = Rotation.align_vectors(before - femur.head, after - femur.head)
    assert residual < 0.5
    assert turn.magnitude() > np.deg2rad(1)
    assert np.abs(moved([femur.head], anatomy, settings) - femur.head).max() < 0.05
    hip = points_in_hip_bone(femur.head)
    assert np.abs(moved(hip, anatomy, settings) - hip).max() < 0.5


def test_flexion_brings_the_knee_to_the_front_or_the_back_and_abduction_to_a_side(anatomy):
    (femur,) = anatomy.femora
    knee = points_in_shaft(femur.head)[-1:]
    for turns, moving, still in (((10.0, 0.0, 0.0), 1, 2), ((0.0, 10.0, 0.0), 2, 1)):
        shift = (moved(knee, anatomy, replace(STIFF, femur_deg=turns)) - knee)[0]
        assert abs(shift[moving]) > 0.5
        assert abs(shift[still]) < 0.3 * abs(shift[moving])


def test_far_from_every_bone_and_beyond_the_ct_nothing_is_torn(anatomy):
    settings = replace(STIFF, femur_deg=(15.0, 15.0, 15.0))
    line = np.stack([np.linspace(-60, anatomy.shape[0] + 60, 400), np.full(400, 100.0), np.full(400, 60.0)], axis=-1)
    steps = np.linalg.norm(np.diff(moved(line, anatomy, settings), axis=0), axis=1)
    assert steps.max() < 4 * np.linalg.norm(line[1] - line[0])


def test_a_warp_is_as_large_as_asked_for_and_smooth(anatomy):
    settings = replace(STIFF, warp_mm=4.0)
    z, y, x = (np.linspace(0, n - 1, 24) for n in anatomy.shape)
    grid = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)
    shifts = [moved(grid.reshape(-1, 3), anatomy, settings, s).reshape(grid.shape) - grid for s in range(6)]
    assert 1.0 < np.std(shifts) < 4.0
    near = np.array([[100.0, 100.0, 100.0], [101.0, 100.0, 100.0]])
    for seed in range(6):
        first, second = moved(near, anatomy, settings, seed) - near
        assert np.linalg.norm(first - second) < 0.4
