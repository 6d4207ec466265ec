"""Starts Python processes beside Slicer and ends them with all their children."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

WINDOWS = os.name == "nt"
#: A killed process is gone at once, unless the system refuses; Slicer must not wait for ever.
_SECONDS_TO_DIE = 10.0


def start_connected(arguments: list[str], folders: list[Path], python: str | None = None) -> subprocess.Popen:
    """Start Python with pipes to its three streams.

    Args:
        arguments: after the interpreter, e.g. ``["-m", "HipICMSCLib.worker"]``.
        folders: where it finds our libraries.
        python: another interpreter than Slicer's own; it gets the environment that Slicer was started in.

    Raises:
        OSError: if it cannot be started.
    """
    pipe = subprocess.PIPE
    return _start(arguments, folders, python, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace")


def start_detached(arguments: list[str], folders: list[Path], log: Path, python: str | None = None) -> subprocess.Popen:
    """Start Python as a process that outlives Slicer; all it prints is added to ``log``.

    Args:
        arguments, folders, python: as for :func:`start_connected`.

    Raises:
        OSError: if it cannot be started or the log cannot be written.
    """
    with open(log, "ab") as file:
        return _start(arguments, folders, python, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)


def end_tree(process: subprocess.Popen) -> None:
    """Kill a process and its children; PythonSlicer is a launcher that stays as the parent of the real one."""
    if WINDOWS:
        # Without a console window that flashes up, and without Slicer's own input, which may be none.
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
    else:
        # A group of processes that are dead but not yet waited for may not be killed on macOS.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_DIE)


def _start(arguments: list[str], folders: list[Path], python: str | None, **streams) -> subprocess.Popen:
    # Slicer's Python must not find what the user installed for another one; another one finds what it always finds.
    inherited = os.environ | {"PYTHONNOUSERSITE": "1"} if python is None else _environment_before_slicer()
    paths = [*map(str, folders), *filter(None, [inherited.get("PYTHONPATH")])]
    environment = inherited | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        # The folder that Slicer was started in is none to import from.
        "PYTHONSAFEPATH": "1",
    }
    own_group = (
        {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        if WINDOWS
        else {"start_new_session": True}
    )
    command = [python or _slicers_python(), "-u", *arguments]
    return subprocess.Popen(command, env=environment, **own_group, **streams)


def _slicers_python() -> str:
    """Slicer's interpreter itself, which finds its home in Slicer's environment; else its launcher; else, outside of
    Slicer, the one that runs this. (``sys.executable`` may be Slicer while that is still starting.)"""
    itself = shutil.which("python-real") if "PYTHONHOME" in os.environ else None
    return itself or shutil.which("PythonSlicer") or sys.executable


def _environment_before_slicer() -> dict[str, str]:
    """Slicer's own PYTHONHOME, LD_LIBRARY_PATH and the like would make another Python load Slicer's files."""
    from slicer.util import startupEnvironment

    return startupEnvironment()
