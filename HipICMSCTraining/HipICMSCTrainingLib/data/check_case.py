"""What is wrong with one case of a dataset, seen on its own; its volume is read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.bones import HEAD_ROOM_MM, JOINT_RADIUS_MM, SIDES, room_mm, separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import PLANES, CropSettings, crop_grid, obliquity_deg, patient_axis, slice_axis
from HipICMSCLib.reading.volume import looks_like_ct, read_volume

from HipICMSCTrainingLib.data.dataset import Case, Problem, Role
from HipICMSCTrainingLib.data.label_maps import read_labels

Orientation = Literal["sagittal", "coronal", "axial", "even", ""]

#: Between slices farther apart the outlines are anyone's guess.
THICKEST_SLICE_MM = 6.0
#: A CT without air around the body may hold few voxels below -150 HU, but an MRI has hardly any below zero.
LEAST_NEGATIVE_SHARE = 0.02
#: Lies within every femoral head, however small, and however far off its centre was found.
HEAD_CORE_MM = 12.0
#: Of that core so much is femur in a label map of solid bones.
LEAST_CORE_SHARE = 0.5
#: Of a bone's cross-section on a border of the image; less may be noise of the contour.
LEAST_CUT_MM2 = 50.0
#: What lies this near to the border of the crop or beyond is lost to the networks anyway.
CROP_MARGIN_MM = 5.0
#: Muscle, fat and bone about a head, against which its marrow is bright or dark.
SURROUNDINGS_MM = (35.0, 60.0)

BONES = {HIP_BONE: "hip bone", FEMUR: "proximal femur"}
#: Axis (LPS), end and name of the borders of an image. Every femur is cut at the lower one, so that is no problem.
_BORDERS = (
    (0, 0, "right"),
    (0, -1, "left"),
    (1, 0, "front"),
    (1, -1, "back"),
    (2, 0, "lower"),
    (2, -1, "upper"),
)

FIXES = {
    "missing_file": "Choose the file again, or leave the case out.",
    "unreadable": "Export the file again; NIfTI, NRRD, MetaImage and folders with one DICOM series can be read.",
    "several_series": "Put the series to use into a folder of its own.",
    "not_3d": "Export the whole series as one volume, or leave the case out.",
    "not_scalar": "Export it again with one value a voxel, or leave the case out.",
    "bad_geometry": "Export it again with its true spacing and axes at right angles, or leave the case out.",
    "too_small": "Use a volume that shows a whole hip joint.",
    "too_large": "Crop it to the pelvis, or leave the case out.",
    "not_finite": "Give these voxels the value of the background and save the volume again.",
    "constant": "Export it again, or leave the case out.",
    "geometry_mismatch": "Resample the label map to its volume with nearest neighbours, and look at both together.",
    "unknown_labels": "Say which values mean hip bone and femur, and that all others are background if they are.",
    "empty_labels": "Say which values mean hip bone and femur, or complete the label map.",
    "no_hip": "Look whether it shows the hips; leave it out if it does not, or where a prosthesis hides a head.",
}
LOOK_AT_LABELS = "Look at the label map over its volume and correct it, or leave the case out."


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


def check_case(case: Case, crop: CropSettings) -> CheckedCase:
    """Read a case and say all that is wrong with it."""
    return _CaseCheck(case, crop).run()


class _CaseCheck:
    """Gathers what is found about one case."""

    def __init__(self, case: Case, crop: CropSettings) -> None:
        self.case, self.crop = case, crop
        self.problems: list[Problem] = []
        self.summary = CaseSummary(case.name, case.modality, case.role, case.patient)

    def run(self) -> CheckedCase:
        if self.case.role == "test" and not self.case.label:
            self._caution(
                "test_without_label",
                f"{self.case.name} is in testing, but has no label map to measure results against.",
                "Add its label map, or give it another role.",
            )
        try:
            image = read_volume(Path(self.case.image))
        except HipError as error:
            self._refuse(error)
            return CheckedCase(self.summary, tuple(self.problems))
        self._describe(image)
        self._check_modality(image)
        self._check_slices(image)
        labels, heads = self._labels(image), self._heads(image)
        cuts: tuple[tuple[int, str], ...] = ()
        if heads is not None:
            self._check_field_of_view(image, heads)
            if labels is not None:
                self._check_labels(labels, heads)
                cuts = _cuts(labels, heads, self.crop)
        return CheckedCase(
            self.summary,
            tuple(self.problems),
            _fingerprint(image),
            _slice_positions(image, heads, self.crop) if heads else (),
            _marrow_rank(image, heads) if heads else None,
            cuts,
        )

    # What there is.

    def _describe(self, image: sitk.Image) -> None:
        voxels = sitk.GetArrayViewFromImage(image)
        self.summary = replace(
            self.summary,
            size=image.GetSize(),
            spacing_mm=_patient_spacing(image),
            orientation=_orientation(image),
            obliquity_deg=obliquity_deg(image),
            intensity_range=(float(voxels.min()), float(voxels.max())),
        )

    def _labels(self, image: sitk.Image) -> sitk.Image | None:
        if not self.case.label:
            return None
        try:
            labels = read_labels(self.case, image)
        except HipError as error:
            self._refuse(error)
            return None
        counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=3)
        acetabulum_ml, femur_ml = (
            float(counts[bone] * np.prod(labels.GetSpacing()) / 1000) for bone in (HIP_BONE, FEMUR)
        )
        self.summary = replace(self.summary, acetabulum_ml=acetabulum_ml, femur_ml=femur_ml)
        return labels

    def _heads(self, image: sitk.Image) -> FemoralHeads | None:
        try:
            heads = find_femoral_heads(image)
        except HipError as error:
            sentence = f"No hip joint was found in {self.case.name}, so the networks' crop cannot be placed in it."
            self._stop(error.kind, sentence, FIXES["no_hip"])
            return None
        found = tuple(side for side in SIDES if getattr(heads, side) is not None)
        self.summary = replace(self.summary, heads=found)
        if len(found) == 1:
            self._caution(
                "one_hip",
                f"Only the {found[0]} hip was found in {self.case.name}, so it stands in the middle of the crop, where "
                "a volume with both hips shows the pelvis.",
                "Use volumes that show both hips, or only such as show one.",
            )
        return heads

    # What is wrong with the image.

    def _check_modality(self, image: sitk.Image) -> None:
        name, like_ct = self.case.name, looks_like_ct(image)
        lowest, highest = self.summary.intensity_range
        values = f"from {lowest:g} to {highest:g}"
        if self.case.modality == "MR":
            if like_ct:
                self._stop(
                    "ct_given",
                    f"{name} is listed as an MRI, but its intensities {values} are those of a CT.",
                    "List it as a CT with its label map, or leave it out.",
                )
        elif like_ct and lowest >= 0:
            self._stop(
                "no_hounsfield_units",
                f"The CT {name} has no value below 0: its intensities {values} seem to be Hounsfield units plus 1024.",
                "Subtract 1024 from its voxels, or export it again with its rescale intercept.",
            )
        elif not like_ct:
            negative = float((sitk.GetArrayViewFromImage(image) < 0).mean())
            if negative < LEAST_NEGATIVE_SHARE:
                self._stop(
                    "no_hounsfield_units",
                    f"{name} is listed as a CT, but its intensities {values} are no Hounsfield units: {negative:.1%} "
                    "of its voxels are below 0, where fat and air belong.",
                    "List it as an MRI if it is one, or export it again in Hounsfield units.",
                )
            else:
                self._caution(
                    "doubtful_hounsfield_units",
                    f"The intensities of the CT {name}, {values}, are hardly Hounsfield units of a whole body section.",
                    "Look whether muscle is near 50 and fat near -100; if not, export it again.",
                )

    def _check_slices(self, image: sitk.Image) -> None:
        thickest = max(image.GetSpacing())
        if thickest > THICKEST_SLICE_MM + 1e-3:
            self._caution(
                "thick_slices",
                f"The {self.summary.orientation} slices of {self.case.name} lie {thickest:.1f} mm apart; beyond "
                f"{THICKEST_SLICE_MM:g} mm the outlines between them are anyone's guess.",
                "Use a series with thinner slices, or leave the case out.",
            )

    def _check_field_of_view(self, image: sitk.Image, heads: FemoralHeads) -> None:
        middle, axes, half = _crop_box(image, heads, self.crop)
        cells = [(np.arange(count) + 0.5) / count * 2 - 1 for count in (20, 12, 20)]
        lattice = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = _inside(image, middle + (lattice * half) @ axes.T)
        self.summary = replace(self.summary, covered_share=float(inside.mean()))
        for side in self.summary.heads:
            head = getattr(heads, side)
            room = float(room_mm(image, head).min())
            if room < HEAD_ROOM_MM:
                self._caution(
                    "joint_cut",
                    f"{self.case.name} ends {max(room, 0):.0f} mm from the centre of the {side} femoral head, so that "
                    "the joint is cut.",
                    "Use a volume that shows the whole joint, or leave the case out.",
                )
            in_crop = float((half - np.abs(np.linalg.inv(axes) @ (np.array(head) - middle))).min())
            if in_crop < HEAD_ROOM_MM:
                self._say(
                    "stop" if in_crop < 0 else "caution",
                    "hip_outside_crop",
                    f"The centre of the {side} femoral head of {self.case.name} lies "
                    f"{abs(in_crop):.0f} mm {'outside' if in_crop < 0 else 'from the border of'} the crop that the "
                    "networks read.",
                    "Make the crop larger (crop.size or crop.spacing_mm).",
                )

    # What is wrong with the labels.

    def _check_labels(self, labels: sitk.Image, heads: FemoralHeads) -> None:
        """Do the labels lie where the femoral heads are, and are they as a result of ours would have to be?"""
        plausible = [self._check_head(labels, side, getattr(heads, side)) for side in self.summary.heads]
        if not all(plausible):
            return
        said = {problem.kind for problem in self.problems}
        for notice in separate_sides(labels, heads).notices:
            # A CT may well end where a bone goes on.
            if notice.kind not in said | {"bone_cut"}:
                sentence = f"The label map of {self.case.name}, judged as a result would be: {notice.sentence}"
                self._caution(notice.kind, sentence, LOOK_AT_LABELS)

    def _check_head(self, labels: sitk.Image, side: str, head: tuple[float, float, float]) -> bool:
        """Whether the bones of one side lie where they belong."""
        core = _values_at(labels, head + _ball(HEAD_CORE_MM))
        shares = {bone: float((core == bone).mean()) for bone in BONES}
        name, where = self.case.name, f"{side} femoral head"
        if shares[HIP_BONE] >= LEAST_CORE_SHARE and shares[FEMUR] < 1 - LEAST_CORE_SHARE:
            self._stop(
                "classes_swapped",
                f"In the label map of {name} the middle of the {where} is hip bone ({shares[HIP_BONE]:.0%}) rather "
                f"than femur ({shares[FEMUR]:.0%}).",
                "Swap the label values of hip bone and femur.",
            )
            return False
        for bone, within in ((FEMUR, HEAD_ROOM_MM), (HIP_BONE, JOINT_RADIUS_MM)):
            distance = _distance_mm(labels, bone, head)
            if distance > within:
                self._stop(
                    "labels_far_from_heads",
                    f"In the label map of {name} the {BONES[bone]} nearest to the centre of the {where} lies "
                    f"{distance:.0f} mm from it, where at most {within:g} mm are expected.",
                    "Look whether the label map belongs to the volume and shows both hips, and correct it; if it does, "
                    "the femoral heads were not recognised, so leave the case out.",
                )
                return False
        if shares[FEMUR] < LEAST_CORE_SHARE:
            self._caution(
                "femur_not_solid",
                f"In the label map of {name} only {shares[FEMUR]:.0%} of the middle of the {where} is femur.",
                "Fill the bones (cortex and marrow are one label), or look whether the head lies elsewhere.",
            )
        return True

    # How it is said.

    def _refuse(self, error: HipError) -> None:
        name = self.case.name
        sentence = error.sentence if name in error.sentence else f"{name}: {error.sentence}"
        self._stop(error.kind, sentence, FIXES.get(error.kind, "Correct it, or leave the case out."))

    def _stop(self, kind: str, sentence: str, fix: str) -> None:
        self._say("stop", kind, sentence, fix)

    def _caution(self, kind: str, sentence: str, fix: str) -> None:
        self._say("caution", kind, sentence, fix)

    def _say(self, level: Literal["stop", "caution"], kind: str, sentence: str, fix: str) -> None:
        self.problems.append(Problem(level, kind, self.case.name, sentence, fix))


def _patient_spacing(image: sitk.Image) -> tuple[float, float, float]:
    axes = sitk.Image(2, 2, 2, sitk.sitkUInt8)  # as many voxels as it takes to turn axes
    axes.SetSpacing(image.GetSpacing())
    axes.SetDirection(image.GetDirection())
    return tuple(float(step) for step in sitk.DICOMOrient(axes, "LPS").GetSpacing())


def _orientation(image: sitk.Image) -> Orientation:
    axis = slice_axis(image)
    return "even" if axis is None else PLANES[patient_axis(image, axis)]


def _fingerprint(image: sitk.Image) -> str:
    voxels = sitk.GetArrayFromImage(sitk.Cast(sitk.DICOMOrient(image, "LPS"), sitk.sitkFloat32))
    return hashlib.sha256(str(voxels.shape).encode() + voxels.tobytes()).hexdigest()


def _slice_positions(image: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[float, ...]:
    grid = crop_grid(image, heads.midpoint(), crop)
    front_to_back = np.array(grid.direction).reshape(3, 3)[:, 1]
    first = float(front_to_back @ (np.array(grid.origin) - heads.midpoint()))
    return tuple(first + grid.spacing[1] * number for number in range(grid.size[1]))


def _crop_box(image: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (LPS mm), axes (columns) and half extents (mm) of the crop, whether or not the image fills it."""
    axes = np.array(crop_grid(image, heads.midpoint(), crop).direction).reshape(3, 3)
    return heads.midpoint(), axes, np.array(crop.size) * crop.spacing_mm / 2


