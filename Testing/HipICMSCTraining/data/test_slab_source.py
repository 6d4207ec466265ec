"""Batches of slabs: a pure function of seed, step, stage and process, whatever was drawn before and by whom."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.preprocessing.intensity import PADDING
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.slab_cache import Arrays
from HipICMSCTrainingLib.data.slab_source import SlabSource
from HipICMSCTrainingLib.data.slab_stack import (
    SlabStack,
    corrected_stack,
    ct_slab,
    ct_stack,
    mr_stack,
    simulated_stack,
    slab_at,
)
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from HipICMSCTrainingLib.settings.simulation import SlabShape
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER, TRANSLATION
from HipICMSCTrainingLib.simulation.anatomy import Anatomy
from HipICMSCTrainingLib.simulation.pose import AXES, Pose
from tiny_training import SLAB_ASSIGNMENTS, tiny_settings

STAGES = (SIMULATION, TRANSLATION, TOGETHER, SELF_TRAINING)
SETTINGS = tiny_settings(SLAB_ASSIGNMENTS, batch_size=2)
SAGITTAL, CORONAL, AXIAL = range(3)


def block(size: tuple[int, int, int] = (120, 100, 140)) -> Anatomy:
    """Muscle in which a long hip bone lies right of the middle and a femur left of it."""
    _, y, x = np.indices(size)
    hip = np.maximum(np.abs(x - 40), np.abs(y - 50)) - 12.0
    femur = np.maximum(np.abs(x - 90), np.abs(y - 50)) - 10.0
    hu = np.where((hip < 0) | (femur < 0), 700, 55).astype(np.int16)
    bones = np.argwhere((hip < 0) | (femur < 0))[::500].astype(np.int16)
    hip, femur = (np.clip(distance * 10, -127, 127).astype(np.int8) for distance in (hip, femur))
    return Anatomy(hu, hip, femur, hip[::4, ::4, ::4].astype(np.float32) / 10, (), bones)


def mri(plane: int = CORONAL, size: tuple[int, int, int] = (9, 50, 80), first: float = 0.0) -> Arrays:
    """Slices that grow brighter from slice to slice and from left to right."""
    slices = np.arange(size[0])[:, None, None] / 20 + np.arange(size[2]) / 200 + first
    whole = np.broadcast_to(slices, size).astype(np.float16)
    return {
        "slices": whole.copy(),
        "covered": np.ones(size, bool),
        "step_mm": np.array([4.0], np.float32),
        "plane": np.array([plane], np.uint8),
    }


@pytest.fixture
def source():
    """Makes sources and closes them."""
    made = []

    def make(
        anatomies=(), weights=(), volumes=(), rank: int = 0, world_size: int = 1, mri_weights=(), **changes
    ) -> SlabSource:
        anatomies = list(anatomies) or [block(), block((100, 90, 130))]
        weights, volumes = list(weights) or [1.0] * len(anatomies), list(volumes) or [mri(), mri(AXIAL)]
        mri_weights = list(mri_weights) or [1.0] * len(volumes)
        made.append(
            SlabSource(anatomies, weights, volumes, mri_weights, replace(SETTINGS, **changes), rank, world_size)
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def parts(batch: Batch) -> list[torch.Tensor]:
    return [part for part in vars(batch).values() if part is not None]


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parts(first), parts(second), strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_a_batch_depends_on_seed_step_stage_and_process_alone(source, stage):
    expected = source().draw(7, stage)
    # After other steps and other stages, after a jump back, and as a resumed training asks for it.
    used = source()
    for before in (SIMULATION, stage, SELF_TRAINING):
        used.draw(3, before)
    assert same(used.draw(7, stage), expected)
    used.draw(8, stage)
    assert same(used.draw(7, stage), expected)
    step_by_step = source()
    for step in range(7):
        step_by_step.draw(step, stage)
    assert same(step_by_step.draw(7, stage), expected)
    for other in (source(seed=1).draw(7, stage), source().draw(8, stage), source(rank=1, world_size=2).draw(7, stage)):
        assert not same(other, expected)


def test_stages_draw_other_slabs(source):
    draws = source()
    assert not torch.equal(draws.draw(0, SIMULATION).x_s, draws.draw(0, SELF_TRAINING).x_s)


def test_what_each_stage_reads(source):
    draws = source()
    for stage in STAGES:
        batch = draws.draw(1, stage)
        assert batch.x_s.shape == (2, 3, 64, 64)
        assert (batch.y_s.shape, batch.y_s.dtype) == ((2, 64, 64), torch.uint8)
        if stage == SIMULATION:
            assert batch.x_t is None
        else:
            assert (batch.x_t.shape, batch.x_t.dtype) == ((2, 3, 64, 64), torch.float32)


def test_no_thread_is_left_and_nobody_else_loses_threads(source):
    before, threads = set(threading.enumerate()), torch.get_num_threads()
    draws = source()
    draws.draw(0, SIMULATION)
    assert set(threading.enumerate()) > before
    assert torch.get_num_threads() == threads
    draws.close()
    assert set(threading.enumerate()) == before


def test_what_simulates_keeps_cores_busy_and_what_cuts_ready_slices_does_not():
    source = SlabSource([block()], [1.0], [mri()], [1.0], SETTINGS, makers=3)
    assert {stage: source.busy_threads(stage) for stage in STAGES} == {
        SIMULATION: 2,
        TRANSLATION: 0,
        TOGETHER: 0,
        SELF_TRAINING: 2,
    }
    source.close()


def test_no_more_is_made_ahead_than_is_needed_and_what_is_not_needed_is_forgotten(source):
    draws = source()
    for step in range(12):
        draws.draw(step, TRANSLATION)
        assert len(draws._waiting) <= 6
    draws.draw(12, TOGETHER)
    assert {stage for _, stage in draws._waiting} == {TOGETHER}


def test_what_goes_wrong_while_a_batch_is_made_is_raised_where_it_is_asked_for(source):
    broken = replace(block(), bone_voxels=np.full((3, 3), np.nan))
    draws = source(anatomies=[broken], volumes=[mri(size=(9, 50, 80))])
    object.__setattr__(broken, "hu", None)
    with pytest.raises((AttributeError, TypeError, ValueError)):
        draws.draw(0, SIMULATION)


def test_cts_come_as_often_as_their_weights(source):
    """A CT without bone next to one with; simulated slabs of it have no labels."""
    empty = block()
    empty.hip[:], empty.femur[:] = 127, 127
    with_bone = replace(block(), bone_voxels=np.array([[60, 50, 40]], np.int16))
    empty = replace(empty, bone_voxels=with_bone.bone_voxels)
    draws = source(anatomies=[with_bone, empty], weights=[3.0, 1.0], batch_size=8)
    labelled = [bool(labels.any()) for step in range(20) for labels in draws.draw(step, TRANSLATION).y_s]
    # Not each slab of a CT with bone shows any.
    assert 0.5 < np.mean(labelled) < 0.85


def test_a_plane_with_few_mris_comes_oftener_than_their_share(source):
    """Four coronal MRIs and an axial one, which is the brighter one: a third of the slabs, not a fifth."""
    volumes = [mri(CORONAL, first=-1.0) for _ in range(4)] + [mri(AXIAL)]
    draws = source(volumes=volumes, batch_size=8, share_field_of_view=False)
    # What the volumes do not fill is padded with the least value.
    axial = [bool(slab.max() > 0.0) for step in range(60) for slab in draws.draw(step, SELF_TRAINING).x_t]
    assert 0.27 < np.mean(axial) < 0.4


@pytest.mark.parametrize("plane", [CORONAL, AXIAL, SAGITTAL])
def test_ct_and_mri_are_cut_in_the_same_plane(source, plane):
    """In the block, bones are columns from foot to head: seen end on in axial slices, lengthwise in the others."""
    still = replace(SETTINGS.simulation, pose_deg=0.0, size_sd=0.0)
    draws = source(volumes=[mri(plane, (40, 64, 64))], batch_size=8, simulation=still)
    tallest, widest = [], []
    for step in range(6):
        for labels in draws.draw(step, TRANSLATION).y_s.numpy():
            rows, columns = np.nonzero(labels == 2)
            if len(rows):
                tallest.append(np.ptp(rows) + 1)
                widest.append(np.ptp(columns) + 1)
    # 120 mm long and 20 mm thick, in pixels of 4 mm.
    assert max(widest) <= 6
    assert max(tallest) <= 6 if plane == AXIAL else max(tallest) >= 20


def test_a_shared_field_of_view_pads_what_either_slab_lacks(source):
    narrow = mri(CORONAL, (30, 40, 40), first=-0.5)
    still = replace(SETTINGS.simulation, pose_deg=0.0, size_sd=0.0)
    shared, own = (
        source(volumes=[narrow], share_field_of_view=share, batch_size=4, simulation=still) for share in (True, False)
    )
    for step in range(4):
        together, apart = shared.draw(step, TRANSLATION), own.draw(step, TRANSLATION)
        mr_lacks = apart.x_t == PADDING
        assert mr_lacks.any()
        assert (together.x_s[mr_lacks] == PADDING).all()
        assert (together.y_s[mr_lacks[:, 1]] == 0).all()
        # The CT is all muscle and bone, so that what is dark lies outside of it.
        ct_lacks = apart.x_s == PADDING
        assert ct_lacks.any()
        # But for the very border of the CT, where it is interpolated.
        assert (together.x_t[ct_lacks] == PADDING).float().mean() > 0.95
        inside = ~(mr_lacks | ct_lacks)
        assert (together.x_t[inside] == apart.x_t[inside]).float().mean() > 0.9


def test_mri_slabs_are_pieces_of_the_volume_and_mirrored_as_often_as_not(source):
    volume = mri(CORONAL, (9, 70, 90))
    draws = source(volumes=[volume], batch_size=8, share_field_of_view=False)
    mirrored = []
    for step in range(12):
        for slab in draws.draw(step, TRANSLATION).x_t:
            slope = slab[1].diff(dim=-1).mean()
            mirrored.append(bool(slope < 0))
            assert abs(slope) == pytest.approx(1 / 200, rel=0.05)
            # Neighbours differ by a slice, at the ends they are the slice itself.
            apart = (slab[1] - slab[0]).mean(), (slab[2] - slab[1]).mean()
            assert all(abs(step_) < 1e-6 or step_ == pytest.approx(1 / 20, rel=0.05) for step_ in map(float, apart))
    assert 0.3 < np.mean(mirrored) < 0.7
    plain = AugmentationSettings(flip=False)
    still = source(volumes=[volume], batch_size=8, share_field_of_view=False, augmentation=plain)
    assert (still.draw(0, TRANSLATION).x_t.diff(dim=-1).mean((1, 2, 3)) > 0).all()


def test_a_sagittal_slab_in_a_mirror_has_its_slices_in_the_other_order(source):
    draws = source(volumes=[mri(SAGITTAL, (40, 64, 64))], batch_size=8, share_field_of_view=False)
    orders = [float((slab[2] - slab[0]).mean()) for step in range(6) for slab in draws.draw(step, TRANSLATION).x_t]
    assert min(orders) < -0.05
    assert max(orders) > 0.05
    # The patient never faces the other way.
    assert all((draws.draw(step, TRANSLATION).x_t.diff(dim=-1).mean((1, 2, 3)) > 0).all() for step in range(6))


def test_an_epoch_is_as_long_as_there_are_mr_slices_unless_a_setting_says_otherwise(source):
    assert source(steps_per_epoch=None).steps_per_epoch == 18 // 2
    assert source(steps_per_epoch=None, world_size=2).steps_per_epoch == 18 // 4
    assert source(steps_per_epoch=None, batch_size=64).steps_per_epoch == 1
    assert source(steps_per_epoch=7).steps_per_epoch == 7


def test_mris_come_as_often_as_their_weights_and_a_rare_plane_is_not_drowned(source):
    coronal, axial = [mri(first=0.1 * n) for n in range(4)], mri(AXIAL)
    even = source(volumes=[*coronal, axial]).mri_shares
    assert even == pytest.approx([1 / 6] * 4 + [1 / 3])  # √4 to √1, shared by four and by one
    weighted = source(volumes=[*coronal, axial], mri_weights=[3.0, 1.0, 1.0, 1.0, 9.0]).mri_shares
    assert weighted == pytest.approx([1 / 3] + [1 / 9] * 3 + [1 / 3])


# What scores and previews look at.


def test_a_slab_is_cut_where_it_is_said_and_repeats_the_outermost_slices():
    slices = np.arange(5 * 6 * 8, dtype=np.float32).reshape(5, 6, 8)
    shape = SlabShape(3, 4, 1.0)
    assert np.array_equal(slab_at(slices, 2, shape, (1, 2)), slices[1:4, 1:5, 2:6])
    assert np.array_equal(slab_at(slices, 0, shape, (1, 2)), slices[[0, 0, 1], 1:5, 2:6])
    assert np.array_equal(slab_at(slices, 4, shape, (1, 2)), slices[[3, 4, 4], 1:5, 2:6])
    wide = slab_at(slices, 2, SlabShape(3, 10, 1.0), (-2, -1))
    assert np.array_equal(wide[:, 2:8, 1:9], slices[1:4])
    assert (wide[:, :2] == PADDING).all()
    assert (wide[:, :, 9] == PADDING).all()
    corner = slab_at(slices, 2, shape, (-2, 6), fill=7.0)
    assert np.array_equal(corner[:, 2:, :2], slices[1:4, :2, 6:])
    assert (corner[:, :2] == 7).all()


@pytest.mark.parametrize(("rows", "columns"), [(40, 50), (100, 90)])
def test_scores_look_at_the_middle_of_what_an_mri_covers_whatever_is_padded(rows, columns):
    """An MRI lies in a corner of its padded slices: their middle showed half of it, and of one hip nearly nothing."""
    inside = np.zeros((3, 160, 160), bool)
    inside[:, :rows, :columns] = True
    marks = np.where(inside, 0.5, PADDING).astype(np.float16)
    marks[:, rows // 2, columns // 2] = 1.0
    volume = mri(size=(3, 160, 160)) | {"slices": marks, "covered": inside}
    classes = {"classes": (marks == 1).astype(np.uint8), "weights": np.ones(marks.shape, np.float16)}
    for stack in (mr_stack([volume], SETTINGS.slab_shape), corrected_stack([volume | classes], SETTINGS.slab_shape)):
        slab = stack.images([1])[0]
        assert (slab[1] == 1).nonzero().tolist() == [[32, 32]]
        assert (slab[1] > PADDING).sum() == min(64, rows) * min(64, columns)
    assert np.argwhere(stack.labels[1] == 1).tolist() == [[32, 32]]


def test_an_mr_stack_holds_every_slice_of_every_volume():
    stack = mr_stack([mri(), mri(AXIAL, (5, 40, 40), first=0.3)], SETTINGS.slab_shape)
    assert isinstance(stack, SlabStack)
    assert (len(stack), stack.labels) == (14, None)
    assert stack.position_mm[:9].tolist() == [4.0 * n for n in range(-4, 5)]
    assert stack.images([0, 13]).shape == (2, 3, 64, 64)
    assert stack.images([0]).dtype == torch.float32
    assert stack.evenly(3) == [0, 6, 13]
    assert np.array_equal(
        stack.images([10])[0], slab_at(mri(AXIAL, (5, 40, 40), first=0.3)["slices"], 1, SETTINGS.slab_shape, (-12, -12))
    )


def test_an_mr_stack_takes_no_memory_beyond_that_of_its_volumes():
    """Slices were once kept with their neighbours, those of 100 MRIs in 10 GB, of which 48 are looked at."""
    volumes = [mri(size=(60, 100, 100))]
    tracemalloc.start()
    stack = mr_stack(volumes, SETTINGS.slab_shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(stack) == 60 and peak < volumes[0]["slices"].nbytes / 20


def test_a_ct_stack_shows_the_ct_and_its_labels_from_front_to_back():
    stack = ct_stack([block()], SETTINGS.slab_shape, SETTINGS.intensity)
    assert np.array_equal(stack.position_mm, np.sort(stack.position_mm))
    assert np.diff(stack.position_mm) == pytest.approx(5.0)
    middle = int(np.abs(stack.position_mm).argmin())
    # Bones lie in the middle, right of the image's middle the femur, for columns run to the left.
    assert {1, 2} <= set(np.unique(stack.labels[middle]))
    assert np.nonzero(stack.labels[middle] == 2)[1].mean() > np.nonzero(stack.labels[middle] == 1)[1].mean()
    assert not stack.labels[0].any()
    bone = stack.labels[middle] > 0
    inside = stack.slabs[middle, 1][bone]
    assert np.median(inside) == pytest.approx((700 + 200) / 1200 * 2 - 1, abs=0.02)


def test_a_ct_that_reaches_up_to_the_ribs_is_looked_at_where_its_hips_are():
    """Scored at its middle it showed no femur, of which the weights that find none then passed for as good."""
    low = block()
    above = ((0, 280), (0, 0), (0, 0))
    tall = replace(
        low,
        hu=np.pad(low.hu, above, constant_values=55),
        hip=np.pad(low.hip, above, constant_values=127),
        femur=np.pad(low.femur, above, constant_values=127),
    )
    labels = ct_stack([tall], SETTINGS.slab_shape, SETTINGS.intensity).labels
    assert (labels == 2).sum() == pytest.approx(
        (ct_stack([low], SETTINGS.slab_shape, SETTINGS.intensity).labels == 2).sum(), rel=0.05
    )


def test_a_ct_slab_is_in_the_window_of_the_settings():
    pose = Pose("axial", AXES["axial"], np.array([60.0, 50.0, 65.0]), 4.0, 1.0, False)
    image, labels = ct_slab(block(), pose, SlabShape(3, 32, 2.0), SETTINGS.intensity)
    assert image.shape == (3, 32, 32)
    assert labels.shape == (32, 32)
    assert image[1][labels == 2] == pytest.approx((700 + 200) / 1200 * 2 - 1, abs=0.2)
    assert np.median(image[1][labels == 0]) == pytest.approx((55 + 200) / 1200 * 2 - 1, abs=0.01)


def test_simulated_slabs_of_held_out_cts_are_always_the_same_ones():
    first, again = (simulated_stack([block()], SETTINGS.simulation, SETTINGS.slab_shape, 4) for _ in range(2))
    assert np.array_equal(first.slabs, again.slabs)
    assert np.array_equal(first.labels, again.labels)
    assert len(np.unique(first.slabs[:, 1].reshape(4, -1), axis=0)) == 4


def test_slabs_of_a_padded_mri_show_what_it_covers(source):
    """An MRI of one hip fills a corner of the slices that the network reads."""
    small = mri(size=(9, 200, 200))
    small["covered"][:, 60:] = small["covered"][:, :, 50:] = False
    small["slices"][~small["covered"]] = PADDING
    drawn = source(volumes=[small])
    for step in range(8):
        x_t = drawn.draw(step, SELF_TRAINING).x_t
        expected = min(60, x_t.shape[-2]) * min(50, x_t.shape[-1])
        assert ((x_t[:, 1] > PADDING).flatten(1).sum(1) == expected).all()


@pytest.mark.parametrize("stage", STAGES)
def test_slabs_of_an_mri_without_its_padding_are_those_of_one_with_it(stage):
    small = mri(size=(9, 40, 50))
    small["covered"][3:6] = False
    small |= {"classes": np.zeros((9, 40, 50), np.uint8), "weights": np.ones((9, 40, 50), np.float16)}
    small["classes"][4:6, 10:30, 10:30] = 1
    beyond, fill = ((0, 0), (0, 160), (0, 150)), {"slices": PADDING}
    padded = small | {
        name: np.pad(part, beyond, constant_values=fill.get(name, 0)) for name, part in small.items() if part.ndim == 3
    }
    settings, drawn = replace(SETTINGS, slab=replace(SETTINGS.slab, least_pixels=200)), []
    lesson = np.random.default_rng(0).integers(0, 256, (2, 9, 200, 200)).astype(np.uint8)
    for volume in (small, padded):
        made = SlabSource([block()], [1.0], [volume], [1.0], settings, corrected=[volume])
        made.lessons = [lesson]
        drawn.append([made.draw(step, stage) for step in range(12)])
        made.close()
    assert all(same(*both) for both in zip(*drawn, strict=True))


@pytest.mark.parametrize("plane", [CORONAL, SAGITTAL])
def test_what_a_teacher_says_lies_on_the_slab_that_it_says_it_of(source, plane):
    volume = mri(plane)
    made = source(volumes=[volume])
    bright, dark = (volume["slices"] > 0.312, volume["slices"] < 0.197)
    made.lessons = [np.stack([255 * bright, 51 * dark]).astype(np.uint8)]
    seen = set()
    for step in range(8):
        batch = made.draw(step, SELF_TRAINING)
        middle = batch.x_t[:, batch.x_t.shape[1] // 2]
        assert torch.equal(batch.bones_t[:, 0], (middle > 0.312).float())
        # Beyond the MRI nothing is said.
        assert torch.equal(batch.bones_t[:, 1] > 0, (middle < 0.197) & (middle > PADDING))
        seen |= set(batch.bones_t[:, 1].unique().tolist())
    assert sorted(seen) == pytest.approx([0.0, 0.2])
    assert made.draw(0, SIMULATION).bones_t is None
