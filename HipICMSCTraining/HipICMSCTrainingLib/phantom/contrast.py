"""What each tissue looks like in CT and in MR."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from HipICMSCTrainingLib.phantom.anatomy import Tissues


@dataclass(frozen=True)
class Contrast:
    """Mean value of each tissue, and how it varies.

    Attributes:
        level: value of a tissue; ``air`` is what lies outside the body.
        grain: how strongly a tissue follows the random texture (standard deviation, in units of the image).
        density_gain: added to marrow times the trabecular density.
    """

    level: dict[str, float]
    grain: dict[str, float]
    density_gain: float


# HU. Cartilage is as soft tissue; marrow lies between fat and spongy bone.
CT = Contrast(
    level={
        "air": -1000, "skin": 20, "fat": -100, "muscle": 55, "organ": 40, "fluid": 8, "gas": -900, "vessel": 50,
        "cartilage": 70, "cortex": 1250, "marrow": 40,
    },
    grain={"fat": 8, "muscle": 10, "organ": 14, "marrow": 45, "cortex": 70},
    density_gain=300,
)  # fmt: skip

# Turbo spin echo, in arbitrary units. T1: fluid is dark; the head, where the marrow is fatty, outshines the ilium.
T1 = Contrast(
    level={
        "air": 0, "skin": 330, "fat": 560, "muscle": 225, "organ": 260, "fluid": 130, "gas": 5, "vessel": 110,
        "cartilage": 190, "cortex": 30, "marrow": 430,
    },
    grain={"fat": 22, "muscle": 20, "organ": 60, "marrow": 35},
    density_gain=50,
)  # fmt: skip

# Proton density with fat suppression: marrow is darker than muscle, fluid and cartilage are bright.
FAT_SUPPRESSED = Contrast(
    level={
        "air": 0, "skin": 160, "fat": 85, "muscle": 240, "organ": 320, "fluid": 640, "gas": 5, "vessel": 180,
        "cartilage": 420, "cortex": 25, "marrow": 90,
    },
    grain={"fat": 12, "muscle": 22, "organ": 50, "marrow": 14},
    density_gain=15,
)  # fmt: skip


def varied(contrast: Contrast, rng: np.random.Generator, spread: float = 0.07) -> Contrast:
    """The same sequence on another day: every tissue a little brighter or darker."""
    return replace(contrast, level={t: v * float(rng.normal(1, spread)) for t, v in contrast.level.items()})


def painted(tissues: Tissues, contrast: Contrast, fine: np.ndarray, broad: np.ndarray) -> np.ndarray:
    """Noise-free image of some voxels; ``fine`` and ``broad`` are random textures of unit variance."""
    texture = 0.7 * fine + 0.7 * broad
    image = np.full(fine.shape, np.float32(contrast.level["air"]))
    for tissue, coverage in tissues.layers:
        value = np.float32(contrast.level[tissue]) + np.float32(contrast.grain.get(tissue, 0)) * texture
        if tissue == "marrow":
            value += np.float32(contrast.density_gain) * tissues.density
        image += coverage * (value - image)
    return image


def with_ct_noise(image: np.ndarray, rng: np.random.Generator, blur: np.ndarray, sigma_hu: float) -> np.ndarray:
    """CT as reconstructed, int16 HU: a point spread of ``blur`` voxels (by array axis) correlates the noise too."""
    # Filtering takes most of the noise away; what is left shall have sigma_hu.
    gain = float(np.prod([np.sqrt(2 * np.sqrt(np.pi) * max(b, 0.29)) for b in blur]))
    noisy = image + rng.standard_normal(image.shape, np.float32) * np.float32(sigma_hu * gain)
    return np.rint(np.clip(ndimage.gaussian_filter(noisy, blur, truncate=3), -1024, 3071)).astype(np.int16)


def with_mr_noise(image: np.ndarray, rng: np.random.Generator, bias: np.ndarray, sigma: float) -> np.ndarray:
    """MR as received: the coil's smooth ``bias`` multiplies the signal, and the magnitude has Rician noise; int16."""
    real = image * bias + rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    imaginary = rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.rint(np.minimum(np.hypot(real, imaginary), 32767)).astype(np.int16)
