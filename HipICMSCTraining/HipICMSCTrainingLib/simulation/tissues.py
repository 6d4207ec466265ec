"""Step 4, what the tissue at each point is: shares of materials, from HU and the distances to the bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from HipICMSCTrainingLib.simulation.drawing import smooth_field
from HipICMSCTrainingLib.simulation.sampling import Section

#: Every material that gives a signal of its own. Air gives none.
MATERIALS = (
    "fat", "muscle", "fluid", "cartilage", "fibrous", "skin", "cortex", "yellow_marrow", "red_marrow", "organ",
)  # fmt: skip
#: Gas was marked far below air (see anatomy), so that even its edge is known.
_GAS_BELOW_HU = -1050


def shares_of(section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """The share of each of some of :data:`MATERIALS` at each point, together 1 at most; the rest is air.

    What CT cannot tell, such as how red a marrow is, is drawn.
    """
    hu = _without_gas(section.hu, random)
    hu += smooth_field(hu.shape[-2:], 8, 6.0, random)
    bone = (section.hip < 0) | (section.femur < 0)
    outside = (~bone).float()
    # What nobody else needs is changed in place: to get memory for a new tensor takes time, too.
    not_air = (hu + 150).div_(850).add_(1).clamp_(0, 1)
    fat = (hu - 40).div_(-140).clamp_(0, 1).mul_(not_air)
    soft = {"fat": fat} | _watery(hu, not_air - fat, section, random)
    marrow = _Marrow.drawn(hu.shape[-2:], random)
    other, shares = _other_bones(hu, outside, marrow, random)
    left = (1 - other).mul_(outside)
    shares |= {name: share.mul_(left) for name, share in soft.items()}
    inside = bone.flatten().nonzero()[:, 0]
    for name, share in _own_bones(hu, section, inside, marrow, random).items():
        shares[name].view(-1)[inside] = share
    return shares


def _without_gas(hu: Tensor, random: np.random.Generator) -> Tensor:
    """Bowel of the patient on another day: mostly not full of gas."""
    gas = hu < _GAS_BELOW_HU
    filling = -1000.0 if random.random() < 0.3 else float(random.uniform(-60, 60))
    return hu.masked_fill(gas, filling)


def _watery(hu: Tensor, water: Tensor, section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Muscle, fluid, organs, the joint's cartilage and fibres at bone share what is neither fat nor air."""
    fluid = _mean_of_neighbours(hu).sub_(8).div_(10).square_().neg_().exp_().mul_(float(random.uniform(0, 1)))
    is_organ = smooth_field(hu.shape[-2:], 5, 1.0, random) > random.uniform(0.3, 1.5)
    near, far = torch.minimum(section.hip, section.femur), torch.maximum(section.hip, section.femur)
    joint = (near > 0) & (far.add_(near) < random.uniform(4, 8))
    # Capsule, labrum, tendons: dark on every contrast, here and there.
    patchy = smooth_field(hu.shape[-2:], 14, 1.0, random) > random.uniform(-0.3, 1.2)
    at_bone = (near > 0) & (near < random.uniform(1.0, 3.5)) & patchy & ~joint
    fibrous = at_bone.float().mul_(water).mul_(random.uniform(0.4, 1))
    water = water - fibrous
    fluid.mul_(water)
    in_cells = water.sub_(fluid)
    cartilage = joint.float().mul_(in_cells)
    in_cells -= cartilage
    organ = in_cells * is_organ
    return {
        "fibrous": fibrous,
        "fluid": fluid,
        "cartilage": cartilage,
        "organ": organ,
        "muscle": in_cells.sub_(organ),
    }


def _mean_of_neighbours(values: Tensor) -> Tensor:
    """Of 5 × 5 pixels; sums of shifted views take a quarter of the time of avg_pool2d."""
    padded = nnf.pad(values[None], (2, 2, 2, 2), mode="replicate")[0]
    down = _sum_of_five(padded, -2)
    return _sum_of_five(down, -1).div_(25)


def _sum_of_five(values: Tensor, axis: int) -> Tensor:
    """Of each five that follow one another."""
    size = values.shape[axis] - 4
    total = values.narrow(axis, 0, size) + values.narrow(axis, 1, size)
    for shift in (2, 3, 4):
        total += values.narrow(axis, shift, size)
    return total


@dataclass(frozen=True)
class _Marrow:
    """A patient's marrow, which is much alike in all bones: nothing of it tells a hip bone from the sacrum beside it.

    Attributes:
        red_hip, red_femur: how red it is on average, 0 to 1.
        variation: (rows, columns), where it is redder than that.
        trabeculae: how much room dense trabeculae take from it, at most.
    """

    red_hip: float
    red_femur: float
    variation: Tensor
    trabeculae: float

    @classmethod
    def drawn(cls, size: torch.Size, random: np.random.Generator) -> _Marrow:
        # In the old both bones may be all fat, the ischium as bright as the femur: brightness must not tell them apart.
        red_hip = max(0.0, random.uniform(-0.4, 1.0))
        # The trochanters of an adult may be all fat beside a neck full of red marrow.
        variation = smooth_field(size, 9, random.uniform(0.1, 0.45), random)
        return cls(red_hip, red_hip * random.uniform(0.0, 1.0), variation, float(random.uniform(0, 0.35)))

    def shares(self, hu: Tensor, cortex: Tensor, red: Tensor) -> dict[str, Tensor]:
        """What a bone consists of, given its HU, how much of it is cortex, and how red its marrow is."""
        marrow = (1 - cortex) * (1 - self.trabeculae * ((hu - 120) / 400).clamp(0, 1))
        red = red.clamp(0, 1)
        return {"cortex": 1 - marrow, "red_marrow": marrow * red, "yellow_marrow": marrow * (1 - red)}


def _other_bones(
    hu: Tensor, outside: Tensor, marrow: _Marrow, random: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Spine, sacrum and what else is bright on CT but not of the two bones: their share, and what it consists of.

    Args:
        outside: 1 outside of the two bones, 0 in them.
    """
    other = (hu - random.uniform(110, 150)).div_(60).clamp_(0, 1).mul_(outside)
    cortex = (hu - random.uniform(380, 520)).div_(60).sigmoid_()
    # Most of an axial skeleton's marrow is as red as a hip bone's, or redder.
    redness = marrow.variation + marrow.red_hip * float(random.uniform(0.8, 1.5))
    return other, {name: share.mul_(other) for name, share in marrow.shares(hu, cortex, redness).items()}


def _own_bones(
    hu: Tensor, section: Section, inside: Tensor, marrow: _Marrow, random: np.random.Generator
) -> dict[str, Tensor]:
    """Cortex and marrow of hip bone and femur, at the points whose numbers are ``inside``.

    The deeper in the bone, the denser a trabecula may be.
    """
    hip, femur, hu = (values.flatten()[inside] for values in (section.hip, section.femur, hu))
    depth = -torch.minimum(hip, femur)
    threshold, rise = random.uniform(260, 400), random.uniform(40, 110)
    cortex = torch.sigmoid((hu - threshold - rise * depth.clamp(0, 8)) / random.uniform(30, 70))
    # Where slices are thick in CT, its shell is blurred away; on MRI it is a dark line all the same.
    shell = (depth < random.uniform(0.3, 1.8)) & (hu > random.uniform(50, 220))
    cortex = cortex.masked_fill(shell, 1)
    variation = marrow.variation.flatten()[inside % marrow.variation.numel()]
    return marrow.shares(hu, cortex, variation + torch.where(hip < femur, marrow.red_hip, marrow.red_femur))
