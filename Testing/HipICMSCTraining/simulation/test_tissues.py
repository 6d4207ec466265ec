"""What tissue is at each point: shares that are whole, gas that does not look like CT's, bones of cortex and marrow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.anatomy import GAS_HU
from HipICMSCTrainingLib.simulation.sampling import Section
from HipICMSCTrainingLib.simulation.tissues import MATERIALS, shares_of

FAR = 12.7
SEEDS = range(30)


def section(hu: float | torch.Tensor, hip: float = FAR, femur: float = FAR, size: int = 32) -> Section:
    """Two planes of one kind of tissue, or of given HU."""
    whole = torch.full((2, size, size), float(hu)) if isinstance(hu, int | float) else hu
    return Section(whole, torch.full_like(whole, hip), torch.full_like(whole, femur))


def shares(of: Section, seed: int = 0) -> dict[str, torch.Tensor]:
    return shares_of(of, np.random.default_rng(seed))


def total(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(found.values())).sum(0)


@pytest.mark.parametrize("hip", [FAR, 2.0, -0.5, -6.0])
def test_shares_are_never_negative_and_never_more_than_one_together(hip):
    hu = torch.linspace(-1200, 1500, 2 * 48 * 48).reshape(2, 48, 48)
    for seed in SEEDS:
        found = shares(section(hu, hip=hip, femur=4.0), seed)
        assert found.keys() <= set(MATERIALS)
        assert min(float(share.min()) for share in found.values()) >= 0
        assert total(found).max() <= 1 + 1e-5


def test_soft_tissue_is_whole_and_air_is_nothing():
    for seed in SEEDS:
        for hu in (-90, 10, 55, 90):
            assert total(shares(section(hu), seed)).min() > 1 - 1e-5
        assert total(shares(section(-1000), seed)).max() < 0.05


def test_fat_is_fat_and_muscle_is_mostly_muscle():
    for seed in SEEDS:
        assert shares(section(-110), seed)["fat"].min() > 0.8
        assert shares(section(60), seed)["fat"].max() < 0.1
    assert np.mean([float(shares(section(60), seed)["muscle"].mean()) for seed in SEEDS]) > 0.6


def test_water_may_be_fluid():
    seen = [float(shares(section(8), seed)["fluid"].mean()) for seed in SEEDS]
    assert max(seen) > 0.6
    assert max(float(shares(section(60), seed)["fluid"].mean()) for seed in SEEDS) < 0.05


def test_gas_is_all_tissue_or_all_air_and_mostly_tissue():
    hu = torch.full((2, 32, 32), 50.0)
    hu[:, 8:24, 8:24] = GAS_HU
    filled = []
    for seed in range(60):
        inside = total(shares(section(hu), seed))[:, 8:24, 8:24]
        assert inside.max() - inside.min() < 0.1 or inside.min() > 0.9
        filled.append(bool(inside.min() > 0.9))
        assert filled[-1] or inside.max() < 0.1
    assert 0.5 < np.mean(filled) < 0.9


def test_bones_are_of_cortex_and_marrow_alone():
    bone = {"cortex", "red_marrow", "yellow_marrow"}
    for seed in SEEDS:
        for hu, hip, femur in ((200, -5.0, FAR), (200, FAR, -5.0), (900, -1.0, 3.0)):
            found = shares(section(hu, hip, femur), seed)
            assert torch.allclose(sum(found[name] for name in bone), torch.ones(2, 32, 32), atol=1e-5)
            assert max(float(found[name].max()) for name in found.keys() - bone) == 0


def test_dense_bone_is_cortex_and_the_depths_are_marrow():
    for seed in SEEDS:
        assert shares(section(1200, hip=-0.8), seed)["cortex"].min() > 0.9
        assert shares(section(100, femur=-8.0), seed)["cortex"].max() < 0.2
        femur = shares(section(100, femur=-8.0), seed)
        assert (femur["red_marrow"] + femur["yellow_marrow"]).min() > 0.8


def test_hip_bones_have_more_red_marrow_than_femora():
    red = {
        name: np.mean([float(shares(section(100, **depth), seed)["red_marrow"].mean()) for seed in SEEDS])
        for name, depth in (("hip", {"hip": -8.0}), ("femur", {"femur": -8.0}))
    }
    assert red["hip"] > red["femur"] + 0.1


def test_in_some_patients_the_marrow_of_a_hip_bone_is_as_yellow_as_that_of_a_femur():
    """Or else its brightness told which bone it is."""
    hip, femur = (
        np.array([float(shares(section(100, **depth), seed)["red_marrow"].mean()) for seed in range(100)])
        for depth in ({"hip": -8.0}, {"femur": -8.0})
    )
    assert 0.2 < np.mean(hip < 0.15) < 0.5
    assert np.mean(hip > femur + 0.05) > 0.5


def test_other_bones_are_neither_soft_nor_missing():
    for seed in SEEDS:
        spine = shares(section(400), seed)
        assert total(spine).min() > 1 - 1e-5
        assert (spine["cortex"] + spine["red_marrow"] + spine["yellow_marrow"]).min() > 0.99


def test_the_sacrum_of_a_patient_has_marrow_as_the_hip_bones_have():
    """Or else F_t learned to tell it from them by what no MRI shows."""
    hu = torch.full((2, 64, 64), 250.0)
    hip = torch.full_like(hu, -8.0)
    hip[..., 32:] = FAR
    found = [shares(Section(hu, hip, torch.full_like(hu, FAR)), seed) for seed in range(100)]
    red, cortex = (
        np.array([[float(each[name][..., half].mean()) for half in (slice(32), slice(32, None))] for each in found])
        for name in ("red_marrow", "cortex")
    )
    assert np.corrcoef(red.T)[0, 1] > 0.9
    assert 0 < np.mean(red[:, 1] - red[:, 0]) < 0.15
    assert abs(np.mean(cortex[:, 1] - cortex[:, 0])) < 0.1


def test_a_joint_is_cartilage_or_fluid_and_shows_no_organ():
    for seed in SEEDS:
        joint = shares(section(60, hip=1.5, femur=1.5), seed)
        assert (joint["cartilage"] + joint["fluid"]).min() > 0.95
        assert joint["organ"].max() == 0
