"""The averaged weights and the batch statistics of real MR slices."""

from __future__ import annotations

import pytest
import torch
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCTrainingLib.networks.weight_average import WeightAverage, with_statistics_of
from torch import nn

CPU = torch.device("cpu")


def test_the_average_follows_fast_at_first_and_by_its_decay_later():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
        average = WeightAverage({"F": network}, decay=0.75)
        expected = 0.0
        for step, (value, decay) in enumerate([(1.0, 1 / 10), (2.0, 2 / 11), (3.0, 3 / 12)]):
            network.weight.fill_(value)
            average.update({"F": network}, step)
            expected = decay * expected + (1 - decay) * value
            assert average.networks["F"].weight.item() == pytest.approx(expected)
        network.weight.fill_(-5.0)
        average.update({"F": network}, 10_000)
        assert average.networks["F"].weight.item() == pytest.approx(0.75 * expected + 0.25 * -5.0)


def test_the_average_is_a_copy_of_its_own_that_never_trains():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = WeightAverage({"F": network}, decay=0.5)
    assert not average.networks["F"].training
    assert not any(p.requires_grad for p in average.networks["F"].parameters())
    assert network.training
    network(torch.randn(2, 1, 4, 4))
    average.update({"F": network}, 100)
    assert average.networks["F"][1].num_batches_tracked == network[1].num_batches_tracked == 1
    torch.testing.assert_close(average.networks["F"][1].running_mean, network[1].running_mean * 0.5)


def test_batch_norms_take_the_statistics_of_the_given_slices():
    torch.manual_seed(0)
    segmenter = Segmenter(SegmenterSettings(width=8, dilations=(1,)))
    segmenter(torch.randn(2, 1, 16, 16) * 5)  # statistics of something else
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    x_t = torch.rand(24, 1, 16, 16)
    renewed = with_statistics_of(segmenter, x_t, CPU)
    activations = segmenter.encoder[0](x_t)
    torch.testing.assert_close(renewed.encoder[1].running_mean, activations.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    of_parts = torch.stack([part.var((0, 2, 3)) for part in activations.split(8)]).mean(0)
    torch.testing.assert_close(renewed.encoder[1].running_var, of_parts, rtol=1e-4, atol=1e-6)
    assert not renewed.training
    assert all(torch.equal(value, before[key]) for key, value in segmenter.state_dict().items())
    for (name, value), kept in zip(renewed.named_parameters(), segmenter.parameters(), strict=True):
        assert torch.equal(value, kept), name


def test_networks_without_batch_norm_stay_as_they_are():
    segmenter = Segmenter(SegmenterSettings(width=8, dilations=(1,), norm="group"))
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(with_statistics_of(segmenter, x, CPU)(x), segmenter(x))
