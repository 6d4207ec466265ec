"""The report of the last `hipicmsc check`, kept beside the dataset.json with a fingerprint of what was checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from HipICMSCLib.cases.corrected_case import ABOUT
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.settings import from_json

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.dataset_problems import Problem

#: Which MRIs must have labels depends on the method, which may be another one by now; it is told without any check.
_OF_METHOD = {"labelled_mri_in_training", "mri_without_label"}


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: stops first; those of cases that are not in the data set any more are left out, and so is what
            depends on the method.
        is_current: whether the data set and all of its files are as they were when they were checked.
    """

    problems: tuple[Problem, ...]
    is_current: bool

    @property
    def stops(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "stop")


def report_path(dataset: Path) -> Path:
    """Where the report of a dataset.json is kept: dataset.check.json."""
    return dataset.with_suffix(".check.json")


def fingerprint(dataset: Path, cases: Sequence[Case]) -> str:
    """Changes whenever the data set's file, or size or time of a volume, label map or corrected case, changes; names
    nothing."""
    facts: list[Any] = [dataset.read_text(encoding="utf-8") if dataset.exists() else ""]
    of_cases = ((case.image, case.label, case.corrected and str(Path(case.corrected) / ABOUT)) for case in cases)
    for file in (file for files in of_cases for file in files if file):
        try:
            stat = Path(file).stat()
        except OSError:
            facts.append("missing")
        else:
            facts.append((stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_report(dataset: Path, checked: str, report: dict[str, Any]) -> None:
    """Keep what a check reported.

    Args:
        checked: the fingerprint from before the check.
        report: the command's own, with its list of problems.

    Raises:
        HipError: as for any file.
    """
    write_text(report_path(dataset), json.dumps({"fingerprint": checked, "report": report}, indent=2) + "\n")


def read_report(dataset: Path, cases: Sequence[Case]) -> CheckReport | None:
    """The last report; None where there is none or it cannot be read, for a check can be done again."""
    try:
        kept = json.loads(report_path(dataset).read_text(encoding="utf-8"))
        problems = [from_json(Problem, problem) for problem in kept["report"]["problems"]]
        is_current = kept["fingerprint"] == fingerprint(dataset, cases)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, HipError):
        return None
    names = {"", *(case.name for case in cases)}
    kept_problems = [problem for problem in problems if problem.case in names and problem.kind not in _OF_METHOD]
    return CheckReport(tuple(kept_problems), is_current)
