"""Model packages whose results are known, and the synthetic scene that they segment.

The networks are real ones (`networks.paper_segmenter`), only their weights are set by hand: dark pixels become hip
bone, bright ones femur, those between background. What the engine makes of such a package can so be compared with the
truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.models.package import ModelManifest, write_package
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCLib.networks.slab_unet import SlabUNet, SlabUNetSettings
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCLib.preprocessing.slabs import SlabSettings

#: Intensities of the scene: the classes are told apart by them.
DARK, GREY, BRIGHT = 100, 500, 900
HEADS = FemoralHeads(right=(-85.0, 0.0, 0.0), left=(85.0, 0.0, 0.0))
HEAD_RADIUS, HIP_BONE_RADIUS = 24.0, 27.0
HIP_BONE_CENTRES = ((-74.0, 6.0, 62.0), (74.0, 6.0, 62.0))
FIELD_OF_VIEW = (300.0, 150.0, 210.0)  # left-right, front-back, head-foot, mm
FIELD_CENTRE = (0.0, 2.0, 30.0)


def manifest(**changes: object) -> ModelManifest:
    """The description of a small model, with some of its fields changed."""
    values = {
        "name": "test",
        "route": ("F_t",),
        "crop": CropSettings(),
        "intensity": IntensitySettings(),
        "segmenter": SegmenterSettings(width=2),
        "translator": None,
        "licence": "CC0",
        "intended_use": "Tests.",
    }
    return ModelManifest(**(values | changes))


def threshold_network(gain: float = 8.0) -> Segmenter:
    """F that tells classes by brightness: below -0.5 hip bone, above 0.5 femur, as exactly as blocks of 4 × 4 allow.

    Args:
        gain: how steeply logits rise with brightness.
    """
    network = Segmenter(SegmenterSettings(width=2)).eval()
    with torch.no_grad():
        for convolution in [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]:
            convolution.weight.zero_()
        # Two channels: how bright and how dark a pixel is; their means over 2 × 2 pixels, twice; then handed through.
        network.encoder[0].weight[0, 0, 1, 1] = 1
        network.encoder[0].weight[1, 0, 1, 1] = -1
        for channel in (0, 1):
            for halving in (3, 6):
                network.encoder[halving].weight[channel, channel, 1:, 1:] = 0.25
            for layer in (0, 3, 6):
                network.decoder[layer].weight[channel, channel, 1, 1] = 1
        ramp = 1 - (torch.arange(8) - 3.5).abs() / 4  # linear interpolation between the block centres
        network.upsample.weight.zero_()
        network.upsample.weight[0, FEMUR] = 2 * gain * torch.outer(ramp, ramp)
        network.upsample.weight[1, HIP_BONE] = 2 * gain * torch.outer(ramp, ramp)
        network.upsample.bias[:] = torch.tensor([0.0, -gain, -gain])
    return network


def random_network(settings: SegmenterSettings, seed: int = 0) -> Segmenter:
    """F with weights from a seed; where it has batch norms, their statistics are random, too."""
    torch.manual_seed(seed)
    network = Segmenter(settings)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return network.eval()


def write_threshold_package(path: Path, **changes: object) -> Path:
    """The package of :func:`threshold_network`; ``changes`` are fields of its manifest."""
    write_package(path, manifest(**changes), {"F_t": threshold_network().state_dict()}, "# A model for tests\n")
    return path


def random_package(path: Path, seed: int = 0) -> Path:
    """A package with F of width 8 with group norms and random weights."""
    settings = SegmenterSettings(width=8, norm="group")
    networks = {"F_t": random_network(settings, seed).state_dict()}
    write_package(path, manifest(segmenter=settings), networks, "# Random\n")
    return path


def rotation(degrees: float, axis: tuple[float, float, float] = (0.3, 0.5, 0.8)) -> np.ndarray:
    """The matrix (3, 3) that turns by ``degrees`` about ``axis``."""
    transform = sitk.VersorTransform(np.array(axis) / np.linalg.norm(axis), np.deg2rad(degrees))
    return np.array(transform.GetMatrix()).reshape(3, 3)


def blank(
    direction: np.ndarray, spacing: tuple[float, float, float], field: tuple[float, float, float] = FIELD_OF_VIEW,
    centre: tuple[float, float, float] = FIELD_CENTRE,
) -> sitk.Image:  # fmt: skip
    """An empty float volume.

    Args:
        direction: (3, 3), column = image axis in LPS.
        spacing: along the image's axes, mm.
        field: along the patient axes to which the image's are nearest, mm.
    """
    extent = np.array(field)[np.abs(direction).argmax(axis=0)]
    size = np.maximum(1, np.round(extent / spacing)).astype(int)
    image = sitk.Image(size.tolist(), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((np.array(centre) - direction @ ((size - 1) / 2 * np.array(spacing))).tolist())
    return image


def distance(image: sitk.Image, point: tuple[float, float, float]) -> np.ndarray:
    """Distance of every voxel's centre from a point in LPS, mm; an array (z, y, x)."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    steps = [axes[:, axis, None] * np.arange(n) for axis, n in enumerate(image.GetSize())]
    away = (
        steps[2][:, :, None, None] + steps[1][:, None, :, None] + steps[0][:, None, None, :]
        + (np.array(image.GetOrigin()) - np.array(point))[:, None, None, None]
    )  # fmt: skip
    return np.sqrt((away**2).sum(axis=0))


