"""The cases of a training: which volumes, in which role, from which patient."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from HipICMSCLib.errors import HipError
from HipICMSCLib.settings import from_json
from HipICMSCLib.volume_input import volume_files, volume_stem

Role = Literal["train", "val"]


@dataclass(frozen=True)
class Case:
    """One volume. CT has a label map (0 background, 1 hip bone, 2 proximal femur); the labels of an MRI are no part of
    a training and are not even named here."""

    name: str
    modality: Literal["CT", "MR"]
    role: Role
    patient: str
    image: str
    label: str | None = None


@dataclass(frozen=True)
class Dataset:
    """All cases; paths are absolute."""

    cases: tuple[Case, ...]

    def of(self, modality: str, role: str) -> list[Case]:
        return [case for case in self.cases if case.modality == modality and case.role == role]

    def to_json(self) -> dict:
        return asdict(self)


def dataset_from_folders(ct: Path, mri: Path, seed: int, validation_share: float = 0.15) -> Dataset:
    """``ct`` holds X.nii.gz beside X_label.nii.gz (or other endings), ``mri`` holds images; a file is a patient.

    Of each domain a random share of the patients, at least one, is held out for the label-free scores.

    Raises:
        HipError: ``missing_folder``, ``ct_without_label``, ``too_few_volumes``.
    """
    for folder in (ct, mri):
        if not folder.is_dir():
            raise HipError("missing_folder", f"There is no folder {folder}.")
    labels = {volume_stem(path): path for path in volume_files(ct) if volume_stem(path).endswith("_label")}
    images = [path for path in volume_files(ct) if volume_stem(path) not in labels]
    without = [path.name for path in images if f"{volume_stem(path)}_label" not in labels]
    if without:
        raise HipError("ct_without_label", f"These CTs have no label map X_label beside them: {', '.join(without)}.")
    cases = [
        Case(volume_stem(path), "CT", "train", volume_stem(path), str(path.resolve()),
             str(labels[f"{volume_stem(path)}_label"].resolve()))
        for path in images
    ]  # fmt: skip
    cases += [
        Case(volume_stem(path), "MR", "train", volume_stem(path), str(path.resolve()))
        for path in volume_files(mri)
        if not volume_stem(path).endswith(("_label", "_ignore"))
    ]
    return _checked(_hold_out(cases, seed, validation_share), "the given folders")


def dataset_from_file(path: Path) -> Dataset:
    """Read a dataset.json: ``{"cases": [{name, modality, role, patient, image, label}, …]}``, paths relative to it.

    Raises:
        HipError: ``bad_dataset``, ``patient_in_two_roles``, ``missing_file``, ``ct_without_label``,
            ``too_few_volumes``, or ``bad_setting`` for an unknown field.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        entries = list(values["cases"])
    except FileNotFoundError as error:
        raise HipError("missing_file", f"There is no file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HipError("bad_dataset", f"{path} is not a dataset file with a list of cases.", str(error)) from error
    cases = []
    for entry in entries:
        for key in ("image", "label"):
            if isinstance(entry, dict) and entry.get(key) and isinstance(entry[key], str):
                entry[key] = str((path.parent / entry[key]).resolve())
        try:
            case = from_json(Case, entry)
        except TypeError as error:
            raise HipError("bad_dataset", f"A case in {path} lacks a field: {error}.") from error
        for file in filter(None, (case.image, case.label)):
            if not Path(file).exists():
                raise HipError("missing_file", f"The case {case.name} names a file that does not exist: {file}.")
        cases.append(case)
    return _checked(cases, str(path))


def _hold_out(cases: Iterable[Case], seed: int, share: float) -> list[Case]:
    cases = list(cases)
    held_out: set[tuple[str, str]] = set()
    for modality in ("CT", "MR"):
        patients = sorted({case.patient for case in cases if case.modality == modality})
        count = max(1, round(share * len(patients)))
        chosen = np.random.default_rng([seed, len(patients)]).permutation(patients)[:count]
        held_out |= {(modality, str(patient)) for patient in chosen}
    return [
        Case(**{**asdict(case), "role": "val" if (case.modality, case.patient) in held_out else "train"})
        for case in cases
    ]


def _checked(cases: list[Case], source: str) -> Dataset:
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise HipError("bad_dataset", f"Two cases are called {twice[0]}; each needs a name of its own.")
    for name in names:
        if Path(name).name != name:
            raise HipError("bad_dataset", f"A case is called {name!r}, which cannot be the name of a file.")
    roles: dict[str, str] = {}
    for case in cases:
        if roles.setdefault(case.patient, case.role) != case.role:
            raise HipError(
                "patient_in_two_roles", f"The patient {case.patient} is both in training and in validation; choose one."
            )
        if case.modality == "CT" and not case.label:
            raise HipError("ct_without_label", f"The CT {case.name} has no label map.")
    dataset = Dataset(tuple(cases))
    for modality, what in (("CT", "labelled CTs"), ("MR", "MRIs")):
        for role, purpose in (("train", "train on"), ("val", "hold out for the scores")):
            if not dataset.of(modality, role):
                count = sum(case.modality == modality for case in cases)
                raise HipError(
                    "too_few_volumes",
                    f"There are {count} {what} in {source} and none to {purpose}; at least two patients are needed.",
                )
    return dataset
