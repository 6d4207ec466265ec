"""What is said of a model without labels: what of its bones is as bright as muscle, and what its views agree on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.networks.inference import FP32
from HipICMSCLib.preprocessing.slabs import SlabSettings
from packages import write_slab_package
from real_data_scripts import real_data_script
from thigh import MUSCLE, inside, thigh


@pytest.fixture(scope="module")
def script():
    with real_data_script("label_free") as script:
        yield script


def test_of_a_drawn_bone_the_part_that_is_muscle_is_told_in_millilitres(script):
    true, voxels = thigh(np.random.default_rng(1))
    image, labels = sitk.GetImageFromArray(voxels.astype(np.float32)), np.zeros(true.shape, np.uint8)
    image.SetSpacing((1.0, 1.0, 5.0))
    labels[:, 60:150, 60:170] = 1

    class Segmenter:
        """Stands for the engine, whose own tests say what it finds."""

        def segment(self, image):
            return SimpleNamespace(labels=sitk.GetImageFromArray(labels))

    drawn = script.drawn(Segmenter(), image)
    assert drawn["hip bone"][0] == pytest.approx(3 * 84 * 104 * 5 / 1000)
    # What is blurred at the edge of a tile may count or not.
    muscle = true == MUSCLE
    least, most = ((inside(labels == 1, 3) & tissue).sum() * 5 / 1000 for tissue in (inside(muscle, 3), muscle))
    assert least * 0.9 < drawn["hip bone"][1] < most
    assert drawn["femur"] == (0, 0)


def test_views_are_the_image_and_its_darker_mirror(script, tmp_path):
    """The network takes bright for femur; of two femora one is none any more when darker."""
    package = write_slab_package(tmp_path / "a.hipmodel", slab=SlabSettings(pixel_mm=2.0, least_pixels=64))
    segmenter = HipSegmenter(package, "cpu", FP32)
    voxels = np.full((6, 64, 64), 500, np.float32)
    voxels[:, 10:30, 10:25], voxels[:, 35:55, 40:60] = 1000, 0
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 5.0))
    assert script.agreement_of_views(segmenter, [image]) > 0.95
    voxels[:, 10:30, 10:25] = 780  # 0.56 of [-1, 1], and darker 0.41
    voxels[:, :8] = 1000  # as bright as an image becomes, and femur in either view
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 5.0))
    assert script.agreement_of_views(segmenter, [image]) == pytest.approx((1 + 2 * 512 / (2 * 512 + 300)) / 2, abs=0.02)


def test_a_folder_without_the_cts_is_refused_in_a_sentence(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["label_free.py", str(tmp_path), "a.hipmodel"])
    assert script.main() == 2
    assert "has no" in capsys.readouterr().err
