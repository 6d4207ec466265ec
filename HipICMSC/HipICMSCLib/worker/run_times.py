"""How long earlier segmentations took on this computer, so that the next one's time can be told beforehand."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.settings import from_json, to_json

#: As many runs of a model on a device are remembered.
REMEMBERED = 20


@dataclass(frozen=True)
class _Run:
    model_sha256: str
    device: str
    slices: int
    seconds: float

    @property
    def is_possible(self) -> bool:
        return self.slices > 0 and 0 < self.seconds < math.inf


class RunTimes:
    """A JSON file of measured times, with nothing in it about a patient.

    The times are a convenience: a file that is missing, damaged or somebody else's counts as empty, and where none can
    be written nothing is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, model_sha256: str, device: str, slices: int, seconds: float) -> None:
        """Remember a segmentation.

        Args:
            device: what computed, by the name that the engine gives it.
            slices: how many the network read.
        """
        run = _Run(model_sha256, device, slices, seconds)
        if not run.is_possible:
            return
        runs = self._read()
        alike = [other for other in runs if _is_alike(other, model_sha256, device)]
        others = [other for other in runs if other not in alike]
        kept = [*others, *alike[-(REMEMBERED - 1) :], run]
        text = json.dumps({"runs": [to_json(one) for one in kept]}, indent=1)
        with contextlib.suppress(HipError, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, text)

    def expected_seconds(self, model_sha256: str, device: str, slices: int) -> float | None:
        """The time that so many slices took in the median of the last runs; None before the first run."""
        alike = [run for run in self._read() if _is_alike(run, model_sha256, device)]
        if not alike:
            return None
        return slices * median(run.seconds / run.slices for run in alike[-REMEMBERED:])

    def _read(self) -> list[_Run]:
        """The runs, oldest first."""
        try:
            entries = list(json.loads(self._path.read_text(encoding="utf-8"))["runs"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []
        runs = []
        for entry in entries:
            with contextlib.suppress(HipError):
                runs.append(from_json(_Run, entry))
        return [run for run in runs if run.is_possible]


def _is_alike(run: _Run, model_sha256: str, device: str) -> bool:
    return (run.model_sha256, run.device) == (model_sha256, device)