def _cuts(labels: sitk.Image, heads: FemoralHeads, crop: CropSettings) -> tuple[tuple[int, str], ...]:
    labels = sitk.DICOMOrient(labels, "LPS")
    values, spacing = sitk.GetArrayViewFromImage(labels), np.array(labels.GetSpacing())
    middle, axes, half = _crop_box(labels, heads, crop)
    cuts = []
    for bone in BONES:
        borders = []
        for axis, end, word in _BORDERS:
            if bone == FEMUR and word == "lower":
                continue
            on_border = np.argwhere(np.take(values, end, axis=2 - axis) == bone)[:, ::-1]
            indices = np.insert(on_border, axis, end % labels.GetSize()[axis], axis=1)
            offsets = (_points(labels, indices) - middle) @ np.linalg.inv(axes).T
            seen = (np.abs(offsets) < half - CROP_MARGIN_MM).all(axis=1).sum()
            if seen * np.prod(np.delete(spacing, axis)) >= LEAST_CUT_MM2:
                borders.append(word)
        if borders:
            cuts.append((bone, " and ".join(borders)))
    return tuple(cuts)


def _marrow_rank(image: sitk.Image, heads: FemoralHeads) -> float:
    nearest, farthest = SURROUNDINGS_MM
    ball = _ball(farthest)
    shell = ball[np.linalg.norm(ball, axis=1) >= nearest]
    ranks = []
    for head in filter(None, (heads.right, heads.left)):
        marrow = np.median(_values_at(image, head + _ball(HEAD_CORE_MM)))
        ranks.append(float((_values_at(image, head + shell) < marrow).mean()))
    return float(np.mean(ranks))


