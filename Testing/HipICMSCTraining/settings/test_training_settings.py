"""Numbers that no training can be meant to have are one sentence, before anything is preprocessed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import replaced
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.sifa import SifaSettings
from HipICMSCTrainingLib.phantom.dataset import write_dataset
from HipICMSCTrainingLib.settings.training import PRESETS


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rate_translation", -1.0, "numbers from 0"),
        ("learning_rate_segmentation", -0.1, "numbers from 0"),
        ("adam_betas_translation", [0.5, 1.5], "from 0 and below 1"),
        ("augmentation.scaling", -0.1, "augmentation.scaling is -0.1"),
        ("augmentation.rotation_deg", -5.0, "augmentation.rotation_deg is -5"),
    ],
)
def test_settings_that_nothing_can_be_trained_with(name, value, words):
    with pytest.raises(HipError, match=words) as refused:
        replaced(PRESETS["smoke"], name, value)
    assert refused.value.kind == "bad_setting"


@pytest.mark.parametrize("settings", [IcmscSettings, SifaSettings])
def test_a_history_of_images_has_no_negative_length(settings):
    assert settings(image_pool=0).image_pool == 0
    with pytest.raises(HipError, match="image_pool is -1"):
        settings(image_pool=-1)


def test_a_crop_that_leaves_a_discriminator_nothing_to_judge():
    preset = PRESETS["smoke"]
    with pytest.raises(HipError, match="16 rows and 16 columns; give it 24 at least"):
        Icmsc.check_settings(replace(preset, crop=replace(preset.crop, size=(16, 20, 16))))


def test_a_seed_below_0_makes_no_phantoms_and_no_folder(tmp_path):
    with pytest.raises(HipError, match="a number from 0, not -1"):
        write_dataset(tmp_path / "phantoms", 1, -1)
    assert not (tmp_path / "phantoms").exists()
