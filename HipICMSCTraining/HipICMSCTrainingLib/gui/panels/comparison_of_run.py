"""What a run with corrected MRIs is compared on before its model is used: the model before it, and which cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from HipICMSCTrainingLib.run.folder import RunFolder


@dataclass(frozen=True)
class ComparisonOfRun:
    """
    Attributes:
        old: the model that the run started from, by its name or file.
        held_out: folders of the corrected cases that the run did not learn from.
        taught: how many corrected patients it learned from.
    """

    old: str
    held_out: tuple[str, ...]
    taught: int

    @classmethod
    def of(cls, run: RunFolder) -> ComparisonOfRun | None:
        """None for a run without corrected MRIs, or without a model before it.

        Raises:
            HipError: ``no_run`` or ``damaged_run``.
        """
        description = run.description()
        old = (description.get("settings") or {}).get("start_from")
        cases = (description.get("dataset") or {}).get("cases") or []
        corrected = [case for case in cases if case.get("corrected")]
        taught = {case.get("patient") for case in corrected if case.get("role") == "train"}
        if not old or not taught:
            return None
        held_out = tuple(str(case["corrected"]) for case in corrected if case.get("role") != "train")
        return cls(str(old), held_out, len(taught))

    def arguments(self, new: Path, page: Path) -> list[str]:
        """Of `hipicmsc`, which compares on the cases that are held out and writes a page with pictures."""
        return ["compare", self.old, str(new), "--cases", *self.held_out, *_page(page)]

    def leave_one_out(self, run: RunFolder, page: Path) -> list[str]:
        """Of `hipicmsc`, which trains a model without each patient that taught, compares there and writes a page."""
        return ["leave-one-out", str(run.path), *_page(page)]


def _page(page: Path) -> list[str]:
    return ["-o", str(page), "--overwrite", "--progress"]
