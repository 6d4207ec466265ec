"""A dataset.json while it is put together: rows may still be incomplete, and every change is saved at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.volume_names import volume_files, volume_stem

from HipICMSCTrainingLib.data.dataset import Case, Dataset, only_measures
from HipICMSCTrainingLib.data.dataset_file import unchecked_dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.data.dataset_problems import Problem, dataset_problems

NAME_PREFIXES = {"CT": "ct", "MR": "mri"}


class DatasetFile:
    """The cases in a file; the file is all there is, so whoever closes the program loses nothing.

    Attributes:
        path: of the file; where there is none yet, the first change makes it and its folder.
        cases: as read; a row may lack its label map, its files or the other cases that a training needs.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            HipError: as ``unchecked_dataset_from_file``, but not for a file that is still to be made.
        """
        # The cases' files are named from here, wherever whoever reads them is.
        self.path = Path(path).absolute()
        self.cases: tuple[Case, ...] = ()
        self.reread()

    def reread(self) -> None:
        """What is in the file now, for somebody else may have changed it.

        Raises:
            HipError: as the constructor; the cases stay as they were.
        """
        self.cases, self._text = self._read()

    def add(self, cases: Iterable[Case]) -> None:
        """Save further cases.

        Raises:
            HipError: ``changed_outside``, with the file read anew, or as for any file; nothing is changed then.
        """
        self._save((*self.cases, *cases))

    def add_written(self, case: Case) -> None:
        """Save a further case whose files were just written for it; where it cannot be saved they go. Raises as
        :meth:`add`."""
        try:
            self.add([case])
        except HipError:
            for path in filter(None, (case.image, case.label)):
                Path(path).unlink(missing_ok=True)
            raise

    def remove(self, cases: Iterable[Case]) -> None:
        """Save without these cases; their volumes stay where they are. Raises as :meth:`add`."""
        removed = list(cases)
        self._save(case for case in self.cases if case not in removed)

    def change(self, cases: Iterable[Case]) -> None:
        """Save these in place of the present cases, of which there are as many. Raises as :meth:`add`."""
        self._save(cases)

    def stops(self, labelled_mri: bool = False) -> list[Problem]:
        """Why no training can start with these cases, as far as can be told without reading a volume.

        Those with the name of a case say why its row is incomplete.

        Args:
            labelled_mri: the method is trained on labelled MRIs.
        """
        missing = [problem for case in self.cases for problem in _missing_files(case)]
        return [*missing, *dataset_problems(Dataset(self.cases), labelled_mri)]

    def role_of(self, patient: str) -> str:
        """The role of a patient's cases; empty for a new patient, and where they do not agree."""
        roles = {case.role for case in self.cases if case.patient == patient}
        return roles.pop() if len(roles) == 1 else ""

    def with_role(self, case: Case, labelled_mri: bool) -> Case:
        """A new case with the role that it must have, or else with that of its patient, or training.

        Args:
            labelled_mri: the method is trained on labelled MRIs; otherwise they are only measured.
        """
        role = "test" if only_measures(case, labelled_mri) else self.role_of(case.patient) or "train"
        return replace(case, role=role)

    def free_name(self, modality: str, wanted: str = "", besides: Iterable[str] = ()) -> str:
        """A name for a new case, and for its files in this file's folder, that nothing else has.

        Args:
            modality: CT or MR.
            wanted: the new name is made from it, without characters that trouble file systems; if it is empty, the
                name is a number such as ct-001, from which nobody can be recognised.
            besides: further names that are taken.
        """
        folder = self.path.parent
        taken = {case.name for case in self.cases} | set(besides)
        if folder.is_dir():
            taken |= {volume_stem(path) for path in volume_files(folder)}
        taken = {name.casefold() for name in taken}
        safe = re.sub(r"[^\w.-]+", "-", wanted, flags=re.ASCII).strip("-._")
        if safe:
            names = (safe if number == 1 else f"{safe}-{number}" for number in count(1))
        else:
            names = (f"{NAME_PREFIXES[modality]}-{number:03d}" for number in count(1))
        return next(name for name in names if not {name.casefold(), f"{name}_label".casefold()} & taken)

    def make_folder(self) -> Path:
        """The folder of the file, which is made where it is missing.

        Raises:
            HipError: as for any file.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, folder) from error
        return folder

    def _read(self) -> tuple[tuple[Case, ...], str]:
        # Not Path.exists, which raises where a folder may not be looked into.
        if not os.path.exists(self.path):
            return (), ""
        cases = unchecked_dataset_from_file(self.path).cases
        return cases, self.path.read_text(encoding="utf-8")

    def _save(self, cases: Iterable[Case]) -> None:
        cases = tuple(cases)
        if self._read()[1] != self._text:
            self.reread()
            raise HipError(
                "changed_outside",
                "Another program has changed the data set meanwhile; it was read again, so please repeat your change.",
            )
        self.make_folder()
        write_dataset_file(Dataset(cases), self.path)
        self.reread()


def _missing_files(case: Case) -> list[Problem]:
    fix = "Bring it back to its place, or leave the case out."
    if case.corrected and not Path(case.corrected).is_dir():
        sentence = f"The case folder of {case.name} is not there any more: {case.corrected}."
        return [Problem("stop", "bad_case", case.name, sentence, fix)]
    files = {"volume": case.image, "label map": case.label}
    return [
        Problem("stop", "missing_file", case.name, f"The {what} of {case.name} is not there any more: {file}.", fix)
        for what, file in files.items()
        if file and not Path(file).exists()
    ]
