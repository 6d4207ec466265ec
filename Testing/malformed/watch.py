"""Runs cases in child processes and watches them: one that crashes, hangs or eats memory is ended and said to have
failed, and the next case gets a new process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from malformed.child import AREAS, MOST_MEMORY, area

#: Of computing; the slowest sound case takes a tenth of it.
SECONDS_PER_CASE = 30.0
#: What waits without computing, or on a machine that does much else, may take so many times as long by the clock.
_PATIENCE = 5
_SECONDS_TO_LOAD = 120.0
_LIBRARIES = ("HipICMSC", "HipICMSCTraining", "Testing")


@dataclass(frozen=True)
class Outcome:
    """What came of a case; with the area, kind and seed it can be tried again.

    Attributes:
        outcome: refused, right or failed.
        why: the sentence of a refusal, or what failed.
        error: the kind of a refusal.
    """

    area: str
    kind: str
    seed: int
    outcome: str
    why: str
    error: str = ""
    seconds: float = 0.0


def plan(cases: int, seed: int, areas: Sequence[str] = AREAS) -> list[tuple[str, str, int]]:
    """Area, kind and seed of so many cases: every kind in turn, each time with other random numbers."""
    kinds = [(name, kind) for name in areas for kind in area(name).MAKERS]
    return [(*kinds[number % len(kinds)], seed + number // len(kinds)) for number in range(cases)]


def outcomes(
    planned: Sequence[tuple[str, str, int]],
    model: Path,
    done: Callable[[int], None] = lambda count: None,
    seconds_per_case: float = SECONDS_PER_CASE,
    most_segmented: int | None = None,
) -> Iterator[Outcome]:
    """Try the cases of a plan one after the other.

    Args:
        model: a package of ball_hips.
        done: told how many are.
        seconds_per_case: what computes for longer has failed.
        most_segmented: so many different images are segmented by each process, and further ones only read; None for
            all.
    """
    with tempfile.TemporaryDirectory(prefix="malformed-") as base:
        child = _Child(Path(base), model, seconds_per_case, most_segmented)
        try:
            for number, (area_name, kind, seed) in enumerate(planned):
                done(number)
                yield child.tried(area_name, kind, seed)
            done(len(planned))
        finally:
            child.end()


class _Child:
    def __init__(self, base: Path, model: Path, seconds_per_case: float, most_segmented: int | None) -> None:
        self._base, self._model = base, model
        self._seconds_per_case, self._most_segmented = seconds_per_case, most_segmented
        self._process: subprocess.Popen | None = None

    def tried(self, area_name: str, kind: str, seed: int) -> Outcome:
        if self._process is None:
            self._start()
        if area_name not in self._loaded:
            answer = self._ask({"load": area_name}, _SECONDS_TO_LOAD)
            if self._process is None:
                raise RuntimeError(f"no process for the area {area_name}: {answer}")
            self._loaded.add(area_name)
        started = time.monotonic()
        request = {"area": area_name, "kind": kind, "seed": seed}
        values = json.loads(self._ask(request, self._seconds_per_case))
        return Outcome(**request, **values, seconds=time.monotonic() - started)

    def _ask(self, request: dict[str, object], limit: float) -> str:
        """The answer to a request, or what became of the process instead."""
        started, computed = time.monotonic(), self._computed()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = None
        while answer is None and time.monotonic() - started < _PATIENCE * limit and self._computed() - computed < limit:
            try:
                answer = self._answers.get(timeout=0.05)
            except queue.Empty:
                if self._memory() > 3 * MOST_MEMORY:
                    answer = self._failed("took more memory than allowed and was ended")
        if answer is None:
            waited = time.monotonic() - started
            answer = self._failed(
                f"no answer after {waited:.0f} s, {self._computed() - computed:.0f} of them computing"
            )
        elif answer == "":
            code = self._process.wait()
            answer = self._failed(f"the process crashed with exit code {code}: {self._printed()}")
        return answer

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process = None

    def _failed(self, why: str) -> str:
        self.end()
        return json.dumps({"outcome": "failed", "why": why})

    def _start(self) -> None:
        root = Path(__file__).resolve().parents[2]
        self._log = self._base / "printed.txt"
        self._loaded: set[str] = set()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(root / name) for name in _LIBRARIES),
            "MALFORMED_MODEL": str(self._model),
            "HIPICMSC_HOME": str(self._base / "home"),
            "XDG_DATA_HOME": str(self._base / "personal"),
            "OMP_NUM_THREADS": "1",
            # A folder that torch makes once a process, in the temporary folder if not told otherwise.
            "TORCHINDUCTOR_CACHE_DIR": str(self._base / "torch"),
        }
        if self._most_segmented is not None:
            environment["MALFORMED_MOST_SEGMENTED"] = str(self._most_segmented)
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "malformed.child", str(self._base)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8", env=environment,
            )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()

    @staticmethod
    def _listen(process: subprocess.Popen, answers: queue.Queue[str]) -> None:
        with process.stdout:
            for line in process.stdout:
                answers.put(line)
        answers.put("")

    def _memory(self) -> int:
        """Resident bytes."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _computed(self) -> float:
        """Seconds of processor time, of all threads."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _printed(self) -> str:
        return self._log.read_bytes()[-1500:].decode("utf-8", "replace")
