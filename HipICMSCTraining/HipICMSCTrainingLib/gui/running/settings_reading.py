"""Reads once what can be set for a training. That takes torch, so it is done in a process of its own.

What Slicer's own Python answered is kept in the user's folder for the next time, together with a fingerprint of the
files that it comes from.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import HipICMSCLib
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.gui.setup.installation import python_interpreter
from HipICMSCLib.models.chosen import user_folder
from slicer.i18n import tr as _

import HipICMSCTrainingLib
from HipICMSCTrainingLib.gui.running.command import Command
from HipICMSCTrainingLib.settings.choices import Description

_MISSING_PACKAGE = re.compile(r"No module named '([\w.]+)'")


class SettingsReading:
    """One reading, told through one of the two functions, in Slicer's main thread; maybe already in the constructor.

    Attributes:
        interpreter: that answers, as python_interpreter gives it.
    """

    def __init__(self, on_read: Callable[[Description], None], on_error: Callable[[HipError], None]) -> None:
        self._on_read, self._on_error = on_read, on_error
        self._answer: dict[str, Any] | None = None
        self._command: Command | None = None
        self.interpreter = python_interpreter()
        self._fingerprint = None if self.interpreter else _fingerprint()
        kept = _kept(self._fingerprint)
        if kept is not None:
            on_read(kept)
        else:
            self._command = Command(["describe"], self._take, self._end)

    def close(self) -> None:
        """Give up; neither function is called any more."""
        if self._command is not None:
            self._command.close()

    def _take(self, line: dict[str, Any]) -> None:
        self._answer = line

    def _end(self, error: HipError | None) -> None:
        try:
            if error is not None:
                raise _with_reason(error)
            description = Description.from_json(self._answer or {})
        except HipError as reason:
            self._on_error(reason)
            return
        if self._fingerprint is not None:
            _keep(self._fingerprint, self._answer)
        self._on_read(description)


def _cache_file() -> Path:
    return user_folder() / "training-settings.json"


def _kept(fingerprint: str | None) -> Description | None:
    try:
        kept = json.loads(_cache_file().read_text(encoding="utf-8"))
        return Description.from_json(kept["description"]) if kept["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError, HipError):
        return None


def _keep(fingerprint: str, answer: dict[str, Any]) -> None:
    """Where the user's folder cannot be written to, it is read anew each time."""
    path = _cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"fingerprint": fingerprint, "description": answer}))
    except (OSError, HipError):
        return


def _fingerprint() -> str | None:
    """Of all from which Slicer's own Python answers; None where torch, which it takes, is not there."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
    facts: list[Any] = [sys.executable, torch]
    for library in (HipICMSCLib, HipICMSCTrainingLib):
        folder = Path(library.__file__).parent
        for file in sorted(folder.rglob("*.py")):
            stat = file.stat()
            facts.append((str(file), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _with_reason(error: HipError) -> HipError:
    missing = _MISSING_PACKAGE.search(error.detail)
    if missing is None:
        return error
    return HipError(
        "missing_package",
        _(
            "The Python package {name} is missing; open the module HipICMSC, install it in its section Set-up, and "
            "come back."
        ).format(name=missing[1].partition(".")[0]),
        error.detail,
    )
