"""The simplest hips with a known truth: two bright balls, and a model whose weights make bright voxels a femur."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

#: Centres, LPS mm. The patient's right is at smaller x, and its ball is the larger one.
RIGHT_CENTRE, LEFT_CENTRE = (-85.0, 12.0, -30.0), (85.0, 12.0, -30.0)
RIGHT_RADIUS, LEFT_RADIUS = 26.0, 20.0


def ball_image(
    direction: np.ndarray | None = None, spacing: tuple[float, float, float] = (3.0, 3.0, 4.0)
) -> sitk.Image:
    """An int16 volume of both balls whose voxel axes are the columns of ``direction``."""
    direction = np.eye(3) if direction is None else direction
    extent = np.abs(direction.T) @ np.array([300.0, 150.0, 160.0])
    size = np.ceil(extent / spacing).astype(int)
    centre = (np.array(RIGHT_CENTRE) + LEFT_CENTRE) / 2
    origin = centre - direction @ (np.array(spacing) * (size - 1) / 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij"), axis=-1)[..., ::-1]
    points = origin + (index * spacing) @ direction.T
    voxels = 200 + np.random.default_rng(0).normal(0, 10, points.shape[:3])
    for ball, radius in ((RIGHT_CENTRE, RIGHT_RADIUS), (LEFT_CENTRE, LEFT_RADIUS)):
        voxels[np.linalg.norm(points - ball, axis=-1) < radius] += 800
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing(spacing)
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def write_ball_model(path: Path) -> Path:
    """Write the package in a process of its own, so that the caller's stays without torch."""
    subprocess.run([sys.executable, __file__, path], check=True)
    return path


def _write_package(path: Path) -> None:
    import torch
    from HipICMSCLib.models.package import ModelManifest, write_package
    from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
    from HipICMSCLib.preprocessing.geometry import CropSettings
    from HipICMSCLib.preprocessing.intensity import IntensitySettings

    settings = SegmenterSettings(width=4)
    network = Segmenter(settings).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" not in name and value.ndim == 4:
                value.zero_()
        # Channel 0 is passed on as it is, the intensity above 0; batch norm at its start changes nothing. Where the
        # resolution is halved, the mean of each 2 × 2 pixels is passed on, so that nothing is displaced.
        for convolution in (*network.encoder, *network.decoder):
            if isinstance(convolution, torch.nn.Conv2d) and convolution.stride == (1, 1):
                convolution.weight[0, 0, 1, 1] = 1.0
            elif isinstance(convolution, torch.nn.Conv2d):
                convolution.weight[0, 0, 1:, 1:] = 0.25
        ramp = torch.tensor([1.0, 3.0, 5.0, 7.0, 7.0, 5.0, 3.0, 1.0]) / 8
        network.upsample.weight[0, 2] = 20.0 * ramp[:, None] * ramp
        network.upsample.bias.copy_(torch.tensor([0.0, -50.0, -6.0]))
    manifest = ModelManifest(
        name="balls",
        route=("F_t",),
        crop=CropSettings(spacing_mm=(2.5, 5.0, 2.5), size=(120, 30, 64)),
        intensity=IntensitySettings(mr_percentiles=(0.0, 100.0)),
        segmenter=settings,
        translator=None,
        licence="none",
        intended_use="tests",
    )
    write_package(path, manifest, {"F_t": network.state_dict()}, "Bright is femur.")


if __name__ == "__main__":
    _write_package(Path(sys.argv[1]))
