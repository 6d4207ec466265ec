"""Runs one `hipicmsc` command beside Slicer and hands on what it reports, one JSON object a line."""

from __future__ import annotations

import json
import queue
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import HipICMSCLib
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.setup.child_process import end_tree, start_connected
from HipICMSCLib.gui.setup.installation import python_interpreter
from HipICMSCLib.gui.setup.pipes import ProcessOutput
from slicer.i18n import tr as _

import HipICMSCTrainingLib

#: How `hipicmsc` begins the sentence with which it gives up.
_SENTENCE_PREFIX = "hipicmsc: "
_POLL_MILLISECONDS = 100
#: Bytes.
_LONGEST_LINE = 1 << 24
#: A process that is gone may have left one of its own that keeps the pipes open; it is waited for so long.
_SECONDS_FOR_LAST_WORDS = 2.0


class Command:
    """A command that has been started; everything else is told through the two functions, in Slicer's main thread."""

    #: They live until they have ended, whether or not somebody keeps them.
    _all_running: ClassVar[set[Command]] = set()

    def __init__(
        self,
        arguments: list[str],
        on_line: Callable[[dict[str, Any]], None],
        on_end: Callable[[HipError | None], None],
    ) -> None:
        """
        Args:
            arguments: after ``hipicmsc``, e.g. ``["check", "--dataset", path, "--progress"]``.
            on_line: called with each JSON object that the command prints; whatever else it prints is kept as detail.
            on_end: called once, after all lines: with None if the exit code was 0, else with a HipError that says why
                (``command_failed`` with the command's own sentence, ``command_died``, ``cancelled``, ``not_started``).
                It is never called from here.
        """
        self._on_line, self._on_end = on_line, on_end
        #: What is none of its reports.
        self._printed: deque[str] = deque(maxlen=200)
        self._process: subprocess.Popen | None = None
        self._error: HipError | None = None
        self._all_read = False
        self._gone_since: float | None = None
        try:
            self._start(arguments)
        except OSError as error:
            self._error = HipError("not_started", _("The process could not be started."), str(error))
        self._timer = RepeatingTimer(_POLL_MILLISECONDS, self._poll)
        self._timer.start()
        self._all_running.add(self)

    @property
    def running(self) -> bool:
        """Whether ``on_end`` is still to be called."""
        return self in self._all_running

    def cancel(self) -> None:
        """End the process and its children at once; ``on_end`` says so a little later. A second time does nothing."""
        if self.running and self._error is None:
            self._error = HipError("cancelled", _("Cancelled."))
            self._end_process()

    def close(self) -> None:
        """End the process; neither function is called any more."""
        self._all_running.discard(self)
        self._timer.stop()
        self._end_process()

    def _start(self, arguments: list[str]) -> None:
        folders = [Path(library.__file__).resolve().parents[1] for library in (HipICMSCLib, HipICMSCTrainingLib)]
        command = ["-m", "HipICMSCTrainingLib.cli", *map(str, arguments)]
        self._process = start_connected(command, folders, python_interpreter())
        self._process.stdin.close()
        # Its threads do not hold the command: with the last hold on it, Qt's timer would be deleted in that thread.
        self._output = ProcessOutput(self._process, _LONGEST_LINE, _SECONDS_FOR_LAST_WORDS)

    def _poll(self) -> None:
        if self._error is not None:
            self._end(self._error)
            return
        while self.running and self._error is None:
            try:
                line = self._output.next_line()
            except queue.Empty:
                break
            if line is None:
                self._all_read = True
                break
            self._take(line)
        if self.running and self._error is None and self._is_gone():
            self._end(self._reason())

    def _take(self, line: str) -> None:
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if isinstance(values, dict):
            self._on_line(values)
        else:
            self._printed.append(line)

    def _is_gone(self) -> bool:
        if self._process.poll() is None:
            return False
        if self._gone_since is None:
            self._gone_since = time.monotonic()
        return self._all_read or time.monotonic() > self._gone_since + _SECONDS_FOR_LAST_WORDS

    def _reason(self) -> HipError | None:
        code = self._process.returncode
        if code == 0:
            return None
        printed = "".join(self._printed) + self._output.printed()
        detail = f"Exit code {code}.\n{printed}".strip()
        sentences = [
            line.removeprefix(_SENTENCE_PREFIX).strip()
            for line in printed.splitlines()
            if line.startswith(_SENTENCE_PREFIX)
        ]
        if sentences:
            return HipError("command_failed", sentences[-1], detail)
        return HipError(
            "command_died",
            _(
                "The process ended unexpectedly, perhaps because this computer ran out of memory or a Python package "
                "is missing; look at Set-up in HipICMSC."
            ),
            detail,
        )

    def _end(self, error: HipError | None) -> None:
        self.close()
        self._on_end(error)

    def _end_process(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            self._output.close()
            self._process = None
