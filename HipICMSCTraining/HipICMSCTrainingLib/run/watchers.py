"""Between a training and whoever watches it: how it stands, and what is asked of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import HEARTBEAT_SECONDS, State, Status, awake_seconds

Report = Callable[[Status], None]


@dataclass
class Pace:
    """How far a training is.

    Attributes:
        step: how many steps are done.
        seconds_per_step: a running mean; None before the first step.
    """

    step: int = 0
    total_steps: int = 0
    seconds_per_step: float | None = None

    def step_done(self, seconds: float) -> None:
        """Count a step that took so long."""
        self.step += 1
        if self.seconds_per_step is None:
            self.seconds_per_step = seconds
        self.seconds_per_step += 0.05 * (seconds - self.seconds_per_step)

    @property
    def seconds_left(self) -> float | None:
        """None until it can be told."""
        return None if self.seconds_per_step is None else self.seconds_per_step * (self.total_steps - self.step)


class Watchers:
    """Tells them through the run's folder and ``report``, and hears of them through the folder.

    Attributes:
        terminated: whether the process was told to end, as by a scheduler; then it ends as on request.
    """

    def __init__(self, folder: RunFolder, pace: Pace, report: Report, is_heard: bool) -> None:
        """
        Args:
            is_heard: whether this is the one of several processes that speaks for all.
        """
        self.folder, self.pace, self.report, self.is_heard = folder, pace, report, is_heard
        self.terminated = False
        self._said_at = 0.0

    def say(self, state: State, phase: str, sentence: str, kind: str = "") -> Status:
        """
        Args:
            kind: of the error that it failed with.

        Returns:
            What was said.
        """
        pace = self.pace
        status = Status(
            state, phase, sentence, pace.step, pace.total_steps, pace.seconds_per_step,
            pace.seconds_left if state == "running" else None, os.getpid(), time.time(), kind, platform.node(),
            awake_seconds(),
        )  # fmt: skip
        if self.is_heard:
            write = self.folder.write_status if state == "running" else self.folder.write_last_status
            write(status)
            self.report(status)
        self._said_at = time.monotonic()
        return status

    def say_now_and_then(self, state: State, phase: str, sentence: str = "") -> None:
        """As :meth:`say`, if nothing was said for a while."""
        if time.monotonic() - self._said_at > HEARTBEAT_SECONDS:
            self.say(state, phase, sentence)

    def ask_to_stop(self, phase: str, save: Callable[[], None]) -> bool:
        """Wait as long as they ask for a pause, after a checkpoint; then whether they ask to stop.

        Args:
            phase: in which the training goes on.
        """
        if self.folder.requested("PAUSE"):
            save()
            waiting: tuple[State, str, str] = ("paused", "waiting", "Paused on request; the process waits.")
            self.say(*waiting)
            while self.folder.requested("PAUSE") and not (self.terminated or self.folder.requested("STOP")):
                self.say_now_and_then(*waiting)
                time.sleep(0.2)
            self.say("running", phase, "")
        if self.terminated or self.folder.requested("STOP"):
            self.folder.withdraw("STOP")
            self.folder.withdraw("PAUSE")
            return True
        return False
