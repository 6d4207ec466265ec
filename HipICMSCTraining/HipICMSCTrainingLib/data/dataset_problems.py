"""What is wrong with a list of cases as such, before any volume is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from HipICMSCLib.cases.corrected_case import read_about
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import exists

from HipICMSCTrainingLib.data.dataset import PURPOSES, Dataset, Role, only_measures

#: What :func:`dataset_problems` tells of a list of cases, which needs no check of the volumes.
OF_THE_LIST = frozenset({
    "bad_dataset", "patient_in_two_roles", "ct_without_label", "mri_without_label", "labelled_mri_in_training",
    "too_few_volumes",
})  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data.

    Attributes:
        level: with a stop a training cannot begin or would learn something wrong; a caution is for the user to judge.
        kind: stable machine-readable word.
        case: name of the case; empty where it concerns several.
        sentence: what is wrong, with numbers.
        fix: what to do about it.
    """

    level: Literal["stop", "caution"]
    kind: str
    case: str
    sentence: str
    fix: str


def checked(dataset: Dataset, labelled_mri: bool = False) -> Dataset:
    """The data set, unless a file is not there or its list of cases is wrong.

    Raises:
        HipError: ``missing_file``, ``bad_case`` for a corrected case whose folder is not there, or the kind of the
            first of :func:`dataset_problems`.
    """
    for case in dataset.cases:
        if case.corrected:
            read_about(Path(case.corrected))
        for file in filter(None, (case.image, case.label)):
            if not exists(Path(file)):
                raise HipError("missing_file", f"The case {case.name} names a file that does not exist: {file}.")
    _refuse(dataset_problems(dataset, labelled_mri))
    return dataset


def dataset_problems(dataset: Dataset, labelled_mri: bool = False) -> list[Problem]:
    """What is wrong with the list of cases as such, each a stop; no file is opened.

    Args:
        labelled_mri: the method is trained on labelled MRIs, so that those in training and validation must have
            labels. For any other method they must not.
    """
    return [*_problems_of_names(dataset), *_problems_of_roles(dataset), *_problems_of_labels(dataset, labelled_mri),
            *_problems_of_numbers(dataset)]  # fmt: skip


def check_labels(dataset: Dataset, labelled_mri: bool) -> None:
    """Raise HipError for the problems of :func:`dataset_problems` that concern which cases have labels."""
    _refuse(list(_problems_of_labels(dataset, labelled_mri)))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise HipError(problems[0].kind, " ".join(f"{problem.sentence} {problem.fix}" for problem in problems))


def _problems_of_names(dataset: Dataset) -> Iterator[Problem]:
    counts = Counter(case.name for case in dataset.cases)
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield Problem("stop", "bad_dataset", name, f"Two cases are called {name}.", "Give each case a name of its own.")
    for name in counts:
        if not _can_name_a_file(name):
            yield Problem(
                "stop", "bad_dataset", name, f"A case is called {name!r}, which cannot be the name of a file.",
                "Choose a name without slashes.",
            )  # fmt: skip


def _can_name_a_file(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\")


def _problems_of_roles(dataset: Dataset) -> Iterator[Problem]:
    roles: dict[str, set[Role]] = {}
    for case in dataset.cases:
        roles.setdefault(case.patient, set()).add(case.role)
    for patient, of_patient in roles.items():
        if len(of_patient) > 1:
            purposes = " and in ".join(purpose for role, purpose in PURPOSES.items() if role in of_patient)
            yield Problem(
                "stop", "patient_in_two_roles", "", f"The patient {patient} is in {purposes}.",
                "Give all volumes of a patient the same role; otherwise what is measured has been trained on.",
            )  # fmt: skip


def _problems_of_labels(dataset: Dataset, labelled_mri: bool) -> Iterator[Problem]:
    for case in dataset.cases:
        if case.modality == "CT" and not case.label:
            yield Problem(
                "stop", "ct_without_label", case.name, f"The CT {case.name} has no label map.",
                "Add its label map (in a folder: X_label beside X), or leave the CT out.",
            )  # fmt: skip
        if case.modality == "CT" or case.role == "test":
            continue
        if labelled_mri and not case.label:
            yield Problem(
                "stop", "mri_without_label", case.name,
                f"The MRI {case.name} has no label map, but the method is trained on labelled MRIs.",
                "Add its label map (in a folder: X_label beside X), or choose a method that adapts from CT.",
            )  # fmt: skip
        if only_measures(case, labelled_mri):
            yield Problem(
                "stop", "labelled_mri_in_training", case.name,
                f"The MRI {case.name} has a label map, but is in {PURPOSES[case.role]}, where a method that adapts "
                "from CT may not see any label of an MRI.",
                "Give it the role test, so that it is only measured, or leave its label map out.",
            )  # fmt: skip


def _problems_of_numbers(dataset: Dataset) -> Iterator[Problem]:
    for modality, what in (("CT", "labelled CTs"), ("MR", "MRIs")):
        for role, purpose in (("train", "train on"), ("val", "hold out for the scores")):
            if not dataset.of(modality, role):
                count = sum(case.modality == modality for case in dataset.in_training())
                yield Problem(
                    "stop", "too_few_volumes", "",
                    f"Of the {what} there are {count} in training and validation, and none to {purpose}.",
                    f"Use {what} of at least two patients, one to train on and one to hold out.",
                )  # fmt: skip
