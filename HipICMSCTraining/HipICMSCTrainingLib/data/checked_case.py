"""What the check of a case finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE

from HipICMSCTrainingLib.data.dataset import Role
from HipICMSCTrainingLib.data.dataset_problems import Problem

Orientation = Literal["sagittal", "coronal", "axial", "even", ""]

BONES = {HIP_BONE: "hip bone", FEMUR: "proximal femur"}


@dataclass(frozen=True)
class CaseSummary:
    """A row of the table of cases; what could not be found out is None or empty.

    Attributes:
        size: voxels along the image's own axes.
        spacing_mm: by patient axis: left-right, front-back, head-foot.
        orientation: of the slices; "even" where voxels are about as thick as wide.
        obliquity_deg: largest angle between an image axis and the patient's.
        intensity_range: smallest and largest value.
        heads: sides of the femoral heads that were found.
        acetabulum_ml, femur_ml: volume of each class in the label map, both sides together.
        covered_share: how much of the crop that the networks read lies in the image, 0 to 1.
    """

    name: str
    modality: Literal["CT", "MR"]
    role: Role
    patient: str
    size: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    orientation: Orientation = ""
    obliquity_deg: float | None = None
    intensity_range: tuple[float, float] | None = None
    heads: tuple[Literal["right", "left"], ...] = ()
    acetabulum_ml: float | None = None
    femur_ml: float | None = None
    covered_share: float | None = None


@dataclass(frozen=True)
class CheckedCase:
    """What the check of a case found.

    Attributes:
        fingerprint: of the voxels' values in patient order, whatever the file's format; empty if unreadable.
        slice_positions_mm: of the slices that the networks read, behind the femoral heads; empty without heads.
        marrow_rank: share of the tissue about the femoral heads that is darker than their marrow; None without heads.
        cuts: labelled bones that the image cuts within the crop, and at which borders.
    """

    summary: CaseSummary
    problems: tuple[Problem, ...]
    fingerprint: str = ""
    slice_positions_mm: tuple[float, ...] = ()
    marrow_rank: float | None = None
    cuts: tuple[tuple[int, str], ...] = ()
