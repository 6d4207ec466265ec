"""The cases of a training from folders of volumes: whose they are by their names, and who is held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count as numbers
from pathlib import Path
from typing import Literal

import numpy as np
from HipICMSCLib.cases.corrected_case import IMAGE, cases_in
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import dicom_files_in_steps, is_dicom_file, volume_files, volume_stem

from HipICMSCTrainingLib.data.dataset import Case, Dataset, Role, only_measures
from HipICMSCTrainingLib.data.dataset_problems import checked

#: What the names of an image's label map end in, the first that is there: ours, and those that Slicer gives.
LABEL_ENDINGS = ("_label", "_label.seg", "-label", "-label.seg", ".seg", "-segmentation.seg")

#: Of the patients of each domain so many are held out for the scores, at least one.
VALIDATION_SHARE = 0.15


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


def cases_of_folder(folder: Path, modality: Literal["CT", "MR"], role: Role) -> list[Case]:
    """Each image X of ``folder`` with X_label where there is one, or another of :data:`LABEL_ENDINGS`, a patient each;
    masks called X_ignore are no images. An image may be a folder of DICOM files.

    Raises:
        HipError: ``bad_dataset`` where two files are the image or the label map of one name, or DICOM files lie in
            ``folder`` itself, so that nobody knows whose they are.
        OSError: for a folder that cannot be read.
    """
    return list(filter(None, cases_in_steps(folder, modality, role)))


def cases_in_steps(folder: Path, modality: Literal["CT", "MR"], role: Role) -> Iterator[Case | None]:
    """As :func:`cases_of_folder`, with None for each file and folder that was looked at: who may not keep others
    waiting, because a folder may be large or far away, can pause there, or give up."""
    files: dict[str, Path] = {}
    for path in _volumes_in(folder):
        yield None
        if path is None:
            continue
        name = path.name if path.is_dir() else volume_stem(path)
        twin = files.setdefault(name, path)
        if twin != path:
            raise HipError(
                "bad_dataset",
                f"{twin.name} and {path.name} in {folder} are both called {name}; rename one of them, or leave it out.",
            )
    for stem, path in files.items():
        if stem.endswith((*LABEL_ENDINGS, "_ignore")):
            continue
        label = next((files[stem + ending] for ending in LABEL_ENDINGS if stem + ending in files), None)
        yield Case(stem, modality, role, stem, str(path.resolve()), str(label.resolve()) if label else None)


def _volumes_in(folder: Path) -> Iterator[Path | None]:
    """Files, and folders that hold DICOM anywhere; None in between, as for :func:`cases_in_steps`."""
    volumes, entries = volume_files(folder), sorted(folder.iterdir())
    yield from volumes
    holds_any = bool(volumes)
    for path in entries:
        if path.name[0] == "." or not path.is_dir():
            yield None
            continue
        for file in dicom_files_in_steps(path):
            yield path if file else None
            if file:
                holds_any = True
                break
    for path in [] if holds_any else entries:
        yield None
        if is_dicom_file(path):
            raise HipError(
                "bad_dataset",
                f"DICOM files lie in {folder} itself; give those of each patient a folder of their own.",
            )


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
