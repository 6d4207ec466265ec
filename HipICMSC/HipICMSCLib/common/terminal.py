"""What a person at a terminal reads and types: progress, durations, NAME=VALUE."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from HipICMSCLib.common.errors import HipError

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

    def show(self, share: float, text: str, seconds_left: float | None = None) -> None:
        """``share`` of the whole is done, 0 to 1; without ``seconds_left`` it is estimated from the time so far."""
        now = time.monotonic()
        if seconds_left is None and share > 0.05:
            seconds_left = (now - self.started) * (1 - share) / share
        left = "" if seconds_left is None else f", {duration(seconds_left)} left"
        line = f"[{'#' * round(30 * share):<30}] {share:4.0%} {text}{left}"
        if sys.stderr.isatty():
            print(f"\r{line:<{WIDTH}.{WIDTH}}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif now - self._last >= QUIET_SECONDS:
            print(line, file=sys.stderr, flush=True)
            self._last = now

    def close(self) -> None:
        """Leave the line as it is and start a new one."""
        if self._open:
            print(file=sys.stderr)
            self._open = False


def name_and_value(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise HipError("bad_setting", f"--set needs NAME=VALUE, not {assignment}.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


@contextlib.contextmanager
def progress_shown(as_json: bool, what: str) -> Iterator[Callable[[float, str], None]]:
    """A function of the share that is done, 0 to 1, and of what comes next: a line for a person, or a JSON object a
    line, in which the latter is called ``what``."""
    line = ProgressLine()

    def show(share: float, text: str) -> None:
        if as_json:
            print(json.dumps({"progress": share, what: text}), flush=True)
        else:
            line.show(share, text)

    try:
        yield show
    finally:
        line.close()
