"""What T1-weighted MRIs say by themselves of muscle that was called bone."""

from __future__ import annotations

import numpy as np
from HipICMSCTrainingLib.run.muscle import as_bright_as_muscle, muscle_called_bone
from scipy import ndimage
from thigh import FAT, MARROW, MUSCLE, by_a_coil, inside, thigh


def test_muscle_is_told_from_marrow_and_fat_whatever_the_coil_and_the_units():
    true, voxels = thigh(np.random.default_rng(0))
    found = as_bright_as_muscle(voxels)
    assert found[inside(true == MUSCLE, 3)].mean() > 0.97
    for tissue in (MARROW, FAT, 0.0):
        assert found[inside(true == tissue, 3)].mean() < 0.02
    assert np.array_equal(as_bright_as_muscle(voxels * 7), found)


def test_muscle_beside_a_bone_is_found_and_the_bone_stays_whole():
    """A wing of marrow in cortex, a part of it red; a muscle lies along it, a tendon beyond."""
    random = np.random.default_rng(2)
    true = np.pad(np.full((3, 200, 200), FAT), ((0, 0), (20, 20), (20, 20)))
    bone, drawn, muscle, tendon = (np.zeros(true.shape, bool) for _ in range(4))
    bone[:, 60:180, 100:130] = True
    muscle[:, 50:190, 130:156] = tendon[:, 60:180, 95:98] = True
    true[muscle | tendon] = MUSCLE
    true[bone] = 0.02
    true[inside(bone, 3)] = MARROW
    true[:, 90:110, 106:124] = MUSCLE
    # 11 mm too far into the muscle, and to the tendon on the other side.
    drawn[:, 60:180, 94:141] = True
    found = muscle_called_bone(by_a_coil(true, random), drawn)
    too_much = drawn & muscle
    assert found[inside(too_much, 3)].mean() > 0.97
    assert not found[bone].any(), "the bone lost something"
    assert not found[~too_much].any()


def test_a_muscle_that_ends_with_the_bone_is_taken_for_marrow():
    """Nothing but brightness would speak against it, and red marrow is as bright here and there."""
    true = np.pad(np.full((2, 160, 160), FAT), ((0, 0), (20, 20), (20, 20)))
    true[:, 20:100, 20:180], true[:, 130:150, 60:140] = MARROW, MUSCLE
    voxels = by_a_coil(true, np.random.default_rng(3))
    drawn = ndimage.binary_dilation(true == MUSCLE, iterations=2)
    assert not muscle_called_bone(voxels, drawn).any()
    drawn[:, :, 100:] = False
    assert muscle_called_bone(voxels, drawn).any()
