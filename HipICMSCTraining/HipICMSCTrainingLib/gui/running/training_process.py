"""Starts, pauses, resumes and stops trainings, which are processes of their own that outlive Slicer.

What a run does is read in its folder alone. Only while a process is starting, and nothing of it is in the folder yet,
is it known here. Without widgets and Slicer, so that it can be used from anywhere.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import HipICMSCLib
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.foreign_files import refuse_links
from HipICMSCLib.gui.setup.child_process import end_tree, start_detached

import HipICMSCTrainingLib
from HipICMSCTrainingLib.run.folder import RunFolder

#: As Status.state, but "paused" is a process that waits and "stopped" none at all; what was asked for and what is
#: starting, too. "unreadable" is a damaged run.
RunState = Literal[
    "starting", "running", "pausing", "paused", "stopping", "stopped", "stalled", "lost", "finished", "failed",
    "unreadable",
]  # fmt: skip

#: How `hipicmsc` begins the sentence with which it gives up.
_SENTENCE_PREFIX = "hipicmsc: "
#: What an attempt that came to nothing may have left, which is all that a folder for a new run may hold.
_LEFT_BEHIND = {"train.log", "lock", "STOP", "PAUSE", "cache", "checkpoints", "previews"}


@dataclass
class _Process:
    """One that was started here.

    Attributes:
        heartbeat: of the run before, seconds since the epoch.
        log_size: of the run's log before the process wrote there, bytes.
    """

    run: RunFolder
    process: subprocess.Popen
    resumes: bool
    heartbeat: float
    log_size: int

    def is_starting(self) -> bool:
        """Whether the folder does not tell of it yet; it does from the first sign of life on."""
        if self.process.poll() is not None:
            return False
        try:
            return self.run.status().heartbeat == self.heartbeat
        except HipError:
            return True


#: By absolute folder, until it is said how they ended; the newest in each folder.
_processes: dict[Path, _Process] = {}


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return os.path.isfile(Path(path) / "run.json")


def start(path: Path, dataset: Path, arguments: Sequence[str], python: str | None = None) -> RunFolder:
    """Train in a new folder; returns at once, and the process goes on whatever becomes of this one.

    Args:
        dataset: the dataset.json.
        arguments: method, preset and settings, as for ``hipicmsc train``.
        python: another interpreter than Slicer's own.

    Raises:
        HipError: ``run_exists``, ``folder_in_use``, ``not_started``, or as for any file.
    """
    run = RunFolder(Path(path).absolute())
    reason = reason_against_folder(run.path)
    if reason:
        raise HipError("folder_in_use", reason)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, run.path) from error
    run.withdraw("STOP")
    run.withdraw("PAUSE")
    _start(run, ["train", str(run.path), "--dataset", str(dataset), *arguments], python, resumes=False)
    return run


def resume(run: RunFolder, python: str | None = None) -> None:
    """Let a waiting process go on, or start one for a run that has none.

    Raises:
        HipError: ``run_in_use``, ``finished``, ``not_started``, or as for any file.
    """
    state = state_of(run)
    if state in ("pausing", "paused"):
        run.withdraw("PAUSE")
    elif state in ("stopped", "lost", "failed"):
        _start(run, ["resume", str(run.path)], python, resumes=True)
    elif state == "finished":
        raise HipError("finished", "This run is finished; duplicate it to train anew.")
    else:
        raise HipError("run_in_use", "A process is working on this run already.")


def pause(run: RunFolder) -> None:
    """Ask the process to save and wait after the step at hand; it keeps its memory.

    Raises:
        HipError: ``not_running``, or as for any file.
    """
    if not run.in_use():
        raise HipError("not_running", "No process is training this run.")
    run.request("PAUSE")


def stop(run: RunFolder) -> None:
    """Ask the process to save and end after the step at hand; the run can be resumed later.

    A process that is still starting has nothing to save: it ends before its first step.

    Raises:
        HipError: ``not_running``, or as for any file.
    """
    process = _starting(run.path)
    if process is not None:
        if process.resumes:
            # It takes a request to stop that it finds for an old one.
            end_tree(process.process)
            del _processes[run.path.absolute()]
        else:
            run.request("STOP")
    elif run.in_use():
        run.request("STOP")
    else:
        raise HipError("not_running", "No process is training this run.")


def runs_started_here() -> list[RunFolder]:
    """The runs on which a process works, waiting and starting ones too, that was started or resumed from here."""
    return [process.run for process in _processes.values() if process.process.poll() is None]


def stop_all(runs: Iterable[RunFolder]) -> None:
    """Ask them all to save and end; one that ended meanwhile is none to worry about.

    Raises:
        HipError: the first of what kept a run from being asked, after all others were.
    """
    errors = []
    for run in runs:
        try:
            stop(run)
        except HipError as error:
            if error.kind != "not_running":
                errors.append(error)
    if errors:
        raise errors[0]


def starting_runs(folder: Path) -> list[RunFolder]:
    """The runs in the subfolders of ``folder`` that were started from here and are not heard of yet."""
    below = Path(folder).absolute()
    return [process.run for path, process in _processes.items() if path.parent == below and process.is_starting()]


def is_starting(run: RunFolder) -> bool:
    """Whether a process was started from here for this run of which nothing is in its folder yet."""
    return _starting(run.path) is not None


def failures() -> list[tuple[RunFolder, HipError]]:
    """What became of processes that were started from here and ended badly since the last call, each told once.

    A HipError has the process's own sentence, and the last that it printed as detail.
    """
    ended = [process for process in _processes.values() if process.process.poll() is not None]
    for process in ended:
        del _processes[process.run.path.absolute()]
    return [(process.run, _reason(process)) for process in ended if process.process.returncode]


def state_of(run: RunFolder) -> RunState:
    """How a run stands and what was asked of it."""
    if is_starting(run):
        return "starting"
    try:
        status = run.status()
    except HipError:
        return "unreadable"
    # A process that said its last word needs a moment to end.
    has_ended = status.state in ("finished", "failed") or status.phase == "stopped"
    if has_ended or not run.in_use():
        return "stopped" if status.state == "paused" else status.state
    if run.requested("STOP"):
        return "stopping"
    if run.requested("PAUSE"):
        return "paused" if status.state == "paused" else "pausing"
    # A process that was just woken says so in a moment.
    return "stalled" if status.state == "stalled" else "running"


def reason_against_folder(path: Path) -> str:
    """Why no new run can be made in a folder; empty if one can."""
    path = Path(path).absolute()
    if is_run(path):
        return f"There is a run {path.name} already; choose another name."
    if _starting(path) is not None:
        return f"The training {path.name} is starting already."
    try:
        found = {entry.name for entry in path.iterdir() if entry.name[0] != "."}
    except FileNotFoundError:
        return ""
    except OSError:
        return f"{path} is no folder that can be read; choose another name."
    if found - _LEFT_BEHIND:
        return f"The folder {path.name} holds other files already; choose another name."
    return ""


def free_name(folder: Path, wanted: str) -> str:
    """``wanted``, or with the first number that makes it a name for a new run in ``folder``."""
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in itertools.count(1))
    paths = (Path(folder) / name for name in names)
    # A place where nothing is can be unfit, too, but then all others are.
    return next(path.name for path in paths if not os.path.exists(path) or not reason_against_folder(path))


def _starting(path: Path) -> _Process | None:
    process = _processes.get(path.absolute())
    return process if process is not None and process.is_starting() else None


def _start(run: RunFolder, arguments: list[str], python: str | None, resumes: bool) -> None:
    folders = [Path(library.__file__).resolve().parents[1] for library in (HipICMSCLib, HipICMSCTrainingLib)]
    command = ["-m", "HipICMSCTrainingLib.cli", *arguments]
    refuse_links(run.path)
    log_size = run.log.stat().st_size if run.log.exists() else 0
    heartbeat = run.status().heartbeat if is_run(run.path) else 0.0
    try:
        process = start_detached(command, folders, run.log, python)
    except OSError as error:
        raise HipError(
            "not_started",
            "The training process could not be started; look at Set-up in HipICMSC, and whether the folder of the runs "
            "can be written to.",
            str(error),
        ) from error
    _processes[run.path.absolute()] = _Process(run, process, resumes, heartbeat, log_size)


def _reason(ended: _Process) -> HipError:
    try:
        with open(ended.run.log, "rb") as file:
            file.seek(ended.log_size)
            printed = file.read().decode("utf-8", "replace")
    except OSError as error:
        printed = str(error)
    detail = f"Exit code {ended.process.returncode}.\n{printed[-4000:]}".strip()
    sentences = [line for line in printed.splitlines() if line.startswith(_SENTENCE_PREFIX)]
    if sentences:
        return HipError("command_failed", sentences[-1].removeprefix(_SENTENCE_PREFIX).strip(), detail)
    return HipError(
        "command_died",
        "The training process ended unexpectedly, perhaps because this computer ran out of memory or a Python package "
        "is missing; look at Set-up in HipICMSC.",
        detail,
    )
