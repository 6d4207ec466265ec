"""How the runs of a benchmark go, and why some of them failed."""

from __future__ import annotations

import json
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text

from HipICMSCTrainingLib.benchmark.plan import Plan
from HipICMSCTrainingLib.benchmark.row import MeasuredRun
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below


def states_of(folder: Path) -> list[str]:
    """A line for each run of a benchmark, in words.

    Raises:
        HipError: ``no_benchmark``.
    """
    if Plan.read(folder) is None:
        raise HipError("no_benchmark", f"{folder} holds no benchmark.")
    lines = []
    for run in sorted(runs_below(Path(folder) / "runs"), key=lambda run: run.path.name):
        status = run.status()
        steps = f", step {status.step} of {status.total_steps}" if status.total_steps else ""
        state = "measured" if MeasuredRun(run).is_done else f"{status.state}, {status.phase}{steps}"
        lines.append(f"{run.path.name}: {state}")
    failures = failures_in(Path(folder))
    return [*lines, *(f"{name} failed: {sentence}" for name, sentence in failures.items())]


def failures_in(folder: Path) -> dict[str, str]:
    """Why a row could not be finished, by the name of its run."""
    try:
        return json.loads((folder / "failures.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def remember(folder: Path, run: RunFolder, failure: str | None) -> None:
    """Keep why the row of a run could not be finished, or that it could."""
    failures = failures_in(folder)
    failures.pop(run.path.name, None)
    if failure:
        failures[run.path.name] = failure
    write_text(folder / "failures.json", json.dumps(failures, indent=1, ensure_ascii=False) + "\n")
