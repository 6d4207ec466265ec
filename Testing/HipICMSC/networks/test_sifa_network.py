"""SIFA's encoder and head in the engine: their sizes, their packages, and a volume segmented with one."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import ModelPackage, read_package, write_package
from HipICMSCLib.networks.memory import activation_bytes
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.sifa_network import SifaEncoder, SifaHead, joined, latent_channels
from HipICMSCLib.preprocessing.geometry import CropSettings, same_geometry
from packages import HEADS, HIP_BONE_CENTRES, blank, manifest, scene
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

SETTINGS = SegmenterSettings(width=8, dilations=(1, 2))
CROP = CropSettings(size=(304, 160, 240))


def networks(settings: SegmenterSettings = SETTINGS, seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {"E": SifaEncoder(settings).eval(), "S": SifaHead(settings).eval()}


def states(of: dict[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {name: network.state_dict() for name, network in of.items()}


def sifa_manifest(**changes: object):
    return manifest(**({"route": ("E", "S"), "segmenter": SETTINGS, "crop": CROP} | changes))


@pytest.fixture
def package(tmp_path) -> Path:
    path = tmp_path / "sifa.hipmodel"
    write_package(path, sifa_manifest(), states(networks()), "# SIFA\n")
    return path


def refusal(path: Path) -> str:
    """The kind of error that reading and building raises; empty if they succeed."""
    try:
        read_package(path).network()
    except HipError as error:
        return error.kind
    return ""


# The networks.


def test_the_encoder_has_the_published_size_with_the_published_settings():
    settings = SegmenterSettings(width=64, dilations=(2, 2))
    with torch.device("meta"):
        encoder, head = SifaEncoder(settings), SifaHead(settings)
    assert latent_channels(settings) == 512
    assert encoder.lower[0].out_channels == 16
    latent, lower = encoder.levels(torch.empty(2, 1, 240, 304, device="meta"))
    assert latent.shape == lower.shape == (2, 512, 30, 38)
    assert head(latent).shape == (2, 3, 240, 304)
    # 3 × 3 convolutions: one pair at 16 channels, one widening to 32, two pairs at 64, 128 and 512 and four at 256 of
    # which the first widens, then two dilated pairs and two single ones at 512; the first is 7 × 7.
    pairs = [(16, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 3, (256, 512)]
    pairs += [(512, 512)] * 3
    weights = 49 * 16 + sum(9 * (inputs * outputs + outputs**2) for inputs, outputs in pairs) + 2 * 9 * 512**2
    assert sum(p.numel() for p in encoder.parameters() if p.dim() == 4) == weights


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("width", [8, 24, 64])
def test_each_norm_and_width_makes_a_network(norm, width):
    settings = SegmenterSettings(width, (2, 2), norm)
    with torch.device("meta"):
        network = nn.Sequential(SifaEncoder(settings), SifaHead(settings))
    assert network(torch.empty(1, 1, 24, 40, device="meta")).shape == (1, 3, 24, 40)


def test_the_latent_takes_the_slice_along_and_the_head_does_not_read_it():
    of = networks()
    x = torch.rand(2, 1, 16, 24) * 2 - 1
    with torch.no_grad():
        latent, _ = of["E"].levels(x)
        encoded = of["E"](x)
    assert torch.equal(encoded, joined(latent, x))
    pixels = nn.functional.pixel_shuffle(encoded[:, latent_channels(SETTINGS) :], 8)
    assert torch.equal(pixels, x)
    assert torch.equal(of["S"](encoded), of["S"](latent))


def test_the_memory_that_it_takes_can_be_told():
    of = networks()
    # The largest output is that of the first layer: two channels of a slice.
    assert activation_bytes(nn.Sequential(of["E"], of["S"]), (2, 1, 240, 304)) >= 4 * 2 * 2 * 240 * 304


# Packages.


def test_a_package_says_what_its_networks_say(package):
    of = networks()
    x = torch.rand(2, 1, 24, 32) * 2 - 1
    read = read_package(package)
    assert read.manifest.route == ("E", "S")
    with torch.no_grad():
        assert torch.equal(read.network()(x), of["S"](of["E"](x)))


@pytest.mark.parametrize(
    "changes",
    [
        {"route": ("E",)},
        {"route": ("S",)},
        {"route": ("S", "E")},
        {"route": ("E", "F_t")},
        {"crop": CropSettings()},  # 300 columns
        {"crop": CropSettings(size=(304, 160, 236))},
        {"segmenter": replace(SETTINGS, width=16)},
        {"segmenter": replace(SETTINGS, dilations=(1, 2, 2))},
        {"segmenter": replace(SETTINGS, norm="instance")},
    ],
    ids=str,
)
def test_a_package_that_does_not_fit_together_is_refused(tmp_path, changes):
    of = states(networks()) | {"F_t": {}}
    write_package(tmp_path / "a.hipmodel", sifa_manifest(**changes), of, "")
    assert refusal(tmp_path / "a.hipmodel") == "damaged_model"


def test_a_package_without_all_of_its_weights_is_refused(tmp_path):
    of = states(networks())
    for name in of:
        some = of | {name: dict(list(of[name].items())[1:])}
        write_package(tmp_path / "a.hipmodel", sifa_manifest(), some, "")
        assert refusal(tmp_path / "a.hipmodel") == "damaged_model"


def test_a_package_that_was_altered_is_refused(package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = bytearray(members["weights.safetensors"])
    weights[-1] ^= 1
    for name, data in (
        ("weights.safetensors", bytes(weights)),
        ("model.json", json.dumps(json.loads(members["model.json"]) | {"route": ["F_t"]}).encode()),
    ):
        path = tmp_path / "altered.hipmodel"
        with zipfile.ZipFile(path, "w") as archive:
            for member, original in members.items():
                archive.writestr(member, data if member == name else original)
        assert refusal(path) == "damaged_model"


# A volume.


def threshold_networks() -> dict[str, nn.Module]:
    """E and S set by hand: blocks of 8 × 8 pixels with a bright one are femur, with a dark one hip bone."""
    of = networks()
    encoder, head = of["E"], of["S"].classify
    with torch.no_grad():
        for convolution in [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]:
            convolution.weight.zero_()
        # Two channels, how bright and how dark a pixel is, which the residual blocks and the last layers hand on.
        encoder.lower[0].weight[:, 0, 3, 3] = torch.tensor([1.0, -1.0])
        for layer in (encoder.last[0], encoder.last[3]):
            for channel in (0, 1):
                layer.weight[channel, channel, 1, 1] = 1
        head.weight.zero_()
        head.weight[FEMUR, 0] = head.weight[HIP_BONE, 1] = 16
        head.bias[:] = torch.tensor([0.0, -8.0, -8.0])
    return of


def test_the_engine_segments_a_volume_with_it(tmp_path):
    path = tmp_path / "sifa.hipmodel"
    write_package(path, sifa_manifest(), states(threshold_networks()), "")
    package = read_package(path)
    assert isinstance(package, ModelPackage)
    image, truth = scene(blank(np.eye(3), (2.0, 4.0, 2.0)))
    result = HipSegmenter(package, "cpu").segment(image, HEADS)
    assert same_geometry(result.classes, image)
    found, wanted = sitk.GetArrayFromImage(result.classes), sitk.GetArrayFromImage(truth)
    at_the_edge = np.ones(found.shape, bool)  # what lies beyond the image is dark
    at_the_edge[8:-8, :, 8:-8] = False
    for value in (HIP_BONE, FEMUR):
        assert (found[wanted == value] == value).mean() > 0.97
        # A block of 10 × 8 mm that has a pixel in the bone reaches so far out of it.
        far = distance_transform_edt(wanted != value, sampling=(2.0, 4.0, 2.0)) > math.hypot(10, 8)
        assert not (found[far & ~at_the_edge] == value).any()
    labels = sitk.LabelShapeStatisticsImageFilter()
    labels.Execute(result.labels)
    assert sorted(labels.GetLabels()) == [1, 2, 3, 4]
    for label, centre in zip((1, 2, 3, 4), (*HIP_BONE_CENTRES, HEADS.right, HEADS.left), strict=True):
        assert np.linalg.norm(np.array(labels.GetCentroid(label)) - centre) < 5
