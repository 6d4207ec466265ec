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
    """

    old: str
    held_out: tuple[str, ...]

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
        if not old or not any(case.get("role") == "train" for case in corrected):
            return None
        return cls(str(old), tuple(str(case["corrected"]) for case in corrected if case.get("role") != "train"))

    def arguments(self, new: Path, page: Path) -> list[str]:
        """Of `hipicmsc`, which writes a page with pictures."""
        return ["compare", self.old, str(new), "--cases", *self.held_out, "-o", str(page), "--overwrite", "--progress"]