def _ball(radius: float) -> np.ndarray:
    """Points (count, 3) of a ball about zero, 3 mm apart."""
    line = np.arange(-radius, radius + 1, 3.0)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.linalg.norm(points, axis=1) <= radius]


def _steps(image: sitk.Image) -> np.ndarray:
    """By column: from a voxel to the next along each axis of the image, LPS mm."""
    return np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())


def _points(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """LPS points (count, 3) of indices (count, 3; x, y, z)."""
    return indices @ _steps(image).T + np.array(image.GetOrigin())


def _indices(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    """The inverse of :func:`_points`; not rounded."""
    return (points - np.array(image.GetOrigin())) @ np.linalg.inv(_steps(image)).T


def _inside(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    indices = _indices(image, points)
    return ((indices >= -0.5) & (indices <= np.array(image.GetSize()) - 0.5)).all(axis=1)


def _values_at(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    """The nearest voxels' values at those LPS points that lie in the image."""
    indices = np.rint(_indices(image, points[_inside(image, points)])).astype(int)
    x, y, z = np.clip(indices, 0, np.array(image.GetSize()) - 1).T
    return sitk.GetArrayViewFromImage(image)[z, y, x]


def _distance_mm(labels: sitk.Image, bone: int, point: tuple[float, float, float]) -> float:
    """From an LPS point to the nearest voxel of a class."""
    points = _points(labels, np.argwhere(sitk.GetArrayViewFromImage(labels) == bone)[:, ::-1])
    return float(np.linalg.norm(points - np.array(point), axis=1).min())
