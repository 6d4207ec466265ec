"""Starts Python processes beside Slicer and ends them with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

WINDOWS = os.name == "nt"


def start_connected(arguments: list[str], folders: list[Path]) -> subprocess.Popen:
    """Start Slicer's Python with pipes to its three streams.

    Args:
        arguments: after the interpreter, e.g. ``["-m", "HipICMSCLib.worker"]``.
        folders: where it finds our libraries.

    Raises:
        OSError: if it cannot be started.
    """
    pipe = subprocess.PIPE
    return _start(arguments, folders, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace")


def start_detached(arguments: list[str], folders: list[Path], log: Path) -> subprocess.Popen:
    """Start Slicer's Python as a process that outlives Slicer; all it prints is added to ``log``.

    Raises:
        OSError: if it cannot be started or the log cannot be written.
    """
    with open(log, "ab") as file:
        return _start(arguments, folders, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)


def end_tree(process: subprocess.Popen) -> None:
    """Kill a process and its children; Slicer's interpreter is a launcher that stays as the parent of the real one."""
    if WINDOWS:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _start(arguments: list[str], folders: list[Path], **streams) -> subprocess.Popen:
    inherited = os.environ.get("PYTHONPATH")
    paths = [*map(str, folders), *([inherited] if inherited else [])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONNOUSERSITE": "1",
    }
    own_group = (
        {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        if WINDOWS
        else {"start_new_session": True}
    )
    return subprocess.Popen([sys.executable, "-u", *arguments], env=environment, **own_group, **streams)
