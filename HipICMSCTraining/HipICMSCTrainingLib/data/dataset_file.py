"""The cases of a training as a file that a user may write and move, dataset.json."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from HipICMSCLib.cases.corrected_case import IMAGE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.foreign_files import read_object
from HipICMSCLib.common.settings import from_json

from HipICMSCTrainingLib.data.dataset import Case, Dataset, LabelValues
from HipICMSCTrainingLib.data.dataset_problems import checked

#: Characters of a case's or a patient's name.
LONGEST_NAME = 200


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
