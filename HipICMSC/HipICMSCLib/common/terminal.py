"""What a person at a terminal reads and types: progress, durations, NAME=VALUE."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.progress import Progress

WIDTH = 118
#: Where the output is a file, a line is added at most this often.
QUIET_SECONDS = 30.0


def duration(seconds: float) -> str:
    """1 h 02 min, 3 min 20 s, 15 s."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


class ProgressLine:
    """One line on stderr that is rewritten, or now and then a new one where stderr is not a terminal."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._last = self.started
        self._open = False

    def show(self, text: str, share: float, seconds_left: float | None = None) -> None:
        """``share`` of the whole is done, 0 to 1; without ``seconds_left`` it is estimated from the time so far."""
        now = time.monotonic()
        if seconds_left is None and share > 0.05:
            seconds_left = (now - self.started) * (1 - share) / share
        left = "" if seconds_left is None else f", {duration(seconds_left)} left"
        line = f"[{'#' * round(30 * share):<30}] {share:4.0%} {text}{left}"
        if sys.stderr.isatty():
            width = min(WIDTH, shutil.get_terminal_size().columns - 1)
            print(f"\r{line:<{width}.{width}}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif now - self._last >= QUIET_SECONDS:
            print(line, file=sys.stderr, flush=True)
            self._last = now

    def close(self) -> None:
        """Leave the line as it is and start a new one."""
        if self._open:
            print(file=sys.stderr)
            self._open = False


class _Unfailing:
    """A stream that nobody has to read: what cannot be shown is replaced, and what cannot be written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            return len(text)
        self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """What is still to be written, also at the end of the process, goes nowhere."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Within it a terminal, pipe or log that is closed or full, or cannot show a name, ends nothing."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        # Python has none where the descriptor was closed.
        sys.stdout, sys.stderr = (_Unfailing(stream or nowhere) for stream in before)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def on_termination(ask_to_end: Callable[[], None]) -> Iterator[None]:
    """Within it SIGTERM, a scheduler's time limit, asks for an end instead of ending the process at once."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: ask_to_end())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def name_and_value(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise HipError("bad_setting", f"--set needs NAME=VALUE, not {assignment}.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


@contextlib.contextmanager
def progress_shown(as_json: bool, what: str) -> Iterator[Progress]:
    """A line for a person, or a JSON object a line, in which what is being done is called ``what``."""
    line = ProgressLine()

    def show(text: str, share: float) -> None:
        if as_json:
            print(json.dumps({"progress": share, what: text}), flush=True)
        else:
            line.show(text, share)

    try:
        yield show
    finally:
        line.close()
