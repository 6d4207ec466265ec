"""The symphysis: found in a CT however its label joins the bones, and parted by a disc that is no bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.anatomy import Anatomy, Femur
from HipICMSCTrainingLib.simulation.sampling import Section, cut
from HipICMSCTrainingLib.simulation.symphysis import with_disc, with_disc_filled
from HipICMSCTrainingLib.simulation.tissues import shares_of

SHAPE = (40, 60, 120)
#: Of the plane between the bones: x where z and y are 0, and how that grows with z and y.
LEVEL, ALONG_Z, ALONG_Y = 60.0, 0.1, -0.05


def pubis(joined: bool) -> Anatomy:
    """Two bones 30 mm high and deep that reach to 2 mm from a slanted plane, by the label into each other if joined."""
    z, y, x = np.indices(SHAPE).astype(np.float32)
    across = x - (LEVEL + ALONG_Z * z + ALONG_Y * y)
    outside = np.maximum(np.abs(z - 20) - 15, np.abs(y - 30) - 15)
    bone = np.maximum(outside, 2 - np.abs(across))
    hu = np.where(bone < -2, 150, np.where(bone < 0, 700, 60)).astype(np.int16)
    hip = (10 * np.clip(outside if joined else bone, -12.7, 12.7)).astype(np.int8)
    femora = tuple(Femur(np.array([20.0, 30.0, x]), np.zeros((10, 15, 30), np.float32)) for x in (8.0, 114.0))
    coarse = np.zeros((10, 15, 30), np.float32)
    return Anatomy(hu, hip, np.full(SHAPE, 127, np.int8), coarse, femora, np.zeros((0, 3), np.int16))


@pytest.mark.parametrize("joined", [False, True])
def test_the_plane_lies_where_the_bones_part_also_where_the_label_joins_them(joined):
    plane = pubis(joined).symphysis
    z, y = np.meshgrid(np.arange(5, 36), np.arange(15, 46), indexing="ij")
    points = np.stack([z, y, LEVEL + ALONG_Z * z + ALONG_Y * y], axis=-1)
    assert np.linalg.norm(plane.normal) == pytest.approx(1)
    assert np.abs(points @ plane.normal - plane.offset).max() < 0.8


def test_one_hip_alone_or_a_ct_without_pubis_has_no_such_plane():
    both = pubis(joined=False)
    assert replace(both, femora=both.femora[:1]).symphysis is None
    assert replace(both, hip=np.full(SHAPE, 127, np.int8)).symphysis is None


def test_a_section_knows_how_far_from_the_plane_it_is_where_it_crosses_it():
    anatomy = pubis(joined=False)
    knots = torch.tensor([[[[20.0, 10, 30], [20, 10, 90]], [[20, 50, 30], [20, 50, 90]]]])
    across = cut(anatomy, knots, patch=61).across
    x = torch.linspace(30, 90, 61)[None, :]
    y = torch.linspace(10, 50, 61)[:, None]
    expected = (x - (LEVEL + ALONG_Z * 20 + ALONG_Y * y)) * anatomy.symphysis.normal[2]
    assert (across[0] - expected).abs().max() < 0.8
    assert cut(anatomy, knots - torch.tensor([0, 0, 60.0]), patch=61).across is None


@pytest.fixture(scope="module")
def section() -> Section:
    """Two planes whose upper half is bone from left to right."""
    columns = torch.arange(80, dtype=torch.float32) - 40
    rows = torch.arange(80, dtype=torch.float32)[:, None]
    hip = (rows - 40).expand(2, 80, 80).contiguous()
    hu = torch.where(hip < 0, 150.0, 55.0)
    return Section(hu, hip, torch.full_like(hip, 40.0), columns.expand(2, 80, 80))


def test_a_disc_of_1_to_9_mm_parts_the_bones_and_nothing_else_changes(section):
    widths = []
    for seed in range(60):
        parted, disc = with_disc(section, np.random.default_rng(seed))
        assert (parted.hip[disc & (section.hip < 0)] > 0).all()
        beyond = section.across.abs() > 7
        assert torch.equal(parted.hip[beyond] < 0, section.hip[beyond] < 0)
        assert torch.equal(parted.hu[~disc], section.hu[~disc])
        assert not disc[section.hip > 2].any()
        in_bone = (parted.hip[:, :20] > 0).float().sum(-1)
        widths.append(float(in_bone.mean()))
    assert min(widths) < 2.5
    assert max(widths) > 7.5
    assert max(widths) < 11


def test_without_the_symphysis_in_view_there_is_no_disc(section):
    elsewhere = replace(section, across=None)
    parted, disc = with_disc(elsewhere, np.random.default_rng(0))
    assert parted is elsewhere
    assert disc is None
    shares = {"muscle": torch.ones(2, 80, 80)}
    assert torch.equal(with_disc_filled(dict(shares), None, np.random.default_rng(0))["muscle"], shares["muscle"])


def test_a_disc_is_of_soft_tissue_and_nothing_is_lost_or_won(section):
    for seed in range(20):
        random = np.random.default_rng(seed)
        parted, disc = with_disc(section, random)
        before = shares_of(parted, random)
        after = with_disc_filled({name: share.clone() for name, share in before.items()}, disc, random)
        assert torch.allclose(sum(after.values()), sum(before.values()), atol=1e-4)
        for name in after:
            assert torch.equal(after[name][~disc], before[name][~disc])
        assert all(float(after[name][disc].max()) == 0 for name in ("cortex", "red_marrow", "yellow_marrow"))
