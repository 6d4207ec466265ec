"""What is wrong with one case of a dataset, seen on its own; its volume is read once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.anatomy.field_of_view import HEAD_ROOM_MM, JOINT_RADIUS_MM, room_mm
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS, SIDES
from HipICMSCLib.cases.corrected_case import read_case
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.voxels import patient_axis
from HipICMSCLib.preprocessing.geometry import PLANES, CropSettings, obliquity_deg, slice_axis
from HipICMSCLib.preprocessing.image_check import looks_like_ct, looks_like_label_map
from HipICMSCLib.reading.volume import read_volume

from HipICMSCTrainingLib.data.checked_case import BONES, CaseSummary, CheckedCase, Orientation
from HipICMSCTrainingLib.data.corrections import read_corrections
from HipICMSCTrainingLib.data.crop_view import crop_box, cut_bones, slice_positions
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.dataset_problems import Problem
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.data.voxels_at import ball_points, distance_mm, lies_in, values_at

#: Between slices farther apart the outlines are anyone's guess.
THICKEST_SLICE_MM = 6.0
#: A CT without air around the body may hold few voxels below -150 HU, but an MRI has hardly any below zero.
LEAST_NEGATIVE_SHARE = 0.02
#: Lies within every femoral head, however small, and however far off its centre was found.
HEAD_CORE_MM = 12.0
#: Of that core so much is femur in a label map of solid bones.
LEAST_CORE_SHARE = 0.5
#: Muscle, fat and bone about a head, against which its marrow is bright or dark.
SURROUNDINGS_MM = (35.0, 60.0)

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
    "bad_case": "Bring the folder back whole, or leave the case out.",
    "nothing_corrected": "Mark what is right as completed and keep the case once more, or leave it out.",
    "no_hip": "Look whether it shows the hips; leave it out if it does not, or where a prosthesis hides a head.",
}
LOOK_AT_LABELS = "Look at the label map over its volume and correct it, or leave the case out."


def check_case(case: Case, crop: CropSettings | None) -> CheckedCase:
    """Read a case and say all that is wrong with it.

    Args:
        crop: what the training will read of it; None where it reads whole slices and needs no femoral heads.
    """
    return _CaseCheck(case, crop).run()


class _CaseCheck:
    """Gathers what is found about one case."""

    def __init__(self, case: Case, crop: CropSettings | None) -> None:
        self.case, self.crop = case, crop
        self.problems: list[Problem] = []
        self.summary = CaseSummary(case.name, case.modality, case.role, case.patient)

    def run(self) -> CheckedCase:
        if self.case.role == "test" and not (self.case.label or self.case.corrected):
            self._caution(
                "test_without_label",
                f"{self.case.name} is in testing, but has no label map to measure results against.",
                "Add its label map, or give it another role.",
            )
        try:
            if self.case.corrected:
                read_case(Path(self.case.corrected))
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
            if self.crop:
                self._check_crop(image, heads)
            if labels is not None:
                self._check_labels(labels, heads)
                cuts = cut_bones(labels, heads, self.crop) if self.crop else ()
        return CheckedCase(
            self.summary,
            tuple(self.problems),
            _fingerprint(image),
            slice_positions(image, heads, self.crop) if heads and self.crop else (),
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
        if not self.case.label and not self.case.corrected:
            return None
        try:
            labels = self._corrected() if self.case.corrected else read_labels(self.case, image)
        except HipError as error:
            self._refuse(error)
            return None
        if labels is None:
            return None
        counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=3)
        acetabulum_ml, femur_ml = (
            float(counts[bone] * np.prod(labels.GetSpacing()) / 1000) for bone in (HIP_BONE, FEMUR)
        )
        self.summary = replace(self.summary, acetabulum_ml=acetabulum_ml, femur_ml=femur_ml)
        return labels

    def _corrected(self) -> sitk.Image | None:
        """The classes of a corrected MRI; None where bones are not completed, as nobody said that all is right."""
        corrections = read_corrections(self.case)
        open_bones = [segment.short_name for segment in SEGMENTS if segment.segment_id not in corrections.completed]
        if not open_bones:
            return corrections.classes
        self._caution(
            "partly_completed",
            f"In the corrected case {self.case.name} these bones are not marked as completed: {', '.join(open_bones)}. "
            "They teach a tenth as much as the others, and what lies about them teaches nothing.",
            "Complete them in HipICMSC and keep the case once more, if they are right.",
        )
        return None

    def _heads(self, image: sitk.Image) -> FemoralHeads | None:
        try:
            heads = find_femoral_heads(image)
        except HipError as error:
            found = f"No hip joint was found in {self.case.name}"
            if self.crop:
                self._stop(error.kind, f"{found}, so the networks' crop cannot be placed in it.", FIXES["no_hip"])
            else:
                self._caution(error.kind, f"{found}, so where it lies was not checked.", FIXES["no_hip"])
            return None
        found = tuple(side for side in SIDES if getattr(heads, side) is not None)
        self.summary = replace(self.summary, heads=found)
        if len(found) == 1 and self.crop:
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
            elif looks_like_label_map(image):
                self._stop(
                    "labels_given",
                    f"{name} is listed as an MRI, but its values are those of a label map.",
                    "Name the MRI that it belongs to.",
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
        for side in self.summary.heads:
            room = float(room_mm(image, getattr(heads, side)).min())
            if room < HEAD_ROOM_MM:
                self._caution(
                    "joint_cut",
                    f"{self.case.name} ends {max(room, 0):.0f} mm from the centre of the {side} femoral head, so that "
                    "the joint is cut.",
                    "Use a volume that shows the whole joint, or leave the case out.",
                )

    def _check_crop(self, image: sitk.Image, heads: FemoralHeads) -> None:
        middle, axes, half = crop_box(image, heads, self.crop)
        cells = [(np.arange(count) + 0.5) / count * 2 - 1 for count in (20, 12, 20)]
        lattice = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = lies_in(image, middle + (lattice * half) @ axes.T)
        self.summary = replace(self.summary, covered_share=float(inside.mean()))
        for side in self.summary.heads:
            offset = np.array(getattr(heads, side)) - middle
            in_crop = float((half - np.abs(np.linalg.inv(axes) @ offset)).min())
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
        # Where bones are cut is said once for all cases of a dataset.
        said = {problem.kind for problem in self.problems} | {"bone_cut"}
        for notice in separate_sides(labels, heads).notices:
            # A CT may well end where a bone goes on.
            if notice.kind not in said | {"bone_cut"}:
                sentence = f"The label map of {self.case.name}, judged as a result would be: {notice.sentence}"
                self._caution(notice.kind, sentence, LOOK_AT_LABELS)

    def _check_head(self, labels: sitk.Image, side: str, head: tuple[float, float, float]) -> bool:
        """Whether the bones of one side lie where they belong."""
        core = values_at(labels, head + ball_points(HEAD_CORE_MM))
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
            distance = distance_mm(labels, bone, head)
            if distance > within:
                # Where nothing else depends on the heads, it may be they that are not where they were found.
                self._say(
                    "stop" if self.crop else "caution",
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


def _marrow_rank(image: sitk.Image, heads: FemoralHeads) -> float:
    nearest, farthest = SURROUNDINGS_MM
    shell = ball_points(farthest)
    shell = shell[np.linalg.norm(shell, axis=1) >= nearest]
    ranks = []
    for head in filter(None, (heads.right, heads.left)):
        marrow = np.median(values_at(image, head + ball_points(HEAD_CORE_MM)))
        ranks.append(float((values_at(image, head + shell) < marrow).mean()))
    return float(np.mean(ranks))
