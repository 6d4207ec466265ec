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
    """The share of each of :data:`MATERIALS` at each point, together 1 at most; the rest is air.

    What CT cannot tell, such as how red a marrow is, is drawn.
    """
    hu = _without_gas(section.hu, random)
    hu = hu + smooth_field(hu.shape[-2:], 8, 6.0, random)
    bone = (section.hip < 0) | (section.femur < 0)
    air = ((-150 - hu) / 850).clamp(0, 1)
    fat = ((40 - hu) / 140).clamp(0, 1) * (1 - air)
    water = 1 - air - fat
    shares = {"fat": fat} | _watery(hu, water, section, random)
    for name, amount in _other_bones(hu, bone, random).items():
        for other in list(shares):
            shares[other] = shares[other] * (1 - amount[0])
        shares[name] = shares.get(name, 0) + amount[1]
    inside = bone.float()
    outside = {name: share * (1 - inside) for name, share in shares.items()}
    return outside | {
        name: outside.get(name, 0) + share * inside for name, share in _own_bones(hu, section, random).items()
    }


def _without_gas(hu: Tensor, random: np.random.Generator) -> Tensor:
    """Bowel of the patient on another day: mostly not full of gas."""
    gas = hu < _GAS_BELOW_HU
    filling = -1000.0 if random.random() < 0.3 else float(random.uniform(-60, 60))
    return hu.masked_fill(gas, filling)


def _watery(hu: Tensor, water: Tensor, section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Muscle, fluid, organs, the joint's cartilage and fibres at bone share what is neither fat nor air."""
    calm = nnf.avg_pool2d(hu[:, None], 5, stride=1, padding=2, count_include_pad=False)[:, 0]
    fluid = float(random.uniform(0, 1)) * torch.exp(-(((calm - 8) / 10) ** 2))
    organ = (smooth_field(hu.shape[-2:], 5, 1.0, random) > random.uniform(0.3, 1.5)).float() * (1 - fluid)
    near, far = torch.minimum(section.hip, section.femur), torch.maximum(section.hip, section.femur)
    joint = ((near > 0) & (near + far < random.uniform(4, 8))).float()
    # Capsule, labrum, tendons: dark on every contrast, here and there.
    patchy = (smooth_field(hu.shape[-2:], 14, 1.0, random) > random.uniform(-0.3, 1.2)).float()
    fibrous = ((near > 0) & (near < random.uniform(1.0, 3.5))).float() * patchy * (1 - joint) * random.uniform(0.4, 1)
    cartilage = joint * (1 - fluid)
    rest = 1 - fibrous
    return {
        "cartilage": water * rest * cartilage,
        "fluid": water * rest * torch.maximum(fluid, joint * fluid),
        "organ": water * rest * (1 - cartilage) * organ,
        "muscle": water * rest * (1 - cartilage) * (1 - fluid) * (1 - organ),
        "fibrous": water * fibrous,
    }


def _other_bones(hu: Tensor, bone: Tensor, random: np.random.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Spine, sacrum and what else is bright on CT: (what it takes from the tissue there, what it is instead)."""
    other = ((hu - random.uniform(110, 150)) / 60).clamp(0, 1) * (~bone).float()
    cortex = other * torch.sigmoid((hu - random.uniform(380, 520)) / 60)
    red = float(random.uniform(0.3, 0.9))
    marrow = other - cortex
    return {
        "cortex": (other, cortex),
        "red_marrow": (torch.zeros_like(other), marrow * red),
        "yellow_marrow": (torch.zeros_like(other), marrow * (1 - red)),
    }


def _own_bones(hu: Tensor, section: Section, random: np.random.Generator) -> dict[str, Tensor]:
    """Cortex and marrow of hip bone and femur; the deeper in the bone, the denser a trabecula may be."""
    is_hip = (section.hip < section.femur).float()
    depth = -torch.minimum(section.hip, section.femur)
    threshold, rise = random.uniform(260, 400), random.uniform(40, 110)
    cortex = torch.sigmoid((hu - threshold - rise * depth.clamp(0, 8)) / random.uniform(30, 70))
    # Where slices are thick in CT, its shell is blurred away; on MRI it is a dark line all the same.
    shell = ((depth < random.uniform(0.3, 1.8)) & (hu > random.uniform(50, 220))).float()
    cortex = torch.maximum(cortex, shell)
    variation = smooth_field(hu.shape[-2:], 9, 0.2, random)
    red_hip, red_femur = random.uniform(0.1, 0.9), random.uniform(0.0, 0.5)
    red = (is_hip * red_hip + (1 - is_hip) * red_femur + variation).clamp(0, 1)
    # Trabeculae take room from marrow.
    marrow = (1 - cortex) * (1 - float(random.uniform(0, 0.35)) * ((hu - 120) / 400).clamp(0, 1))
    return {"cortex": 1 - marrow, "red_marrow": marrow * red, "yellow_marrow": marrow * (1 - red)}
