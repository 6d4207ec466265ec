"""Marrow that is mottled: only within bones, of as much material as before, now and then with islands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from HipICMSCTrainingLib.simulation.marrow import with_mottled_marrow
from HipICMSCTrainingLib.simulation.sampling import Section
from shares_by_seed import Shares, before_and_after

SIZE = 64


@pytest.fixture(scope="module")
def section() -> Section:
    """Two planes of even HU, hip bone in the left third and femur in the right."""
    across = torch.arange(SIZE).expand(2, SIZE, SIZE)
    hip, femur = (torch.where(of_bone, -6.0, 12.0) for of_bone in (across < SIZE // 3, across >= 2 * SIZE // 3))
    return Section(torch.full((2, SIZE, SIZE), 60.0), hip, femur)


@pytest.fixture(scope="module")
def pairs(section) -> list[tuple[Shares, Shares]]:
    return before_and_after(section, with_mottled_marrow)


def in_bone(section: Section) -> torch.Tensor:
    return torch.minimum(section.hip, section.femur) < 0


def test_nothing_changes_beside_the_bones(section, pairs):
    beside = ~in_bone(section)
    for before, after in pairs:
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name][beside], after[name][beside]) for name in before)


def test_a_bone_stays_whole(section, pairs):
    for _, after in pairs:
        assert min(float(share.min()) for share in after.values()) >= -1e-6
        assert torch.allclose(sum(after.values())[in_bone(section)], torch.tensor(1.0), atol=1e-5)


def test_the_marrow_of_about_half_of_the_slabs_is_redder_here_than_there(section, pairs):
    gained = [(after["red_marrow"] - before["red_marrow"])[section.hip < 0] for before, after in pairs]
    assert 0.35 < np.mean([float(share.std()) > 0.05 for share in gained]) < 0.65
    assert 0.35 < np.mean([float(share.std()) == 0 for share in gained]) < 0.65


@pytest.mark.parametrize("island", ["organ", "cortex"])
def test_some_have_islands_of_what_is_no_marrow(section, pairs, island):
    gained = [float((after[island] - before[island])[in_bone(section)].max()) for before, after in pairs]
    assert 0.1 < np.mean(np.array(gained) > 0.3) < 0.5
    assert min(gained) >= -1e-6


def test_other_bones_are_mottled_too():
    """Or else mottles told a hip bone from the sacrum."""
    far = torch.full((2, SIZE, SIZE), 12.7)
    pairs = before_and_after(Section(torch.full_like(far, 250.0), far, far), with_mottled_marrow)
    gained = [after["red_marrow"] - before["red_marrow"] for before, after in pairs]
    assert 0.35 < np.mean([float(share.std()) > 0.05 for share in gained]) < 0.65
