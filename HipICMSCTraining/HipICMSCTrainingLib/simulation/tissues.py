"""Step 4, what the tissue at each point is: shares of materials, from HU and the distances to the bones."""

from __future__ import annotations

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
    hu = hu + smooth_field(hu.shape[-2:], 8, 6.0, random)
    bone = (section.hip < 0) | (section.femur < 0)
    air = ((-150 - hu) / 850).clamp(0, 1)
    fat = ((40 - hu) / 140).clamp(0, 1) * (1 - air)
    water = 1 - air - fat
    soft = {"fat": fat} | _watery(hu, water, section, random)
    other, shares = _other_bones(hu, bone, random)
    left = (1 - other).masked_fill(bone, 0)
    shares |= {name: share * left for name, share in soft.items()}
    for name, share in _own_bones(hu, section, bone, random).items():
        shares[name][bone] = share
    return shares


def _without_gas(hu: Tensor, random: np.random.Generator) -> Tensor:
    """Bowel of the patient on another day: mostly not full of gas."""
    gas = hu < _GAS_BELOW_HU
    filling = -1000.0 if random.random() < 0.3 else float(random.uniform(-60, 60))
    return hu.masked_fill(gas, filling)


def _watery(hu: Tensor, water: Tensor, section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Muscle, fluid, organs, the joint's cartilage and fibres at bone share what is neither fat nor air."""
    calm = _mean_of_neighbours(hu)
    fluid = float(random.uniform(0, 1)) * torch.exp(-(((calm - 8) / 10) ** 2))
    is_organ = smooth_field(hu.shape[-2:], 5, 1.0, random) > random.uniform(0.3, 1.5)
    near, far = torch.minimum(section.hip, section.femur), torch.maximum(section.hip, section.femur)
    joint = (near > 0) & (near + far < random.uniform(4, 8))
    # Capsule, labrum, tendons: dark on every contrast, here and there.
    patchy = smooth_field(hu.shape[-2:], 14, 1.0, random) > random.uniform(-0.3, 1.2)
    at_bone = (near > 0) & (near < random.uniform(1.0, 3.5)) & patchy & ~joint
    fibrous = water * at_bone * random.uniform(0.4, 1)
    water = water - fibrous
    in_cells = water * (1 - fluid)
    return {
        "fibrous": fibrous,
        "fluid": water * fluid,
        "cartilage": in_cells * joint,
        "organ": in_cells * (is_organ & ~joint),
        "muscle": in_cells * ~(is_organ | joint),
    }


def _mean_of_neighbours(values: Tensor) -> Tensor:
    """Of 5 × 5 pixels; sums of shifted views take a quarter of the time of avg_pool2d."""
    padded = nnf.pad(values[None], (2, 2, 2, 2), mode="replicate")[0]
    rows, columns = values.shape[-2:]
    down = sum(padded[:, shift : shift + rows] for shift in range(5))
    return sum(down[..., shift : shift + columns] for shift in range(5)) / 25


def _other_bones(hu: Tensor, bone: Tensor, random: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Spine, sacrum and what else is bright on CT but not of the two bones: their share, and what it consists of."""
    other = ((hu - random.uniform(110, 150)) / 60).clamp(0, 1).masked_fill(bone, 0)
    cortex = other * torch.sigmoid((hu - random.uniform(380, 520)) / 60)
    red = float(random.uniform(0.3, 0.9))
    marrow = other - cortex
    return other, {"cortex": cortex, "red_marrow": marrow * red, "yellow_marrow": marrow * (1 - red)}


def _own_bones(hu: Tensor, section: Section, bone: Tensor, random: np.random.Generator) -> dict[str, Tensor]:
    """Cortex and marrow of hip bone and femur, at the points of ``bone`` alone.

    The deeper in the bone, the denser a trabecula may be.
    """
    rows_and_columns = hu.shape[-2:]
    hip, femur, hu = section.hip[bone], section.femur[bone], hu[bone]
    depth = -torch.minimum(hip, femur)
    threshold, rise = random.uniform(260, 400), random.uniform(40, 110)
    cortex = torch.sigmoid((hu - threshold - rise * depth.clamp(0, 8)) / random.uniform(30, 70))
    # Where slices are thick in CT, its shell is blurred away; on MRI it is a dark line all the same.
    shell = (depth < random.uniform(0.3, 1.8)) & (hu > random.uniform(50, 220))
    cortex = cortex.masked_fill(shell, 1)
    # The trochanters of an adult may be all fat beside a neck full of red marrow.
    variation = smooth_field(rows_and_columns, 9, random.uniform(0.1, 0.45), random).expand(bone.shape)[bone]
    # In the old both bones may be all fat, the ischium as bright as the femur: brightness must not tell them apart.
    red_hip = max(0.0, random.uniform(-0.4, 1.0))
    red_femur = red_hip * random.uniform(0.0, 1.0)
    red = (variation + torch.where(hip < femur, red_hip, red_femur)).clamp(0, 1)
    # Trabeculae take room from marrow.
    marrow = (1 - cortex) * (1 - float(random.uniform(0, 0.35)) * ((hu - 120) / 400).clamp(0, 1))
    return {"cortex": 1 - marrow, "red_marrow": marrow * red, "yellow_marrow": marrow * (1 - red)}
