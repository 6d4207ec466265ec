"""What a run last said of itself, and what that means by now."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

State = Literal["running", "paused", "stalled", "lost", "finished", "failed"]

#: A live process writes its heartbeat after the first step that ends so long after the last one.
HEARTBEAT_SECONDS = 5.0
#: Far longer than any single step, scoring or volume takes; a live process that is silent so long hangs.
STALLED_AFTER_SECONDS = 600.0


@dataclass(frozen=True)
class Status:
    """What a run last said of itself.

    Attributes:
        phase: preparing, stage 1, stage 2, finished …
        sentence: why it paused, failed or what it is doing, for a person.
        seconds_left: None until it can be told.
        heartbeat: seconds since the epoch.
        kind: of the error that it failed with, if that was one of ours.
        machine: name of the computer it runs on.
        awake: :func:`awake_seconds` of that computer at the heartbeat.
    """

    state: State
    phase: str
    sentence: str
    step: int
    total_steps: int
    seconds_per_step: float | None
    seconds_left: float | None
    pid: int
    heartbeat: float
    kind: str = ""
    machine: str = ""
    awake: float | None = None

    @property
    def share(self) -> float:
        """Of the training that is done, 0 to 1."""
        return self.step / self.total_steps if self.total_steps else 0.0

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def as_of_now(said: Status, in_use: Callable[[], bool], writable: bool) -> Status:
    """A run that says "running" but whose process is gone is lost, and one whose process has been silent for long is
    stalled.

    Whether the process lives is told by its lock alone. How long it has been silent is told by a clock that all
    processes of the computer share, that nobody can set and that stands still while the computer sleeps, so that
    neither a changed clock nor a night's sleep looks like a process that hangs. Only who watches from another
    computer has to trust the heartbeat's date.

    Args:
        in_use: whether a process holds the run; asked where it matters.
        writable: whether this user may write into its folder.
    """
    if (said.state == "running" or (said.state == "paused" and said.phase == "waiting")) and not in_use():
        sentence = "The process ended without a word (killed, or the machine restarted); resume continues."
        if not writable:
            sentence = "The process ended and its folder may not be written to; allow it again, then resume."
        return replace(said, state="lost", sentence=sentence, seconds_left=None)
    silence = _silence_seconds(said)
    if said.state == "running" and silence > STALLED_AFTER_SECONDS:
        sentence = f"No sign of life for {silence / 60:.0f} minutes, although the process still exists."
        return replace(said, state="stalled", sentence=sentence, seconds_left=None)
    return said


def awake_seconds() -> float:
    """How long this computer has been awake since it was started: the same for all processes, and nobody can set it."""
    if sys.platform == "win32":
        import ctypes

        # Unlike that of Python's monotonic clock on Windows, this time stands still while the computer sleeps.
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value * 1e-7
    return time.monotonic()


def _silence_seconds(status: Status) -> float:
    if status.awake is not None and status.machine == platform.node():
        return awake_seconds() - status.awake
    return time.time() - status.heartbeat
