"""A simulated MR slab with its labels, from an anatomy and chance: the steps in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation import acquisition
from HipICMSCTrainingLib.simulation.anatomy import Anatomy
from HipICMSCTrainingLib.simulation.clutter import with_clutter
from HipICMSCTrainingLib.simulation.contrast import Contrast, draw_contrast
from HipICMSCTrainingLib.simulation.cortex import with_thin_cortex
from HipICMSCTrainingLib.simulation.deformation import deformed
from HipICMSCTrainingLib.simulation.entheses import with_entheses
from HipICMSCTrainingLib.simulation.grain import without_grain
from HipICMSCTrainingLib.simulation.marrow import with_mottled_marrow
from HipICMSCTrainingLib.simulation.pose import Pose, draw_pose, points_of
from HipICMSCTrainingLib.simulation.sampling import Section, cut
from HipICMSCTrainingLib.simulation.symphysis import with_disc, with_disc_filled
from HipICMSCTrainingLib.simulation.tissues import shares_of
from HipICMSCTrainingLib.simulation.vessels import with_vessels

#: A deformation varies slowly: it is computed at each such pixel.
_DEFORMED_EVERY = 6


@dataclass(frozen=True)
class Slab:
    """Attributes:
    image: (slices, rows, columns) float32 in [-1, 1].
    labels: (rows, columns) uint8 classes of the middle slice.
    """

    image: Tensor
    labels: Tensor
    pose: Pose
    contrast: Contrast


def simulated(anatomy: Anatomy, settings: SimulationSettings, shape: SlabShape, random: np.random.Generator) -> Slab:
    """
    Args:
        random: the only source of chance: the same state gives the same slab.
    """
    pose = draw_pose(anatomy, settings, random)
    contrast = draw_contrast(settings.shares("contrast"), random)
    section, disc = with_disc(section_of(anatomy, pose, settings, shape, random), random)
    shares = without_grain(shares_of(section, random), random)
    shares = with_thin_cortex(shares, section, random)
    shares = with_mottled_marrow(shares, random)
    shares = with_entheses(shares, section, random)
    shares = with_disc_filled(shares, disc, random)
    shares = with_clutter(shares, section, random)
    shares = with_vessels(shares, section, shape.pixel_mm, random)
    planes = acquisition.signal(shares, contrast, random)
    profile = acquisition.slice_profile(pose.sub_slices, random)
    image = (planes.unflatten(0, (shape.slices, pose.sub_slices)) * profile[:, None, None]).sum(1)
    labels = labels_of(section, profile, shape.slices)
    image, labels = acquisition.with_metal(image, labels, random)
    image = acquisition.with_bias_field(image, random)
    image = acquisition.through_k_space(image, random)
    image, labels = acquisition.within_field_of_view(image, labels, random)
    image = _at_the_end_of_a_volume(acquisition.rescaled(image, random), random)
    return Slab(image, labels, pose, contrast)


def section_of(
    anatomy: Anatomy, pose: Pose, settings: SimulationSettings, shape: SlabShape, random: np.random.Generator
) -> Section:
    """The CT of another patient made from this one, cut along the slab."""
    knots = points_of(pose, anatomy, shape, shape.patch // _DEFORMED_EVERY + 2)
    return cut(anatomy, deformed(knots, anatomy, settings, random), shape.patch)


def straight_section(anatomy: Anatomy, pose: Pose, shape: SlabShape) -> Section:
    """The CT itself along the slab."""
    return cut(anatomy, points_of(pose, anatomy, shape, count=2), shape.patch)


def labels_of(section: Section, profile: Tensor, slices: int) -> Tensor:
    """The bone that fills at least half of the middle slice's thickness at each pixel."""
    middle = slice(slices // 2 * len(profile), (slices // 2 + 1) * len(profile))
    weight = profile[:, None, None]
    hip, femur = section.hip[middle], section.femur[middle]
    of_hip = ((hip < 0) & (hip <= femur)).float().mul(weight).sum(0)
    of_femur = ((femur < 0) & (femur < hip)).float().mul(weight).sum(0)
    bone = of_hip + of_femur >= 0.5
    return torch.where(bone, torch.where(of_femur > of_hip, 2, 1), 0).to(torch.uint8)


def _at_the_end_of_a_volume(image: Tensor, random: np.random.Generator) -> Tensor:
    """The first and last slices of a volume have no neighbours; preprocessing repeats the outermost one."""
    most = len(image) // 2
    if random.random() < 0.06 * most:
        image, beyond = image.clone(), int(random.integers(1, most + 1))
        if random.random() < 0.5:
            image[:beyond] = image[beyond]
        else:
            image[-beyond:] = image[-beyond - 1]
    return image
