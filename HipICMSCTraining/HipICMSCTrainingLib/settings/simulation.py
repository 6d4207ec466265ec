"""What MR slabs are simulated: planes, contrasts and how much everything varies."""

from __future__ import annotations

from dataclasses import dataclass

from HipICMSCLib.common.errors import HipError


@dataclass(frozen=True)
class SimulationSettings:
    """Shares of planes are compared with one another, and so are shares of contrasts.

    Attributes:
        patch: rows and columns of a slab, in pixels.
        least_patch: of a batch in simulation: each has a size of its own between this and ``patch``, so that the
            network also sees slices that one hip fills.
        slice_mm: least and largest distance between slices.
        thin_fraction: how many slabs have slices of less than 1.6 mm, as 3-D sequences do.
        pose_deg: standard deviation of the turns of a slab about its three axes.
        size_sd: standard deviation of the logarithm of the patient's size.
        warp_mm: standard deviation of a smooth deformation.
        femur_deg: standard deviation of the femur's turn in its socket: flexion, abduction, rotation.
        plane_coronal: share of coronal slabs.
        plane_axial: share of axial slabs.
        plane_sagittal: share of sagittal slabs.
        plane_oblique: share of slabs in any direction.
        contrast_t1: share of T1-weighted (fast) spin echo.
        contrast_pd: share of proton density.
        contrast_t2: share of T2-weighted (fast) spin echo.
        contrast_fat_suppressed: share of proton density or T2 without the signal of fat, and of STIR.
        contrast_gradient_echo: share of short echoes as of VIBE; in phase, opposed, water or fat as Dixon gives them.
        contrast_random: share of slabs whose tissues have any brightness, for contrasts that nobody thought of.

    Raises:
        HipError: ``bad_setting`` for numbers that nothing can be simulated with.
    """

    patch: int = 256
    least_patch: int = 160
    slice_mm: tuple[float, float] = (0.8, 7.0)
    thin_fraction: float = 0.2
    pose_deg: float = 8.0
    size_sd: float = 0.09
    warp_mm: float = 3.0
    femur_deg: tuple[float, float, float] = (10.0, 6.0, 12.0)
    plane_coronal: float = 0.45
    plane_axial: float = 0.35
    plane_sagittal: float = 0.12
    plane_oblique: float = 0.08
    contrast_t1: float = 0.26
    contrast_pd: float = 0.08
    contrast_t2: float = 0.08
    contrast_fat_suppressed: float = 0.12
    contrast_gradient_echo: float = 0.24
    contrast_random: float = 0.22

    def __post_init__(self) -> None:
        for kind in ("plane", "contrast"):
            shares = self.shares(kind)
            if min(shares.values()) < 0 or sum(shares.values()) <= 0:
                raise HipError(
                    "bad_setting", f"The shares simulation.{kind}_… are numbers from 0, at least one of them above it."
                )
        if not 32 <= self.patch <= 1024:
            raise HipError("bad_setting", f"simulation.patch is {self.patch}; give a number from 32 to 1024.")
        if not 32 <= self.least_patch <= 1024:
            raise HipError(
                "bad_setting", f"simulation.least_patch is {self.least_patch}; give a number from 32 to 1024."
            )
        if not 0.2 <= self.slice_mm[0] <= self.slice_mm[1] <= 50:
            raise HipError("bad_setting", "simulation.slice_mm are two numbers from 0.2 to 50 mm, the lower one first.")
        if min(self.thin_fraction, self.pose_deg, self.size_sd, self.warp_mm, *self.femur_deg) < 0:
            raise HipError("bad_setting", "Of simulation, shares and deviations are numbers from 0.")

    def shares(self, kind: str) -> dict[str, float]:
        """By name, of the kind ``plane`` or ``contrast``."""
        prefix = f"{kind}_"
        return {name.removeprefix(prefix): share for name, share in vars(self).items() if name.startswith(prefix)}


@dataclass(frozen=True)
class SlabShape:
    """Attributes:
    slices: of a slab, an odd number.
    patch: rows and columns.
    pixel_mm: size of the pixels.
    """

    slices: int = 3
    patch: int = 256
    pixel_mm: float = 1.0
