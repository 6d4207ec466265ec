"""Step 5, what each material sends: the signal equations of common sequences, with everything in them varied.

Relaxation times are of the order of published ones (Gold et al., AJR 2004;183:343; Stanisz et al., Magn Reson Med
2005;54:507), between 1.5 and 3 T; each sample varies them, so that only their order is relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from HipICMSCTrainingLib.simulation.drawing import drawn_name
from HipICMSCTrainingLib.simulation.tissues import MATERIALS


@dataclass(frozen=True)
class Relaxation:
    """Attributes:
    density: protons, relative to muscle's.
    t1_ms, t2_ms: relaxation times.
    fat_share: how much of the signal is that of fat, which can be suppressed.
    dephasing: how much faster than by T2 a gradient echo fades. Trabeculae disturb the field of the marrow between
        them, so that it is far darker than the fat it consists of: R2* of vertebral marrow is 53 to 65 1/s (Wehrli et
        al., Radiology 1995;196:631), and more at higher fields.
    """

    density: float
    t1_ms: float
    t2_ms: float
    fat_share: float
    dephasing: float = 2.0


_RELAXATION = {
    "fat": Relaxation(1.0, 320, 130, 0.95),
    "muscle": Relaxation(1.0, 1150, 38, 0.03),
    "fluid": Relaxation(1.15, 3000, 700, 0.0),
    "cartilage": Relaxation(0.85, 1150, 38, 0.0),
    "fibrous": Relaxation(0.4, 700, 8, 0.0),
    "skin": Relaxation(0.7, 800, 25, 0.1),
    "cortex": Relaxation(0.1, 400, 3, 0.2),
    "yellow_marrow": Relaxation(0.95, 330, 120, 0.85, dephasing=14.0),
    "red_marrow": Relaxation(0.95, 620, 50, 0.4, dephasing=6.0),
    "organ": Relaxation(1.0, 1100, 75, 0.02),
}


#: Of a tissue in a sequence, per proton.
Signal = Callable[[Relaxation], float]


@dataclass(frozen=True)
class Contrast:
    """What an image is weighted by.

    Attributes:
        name: of the kind: t1, pd, t2, fat_suppressed, gradient_echo, random.
        water, fat: signal of each material's water and fat, before they are put together.
        fat_sign: what fat is multiplied with: 1 together, 0 or a little suppressed, -1 opposed.
        water_sign: the same of water; 0 for a fat image.
    """

    name: str
    water: dict[str, float]
    fat: dict[str, float]
    fat_sign: float
    water_sign: float


def draw_contrast(shares: Mapping[str, float], random: np.random.Generator) -> Contrast:
    name = drawn_name(shares, random)
    if name == "random":
        return _random_contrast(random)
    tissues = {material: _varied(_RELAXATION[material], random) for material in MATERIALS}
    signal, fat_sign, water_sign = _sequence(name, random)
    # Water and fat of one material relax alike here, but for fat itself, whose echoes fast spin echo brightens.
    signals = {material: tissue.density * signal(tissue) for material, tissue in tissues.items()}
    return Contrast(
        name,
        water={material: signals[material] * (1 - tissue.fat_share) for material, tissue in tissues.items()},
        fat={material: signals[material] * tissue.fat_share for material, tissue in tissues.items()},
        fat_sign=fat_sign,
        water_sign=water_sign,
    )


def _varied(tissue: Relaxation, random: np.random.Generator) -> Relaxation:
    density, t1, t2, dephasing = np.exp(random.normal(0, [0.08, 0.18, 0.2, 0.5]))
    return Relaxation(
        tissue.density * density,
        tissue.t1_ms * t1,
        tissue.t2_ms * t2,
        float(np.clip(tissue.fat_share * random.uniform(0.85, 1.1), 0, 1)),
        max(1.0, tissue.dephasing * dephasing),
    )


def _sequence(name: str, random: np.random.Generator) -> tuple[Signal, float, float]:
    """(signal of a tissue, sign of fat, sign of water)."""
    if name == "t1":
        return spin_echo(random.uniform(350, 850), random.uniform(7, 22)), 1.0, 1.0
    if name == "pd":
        return spin_echo(random.uniform(1800, 4500), random.uniform(12, 45)), 1.0, 1.0
    if name == "t2":
        return spin_echo(random.uniform(2500, 6500), random.uniform(65, 130)), 1.0, 1.0
    if name == "fat_suppressed":
        if random.random() < 0.25:
            inversion = random.uniform(140, 240)
            return inversion_recovery(random.uniform(3000, 6000), random.uniform(15, 70), inversion), 1.0, 1.0
        echo = random.uniform(15, 50) if random.random() < 0.6 else random.uniform(50, 100)
        repetition = random.uniform(400, 900) if random.random() < 0.2 else random.uniform(1800, 5000)
        return spin_echo(repetition, echo), random.uniform(0.0, 0.2), 1.0
    fat_sign, water_sign = [(1.0, 1.0), (-1.0, 1.0), (0.05, 1.0), (1.0, 0.05)][
        random.choice(4, p=[0.35, 0.3, 0.25, 0.1])
    ]
    return gradient_echo(random.uniform(3, 9), random.uniform(1, 5), random.uniform(8, 25)), fat_sign, water_sign


def spin_echo(repetition_ms: float, echo_ms: float) -> Signal:
    """(1 - exp(-TR / T1)) exp(-TE / T2)."""
    return lambda tissue: (1 - np.exp(-repetition_ms / tissue.t1_ms)) * np.exp(-echo_ms / tissue.t2_ms)


def inversion_recovery(repetition_ms: float, echo_ms: float, inversion_ms: float) -> Signal:
    """|1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)."""

    def signal(tissue: Relaxation) -> float:
        recovered = 1 - 2 * np.exp(-inversion_ms / tissue.t1_ms) + np.exp(-repetition_ms / tissue.t1_ms)
        return abs(recovered) * np.exp(-echo_ms / tissue.t2_ms)

    return signal


def gradient_echo(repetition_ms: float, echo_ms: float, flip_deg: float) -> Signal:
    """sin α (1 - E1) / (1 - cos α E1) exp(-TE / T2*), E1 = exp(-TR / T1): spoiled (Ernst)."""
    angle = np.deg2rad(flip_deg)

    def signal(tissue: Relaxation) -> float:
        e1 = np.exp(-repetition_ms / tissue.t1_ms)
        return np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * np.exp(-tissue.dephasing * echo_ms / tissue.t2_ms)

    return signal


def _random_contrast(random: np.random.Generator) -> Contrast:
    water = dict(zip(MATERIALS, random.uniform(0, 1, len(MATERIALS)), strict=True))
    water["cortex"] *= 0.3
    water["yellow_marrow"] = float(np.clip(water["red_marrow"] + random.normal(0, 0.25), 0, 1))
    return Contrast("random", water, dict.fromkeys(MATERIALS, 0.0), 1.0, 1.0)
