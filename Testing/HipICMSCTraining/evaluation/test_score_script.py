"""How packages are measured on labelled MRIs: the femur near the heads, beside the whole one."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.evaluation.pairs import Pair
from real_data_scripts import real_data_script
from simple_patient import HEADS, positions, simple_patient


@pytest.fixture(scope="module")
def script():
    with real_data_script("score") as script:
        yield script


@pytest.fixture(scope="module")
def truth() -> sitk.Image:
    return simple_patient((2.0, 2.0, 4.0)).labels


def without(truth: sitk.Image, gone: np.ndarray) -> sitk.Image:
    labels = sitk.GetArrayFromImage(truth)
    labels[gone] = 0
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(truth)
    return image


def test_shafts_far_from_the_heads_do_not_count_and_what_is_near_does(script, truth):
    _, _, up = positions(truth)
    below = HEADS["right"][2] - up
    assert (below > 54).any(), "no shaft so far down"
    far = script.femur_near_heads([Pair("a", without(truth, below > 54), truth)])
    assert (far["dice"]["mean"], far["asd_mm"]["mean"], far["dice"]["volumes"]) == (1, 0, 1)
    near = script.femur_near_heads([Pair("a", without(truth, below > 40), truth)])
    assert near["dice"]["mean"] < 1 and near["asd_mm"]["mean"] > 0
    both = script.femur_near_heads([Pair("a", truth, truth), Pair("b", without(truth, below > 40), truth)])
    assert both["asd_mm"]["mean"] == pytest.approx(near["asd_mm"]["mean"] / 2)


def test_masked_voxels_do_not_count(script, truth, tmp_path):
    _, _, up = positions(truth)
    lower = sitk.GetImageFromArray((HEADS["right"][2] - up > 36).astype(np.uint8))
    lower.CopyInformation(truth)
    sitk.WriteImage(lower, str(tmp_path / "mask.nrrd"))
    predicted = without(truth, HEADS["right"][2] - up > 40)
    masked = script.femur_near_heads([Pair("a", predicted, truth, (tmp_path / "mask.nrrd",))])
    assert masked["dice"]["mean"] == 1
