"""What a comparison of two models counts."""

from __future__ import annotations

import pytest
from HipICMSCTrainingLib.evaluation.compare import ComparedBone, Comparison
from HipICMSCTrainingLib.evaluation.metrics import MaskScores

NOTHING, GHOST, GOOD = (MaskScores(dice, None, None, None, None) for dice in (None, 0.0, 0.95))


def bone(old: MaskScores, new: MaskScores) -> ComparedBone:
    return ComparedBone("case", "left femur", False, old, new)


def test_a_bone_that_is_invented_where_there_is_none_is_worse_and_one_that_goes_is_better():
    invented, gone = bone(NOTHING, GHOST), bone(GHOST, NOTHING)
    assert (invented.change, invented.is_worse) == (-1.0, True)
    assert (gone.change, gone.is_worse) == (1.0, False)


def test_nothing_drawn_where_there_is_nothing_is_right_in_the_mean():
    comparison = Comparison("old", "new", 1, (bone(GOOD, GOOD), bone(NOTHING, GHOST)), (), {}, ())
    assert comparison.means() == pytest.approx((0.975, 0.475))
    assert comparison.worse == (comparison.bones[1],)
