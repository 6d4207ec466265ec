"""Two models side by side on corrected MRIs that neither was trained on: is the new one better, and where is it worse?

Only bones that a person completed are measured. Where all cases were needed to teach, :mod:`leave_one_out` trains a
model for each, without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS, Segment
from HipICMSCLib.cases.corrected_case import CorrectedCase, read_about
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import ModelPackage, read_package
from HipICMSCLib.preprocessing.slabs import acquisition_plane
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.overlay import drawn_about

from HipICMSCTrainingLib.data.cases_of_folders import corrected_cases
from HipICMSCTrainingLib.data.corrections import read_corrections
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.evaluation.found import labels_found
from HipICMSCTrainingLib.evaluation.metrics import MaskScores, score_mask
from HipICMSCTrainingLib.run.starting_weights import corrected_before

#: Where the old model's Dice is at least this, it was good.
GOOD_DICE = 0.9
#: By so much Dice may fall unnoticed; more where the label is what the old model drew, whose Dice is then 1 anyway.
WORSE_BY, WORSE_BY_ON_OWN = 0.02, 0.05
#: So many changes are shown, what is worse first.
PICTURES = 3
#: So many cases are few to judge by.
FEW_CASES = 2
_RADIUS_MM = 60.0


@dataclass(frozen=True)
class ComparedBone:
    """A completed bone of one case.

    Attributes:
        case: name of the case.
        bone: what the bone is called within a sentence.
        old_drew_it: whether the label is the old model's own result, unchanged.
        old, new: scores of both models.
    """

    case: str
    bone: str
    old_drew_it: bool
    old: MaskScores
    new: MaskScores

    @property
    def change(self) -> float:
        """Of Dice."""
        return _dice(self.new) - _dice(self.old)

    @property
    def is_worse(self) -> bool:
        """Whether the new model is worse where the old one was good."""
        allowed = WORSE_BY_ON_OWN if self.old_drew_it else WORSE_BY
        return _dice(self.old) >= GOOD_DICE and self.change < -allowed


@dataclass(frozen=True)
class Picture:
    """A large change.

    Attributes:
        words: which bone of which case, and how its Dice changed.
        is_worse: as :attr:`ComparedBone.is_worse`.
        corrected, old, new: (rows, columns, 3) uint8, the labels over the same slice.
    """

    words: str
    is_worse: bool
    corrected: np.ndarray
    old: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Attributes:
    old, new: names of the models.
    cases: how many were compared.
    trained_on: names of cases that were left out because one of the models was trained on them.
    failed: a sentence for each case, by its name, that could not be compared.
    pictures: of what is worse, then of the largest changes.
    leave_one_out: whether each case was measured with a model of its own, trained as the new one, but without it.
    """

    old: str
    new: str
    cases: int
    bones: tuple[ComparedBone, ...]
    trained_on: tuple[str, ...]
    failed: dict[str, str]
    pictures: tuple[Picture, ...]
    leave_one_out: bool = False

    @property
    def worse(self) -> tuple[ComparedBone, ...]:
        """The largest loss first."""
        return tuple(sorted((bone for bone in self.bones if bone.is_worse), key=lambda bone: bone.change))

    @property
    def worse_first(self) -> tuple[ComparedBone, ...]:
        """All bones as they are listed: what is worse comes first, the rest by case."""
        return self.worse + tuple(bone for bone in self.bones if not bone.is_worse)

    def means(self) -> tuple[float, float]:
        """Of Dice over all bones, of the old and of the new model."""
        old, new = ([_dice(getattr(bone, which)) for bone in self.bones] for which in ("old", "new"))
        return float(np.mean(old)), float(np.mean(new))

    def to_json(self) -> dict[str, Any]:
        """Without the pictures."""
        bones = [asdict(bone) | {"is_worse": bone.is_worse} for bone in self.worse_first]
        return {
            "old": self.old,
            "new": self.new,
            "cases": self.cases,
            "bones": bones,
            "mean_dice": dict(zip(("old", "new"), self.means(), strict=True)),
            "trained_on": list(self.trained_on),
            "failed": self.failed,
            "leave_one_out": self.leave_one_out,
        }


def compare_models(
    old: Path,
    new: Path,
    folders: Sequence[Path],
    progress: Progress = lambda case, share: None,
) -> Comparison:
    """Segment the corrected MRIs that neither model was trained on with both, as HipICMSC would, and compare.

    Args:
        old, new: model packages.
        folders: of corrected cases, or cases themselves.
        progress: called with the name of the next case and the share of cases that are done.

    Raises:
        HipError: ``nothing_held_out``; the error of the first case if none could be compared; or as for reading a
            package.
    """
    packages = read_package(old), read_package(new)
    cases = _cases(folders)
    held_out, trained_on, failed = _not_trained_on(cases, packages)
    if not held_out and not failed:
        raise HipError(
            "nothing_held_out",
            f"One of the models was trained on each of the {len(trained_on)} cases, which tells nothing of other MRIs; "
            "keep further cases out of the training, with the role val or test, and compare on those, or measure by "
            "`hipicmsc leave-one-out`.",
        )
    before, now = (HipSegmenter(package) for package in packages)
    return _comparison(
        before, packages[1].manifest.name, [(case, now) for case in held_out], trained_on, failed, progress
    )


