"""Reads what an interpreter has in a process of that interpreter, so that Slicer neither waits nor loads anything."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.setup.child_process import end_tree, start_connected
from HipICMSCLib.worker.environment import Environment, environment_of

_LIBRARY_FOLDER = Path(__file__).resolve().parents[3]


class EnvironmentReading:
    """One reading; whoever wants it calls :meth:`poll` now and then."""

    #: A first start from a slow disk, under a virus scanner, takes a while; a program that is no Python may never end.
    SECONDS = 30.0
    #: The same where each package is loaded.
    LOADING_SECONDS = 240.0

    def __init__(self, python: str | None, load: bool = False) -> None:
        """
        Args:
            python: the interpreter; None is Slicer's own.
            load: also try to load each package, which takes some seconds.

        Raises:
            HipError: ``not_an_interpreter`` if it is no program.
        """
        try:
            arguments = ["-m", "HipICMSCLib.worker.environment", *(["--load"] if load else [])]
            self._process = start_connected(arguments, [_LIBRARY_FOLDER], python)
        except OSError as error:
            raise HipError(
                "not_an_interpreter",
                "The Python interpreter cannot be started; choose the program python of a Python 3.10 or newer.",
                str(error),
            ) from error
        self._process.stdin.close()
        self._limit = time.monotonic() + (self.LOADING_SECONDS if load else self.SECONDS)

    def poll(self) -> Environment | None:
        """What was found, or None as long as it is being read; not to be asked again after that.

        Raises:
            HipError: ``no_answer`` after some time, or as `environment.environment_of`.
        """
        if self._process.poll() is None:
            if time.monotonic() < self._limit:
                return None
            self.close()
            raise HipError("no_answer", "The Python interpreter does not answer; choose another one.")
        printed, complaints = self._process.stdout.read(), self._process.stderr.read()
        self.close()
        try:
            return environment_of(printed)
        except HipError as error:
            error.detail += f"\n{complaints}"
            raise

    def close(self) -> None:
        """Give up."""
        end_tree(self._process)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                stream.close()
