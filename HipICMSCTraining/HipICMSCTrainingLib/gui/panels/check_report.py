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
from HipICMSCTrainingLib.data.dataset_problems import OF_THE_LIST, Problem

#: The settings on which it depends what of a volume a training reads, and what is told of that.
_WHAT_IS_READ = ("crop", "reads")
_OF_WHAT_IS_READ = {
    "no_hip", "one_hip", "hip_outside_crop", "labels_far_from_heads", "small_field_of_view", "bone_cut",
    "different_anatomy",
}  # fmt: skip


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: stops first; those of cases that are not in the data set any more are left out, and so is what
            the list of cases tells without a check or, for other settings, what depends on what is read of a volume.
        is_current: whether the data set and all of its files are as they were when they were checked.
        is_for_these_settings: whether a training would read of each volume what was checked.
    """

    problems: tuple[Problem, ...]
    is_current: bool
    is_for_these_settings: bool

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


def arguments_of_check(arguments: Sequence[str]) -> list[str]:
    """Of the arguments of a training, those on which it depends what is read of each volume.

    Args:
        arguments: options with one value each.
    """
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [
        part
        for option, value in pairs
        if option in ("--preset", "--start-from")
        or (option == "--set" and value.partition("=")[0].partition(".")[0] in _WHAT_IS_READ)
        for part in (option, value)
    ]


def write_report(dataset: Path, checked: str, arguments: Sequence[str], report: dict[str, Any]) -> None:
    """Keep what a check reported.

    Args:
        checked: the fingerprint from before the check.
        arguments: with which it was made, as :func:`arguments_of_check` gives them.
        report: the command's own, with its list of problems.

    Raises:
        HipError: as for any file.
    """
    kept = {"fingerprint": checked, "arguments": list(arguments), "report": report}
    write_text(report_path(dataset), json.dumps(kept, indent=2) + "\n")


def read_report(dataset: Path, cases: Sequence[Case], arguments: Sequence[str]) -> CheckReport | None:
    """The last report; None where there is none or it cannot be read, for a check can be done again.

    Args:
        arguments: with which a check would be made now.
    """
    try:
        kept = json.loads(report_path(dataset).read_text(encoding="utf-8"))
        problems = [from_json(Problem, problem) for problem in kept["report"]["problems"]]
        is_current = kept["fingerprint"] == fingerprint(dataset, cases)
        # A report of an earlier version does not say for which settings it was made.
        is_for_these_settings = kept.get("arguments") == list(arguments)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, HipError):
        return None
    names = {"", *(case.name for case in cases)}
    # What the list of cases tells is told anew at each change of it.
    others = OF_THE_LIST if is_for_these_settings else OF_THE_LIST | _OF_WHAT_IS_READ
    kept_problems = [problem for problem in problems if problem.case in names and problem.kind not in others]
    return CheckReport(tuple(kept_problems), is_current, is_for_these_settings)