def compare_left_out(old: Path, new: str, models: Sequence[tuple[Case, Path]]) -> Comparison:
    """Segment corrected MRIs with the old model, and each with a model of its own that was trained without it.

    Args:
        old: a model package.
        new: what the model is called that was trained on all of them.
        models: the cases, and the model package of each.

    Raises:
        HipError: as :func:`compare_models`.
    """
    package = read_package(old)
    pairs: list[tuple[Case, HipSegmenter]] = []
    trained_on: list[str] = []
    failed: dict[str, HipError] = {}
    for case, path in models:
        own = read_package(path)
        held_out, seen, unread = _not_trained_on([case], (package, own))
        pairs += [(each, HipSegmenter(own)) for each in held_out]
        trained_on, failed = trained_on + seen, failed | unread
    if not pairs and not failed:
        raise HipError(
            "nothing_held_out",
            f"The model {package.manifest.name} was trained on all of these cases before; correct further MRIs.",
        )
    return replace(_comparison(HipSegmenter(package), new, pairs, trained_on, failed), leave_one_out=True)


def _not_trained_on(
    cases: Sequence[Case], packages: Sequence[ModelPackage]
) -> tuple[list[Case], list[str], dict[str, HipError]]:
    """Cases that none of the models has seen, the names of the others, and what is wrong with those that cannot be
    read."""
    seen = set().union(*(corrected_before(package) for package in packages))
    held_out: list[Case] = []
    trained_on: list[str] = []
    failed: dict[str, HipError] = {}
    for case in cases:
        try:
            digest = read_about(Path(case.corrected)).voxels_sha256
        except HipError as error:
            failed[case.name] = error
            continue
        if digest in seen:
            trained_on.append(case.name)
        else:
            held_out.append(case)
    return held_out, trained_on, failed


def _comparison(
    old: HipSegmenter,
    new: str,
    pairs: Sequence[tuple[Case, HipSegmenter]],
    trained_on: Sequence[str],
    unread: dict[str, HipError],
    progress: Progress = lambda case, share: None,
) -> Comparison:
    """Of cases, each with the newer model that segments it."""
    failed = dict(unread)
    bones: list[ComparedBone] = []
    changes: list[tuple[bool, float, Picture]] = []
    compared = 0
    for number, (case, newer) in enumerate(pairs):
        progress(case.name, number / len(pairs))
        try:
            of_case = _compared(case, (old, newer))
        except HipError as error:
            failed[case.name] = error
            continue
        compared += 1
        bones += [bone for bone, _ in of_case]
        changes += [(bone.is_worse, abs(bone.change), picture) for bone, picture in of_case if picture]
        changes = sorted(changes, key=lambda each: each[:2], reverse=True)[:PICTURES]
    if not bones:
        raise (
            next(iter(failed.values()))
            if failed
            else HipError(
                "nothing_held_out", "No bone is completed in the cases that could be compared; complete some."
            )
        )
    progress("", 1.0)
    sentences = {name: error.sentence for name, error in failed.items()}
    pictures = tuple(picture for *_, picture in changes)
    return Comparison(old.package.manifest.name, new, compared, tuple(bones), tuple(trained_on), sentences, pictures)


def _dice(scores: MaskScores) -> float:
    """1 where there is no such bone and a model draws none, of which metrics say nothing."""
    return 1.0 if scores.dice is None else scores.dice


def _cases(folders: Sequence[Path]) -> list[Case]:
    cases: list[Case] = []
    for folder in folders:
        cases += corrected_cases(Path(folder), [case.name for case in cases])
    return list({case.corrected: case for case in cases}.values())


def _compared(case: Case, segmenters: Sequence[HipSegmenter]) -> list[tuple[ComparedBone, Picture | None]]:
    """Each completed bone of a case, and a picture of it where the models differ."""
    corrections = read_corrections(case)
    image = read_volume(Path(case.image))
    results = [labels_found(segmenter, image) for segmenter in segmenters]
    found = []
    for segment in SEGMENTS:
        if segment.segment_id not in corrections.completed:
            continue
        old, new = (score_mask(r == segment.value, corrections.labels == segment.value) for r in results)
        if old.dice is None and new.dice is None:  # no such bone is there, and neither drew one
            continue
        own = _is_drawn_by(corrections.case, segment, segmenters[0].package.sha256)
        bone = ComparedBone(case.name, segment.short_name, own, old, new)
        found.append((bone, _picture(bone, segment, image, corrections.labels, results)))
    return found


def _is_drawn_by(case: CorrectedCase, segment: Segment, sha256: str) -> bool:
    changed = next(each.changed_ml for each in case.segments if each.name == segment.segment_id)
    return changed == 0 and case.model_sha256 == sha256


def _picture(
    bone: ComparedBone, segment: Segment, image: sitk.Image, label: sitk.Image, results: Sequence[sitk.Image]
) -> Picture | None:
    """The slice in which the models differ most; None where they agree."""
    differs = np.logical_xor(*(sitk.GetArrayViewFromImage(result) == segment.value for result in results))
    if not differs.any():
        return None
    plane = acquisition_plane(image) or "coronal"
    spacing = np.array(image.GetSpacing())[::-1]
    axis = int(np.argmax(spacing)) if np.ptp(spacing) else 1
    worst = int(differs.sum(tuple(other for other in range(3) if other != axis)).argmax())
    index = np.argwhere(differs.take(worst, axis)).mean(0)
    index = np.insert(index, axis, worst)
    point = image.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
    drawn = (drawn_about(image, labels, point, plane, _RADIUS_MM) for labels in (label, *results))
    before, now = (100 * _dice(scores) for scores in (bone.old, bone.new))
    return Picture(f"{bone.case}, {bone.bone}: Dice {before:.1f} → {now:.1f} %", bone.is_worse, *drawn)
