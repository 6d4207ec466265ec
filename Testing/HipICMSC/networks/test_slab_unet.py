"""The slab U-Net: classes of the middle slice, for slices of any size that its halvings divide."""

from __future__ import annotations

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCLib.networks.segmenter import segmenter_of
from HipICMSCLib.networks.slab_unet import SlabUNet, SlabUNetSettings
from packages import slab_threshold_network


def network(**settings: int) -> SlabUNet:
    torch.manual_seed(0)
    return SlabUNet(SlabUNetSettings(**settings)).eval()


@pytest.mark.parametrize("levels", [1, 2, 4, 6])
@pytest.mark.parametrize("slices", [1, 3, 5])
def test_it_gives_logits_of_three_classes_for_each_pixel(levels, slices):
    settings = SlabUNetSettings(slices=slices, width=4, largest_width=16, levels=levels)
    assert settings.multiple == 2 ** (levels - 1)
    rows, columns = 2 * settings.multiple, 3 * settings.multiple
    with torch.inference_mode():
        assert SlabUNet(settings)(torch.zeros(2, slices, rows, columns)).shape == (2, 3, rows, columns)


def test_every_slice_of_the_slab_counts():
    unet = network(width=8, levels=3)
    slab = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        before = unet(slab)
        for number in range(3):
            changed = slab.clone()
            changed[:, number] += 0.5
            assert (unet(changed) - before).abs().max() > 1e-4


def test_slabs_of_a_batch_do_not_change_one_another():
    unet = network(width=8, levels=4)
    slabs = torch.rand(3, 3, 32, 24)
    with torch.inference_mode():
        together = unet(slabs)
        alone = torch.cat([unet(slab[None]) for slab in slabs])
    assert torch.allclose(together, alone, atol=1e-5)


def test_channels_double_up_to_a_largest_width():
    unet = network(width=16, largest_width=48, levels=4)
    assert [block[0].out_channels for block in unet.down] == [16, 32, 48, 48]
    assert [block[0].in_channels for block in unet.up] == [32, 64, 96]


@pytest.mark.parametrize(
    "settings",
    [
        {"slices": 2}, {"slices": 0}, {"slices": 17}, {"width": 6}, {"width": 0}, {"width": 64, "largest_width": 32},
        {"largest_width": 10**6}, {"levels": 0}, {"levels": 9},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_computer_can_be_meant_to_run_is_refused_in_a_sentence(settings):
    with pytest.raises(HipError, match=r"slab_unet\..*\.$") as refused:
        SlabUNetSettings(**settings)
    assert refused.value.kind == "bad_setting"


def test_the_segmenter_is_the_one_that_is_described():
    assert isinstance(segmenter_of(SegmenterSettings(width=4), None), Segmenter)
    assert isinstance(segmenter_of(SegmenterSettings(width=4), SlabUNetSettings(width=4)), SlabUNet)
    assert isinstance(segmenter_of(None, SlabUNetSettings(width=4)), SlabUNet)


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_the_threshold_network_of_these_tests_does_what_it_says(reads):
    slab = torch.rand(2, 3, 32, 28) * 2 - 1
    with torch.inference_mode():
        found = slab_threshold_network(reads)(slab).argmax(1)
    seen = slab[:, reads]
    known = torch.where(seen > 0.5, 2, torch.where(seen < -0.5, 1, 0))
    assert (found == known)[(seen.abs() - 0.5).abs() > 1e-3].all()
