"""The cases of a training: which volumes, in which role, from which patient, and what their label maps mean."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count as numbers
from pathlib import Path
from typing import Literal

import numpy as np
from HipICMSCLib.cases.corrected_case import IMAGE, cases_in, read_about
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.foreign_files import read_object
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.common.volume_names import exists, volume_files, volume_stem

Role = Literal["train", "val", "test"]

#: What the names of an image's label map end in, the first that is there: ours, and those that Slicer gives.
LABEL_ENDINGS = ("_label", "_label.seg", "-label", "-label.seg", ".seg", "-segmentation.seg")

#: Characters of a case's or a patient's name.
LONGEST_NAME = 200

#: Of the patients of each domain so many are held out for the scores, at least one.
VALIDATION_SHARE = 0.15

#: What a case of a role is for, within a sentence.
PURPOSES: dict[Role, str] = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True)
class LabelValues:
    """Which values of a label map mean which class; 0 is background.

    Left and right bones of a map may thus keep values of their own, and so may the bones of a map that shows more.

    Attributes:
        acetabulum: values of the hip bone.
        femur: values of the proximal femur.
        ignore_others: all other values are background, too; otherwise they are an error.

    Raises:
        HipError: ``bad_label_values`` for a class without a value, a value of two classes, or 0.
    """

    acetabulum: tuple[int, ...] = (1,)
    femur: tuple[int, ...] = (2,)
    ignore_others: bool = False

    def __post_init__(self) -> None:
        values = (*self.acetabulum, *self.femur)
        if not self.acetabulum or not self.femur or 0 in values or len(set(values)) < len(values):
            raise HipError(
                "bad_label_values",
                "Hip bone and femur each need label values of their own, other than 0, which is background; "
                f"given were {list(self.acetabulum)} and {list(self.femur)}.",
            )


@dataclass(frozen=True)
class Case:
    """One volume.

    Attributes:
        role: train; val is held out for the label-free scores; test takes no part in a training and is only measured.
        patient: all cases of a patient have one role.
        label: label map of a CT. A labelled MRI serves measuring only, so its role is test: of an MRI in training or
            validation no label is even named here. The one exception is a method that is trained on labelled MRIs and
            adapts nothing, such as the target model; for it all of them have labels.
        label_values: what the values of ``label`` mean.
        weight: how often a training on slabs draws from it, compared with the other cases of its kind.
        corrected: the case folder of an MRI whose result a person corrected; ``image`` is the MRI in there, and what
            was corrected is read from the folder alone (`data/corrections.py`).
    """

    name: str
    modality: Literal["CT", "MR"]
    role: Role
    patient: str
    image: str
    label: str | None = None
    label_values: LabelValues = LabelValues()
    weight: float = 1.0
    corrected: str | None = None

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise HipError("bad_setting", f"The weight of case {self.name} is {self.weight}; give a number above 0.")
        if self.corrected and (self.modality != "MR" or self.label):
            raise HipError(
                "bad_dataset",
                f"The corrected case {self.name} is an MRI and has its labels in its folder; name neither a CT nor a "
                "label map.",
            )


@dataclass(frozen=True)
class Dataset:
    """All cases; paths are absolute."""

    cases: tuple[Case, ...]

    def of(self, modality: str, role: str) -> list[Case]:
        return [case for case in self.cases if case.modality == modality and case.role == role]

    def corrected(self, *roles: str) -> list[Case]:
        return [case for case in self.cases if case.corrected and case.role in roles]

    def in_training(self) -> list[Case]:
        """The cases that a training reads: all but the test cases."""
        return [case for case in self.cases if case.role != "test"]

    def to_json(self) -> dict:
        return asdict(self)


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


def dataset_from_folders(
    ct: Path,
    mri: Path | None,
    seed: int,
    test_mri: Path | None = None,
    labelled_mri: bool = False,
    check: bool = True,
    corrected: Path | None = None,
) -> Dataset:
    """``ct`` holds X.nii.gz beside X_label.nii.gz (or other endings), ``mri`` holds images; a name is a patient.

    A CT and an MRI of one name are cases of one patient, called X-CT and X-MR. Of each domain a random share of the
    patients, at least one, is held out for the label-free scores.

    Args:
        test_mri: holds MRIs beside their label maps X_label, which are only measured.
        labelled_mri: for a method that is trained on labelled MRIs: ``mri`` holds their label maps X_label, too.
            Otherwise label maps in there are left alone.
        check: False for a caller that tells the user of all that is wrong with the cases itself.
        corrected: a folder of corrected cases, which are MRIs beside those of ``mri``, or instead of them.

    Raises:
        HipError: ``missing_folder``, or the kind of the first of :func:`dataset_problems`.
    """
    for folder in filter(None, (ct, mri, test_mri)):
        if not folder.is_dir():
            raise HipError("missing_folder", f"There is no folder {folder}.")
    mris = cases_of_folder(mri, "MR", "train") if mri else []
    if not labelled_mri:
        mris = [replace(case, label=None) for case in mris]
    mris += corrected_cases(corrected, [case.name for case in mris]) if corrected else []
    cts = cases_of_folder(ct, "CT", "train")
    both = {case.name for case in cts} & {case.name for case in mris}
    named = [replace(c, name=f"{c.name}-{c.modality}") if c.name in both else c for c in (*cts, *mris)]
    cases = suggest_roles(named, seed, labelled_mri)
    dataset = Dataset((*cases, *(cases_of_folder(test_mri, "MR", "test") if test_mri else ())))
    return checked(dataset, labelled_mri) if check else dataset


def with_corrected(dataset: Dataset, folder: Path, seed: int, labelled_mri: bool = False) -> Dataset:
    """A data set with the corrected cases of a folder besides, some of them held out as :func:`suggest_roles` has it.

    Raises:
        HipError: as :func:`corrected_cases`.
    """
    added = corrected_cases(folder, [case.name for case in dataset.cases])
    present = {case.image for case in dataset.cases}
    added = suggest_roles([case for case in added if case.image not in present], seed, labelled_mri)
    return Dataset((*dataset.cases, *added))


def dataset_from_file(path: Path, labelled_mri: bool = False) -> Dataset:
    """Read a dataset.json: ``{"cases": [{name, modality, role, patient, image, label, label_values}, …]}``.

    Paths are relative to the file. ``label_values`` beside ``cases`` hold for each case that has none of its own. A
    corrected case names its folder as ``corrected`` in the place of image and label.

    Args:
        labelled_mri: for a method that is trained on labelled MRIs; see :func:`dataset_problems`.

    Raises:
        HipError: as :func:`unchecked_dataset_from_file` and :func:`checked`.
    """
    return checked(unchecked_dataset_from_file(path), labelled_mri)


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


def unchecked_dataset_from_file(path: Path) -> Dataset:
    """As :func:`dataset_from_file`, for a caller that tells the user of all that is wrong with the cases itself.

    Raises:
        HipError: ``missing_file``, ``bad_dataset``, ``bad_label_values``, or ``bad_setting`` for an unknown field.
    """
    path = Path(path)
    try:
        values = read_object(path)
        entries = values["cases"]
        defaults = {key: values[key] for key in ("label_values",) if key in values}
    except FileNotFoundError as error:
        raise HipError("missing_file", f"There is no file {path}.") from error
    except (OSError, ValueError, KeyError) as error:
        raise _no_dataset(path, str(error)) from error
    if not isinstance(entries, list):
        raise _no_dataset(path, f"a {type(entries).__name__} in place of the list")
    return Dataset(tuple(_case_of(entry, defaults, path) for entry in entries))


def _no_dataset(path: Path, detail: str) -> HipError:
    return HipError("bad_dataset", f"{path} is not a dataset file with a list of cases.", detail)


def _case_of(entry: object, defaults: dict, path: Path) -> Case:
    """A case of the dataset file ``path``."""
    try:
        if isinstance(entry, dict) and isinstance(entry.get("corrected"), str):
            # Its folder says what its labels mean.
            entry = {"modality": "MR"} | entry | {"image": str(Path(entry["corrected"]) / IMAGE)}
            defaults = {}
        case = from_json(Case, defaults | entry if isinstance(entry, dict) else entry)
        image, label, corrected = (
            str((path.parent / named).resolve()) if named else named
            for named in (case.image, case.label or None, case.corrected or None)
        )
    except HipError as error:
        kind = "bad_dataset" if error.kind == "missing_setting" else error.kind
        raise HipError(kind, f"A case in {path} is not right: {error.sentence}", error.detail) from error
    except (OSError, ValueError, RuntimeError) as error:  # no system takes it for a name, or it is a circle of links
        raise HipError("bad_dataset", f"A case in {path} names a file that cannot exist.", str(error)) from error
    for name in (case.name, case.patient):
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise HipError(
                "bad_dataset",
                f"A case in {path} or its patient is called {name[:60]!r}, which cannot be shown; choose a name of at "
                f"most {LONGEST_NAME} letters and digits.",
            )
    return replace(case, image=image, label=label, corrected=corrected)


def write_dataset_file(dataset: Dataset, path: Path) -> None:
    """Write a dataset.json that :func:`dataset_from_file` reads.

    Files below its folder are named relative to it, so that the folder can be moved as a whole.

    Raises:
        HipError: as for any file.
    """
    path = Path(path)
    folder = path.parent.resolve()
    entries = []
    for case in dataset.cases:
        entry = asdict(case)
        for key in ("image", "label", "corrected"):
            if entry[key] and Path(entry[key]).is_relative_to(folder):
                entry[key] = Path(entry[key]).relative_to(folder).as_posix()
        if case.label is None:
            del entry["label"]
        if case.label_values == LabelValues():
            del entry["label_values"]
        if case.weight == 1.0:
            del entry["weight"]
        del entry["image" if case.corrected else "corrected"]
        entries.append(entry)
    write_text(path, json.dumps({"cases": entries}, indent=2) + "\n")


def cases_of_folder(folder: Path, modality: Literal["CT", "MR"], role: Role) -> list[Case]:
    """Each image X of ``folder`` with X_label where there is one, or another of :data:`LABEL_ENDINGS`, a patient each;
    masks called X_ignore are no images.

    Raises:
        HipError: ``bad_dataset`` where two files are the image or the label map of one name.
        OSError: for a folder that cannot be read.
    """
    files: dict[str, Path] = {}
    for path in volume_files(folder):
        twin = files.setdefault(volume_stem(path), path)
        if twin != path:
            raise HipError(
                "bad_dataset",
                f"{twin.name} and {path.name} in {folder} are both called {volume_stem(path)}; rename one of them, or "
                "leave it out.",
            )
    cases = []
    for stem, path in files.items():
        if stem.endswith((*LABEL_ENDINGS, "_ignore")):
            continue
        label = next((files[stem + ending] for ending in LABEL_ENDINGS if stem + ending in files), None)
        cases.append(Case(stem, modality, role, stem, str(path.resolve()), str(label.resolve()) if label else None))
    return cases


def corrected_cases(folder: Path, taken: Iterable[str] = ()) -> list[Case]:
    """The corrected cases in a folder, or the one that the folder is, for training, a patient each.

    Args:
        taken: names that other cases have.

    Raises:
        HipError: ``missing_folder``, ``no_corrected_case``, or as `cases.corrected_case.cases_in`.
    """
    if not folder.is_dir():
        raise HipError("missing_folder", f"There is no folder {folder}.")
    folders = [folder] if (folder / IMAGE).exists() else cases_in(folder)
    if not folders:
        raise HipError(
            "no_corrected_case",
            f"The folder {folder} holds no corrected case; keep some with “Keep as a training case” in HipICMSC, or "
            "with `hipicmsc case add`.",
        )
    taken, cases = set(taken), []
    for path in (path.resolve() for path in folders):
        names = (path.name if number == 1 else f"{path.name}-{number}" for number in numbers(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        cases.append(Case(name, "MR", "train", name, str(path / IMAGE), corrected=str(path)))
    return cases


def only_measures(case: Case, labelled_mri: bool = False) -> bool:
    """Whether a case is an MRI with labels that takes no part in a training, so that its role must be test.

    Args:
        labelled_mri: the method is trained on labelled MRIs, which may then have any role.
    """
    return case.modality == "MR" and bool(case.label) and not labelled_mri


def suggest_roles(cases: Iterable[Case], seed: int, labelled_mri: bool = False) -> list[Case]:
    """Give training and validation to patients at random, the same for the same seed.

    Of each domain, and of the corrected MRIs, a share of the patients, at least one, is held out, and at least one is
    trained on; a domain of one patient has none to hold out. All cases of a patient have one role. A patient of whom a
    case is for testing, or can be for nothing else (:func:`only_measures`), takes no part in the training.
    """
    cases = list(cases)
    tested = {case.patient for case in cases if case.role == "test" or only_measures(case, labelled_mri)}
    domains = [{case.patient for case in cases if case.modality == modality} - tested for modality in ("CT", "MR")]
    domains.append({case.patient for case in cases if case.corrected} - tested)
    held_out: set[str] = set()
    for of_domain in domains:
        wanted = max(1, round(VALIDATION_SHARE * len(of_domain)))
        for index in np.random.default_rng([seed, len(of_domain)]).permutation(len(of_domain)):
            if len(of_domain & held_out) >= wanted:
                break
            patient = sorted(of_domain)[index]
            if all(other - held_out - {patient} for other in domains if patient in other):
                held_out.add(patient)

    def role(patient: str) -> Role:
        if patient in tested:
            return "test"
        return "val" if patient in held_out else "train"

    return [replace(case, role=role(case.patient)) for case in cases]


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
