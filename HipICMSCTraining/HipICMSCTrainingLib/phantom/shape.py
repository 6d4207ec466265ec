"""What distinguishes one synthetic pelvis from another, and how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HipShape:
    """The shape of one subject's pelvis and femora; lengths in mm, angles in degrees.

    Attributes:
        size: overall bone size relative to an average adult.
        head_distance_mm: between the two femoral head centres (wider in women).
        head_radius_mm: femoral head without its cartilage.
        joint_gap_mm: bone to bone between head and socket.
        neck_shaft_deg: angle between femoral neck and shaft (CCD angle).
        anteversion_deg: how far the femoral neck points forward of the coronal plane.
        centre_edge_deg: lateral centre-edge angle of the socket; under 20 is a dysplastic hip.
        cup_version_deg: how far the socket opens forward.
        cam_mm: height of the bump at the antero-superior head-neck junction.
        flexion_deg, abduction_deg, rotation_deg: pose of the femora about the head centres.
        pelvic_tilt_deg: rotation of the whole pelvis about the left-right axis.
        fat_mm: subcutaneous fat.
    """

    size: float
    head_distance_mm: float
    head_radius_mm: float
    joint_gap_mm: float
    neck_shaft_deg: float
    anteversion_deg: float
    centre_edge_deg: float
    cup_version_deg: float
    cam_mm: float
    flexion_deg: float
    abduction_deg: float
    rotation_deg: float
    pelvic_tilt_deg: float
    fat_mm: float


@dataclass(frozen=True)
class Population:
    """Distributions from which shapes are drawn; (mean, standard deviation) unless said otherwise.

    ``female_share``, ``dysplasia_share`` and ``cam_share`` are probabilities. A population also has its usual field of
    view: ``view_mm`` is its extent (left-right, front-back, head-foot) and ``view_offset_mm`` where its middle lies
    from the midpoint of the femoral head centres, to the left, back and head.
    """

    female_share: float
    dysplasia_share: float
    cam_share: float
    size: tuple[float, float]
    neck_shaft_deg: tuple[float, float]
    anteversion_deg: tuple[float, float]
    flexion_deg: tuple[float, float]
    pelvic_tilt_deg: tuple[float, float]
    fat_mm: tuple[float, float]
    view_mm: tuple[float, float, float]
    view_offset_mm: tuple[float, float, float]


# Both views hold the 375 × 200 × 240 mm crop about the head centres. The MR population is mostly female, smaller, more
# often dysplastic, lies with bent hips and shows more of the thigh: an anatomy that differs from that of the CTs.
POPULATIONS = {
    "ct": Population(
        female_share=0.5,
        dysplasia_share=0.1,
        cam_share=0.2,
        size=(1.0, 0.03),
        neck_shaft_deg=(129.0, 3.5),
        anteversion_deg=(13.0, 3.5),
        flexion_deg=(0.0, 3.0),
        pelvic_tilt_deg=(0.0, 3.0),
        fat_mm=(20.0, 5.0),
        view_mm=(390.0, 240.0, 260.0),
        view_offset_mm=(0.0, 5.0, 5.0),
    ),
    "mri": Population(
        female_share=0.8,
        dysplasia_share=0.25,
        cam_share=0.15,
        size=(0.97, 0.03),
        neck_shaft_deg=(132.0, 4.0),
        anteversion_deg=(16.0, 3.5),
        flexion_deg=(7.0, 4.0),
        pelvic_tilt_deg=(4.0, 4.0),
        fat_mm=(28.0, 6.0),
        view_mm=(390.0, 215.0, 320.0),
        view_offset_mm=(0.0, 3.0, -20.0),
    ),
}


def draw_shape(rng: np.random.Generator, population: Population) -> HipShape:
    """Draw one adult; every value is cut off where adult anatomy ends."""

    def normal(mean: float, deviation: float, low: float, high: float) -> float:
        return float(np.clip(rng.normal(mean, deviation), low, high))

    female = rng.random() < population.female_share
    dysplastic = rng.random() < population.dysplasia_share
    cam = rng.random() < population.cam_share
    size = normal(population.size[0] + (-0.025 if female else 0.025), population.size[1], 0.9, 1.08)
    return HipShape(
        size=size,
        head_distance_mm=normal(180 if female else 174, 5, 165, 195),
        head_radius_mm=normal((22.3 if female else 24.0) * size, 0.7, 20, 26),
        joint_gap_mm=normal(3.8, 0.3, 3.2, 4.6),
        neck_shaft_deg=normal(*population.neck_shaft_deg, 120, 140),
        anteversion_deg=normal(*population.anteversion_deg, 5, 20),
        centre_edge_deg=normal(14, 3, 6, 19) if dysplastic else normal(32, 4, 24, 42),
        cup_version_deg=normal(18, 3, 10, 26),
        cam_mm=normal(3, 1, 1.5, 5) if cam else 0.0,
        flexion_deg=normal(*population.flexion_deg, -8, 18),
        abduction_deg=normal(0, 3, -7, 7),
        rotation_deg=normal(0, 4, -10, 10),
        pelvic_tilt_deg=normal(*population.pelvic_tilt_deg, -10, 14),
        fat_mm=normal(*population.fat_mm, 8, 45),
    )
