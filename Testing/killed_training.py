"""Kills a training at chosen moments, resumes it as a user does, and says what was lost (Linux: it needs inotify)."""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.gui.running import training_process
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.metrics import MetricsReader
from patience import PATIENCE
from PIL import Image
from tiny_training import child, command, differences

#: Kinds of files that a training writes.
CHECKPOINT, SELECTED, PREVIEW, STATUS, METRICS, SLICES = KINDS = (
    "checkpoint", "selected weights", "preview", "status", "metrics", "slices",
)  # fmt: skip
#: What a process writes more than once before long.
_MOST_TIMES = {CHECKPOINT: 6, STATUS: 4, METRICS: 2, SLICES: 4}
#: Files that appear whole are written under such a name first.
HALF_WRITTEN = ".????????-*"
_PREFIX = len(".????????-")
_IN_MODIFY, _IN_CREATE = 0x2, 0x100
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        seconds: after the process was started or, with ``writing``, after it began that file.
        writing: one of KINDS.
        times: the how manyth file of that kind it is.
    """

    seconds: float
    writing: str | None = None
    times: int = 1


@dataclass
class Outcome:
    """What became of one run.

    Attributes:
        where: each kill struck, in words.
        starts: processes, the one that finished the run included.
        losses: sentences; there should be none.
    """

    where: list[str] = field(default_factory=list)
    starts: int = 0
    losses: list[str] = field(default_factory=list)


def random_moments(chance: random.Random, life: float) -> Iterator[Moment]:
    """Without end, for one run: a quarter at any time of a process that lives ``life`` seconds, the others while it
    writes something, which is slices in the beginning alone."""
    kinds = KINDS
    while True:
        if chance.random() < 1 / 4:
            yield Moment(chance.uniform(0.0, life))
        else:
            kind = chance.choice(kinds)
            # From long before the file is whole to some time after that.
            yield Moment(10 ** chance.uniform(-4.5, -1.5), kind, chance.randint(1, _MOST_TIMES.get(kind, 1)))
        kinds = tuple(kind for kind in KINDS if kind != SLICES)


def train_and_kill(run: RunFolder, start: list[object], moments: Iterable[Moment], unbroken: RunFolder) -> Outcome:
    """Start a run, kill and resume it at each of the moments until it is finished, then let it finish.

    Args:
        start: arguments of ``hipicmsc`` that make the run.
        moments: one that never comes, because the run finishes before, is the last.
        unbroken: a finished run of the same cases and settings that nothing interrupted.
    """
    outcome = Outcome()
    for folder in (run.cache, run.checkpoints.folder, run.previews):
        folder.mkdir(parents=True, exist_ok=True)
    for moment in moments:
        before = _step(run)
        struck = _kill_at(run, _arguments(run, start), moment, outcome)
        if struck is None:
            break
        outcome.where.append(struck)
        outcome.losses += [f"killed {struck}: {loss}" for loss in _losses_now(run, before)]
    if not _is_finished(run):
        outcome.starts += 1
        process = child(command(*_arguments(run, start)))
        out, err = process.communicate(timeout=PATIENCE)
        if (process.returncode, out) != (0, "finished: Trained to the end.\n"):
            outcome.losses.append(f"not finished: code {process.returncode}, {out}{err}")
    outcome.losses += losses_at_the_end(run, unbroken)
    return outcome


def _arguments(run: RunFolder, start: list[object]) -> list[object]:
    return ["resume", run.path] if training_process.is_run(run.path) else start


def _is_finished(run: RunFolder) -> bool:
    return training_process.is_run(run.path) and run.status().state == "finished"


def _kill_at(run: RunFolder, arguments: list[object], moment: Moment, outcome: Outcome) -> str | None:
    """Where the kill struck, in words; None if the process had ended before."""
    left, status = set(run.path.rglob(HALF_WRITTEN)), _raw_status(run)
    outcome.starts += 1
    with _begun_files(run) as begun:
        process = child(command(*arguments))
        awaited = moment.times if moment.writing else 0
        end = time.monotonic() + PATIENCE
        while awaited > 0 and process.poll() is None and time.monotonic() < end:
            awaited -= begun().count(moment.writing)
        try:
            process.wait(moment.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        out, err = process.communicate(timeout=PATIENCE)
    if process.returncode != -signal.SIGKILL:
        if process.returncode:
            outcome.losses.append(f"it failed by itself: {out}{err}")
        return None
    return _where(run, left, status)


def _where(run: RunFolder, left: set[Path], status: dict[str, Any]) -> str:
    half_written = set(run.path.rglob(HALF_WRITTEN)) - left
    if half_written:
        return f"while writing {_kind(half_written.pop().name)}"
    metrics = run.path / "metrics.jsonl"
    if metrics.exists() and metrics.read_bytes()[-1:] not in (b"", b"\n"):
        return f"while writing {METRICS}"
    now = _raw_status(run)
    return "while starting" if now == status else f"in phase {now['phase']}"


def _kind(name: str) -> str:
    whole = name[_PREFIX:] if name[0] == "." else name
    of_names = {"last.pt": CHECKPOINT, "status.json": STATUS, "metrics.jsonl": METRICS, "run.json": "description"}
    if whole in of_names:
        return of_names[whole]
    if whole.startswith("selected."):
        return SELECTED
    return PREVIEW if whole.startswith("step_") else SLICES


def _raw_status(run: RunFolder) -> dict[str, Any]:
    path = run.path / "status.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@contextmanager
def _begun_files(run: RunFolder) -> Iterator[Any]:
    """A function that waits for a moment and gives the kinds of the files that were begun since its last call."""
    system = ctypes.CDLL(None, use_errno=True)
    watch = system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for folder in (run.path, run.cache, run.checkpoints.folder, run.previews):
            if system.inotify_add_watch(watch, os.fsencode(folder), _IN_CREATE | _IN_MODIFY) < 0:
                raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")

        def begun() -> list[str]:
            if not select.select([watch], [], [], 0.2)[0]:
                return []
            data, kinds = os.read(watch, 1 << 16), []
            while data:
                _, mask, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()
                # Files that appear whole are created; metrics alone are added to.
                if (mask & _IN_CREATE and name[:1] == ".") or (mask & _IN_MODIFY and name == "metrics.jsonl"):
                    kinds.append(_kind(name))
                data = data[_EVENT.size + length :]
            return kinds

        yield begun
    finally:
        os.close(watch)


def _step(run: RunFolder) -> int:
    """Of the last checkpoint; -1 before the first."""
    state = run.checkpoints.last()
    return -1 if state is None else state["step"]


def _losses_now(run: RunFolder, step_before: int) -> list[str]:
    """What is wrong with the folder of a training that was just killed."""
    if not training_process.is_run(run.path):
        return []
    losses = []
    try:
        states = run.status().state, training_process.state_of(run)
        if states not in (("lost", "lost"), ("finished", "finished")):
            losses.append(f"it says {states}")
        if _step(run) < step_before:
            losses.append(f"the checkpoint of step {step_before} is lost")
        steps = [line["step"] for line in MetricsReader(run.metrics_file).new_lines()]
        if steps != sorted(steps):
            losses.append(f"metrics out of order: {steps}")
        if (run.checkpoints.selected() is None) != (run.checkpoints.selection() is None):
            losses.append("selected weights without scores, or scores without weights")
        for picture in run.previews_of():
            Image.open(picture).load()
    except (HipError, OSError, ValueError, KeyError) as error:
        losses.append(f"{type(error).__name__}: {error}")
    return losses


def losses_at_the_end(run: RunFolder, unbroken: RunFolder) -> list[str]:
    """How a finished run differs from one that nothing interrupted."""
    if not _is_finished(run):
        return ["the run is not finished"]
    kept, whole = run.checkpoints, unbroken.checkpoints
    losses = [f"checkpoint differs in {place}" for place in differences(whole.last(), kept.last())]
    losses += [f"selected weights differ in {place}" for place in differences(whole.selected(), kept.selected())]
    if kept.selection() != whole.selection():
        losses.append("other weights are selected")
    if _metrics(run) != _metrics(unbroken):
        losses.append("metrics differ")
    if _pictures(run) != _pictures(unbroken):
        losses.append("previews differ")
    return losses + [f"a temporary file is left: {path.name}" for path in run.path.rglob(".*")]


def _metrics(run: RunFolder) -> list[dict[str, Any]]:
    """Without measured times, which are never the same."""
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics()]


def _pictures(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.previews_of()}
