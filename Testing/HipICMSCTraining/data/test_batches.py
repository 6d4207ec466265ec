"""Batches: the same for the same step, every CT slice once an epoch, MR slices from a similar place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.preprocessing.intensity import PADDING
from HipICMSCTrainingLib.data.batches import BatchSource, SliceStack
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from HipICMSCTrainingLib.settings.training import TrainingSettings

NOTHING = AugmentationSettings(flip=False, scaling=0, rotation_deg=0, shift=0, contrast=0)
SETTINGS = TrainingSettings(augmentation=NOTHING, position_window_mm=10.0)
SIZE = 8
CT_SLICES, MR_SLICES = 12, 20


def volume(first: int, count: int, positions: np.ndarray, labelled: bool) -> dict[str, np.ndarray]:
    """Slices whose grey value tells their number in the stack."""
    grey = (np.arange(first + 1, first + count + 1) / 32 - 1).astype(np.float16)
    slices = {
        "slices": np.broadcast_to(grey[:, None, None], (count, SIZE, SIZE)).copy(),
        "covered": np.ones((count, SIZE, SIZE), bool),
        "position_mm": positions.astype(np.float32),
    }
    if labelled:
        slices["labels"] = np.full((count, SIZE, SIZE), 2, np.uint8)
    return slices


def ct_stack() -> SliceStack:
    halves = [volume(0, 6, np.linspace(-40, 40, 6), True), volume(6, 6, np.linspace(-35, 45, 6), True)]
    return SliceStack(halves)


def mr_stack() -> SliceStack:
    return SliceStack([volume(0, MR_SLICES, np.linspace(-60, 60, MR_SLICES), False)])


def source(rank: int = 0, world_size: int = 1, **changes) -> BatchSource:
    return BatchSource(ct_stack(), mr_stack(), replace(SETTINGS, **changes), rank, world_size)


def numbers(images: torch.Tensor) -> list[int]:
    return [round((float(image[0, SIZE // 2, SIZE // 2]) + 1) * 32) - 1 for image in images]


def test_a_batch_depends_on_seed_and_step_alone():
    augmented = {"augmentation": AugmentationSettings(), "batch_size": 2}
    fresh, used, other = source(**augmented), source(**augmented), source(seed=1, **augmented)
    for step in range(5):
        used.draw(step)
    first, second, third = (draws.draw(5) for draws in (fresh, used, other))
    for name in ("x_s", "y_s", "x_t"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.x_t, third.x_t)
    assert not torch.equal(first.x_t, fresh.draw(6).x_t)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_epoch_shows_each_ct_slice_once_in_an_order_of_its_own(batch_size):
    draws = source(batch_size=batch_size)
    steps = CT_SLICES // batch_size
    orders = []
    for epoch in range(2):
        orders.append([n for step in range(steps) for n in numbers(draws.draw(epoch * steps + step).x_s)])
        assert sorted(orders[-1]) == list(range(CT_SLICES))
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_an_mr_slice_comes_from_about_where_the_ct_slice_lies():
    draws = source()
    drawn = set()
    for step in range(20 * CT_SLICES):
        batch = draws.draw(step)
        (ct,), (mr,) = numbers(batch.x_s), numbers(batch.x_t)
        drawn.add(mr)
        assert abs(draws.ct.position_mm[ct] - draws.mr.position_mm[mr]) <= 10
    reachable = (np.abs(draws.ct.position_mm[:, None] - draws.mr.position_mm) <= 10).any(axis=0)
    assert drawn == set(np.flatnonzero(reachable))


def test_where_no_mr_slice_is_near_the_nearest_one_serves():
    far = SliceStack([volume(0, 3, np.array([200.0, 100.0, 300.0]), False)])
    draws = BatchSource(ct_stack(), far, SETTINGS)
    assert {number for step in range(CT_SLICES) for number in numbers(draws.draw(step).x_t)} == {1}


def test_images_and_labels_have_the_shapes_and_types_that_networks_and_losses_take():
    batch = source(batch_size=2).draw(0)
    assert batch.x_s.shape == batch.x_t.shape == (2, 1, SIZE, SIZE)
    assert batch.y_s.shape == (2, SIZE, SIZE)
    assert (batch.x_s.dtype, batch.x_t.dtype, batch.y_s.dtype) == (torch.float32, torch.float32, torch.uint8)


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_field_of_view_pads_what_either_slice_lacks(shared):
    draws = source(share_field_of_view=shared)
    draws.ct.covered[:, :2], draws.mr.covered[:, :, :3] = False, False
    draws.ct.slices[:, :2], draws.mr.slices[:, :, :3] = PADDING, PADDING
    batch = draws.draw(1)
    ct_lacks, mr_lacks = torch.zeros(SIZE, SIZE, dtype=bool), torch.zeros(SIZE, SIZE, dtype=bool)
    ct_lacks[:2], mr_lacks[:, :3] = True, True
    either = ct_lacks | mr_lacks
    padded_s, padded_t = (batch.x_s[0, 0] == PADDING), (batch.x_t[0, 0] == PADDING)
    assert torch.equal(padded_s, either if shared else ct_lacks)
    assert torch.equal(padded_t, either if shared else mr_lacks)
    assert torch.equal(batch.y_s[0] == 0, either if shared else torch.zeros_like(either))


def test_processes_share_the_ct_slices_of_an_epoch_among_themselves():
    first, second = source(rank=0, world_size=2, batch_size=2), source(rank=1, world_size=2, batch_size=2)
    of_each = [[n for step in range(3) for n in numbers(draws.draw(step).x_s)] for draws in (first, second)]
    assert sorted(of_each[0] + of_each[1]) == list(range(CT_SLICES))


def test_an_epoch_is_as_long_as_the_larger_domain_unless_a_setting_says_otherwise():
    assert source().steps_per_epoch == MR_SLICES
    assert source(batch_size=3, world_size=2).steps_per_epoch == MR_SLICES // 6
    assert source(batch_size=64).steps_per_epoch == 1
    assert source(steps_per_epoch=7).steps_per_epoch == 7


def test_slices_for_the_scores_are_spread_evenly_and_always_the_same():
    stack = mr_stack()
    assert stack.evenly(5) == [0, 5, 10, 14, 19]
    assert stack.evenly(500) == list(range(MR_SLICES))
