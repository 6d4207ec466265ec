"""Tells a researcher what is wrong with a dataset before hours are spent on it. Without torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.models.archive import ModelArchive
from HipICMSCLib.preprocessing.geometry import CropSettings

from HipICMSCTrainingLib.data.check_case import check_case
from HipICMSCTrainingLib.data.checked_case import BONES, CaseSummary, CheckedCase
from HipICMSCTrainingLib.data.corrections import made_by_another_model
from HipICMSCTrainingLib.data.dataset import PURPOSES, Dataset
from HipICMSCTrainingLib.data.dataset_problems import Problem, dataset_problems

#: With fewer patients of a domain a training works, but what it learns is these patients.
FEW_PATIENTS = 5
#: From so many cases on, one of them can be told from the rest.
LEAST_FOR_MEDIAN = 3
#: A voxel so many times longer or shorter than the domain's median is an outlier.
SPACING_RATIO = 2.0
#: A volume that covers less of the crop, or less than this share of the domain's median, is an outlier.
LEAST_COVERED = 0.5
LEAST_COVERED_OF_MEDIAN = 2 / 3
#: Slice positions of both domains are compared in bins of this width.
POSITION_BIN_MM = 20.0
#: So much of the distributions of slice positions must coincide.
LEAST_OVERLAP = 0.6
#: Of the tissue about the heads, so much is darker than their marrow at most with fat suppression (phantoms: 0.38) and
#: at least without (0.45 to 0.75 in 15 T1 volumes).
DARK_MARROW, BRIGHT_MARROW = 0.40, 0.45
#: So many names stand in a sentence.
NAMED_CASES = 6

DOMAINS = {"CT": "CTs", "MR": "MRIs"}
AXES = ("left-right", "front-back", "head-foot")


@dataclass(frozen=True)
class DatasetReport:
    """What is wrong, stops first, and what there is."""

    problems: tuple[Problem, ...]
    cases: tuple[CaseSummary, ...]

    @property
    def stops(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "stop")

    @property
    def cautions(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "caution")


def check_dataset(
    dataset: Dataset,
    crop: CropSettings | None,
    progress: Progress = lambda case, share: None,
    labelled_mri: bool = False,
    start: ModelArchive | None = None,
) -> DatasetReport:
    """Read every case once and say all that is wrong; about 3 s a volume.

    Args:
        dataset: may come from the unchecked readers in ``dataset``.
        crop: what the training will read of each volume; None where it reads whole slices.
        progress: told before each case its name and the share of cases that are done; at the end 1.
        labelled_mri: the dataset is for a method that is trained on labelled MRIs.
        start: the model that the training shall start from; without it nothing is said of which model made a case.
    """
    checked = []
    for number, case in enumerate(dataset.cases):
        progress(case.name, number / len(dataset.cases))
        checked.append(check_case(case, crop))
    progress("", 1.0)
    problems = [
        *dataset_problems(dataset, labelled_mri),
        *(problem for case in checked for problem in case.problems),
        *_duplicates(checked),
        *_few_patients(dataset),
        *_outliers(checked),
        *_cut_bones(checked),
        *_different_positions(checked),
        *_mixed_contrasts(checked),
        *_made_by_another_model(dataset, start),
    ]
    problems.sort(key=lambda problem: problem.level != "stop")
    return DatasetReport(tuple(problems), tuple(case.summary for case in checked))


def report_json(report: DatasetReport) -> dict[str, Any]:
    """Plain JSON values; :func:`report_from_json` is the inverse."""
    return asdict(report)


def report_from_json(values: dict[str, Any]) -> DatasetReport:
    return from_json(DatasetReport, values)


def report_text(report: DatasetReport) -> str:
    """The table of cases and the problems, for a terminal."""
    header = ("case", "", "role", "spacing mm (LR, AP, HF)", "slices", "heads", "hip, femur ml", "crop covered")
    rows = [header, *(_row(case) for case in report.cases)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for problem in report.problems:
        lines += ["", f"{problem.level.upper()}  {problem.sentence}", f"      {problem.fix}"]
    counts = [_counted(len(report.stops), "stop"), _counted(len(report.cautions), "caution")]
    return "\n".join([*lines, "", f"{_counted(len(report.cases), 'case')}: {counts[0]}, {counts[1]}."])


def _row(case: CaseSummary) -> tuple[str, ...]:
    known = case.spacing_mm is not None
    return (
        case.name,
        case.modality,
        case.role,
        " × ".join(f"{mm:.2f}" for mm in case.spacing_mm) if known else "-",
        f"{case.orientation}, {case.obliquity_deg:.0f}°" if known else "-",
        " ".join(case.heads) or "-",
        f"{case.acetabulum_ml:.0f}, {case.femur_ml:.0f}" if case.femur_ml is not None else "-",
        f"{case.covered_share:.0%}" if case.covered_share is not None else "-",
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _duplicates(checked: Sequence[CheckedCase]) -> Iterator[Problem]:
    same: dict[str, list[CaseSummary]] = defaultdict(list)
    for case in checked:
        if case.fingerprint:
            same[case.fingerprint].append(case.summary)
    for cases in same.values():
        if len(cases) < 2:
            continue
        names, sentence = _names(cases), "hold exactly the same voxels"
        roles, modalities = {case.role for case in cases}, {case.modality for case in cases}
        if len(modalities) > 1:
            sentence += ", as CT and as MRI"
        if len(roles) > 1:
            sentence += f", in {' and in '.join(PURPOSES[role] for role in PURPOSES if role in roles)}"
        yield Problem(
            "stop" if len(roles) > 1 or len(modalities) > 1 else "caution",
            "duplicate",
            "",
            f"{names} {sentence}.",
            "Keep one of them and leave the others out.",
        )


def _few_patients(dataset: Dataset) -> Iterator[Problem]:
    for modality, what in DOMAINS.items():
        patients = {case.patient for case in dataset.in_training() if case.modality == modality}
        if 2 <= len(patients) < FEW_PATIENTS:
            yield Problem(
                "caution",
                "few_volumes",
                "",
                f"The {what} in training and validation come from {len(patients)} patients only; a model will know "
                "these and hardly others.",
                f"Add {what} of more patients; {FEW_PATIENTS} are a beginning, dozens are better.",
            )


def _outliers(checked: Sequence[CheckedCase]) -> Iterator[Problem]:
    for modality, what in DOMAINS.items():
        cases = [case.summary for case in checked if case.summary.modality == modality and case.summary.role != "test"]
        yield from _odd_spacings([case for case in cases if case.spacing_mm is not None], what)
        yield from _small_views([case for case in cases if case.covered_share is not None], what)


def _odd_spacings(cases: list[CaseSummary], what: str) -> Iterator[Problem]:
    if len(cases) < LEAST_FOR_MEDIAN:
        return
    median = np.median([case.spacing_mm for case in cases], axis=0)
    for case in cases:
        ratio = np.array(case.spacing_mm) / median
        odd = np.flatnonzero((ratio > SPACING_RATIO) | (ratio < 1 / SPACING_RATIO))
        if odd.size:
            lengths = ", ".join(
                f"{case.spacing_mm[axis]:.2f} mm {AXES[axis]} (median {median[axis]:.2f} mm)" for axis in odd
            )
            yield Problem(
                "caution",
                "spacing_outlier",
                case.name,
                f"The voxels of {case.name} are unlike those of most of the {len(cases)} {what}: {lengths}.",
                "Use volumes that were acquired alike, or leave the case out.",
            )


def _small_views(cases: list[CaseSummary], what: str) -> Iterator[Problem]:
    median = float(np.median([case.covered_share for case in cases])) if len(cases) >= LEAST_FOR_MEDIAN else 0.0
    for case in cases:
        if case.covered_share >= max(LEAST_COVERED, LEAST_COVERED_OF_MEDIAN * median):
            continue
        compared = f"; the median of the {len(cases)} {what} is {median:.0%}" if median else ""
        yield Problem(
            "caution",
            "small_field_of_view",
            case.name,
            f"{case.name} covers {case.covered_share:.0%} of the crop that the networks read{compared}.",
            "Use volumes that show more about the hips, make the crop smaller (crop.size), or leave the case out.",
        )


def _cut_bones(checked: Sequence[CheckedCase]) -> Iterator[Problem]:
    """One problem a bone, since it is usual that all volumes of a protocol end alike."""
    labelled = sum(case.summary.femur_ml is not None for case in checked)
    for bone, what in BONES.items():
        cut = [(case.summary.name, dict(case.cuts)[bone]) for case in checked if bone in dict(case.cuts)]
        if cut:
            yield Problem(
                "caution",
                "bone_cut",
                cut[0][0] if len(cut) == 1 else "",
                f"The {what} is cut by a border of the image, though it lies within the crop, in {len(cut)} of "
                f"{labelled} labelled volumes: {_listed([f'{name} ({borders})' for name, borders in cut])}.",
                "Use them where the MRIs end alike; otherwise choose volumes that show the whole bone.",
            )


def _different_positions(checked: Sequence[CheckedCase]) -> Iterator[Problem]:
    """A slice is paired with one from a similar place in the other domain, so both must show the same places."""
    positions = {
        modality: np.concatenate(
            [[], *(case.slice_positions_mm for case in checked
                   if case.summary.modality == modality and case.summary.role != "test")]
        )
        for modality in DOMAINS
    }  # fmt: skip
    if not all(of_domain.size for of_domain in positions.values()):
        return
    everything = np.concatenate(list(positions.values()))
    edges = np.arange(everything.min(), everything.max() + POSITION_BIN_MM, POSITION_BIN_MM)
    ct, mr = (np.histogram(of_domain, edges)[0] / of_domain.size for of_domain in positions.values())
    overlap = float(np.minimum(ct, mr).sum())
    if overlap < LEAST_OVERLAP:
        ranges = []
        for modality, what in DOMAINS.items():
            front, back = np.percentile(positions[modality], (5, 95))
            ranges.append(f"the {what} show {front:.0f} to {back:.0f} mm")
        yield Problem(
            "caution",
            "different_anatomy",
            "",
            f"CTs and MRIs show different parts of the pelvis: in front of (negative) and behind the femoral heads "
            f"{' and '.join(ranges)} with nine tenths of their slices, and only {overlap:.0%} of the slices coincide.",
            "Make the crop shorter front to back (crop.size), or use volumes that show the same region.",
        )


def _mixed_contrasts(checked: Sequence[CheckedCase]) -> Iterator[Problem]:
    mris = [
        case
        for case in checked
        if case.summary.modality == "MR" and case.summary.role != "test" and case.marrow_rank is not None
    ]
    dark = [case.summary for case in mris if case.marrow_rank <= DARK_MARROW]
    bright = [case.summary for case in mris if case.marrow_rank >= BRIGHT_MARROW]
    if dark and bright:
        yield Problem(
            "caution",
            "mixed_contrasts",
            "",
            f"The MRIs mix contrasts: against its surroundings the marrow of the femoral heads is bright in "
            f"{len(bright)} ({_names(bright)}) and dark, as with fat suppression, in {len(dark)} ({_names(dark)}).",
            "Train one model on each contrast, or be sure that there are enough volumes of both.",
        )


def _made_by_another_model(dataset: Dataset, start: ModelArchive | None) -> Iterator[Problem]:
    found = start and made_by_another_model(dataset.corrected("train"), start)
    if found:
        yield Problem("caution", "made_by_another_model", "", *found)


def _names(cases: Sequence[CaseSummary]) -> str:
    return _listed([case.name for case in cases])


def _listed(names: Sequence[str]) -> str:
    if len(names) > NAMED_CASES:
        return f"{', '.join(names[:NAMED_CASES])} and {len(names) - NAMED_CASES} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
