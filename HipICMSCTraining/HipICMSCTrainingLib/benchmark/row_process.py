"""Works on one row of a benchmark in a process of its own (row.py)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.benchmark.row import MeasuredRun
from HipICMSCTrainingLib.run.folder import RunFolder

#: How long a training may take to save itself when the benchmark is interrupted.
_SECONDS_TO_SAVE = 60.0
_SECONDS_BETWEEN_LOOKS = 0.5


def work_on(run: RunFolder, show: Callable[[], None], *measuring: str) -> None:
    """Train, and with the words for ``measuring`` measure; an interruption lets the training save itself first.

    Args:
        show: called again and again while it lasts.

    Raises:
        HipError: ``row_failed``; ``stopped`` if somebody stopped the run.
    """
    command = [sys.executable, "-m", "HipICMSCTrainingLib.benchmark.row", str(run.path), *measuring]
    with open(run.log, "wb") as log:
        # In a session of its own, so that Ctrl-C at a terminal reaches this process alone.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while _is_alive(process):
            show()
    except KeyboardInterrupt:
        _let_save(process, run)
        raise
    finally:
        process.stdin.close()  # whatever goes on there ends with it
        process.wait()
    if process.returncode:
        raise HipError("row_failed", _why(run, process.returncode))
    if MeasuredRun(run).cost is None:
        raise HipError(
            "stopped", f"The training in {run.path} was stopped on request; the same command goes on from there."
        )


def _is_alive(process: subprocess.Popen) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_BETWEEN_LOOKS)
        return False
    return True


def _let_save(process: subprocess.Popen, run: RunFolder) -> None:
    """A training ends after the step at hand; a second interruption ends it at once, as it does a measurement."""
    if run.in_use():
        run.request("STOP")
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_SECONDS_TO_SAVE)


def _why(run: RunFolder, code: int) -> str:
    """Why the process of a row ended, from its last words."""
    prefix = "hipicmsc: "
    sentences = [line for line in run.tail_of_log() if line.startswith(prefix)]
    if sentences:
        return sentences[-1][len(prefix) :]
    if code < 0:
        return f"Its process was killed (signal {-code}); perhaps the memory did not suffice."
    return f"Its process ended with code {code}; train.log in its folder says more."
