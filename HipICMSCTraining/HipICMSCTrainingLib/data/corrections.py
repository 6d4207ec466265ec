"""What a corrected MRI teaches, voxel by voxel: the class, and how much it counts.

- A bone that the user marked as completed counts fully.
- Background counts fully where the user vouches for it: everywhere, if all four bones are completed; otherwise within
  :data:`KNOWN_MM` of a completed bone, but not within that distance of a bone that is not completed, whose true border
  may lie anywhere there, and not about a bone whose partner in the joint is neither completed nor drawn, because
  nobody knows where that one lies.
- A bone that is not completed is a soft target: where it was drawn it counts by :data:`DRAWN_WEIGHT`.
- Everything else does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.cases.corrected_case import ABOUT, CorrectedCase, read_about, read_case
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import ModelArchive
from HipICMSCLib.preprocessing.geometry import Grid, on_voxels_of
from HipICMSCLib.reading.volume import read_image

from HipICMSCTrainingLib.data.dataset import Case

#: So near to the border of a completed bone the user has looked at what lies beside it.
KNOWN_MM = 10.0
#: Of a voxel of a bone that was left as it was drawn, where one of a completed bone is 1.
DRAWN_WEIGHT = 0.1


@dataclass(frozen=True)
class Corrections:
    """On the voxels of the MRI.

    Attributes:
        case: as its folder says.
        labels: uint8, values of `anatomy.segments.SEGMENTS`.
        classes: uint8: 0 background, 1 hip bone, 2 femur.
        weights: float32, 0 to 1, how much a voxel counts.
    """

    case: CorrectedCase
    labels: sitk.Image
    classes: sitk.Image
    weights: sitk.Image

    @property
    def completed(self) -> frozenset[str]:
        """``segment_id`` of the bones that are completed."""
        return frozenset(segment.name for segment in self.case.segments if segment.state == "completed")

    @property
    def not_counted(self) -> sitk.Image:
        """uint8, 1 where nothing counts fully, as a mask of what a measurement ignores."""
        return sitk.Cast(self.weights < 1, sitk.sitkUInt8)


def read_corrections(case: Case) -> Corrections:
    """
    Args:
        case: a corrected one.

    Raises:
        HipError: ``bad_case`` where its folder was moved, half copied or changed; ``nothing_corrected`` where no voxel
            counts fully.
    """
    found = read_case(Path(case.corrected))
    labels, _ = read_image(found.label)
    image, _ = read_image(found.image)
    labels = on_voxels_of(image, labels)
    if labels is None or not np.isin(np.unique(sitk.GetArrayViewFromImage(labels)), range(5)).all():
        raise HipError(
            "bad_case", f"The label of the case {case.name} is no result on its MRI; keep the case once more."
        )
    states = {segment.name: segment.state for segment in found.segments}
    completed = {segment.value for segment in SEGMENTS if states[segment.segment_id] == "completed"}
    voxels = sitk.GetArrayFromImage(labels).astype(np.uint8)
    classes, weights = counted(voxels, completed, labels.GetSpacing())
    if not (weights == 1).any():
        raise HipError(
            "nothing_corrected",
            f"No bone of the corrected case {case.name} is marked as completed, so it teaches nothing; mark what is "
            "right in HipICMSC and keep the case once more, or leave it out.",
        )
    grid = Grid.of(image)
    return Corrections(found, grid.image(voxels), grid.image(classes), grid.image(weights))


def counted(labels: np.ndarray, completed: set[int], spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of voxels, by the rules at the top of this file.

    Args:
        labels: (z, y, x), values of `anatomy.segments.SEGMENTS`.
        completed: values of the bones that are completed.
        spacing: of the voxels in mm along x, y and z.

    Returns:
        uint8 and float32, each (z, y, x).
    """
    classes, weights = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.float32)
    for segment in SEGMENTS:
        voxels = labels == segment.value
        classes[voxels] = segment.bone
        weights[voxels] = 1.0 if segment.value in completed else DRAWN_WEIGHT
    background = labels == 0
    if len(completed) == len(SEGMENTS):
        weights[background] = 1.0
        return classes, weights
    drawn = {segment.value for segment in SEGMENTS if (labels == segment.value).any()}
    vouched = [
        segment.value
        for segment in SEGMENTS
        if segment.value in completed
        and all(other.value in completed | drawn for other in SEGMENTS if other.side == segment.side)
    ]
    near = _within(np.isin(labels, vouched), spacing)
    near &= ~_within(np.isin(labels, sorted(drawn - completed)), spacing)
    weights[background & near] = 1.0
    return classes, weights


def digest_of(case: Case) -> str:
    """A text that changes with what a corrected case says: the content of its files, and the states of its bones.

    Raises:
        HipError: ``bad_case``.
    """
    return (read_case(Path(case.corrected)).folder / ABOUT).read_text(encoding="utf-8")


def voxels_sha256_of(case: Case) -> str:
    """By which the MRI of a corrected case is known again, however it is stored.

    Raises:
        HipError: ``bad_case``.
    """
    return read_about(Path(case.corrected)).voxels_sha256


def made_by_another_model(cases: Sequence[Case], start: ModelArchive | None) -> tuple[str, str] | None:
    """That corrected cases came from another model than the one that a training starts from, whose own mistakes nobody
    corrected then: what is so, and what to do about it; None where all is well.

    A case is at home, too, in what was trained further from the model that made it, and in what it has taught already.
    Of a case that does not know what made it, or that cannot be read, nothing is said.

    Args:
        cases: corrected ones.
        start: None for a training that starts from nothing.
    """
    training = start.manifest.get("training") if start else None
    training = training if isinstance(training, dict) else {}
    before, taught = training.get("started_from"), training.get("corrected")
    at_home = {start.sha256 if start else "", before.get("sha256") if isinstance(before, dict) else ""}
    others: list[str] = []
    for case in cases:
        try:
            about = read_about(Path(case.corrected))
        except HipError:
            continue
        has_taught = isinstance(taught, list) and about.voxels_sha256 in taught
        if about.model.sha256 and about.model.sha256 not in at_home and not has_taught:
            others.append(about.model.name or "one without a name")
    if not others:
        return None
    found = f"Of {len(cases)} corrected MRIs, {len(others)} {'was' if len(others) == 1 else 'were'} made by"
    names = ", ".join(sorted(set(others)))
    if start is None:
        return (
            f"{found} a model ({names}), but the training starts from none.",
            "Start from that model, which has only the corrections to learn.",
        )
    return (
        f"{found} another model ({names}) than the one that the training starts from ({start.path.stem}), whose own "
        "mistakes nobody has corrected in them.",
        "Start from the model that made them, or correct some results of this one, too.",
    )


def _within(voxels: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Where some of ``voxels`` is at most :data:`KNOWN_MM` away."""
    if not voxels.any():
        return voxels
    image = sitk.GetImageFromArray(voxels.astype(np.uint8))
    image.SetSpacing(spacing)
    far = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(far) <= KNOWN_MM
