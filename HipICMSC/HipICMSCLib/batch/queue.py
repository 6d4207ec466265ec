"""Several segmentations, one after the other: what waits, what runs, and what came of each."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from HipICMSCLib.common.errors import HipError, unexpected
from HipICMSCLib.common.signal import Signal

State = Literal["waiting", "running", "done", "failed", "cancelled", "skipped"]


#: Of the warnings of a report, those of a result that cannot be right (anatomy/doubts.py).
_FAULTS = {"nothing_found", "bone_missing", "volume_implausible", "sides_differ", "sides_uncertain"}


@dataclass(eq=False)
class BatchItem:
    """One volume of a batch and how far it is.

    Attributes:
        name: what the user calls it.
        source: what whoever starts it needs to know.
        share: how much of it is done, 0 to 1.
        sentence: why it failed, was cancelled or is skipped, or the first warning about its result.
        kind: of a failure, as HipError has it.
        detail: technical background of a failure.
        report: of the result, see report.py.
        seconds: from its start to its end.
        doubt: how much of its bones is doubtful, 0 to 1; None where that is not known.
    """

    name: str
    source: Any
    state: State = "waiting"
    share: float = 0.0
    sentence: str = ""
    kind: str = ""
    detail: str = ""
    report: dict[str, Any] | None = None
    seconds: float | None = None
    doubt: float | None = None

    @property
    def has_fault(self) -> bool:
        """Whether there is a result in which a bone is missing, implausible or perhaps of the other side."""
        return self.report is not None and any(warning["kind"] in _FAULTS for warning in self.report["warnings"])

    def wait(self) -> None:
        """Put it into the queue (again), and forget what came of it before."""
        self._become("waiting")

    def skip(self, why: str) -> None:
        """Leave it out; ``why`` is a sentence for the user."""
        self._become("skipped", why)

    def end(self, outcome: dict[str, Any] | HipError, seconds: float) -> None:
        """Keep what came of it: its report, or the error that kept it from one."""
        self.seconds = seconds
        if isinstance(outcome, HipError):
            self.state = "cancelled" if outcome.kind == "cancelled" else "failed"
            self.kind, self.sentence, self.detail = outcome.kind, outcome.sentence, outcome.detail
        else:
            self.state, self.share, self.report = "done", 1.0, outcome
            self.sentence, self.doubt = next(iter(notes(outcome)), ""), share_of_doubt(outcome)

    def _become(self, state: State, sentence: str = "") -> None:
        self.state, self.sentence = state, sentence
        self.share, self.kind, self.detail, self.report, self.seconds, self.doubt = 0.0, "", "", None, None, None


#: Is called with the item, a function that takes the share that is done, and one that takes the outcome, once.
Start = Callable[[BatchItem, Callable[[float], None], Callable[["dict[str, Any] | HipError"], None]], None]


class Batch:
    """Runs the waiting items, one at a time; one that fails does not keep the others from running.

    Attributes:
        items: in the order in which they run.
        changed: signal of an item whose state or share is another now.
        stopping: whether the running item was asked to stop and has not yet done so.
    """

    def __init__(self, items: list[BatchItem], start: Start, cancel: Callable[[], None]) -> None:
        """
        Args:
            start: begins the work on an item and returns at once. Later it gives the outcome exactly once: a report,
                or the HipError that kept it from one, of kind ``cancelled`` where it was asked to stop. It may raise
                the HipError instead.
            cancel: asks what was started last to stop.
        """
        self.items = items
        self.changed = Signal()
        self.stopping = False
        self._start, self._cancel = start, cancel
        self._queue: deque[BatchItem] = deque()
        self._of_this_run: list[BatchItem] = []
        self._current: BatchItem | None = None
        self._started = 0.0
        self._advancing = False

    @property
    def running(self) -> bool:
        return self._current is not None or bool(self._queue)

    @property
    def share(self) -> float:
        """How much of this run is done, 0 to 1; each item counts the same, and one that failed is done with."""
        shares = [
            item.share if item.state in ("waiting", "running", "cancelled") else 1.0 for item in self._of_this_run
        ]
        return sum(shares) / len(shares) if shares else 0.0

    @property
    def place(self) -> tuple[int, int]:
        """The number of the item that is running, from 1, and how many this run has."""
        return len(self._of_this_run) - len(self._queue), len(self._of_this_run)

    @property
    def summary(self) -> dict[State, int]:
        """How many items are in each state, as far as there are any."""
        return dict(Counter(item.state for item in self.items))

    def run(self) -> None:
        """Begin with the items that are waiting. Nothing happens if it is running already."""
        if not self.running:
            self._run([item for item in self.items if item.state == "waiting"])

    def retry_failed(self) -> None:
        """Begin with the items that failed. Nothing happens if it is running."""
        if not self.running:
            failed = [item for item in self.items if item.state == "failed"]
            for item in failed:
                item.wait()
            self._run(failed)

    def stop(self) -> None:
        """Cancel the running item; those after it stay waiting."""
        if self._current is not None and not self.stopping:
            self.stopping = True
            self._queue.clear()
            self._cancel()

    def _run(self, items: list[BatchItem]) -> None:
        self._of_this_run = items
        self._queue.extend(items)
        self._advance()

    def _advance(self) -> None:
        """Start items until one takes its time; a loop, so that a thousand that fail at once do not pile up."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._current is None and self._queue:
                self._begin(self._queue.popleft())
        finally:
            self._advancing = False

    def _begin(self, item: BatchItem) -> None:
        self._current = item
        self._started = time.monotonic()
        item.state = "running"
        self.changed.emit(item)
        try:
            self._start(item, lambda share: self._progress(item, share), lambda outcome: self._end(item, outcome))
        except HipError as error:
            self._end(item, error)
        except Exception as error:  # not even a mistake of ours may leave the others waiting for ever
            self._end(item, unexpected(error))

    def _progress(self, item: BatchItem, share: float) -> None:
        item.share = share
        self.changed.emit(item)

    def _end(self, item: BatchItem, outcome: dict[str, Any] | HipError) -> None:
        self._current, self.stopping = None, False
        item.end(outcome, time.monotonic() - self._started)
        self.changed.emit(item)
        self._advance()


def notes(report: dict[str, Any]) -> list[str]:
    """The sentences that a user should know about a result."""
    return [*(warning["sentence"] for warning in report["warnings"]), *report["fallbacks"]]


def share_of_doubt(report: dict[str, Any]) -> float | None:
    """How much of the bones of a result is doubtful, 0 to 1, by the more doubtful of the two views of it that a report
    has (see networks/doubt.py); None where a report has none."""
    views = [view for view in (report.get("doubt") or {}).values() if view is not None]
    return max(views, default=None)


def worst_first(items: list[BatchItem]) -> list[BatchItem]:
    """What is worth correcting first: results with a fault, then by doubt; those whose doubt is not known last, in
    their order."""
    return sorted(items, key=lambda item: (not item.has_fault, 1.0 if item.doubt is None else -item.doubt))
