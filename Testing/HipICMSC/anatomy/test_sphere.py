"""The sphere through points: exact where they lie on one, near it where some do not, none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from HipICMSCLib.anatomy.sphere import fit_sphere

CENTRE, RADIUS = np.array([-83.0, 12.5, 1431.0]), 24.0


def on_sphere(count: int = 400, cap: float = -1.0, seed: int = 0) -> np.ndarray:
    """Points on a sphere.

    Args:
        cap: only those whose height is at least this share of the radius.
    """
    random = np.random.default_rng(seed)
    height, turn = random.uniform(cap, 1, count), random.uniform(0, 2 * np.pi, count)
    flat = np.sqrt(1 - height**2)
    return CENTRE + RADIUS * np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


@pytest.mark.parametrize("cap", [-1.0, 0.0, 0.6])
def test_centre_and_radius_of_points_on_a_sphere_or_a_cap_of_it(cap):
    found = fit_sphere(on_sphere(cap=cap))
    assert np.allclose(found.centre, CENTRE, atol=1e-6)
    assert found.radius == pytest.approx(RADIUS, abs=1e-6)
    assert found.residual < 1e-6


def test_noise_of_a_voxel_moves_it_by_less_than_a_voxel():
    points = on_sphere(cap=-0.2) + np.random.default_rng(1).normal(0, 0.7, (400, 3))
    found = fit_sphere(points)
    assert np.linalg.norm(found.centre - CENTRE) < 0.6
    assert found.radius == pytest.approx(RADIUS, abs=0.6)
    assert 0.1 < found.residual < 1.0


def test_one_point_in_twenty_that_lies_elsewhere_is_left_out():
    neck = CENTRE + np.random.default_rng(2).uniform(-6, 6, (20, 3)) + [0, 0, -45]
    found = fit_sphere(np.concatenate([on_sphere(), neck]))
    assert np.linalg.norm(found.centre - CENTRE) < 0.1
    assert found.radius == pytest.approx(RADIUS, abs=0.1)


def test_without_a_sphere_there_is_none():
    assert fit_sphere(on_sphere(9)) is None
    assert fit_sphere(np.zeros((0, 3))) is None
    plane = np.random.default_rng(0).uniform(-20, 20, (200, 3)) * (1, 1, 0)
    assert fit_sphere(plane) is None
    assert fit_sphere(np.ones((100, 3))) is None
