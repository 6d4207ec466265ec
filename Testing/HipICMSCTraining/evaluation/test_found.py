"""What a model finds counts as nothing where it finds no hip, as a user gets nothing then."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCTrainingLib.evaluation.found import classes_found, labels_found
from packages import write_slab_package


def test_an_mri_in_which_a_model_finds_no_hip_has_no_label(tmp_path):
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(500, 20, (8, 64, 64)).astype(np.float32))
    noise.SetSpacing((4.0, 4.0, 5.0))
    segmenter = HipSegmenter(write_slab_package(tmp_path / "slabs.hipmodel"), "cpu")
    with pytest.raises(HipError) as refused:
        segmenter.segment(noise)
    assert refused.value.kind == "no_hip"
    for found in (
        labels_found(segmenter, noise),
        classes_found(segmenter, noise, FemoralHeads((60.0, 120.0, 15.0), None)),
    ):
        assert found.GetSize() == noise.GetSize() and found.GetSpacing() == noise.GetSpacing()
        assert not sitk.GetArrayFromImage(found).any()


def test_what_is_wrong_with_an_image_is_still_said(tmp_path):
    segmenter = HipSegmenter(write_slab_package(tmp_path / "slabs.hipmodel"), "cpu")
    empty = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    with pytest.raises(HipError):
        labels_found(segmenter, empty)
