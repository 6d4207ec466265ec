"""The mean of models that learned apart: of one and itself it is the same function, whatever the number of slices."""

from __future__ import annotations

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.package import read_package, write_package
from HipICMSCLib.networks.slab_unet import SlabUNet, SlabUNetSettings
from packages import slab_manifest
from real_data_scripts import real_data_script


@pytest.fixture(scope="module")
def average_models():
    with real_data_script("average_models") as script:
        yield script.average_models


@pytest.fixture
def package(tmp_path):
    def written(seed: int, slices: int = 3, width: int = 8):
        shape = SlabUNetSettings(slices=slices, width=width, largest_width=32, levels=4)
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}-{slices}-{width}.hipmodel"
        write_package(path, slab_manifest(slab_unet=shape), {"F_t": SlabUNet(shape).state_dict()}, "# A test\n")
        return read_package(path)

    return written


def test_a_model_read_from_more_slices_is_the_same_function(average_models, package, tmp_path):
    three = package(1)
    average_models([three, three], tmp_path / "same.hipmodel")
    average_models([package(2, slices=5), three], tmp_path / "five.hipmodel")
    same, five = (read_package(tmp_path / f"{name}.hipmodel") for name in ("same", "five"))
    assert (same.manifest.slab_unet.slices, five.manifest.slab_unet.slices) == (3, 5)
    slab = torch.rand(2, 5, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(same.network()[0](slab[:, 1:4]), three.network()[0](slab[:, 1:4]))
        assert five.network()[0](slab).shape == (2, 3, 32, 32)
    first = five.weights["F_t/down.0.0.weight"]
    other = package(2, slices=5).weights["F_t/down.0.0.weight"]
    assert torch.allclose(first[:, [0, 4]], other[:, [0, 4]] / 2)
    assert torch.allclose(first[:, 1:4], (other[:, 1:4] + three.weights["F_t/down.0.0.weight"]) / 2)


def test_models_of_other_widths_are_refused(average_models, package, tmp_path):
    with pytest.raises(HipError, match=r"differ in more than the number of slices"):
        average_models([package(1), package(2, width=16)], tmp_path / "x.hipmodel")
    assert not (tmp_path / "x.hipmodel").exists()