def scene(grid: sitk.Image, sides: tuple[str, ...] = ("right", "left")) -> tuple[sitk.Image, sitk.Image]:
    """Femoral heads as bright balls, hip bones as dark balls above them, on ``grid``; image and truth (classes)."""
    truth = np.zeros(grid.GetSize()[::-1], np.uint8)
    for side in sides:
        truth[distance(grid, getattr(HEADS, side)) <= HEAD_RADIUS] = FEMUR
        truth[distance(grid, HIP_BONE_CENTRES[side == "left"]) <= HIP_BONE_RADIUS] = HIP_BONE
    voxels = np.choose(truth, [GREY, DARK, BRIGHT]).astype(np.int16)
    images = sitk.GetImageFromArray(voxels), sitk.GetImageFromArray(truth)
    for image in images:
        image.CopyInformation(grid)
    return images


def as_ct(mri: sitk.Image) -> sitk.Image:
    """The scene in Hounsfield units, with air on both sides of the patient."""
    voxels = sitk.GetArrayFromImage(mri)
    hounsfield = np.select([voxels == DARK, voxels == GREY], [-100, 40], 700)
    far = distance(mri, HEADS.right) + distance(mri, HEADS.left) > 300
    ct = sitk.GetImageFromArray(np.where(far, -1000, hounsfield).astype(np.int16))
    ct.CopyInformation(mri)
    return ct


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|) of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


#: Of the slab U-Net of these tests: rows and columns are padded to multiples of 4.
SLAB_UNET = SlabUNetSettings(width=4, largest_width=8, levels=3)


def slab_threshold_network(reads: int = 1, gain: float = 8.0) -> SlabUNet:
    """A slab U-Net that tells classes by brightness, pixel by pixel: below -0.5 hip bone, above 0.5 femur.

    Args:
        reads: which of the three slices it looks at; 1 is the middle one.
        gain: how steeply logits rise with brightness.
    """
    network = SlabUNet(SLAB_UNET).eval()
    # So little goes into a group norm that its epsilon alone decides by what it divides; its weight undoes that.
    little = 1e-4
    undone = 1e-5**0.5 / little
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        full_resolution = SLAB_UNET.width  # of what comes from below; the slice itself follows
        for block, first in ((network.down[0], None), (network.up[0], full_resolution)):
            for convolution, norm in ((block[0], block[1]), (block[3], block[4])):
                # Channel 0 is how bright, channel 1 how dark a pixel is, so that their mean is 0.
                for channel, sign in ((0, 1), (1, -1)):
                    if convolution is network.down[0][0]:
                        convolution.weight[channel, reads, 1, 1] = sign * little
                    else:
                        inputs = 0 if convolution is block[3] else first
                        # Leaky rectifiers let a hundredth of the other one through.
                        convolution.weight[channel, inputs, 1, 1] = sign * little / 1.01
                        convolution.weight[channel, inputs + 1, 1, 1] = -sign * little / 1.01
                norm.weight[:2] = undone
        network.classes.weight[FEMUR, 0], network.classes.weight[HIP_BONE, 1] = 2 * gain, 2 * gain
        network.classes.bias[:] = torch.tensor([0.0, -gain, -gain])
    return network


def slab_manifest(**changes: object) -> ModelManifest:
    """As :func:`manifest`, of a model that reads slabs."""
    values = {"crop": None, "segmenter": None, "slab": SlabSettings(), "slab_unet": SLAB_UNET, "plane": "any"}
    return manifest(**(values | changes))


def write_slab_package(path: Path, **changes: object) -> Path:
    """The package of :func:`slab_threshold_network`."""
    networks = {"F_t": slab_threshold_network().state_dict()}
    write_package(path, slab_manifest(**changes), networks, "# A model of slabs for tests\n")
    return path
