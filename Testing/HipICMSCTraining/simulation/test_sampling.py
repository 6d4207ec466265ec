"""Cutting an anatomy: every point shows what lies there, and beyond the CT is air."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, Anatomy
from HipICMSCTrainingLib.simulation.sampling import cut, sampled


@pytest.fixture(scope="module")
def ramp() -> Anatomy:
    """HU that rise by 3, 5 and 7 a millimetre, and distances that do, too."""
    z, y, x = np.indices((30, 40, 50))
    hu = (3 * z + 5 * y + 7 * x).astype(np.int16)
    return Anatomy(hu, (z - 15).astype(np.int8), (x - 20).astype(np.int8), np.zeros((8, 10, 13), np.float32), (),
                   np.zeros((0, 3), np.int16))  # fmt: skip


def corners(first: tuple[float, float, float], down: tuple, right: tuple) -> torch.Tensor:
    """The four corners of one plane (1, 2, 2, 3)."""
    first, down, right = (np.array(v, np.float32) for v in (first, down, right))
    return torch.from_numpy(np.array([[[first, first + right], [first + down, first + down + right]]]))


def test_each_pixel_shows_what_lies_there_also_on_a_slanted_plane(ramp):
    knots = corners((2.5, 3.0, 40.0), (20.0, 6.0, -3.0), (5.0, 25.0, -30.0))
    section = cut(ramp, knots, patch=33)
    at = torch.linspace(0, 1, 33)
    z, y, x = (
        knots[0, 0, 0, axis]
        + at[:, None] * (knots[0, 1, 0, axis] - knots[0, 0, 0, axis])
        + at * (knots[0, 0, 1, axis] - knots[0, 0, 0, axis])
        for axis in range(3)
    )
    assert section.hu.shape == (1, 33, 33)
    assert torch.allclose(section.hu[0], (3 * z + 5 * y + 7 * x) / FINE_MM, atol=0.05)
    assert torch.allclose(section.hip[0], (z / FINE_MM - 15) * 0.1, atol=1e-3)
    assert torch.allclose(section.femur[0], (x / FINE_MM - 20) * 0.1, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("where", [-4.0, 60.0])
def test_a_plane_beyond_the_ct_is_air_far_from_every_bone(ramp, axis, where):
    first, down, right = np.zeros(3), np.zeros(3), np.zeros(3)
    first[axis] = where
    down[(axis + 1) % 3], right[(axis + 2) % 3] = 20.0, 20.0
    section = cut(ramp, corners(first, down, right), patch=8)
    assert torch.allclose(section.hu, torch.tensor(-1000.0))
    assert torch.allclose(section.hip, torch.tensor(12.7))
    assert torch.allclose(section.femur, torch.tensor(12.7))


def test_a_plane_half_outside_is_half_air(ramp):
    section = cut(ramp, corners((10, -20, 5), (0, 40, 0), (0, 0, 40)), patch=41)
    assert (section.hu[0, :19] == -1000).all()
    assert torch.allclose(section.hu[0, 20], torch.tensor([30.0 + 7 * x for x in range(5, 46)]), atol=0.05)


def test_beyond_a_volume_is_nothing_or_its_border():
    volume = torch.arange(24.0).reshape(2, 3, 4) + 1
    beyond = torch.tensor([[[[0.0, 0.0, 9.0]]]])
    assert sampled(volume, beyond).item() == 0
    assert sampled(volume, beyond, outside="border").item() == 4
    assert sampled(volume, torch.tensor([[[[0.5, 1.0, 2.0]]]])).item() == pytest.approx((7 + 19) / 2)
