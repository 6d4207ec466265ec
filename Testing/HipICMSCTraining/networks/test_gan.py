"""The networks have the sizes, shapes and fields of view that the paper and method.md state."""

from __future__ import annotations

import pytest
import torch
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCLib.networks.translator import Translator, TranslatorSettings
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from torch import Tensor, nn


def on_paper(build) -> nn.Module:
    """A network of the paper's size without its numbers, which would take a while to draw."""
    with torch.device("meta"):
        return build()


NETWORKS = {
    "G": lambda: Translator(TranslatorSettings()),
    "D": lambda: PatchDiscriminator(),
    "F": lambda: Segmenter(SegmenterSettings()),
}


@pytest.mark.parametrize(("name", "millions"), [("G", 11.37), ("D", 2.76), ("F", 6.15)])
def test_paper_size_networks_have_the_stated_number_of_parameters(name, millions):
    count = sum(parameter.numel() for parameter in on_paper(NETWORKS[name]).parameters())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "channels"), [("F", 3), ("G", 1)])
def test_a_slice_of_300_by_240_comes_back_as_300_by_240(name, channels):
    out = on_paper(NETWORKS[name])(torch.empty(2, 1, 240, 300, device="meta"))
    assert out.shape == (2, channels, 240, 300)


def extent(gradient: Tensor) -> tuple[int, int]:
    """Rows and columns over which the input matters."""
    rows, columns = torch.nonzero(gradient[0, 0], as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def all_positive(network: nn.Module) -> nn.Module:
    """With positive weights no ReLU cuts a path and no two paths cancel."""
    for parameter in network.parameters():
        parameter.data.abs_().add_(1e-3)
    return network.double()


def test_the_receptive_field_of_F_is_225_pixels():
    # In evaluation mode a batch norm is a constant, so that it does not spread the field over the whole image.
    segmenter = all_positive(Segmenter(SegmenterSettings(width=2))).eval()
    x = torch.ones(1, 1, 272, 272, dtype=torch.float64, requires_grad=True)
    quarter = segmenter.decoder(segmenter.features(x))
    assert extent(torch.autograd.grad(quarter[0, 0, 34, 34], x, retain_graph=True)[0]) == (225, 225)
    # The deconvolution gives each pixel of the result two of these cells along each axis, 4 pixels apart.
    logits = segmenter.upsample(quarter)
    assert extent(torch.autograd.grad(logits[0, 1, 136, 136], x)[0]) == (229, 229)


def test_a_score_of_D_judges_a_patch_of_70_by_70():
    judge = all_positive(PatchDiscriminator(width=2))
    for name, module in judge.layers.named_children():
        if isinstance(module, nn.InstanceNorm2d):  # it would mix in the mean of the whole image
            setattr(judge.layers, name, nn.Identity())
    x = torch.ones(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    scores = judge(x)
    middle = scores.shape[-1] // 2
    assert extent(torch.autograd.grad(scores[0, 0, middle, middle], x)[0]) == (70, 70)


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_F_takes_every_norm_and_any_size_that_is_a_multiple_of_4(norm):
    segmenter = Segmenter(SegmenterSettings(width=8, dilations=(1, 2), norm=norm))
    assert segmenter(torch.zeros(2, 1, 20, 36)).shape == (2, 3, 20, 36)


def test_G_stays_within_minus_1_and_1_and_starts_from_small_weights():
    torch.manual_seed(0)
    translator = Translator(TranslatorSettings(width=16, blocks=2))
    translated = translator(10 * torch.randn(1, 1, 24, 32))
    assert translated.abs().max() <= 1
    weights = torch.cat([m.weight.flatten() for m in translator.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.03)
    assert weights.mean().item() == pytest.approx(0, abs=5e-4)


def test_recomputing_the_residual_blocks_changes_no_gradient():
    torch.manual_seed(0)
    plain, saving = (Translator(TranslatorSettings(width=8, blocks=2), recompute) for recompute in (False, True))
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 16, 24)
    for translator in (plain, saving):
        translator(x).square().mean().backward()
    for (name, expected), got in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=0, atol=0, msg=name)
