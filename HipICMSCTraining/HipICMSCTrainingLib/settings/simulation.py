"""What slabs are simulated: planes, contrasts and how much everything varies."""

from __future__ import annotations

from dataclasses import dataclass, fields

from HipICMSCLib.common.errors import HipError


@dataclass(frozen=True)
class Planes:
    """How often slices lie in each plane; the numbers are compared with one another."""

    coronal: float = 0.45
    axial: float = 0.35
    sagittal: float = 0.12
    oblique: float = 0.08


@dataclass(frozen=True)
class Contrasts:
    """How often each kind of MRI is simulated; the numbers are compared with one another.

    Attributes:
        t1, pd, t2: (fast) spin echo.
        fat_suppressed: PD or T2 with the fat's signal taken away, or inversion recovery (STIR).
        gradient_echo: short echoes as of VIBE; in phase, opposed, water or fat alone as Dixon gives them.
        random: every tissue of any brightness, for contrasts that nobody thought of.
    """

    t1: float = 0.42
    pd: float = 0.1
    t2: float = 0.1
    fat_suppressed: float = 0.14
    gradient_echo: float = 0.12
    random: float = 0.12


@dataclass(frozen=True)
class SimulationSettings:
    """Attributes:
    patch: rows and columns of a slab, pixels of ``pixel_mm``.
    pixel_mm: the pixels that the network reads.
    slices: of a slab.
    slice_mm: least and largest distance between slices.
    thin_share: how many slabs have slices of less than 1.6 mm, as 3-D sequences do.
    pose_deg: standard deviation of the turns of a slab about its three axes.
    size_sd: standard deviation of the logarithm of the patient's size.
    warp_mm: standard deviation of a smooth deformation.
    femur_deg: standard deviation of the femur's turn in its socket: flexion, abduction, rotation.

    Raises:
        HipError: ``bad_setting`` for numbers that nothing can be simulated with.
    """

    planes: Planes = Planes()
    contrasts: Contrasts = Contrasts()
    patch: int = 256
    pixel_mm: float = 1.0
    slices: int = 3
    slice_mm: tuple[float, float] = (0.8, 7.0)
    thin_share: float = 0.2
    pose_deg: float = 8.0
    size_sd: float = 0.09
    warp_mm: float = 3.0
    femur_deg: tuple[float, float, float] = (10.0, 6.0, 12.0)

    def __post_init__(self) -> None:
        for shares in (self.planes, self.contrasts):
            values = [getattr(shares, field.name) for field in fields(shares)]
            if min(values) < 0 or sum(values) <= 0:
                raise HipError("bad_setting", "Shares of planes and contrasts are numbers from 0, not all of them 0.")
        if not 32 <= self.patch <= 1024 or not 0.1 <= self.pixel_mm <= 10:
            raise HipError("bad_setting", "simulation.patch is 32 to 1024 pixels, pixel_mm 0.1 to 10.")
        if not 0 < self.slice_mm[0] <= self.slice_mm[1] <= 50:
            raise HipError("bad_setting", "simulation.slice_mm are two numbers up to 50 mm, the lower one first.")
