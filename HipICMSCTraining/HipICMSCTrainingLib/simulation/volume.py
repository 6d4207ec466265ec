"""A whole simulated MRI with its labels: all slices of one patient, pose and contrast, as an image with geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch

from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation import acquisition
from HipICMSCTrainingLib.simulation.anatomy import Anatomy
from HipICMSCTrainingLib.simulation.contrast import Contrast
from HipICMSCTrainingLib.simulation.pose import Pose
from HipICMSCTrainingLib.simulation.simulator import labels_of, section_of
from HipICMSCTrainingLib.simulation.tissues import shares_of


@dataclass(frozen=True)
class Volume:
    """Attributes:
    image: float32, from 0.
    labels: uint8 on the same grid; 1 hip bone, 2 femur.
    """

    image: sitk.Image
    labels: sitk.Image


def simulated_volume(
    anatomy: Anatomy,
    pose: Pose,
    contrast: Contrast,
    settings: SimulationSettings,
    shape: SlabShape,
    random: np.random.Generator,
) -> Volume:
    """
    Args:
        pose: of the volume's middle; its axes are at right angles, and all of one length.
        shape: with all slices of the volume.
        random: the only source of chance.
    """
    patient = int(random.integers(2**62))
    images, labels = [], []
    for number in range(shape.slices):
        # The same chance for each slice gives one patient, cut again and again.
        chance = np.random.default_rng(patient)
        centre = pose.centre + (number - (shape.slices - 1) / 2) * pose.step_mm * pose.axes[0]
        section = section_of(anatomy, replace(pose, centre=centre), settings, replace(shape, slices=1), chance)
        planes = acquisition.signal(shares_of(section, chance), contrast, chance)
        profile = acquisition.slice_profile(pose.sub_slices, chance)
        images.append((planes * profile[:, None, None]).sum(0))
        labels.append(labels_of(section, profile, slices=1))
    image = acquisition.through_k_space(acquisition.with_bias_field(torch.stack(images), random), random)
    return Volume(*(_placed(voxels.numpy(), pose, shape) for voxels in (image, torch.stack(labels))))


def _placed(voxels: np.ndarray, pose: Pose, shape: SlabShape) -> sitk.Image:
    """The anatomy's axes run to the patient's head, back and left, so that reversed they are LPS."""
    lengths = np.linalg.norm(pose.axes, axis=1)
    slices, rows, columns = (pose.axes / lengths[:, None])[:, ::-1]
    image = sitk.GetImageFromArray(voxels)
    spacing = np.array([shape.pixel_mm, shape.pixel_mm, pose.step_mm])
    image.SetSpacing(spacing.tolist())
    direction = np.stack([columns, rows, slices], axis=1)
    image.SetDirection(direction.ravel().tolist())
    middle = (np.array(image.GetSize()) - 1) / 2 * spacing
    image.SetOrigin((pose.centre[::-1] / lengths.mean() - direction @ middle).tolist())
    return image
