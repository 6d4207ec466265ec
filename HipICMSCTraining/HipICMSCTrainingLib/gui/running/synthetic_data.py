"""A small synthetic data set to try a training out with; nobody is shown in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.gui.running.command import Command

_SUBJECTS, _SEED = 3, 2026


def make_synthetic_data(folder: Path, on_end: Callable[[HipError | None, Path], None]) -> Command:
    """Let a process write CTs with labels, MRIs and a dataset.json.

    Args:
        on_end: called once, with None or what went wrong, and the folder.
    """
    numbers = ["--subjects", str(_SUBJECTS), "--seed", str(_SEED)]
    arguments = ["phantom", str(folder), *numbers, "--coarse"]
    return Command(arguments, lambda line: None, lambda error: on_end(error, folder))
