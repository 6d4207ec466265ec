"""A batch runs everything that waits, one at a time, whatever becomes of the others."""

from __future__ import annotations

import pytest
from HipICMSCLib.batch.queue import Batch, BatchItem
from HipICMSCLib.common.errors import HipError

REPORT = {"warnings": [], "fallbacks": []}


class Work:
    """Begins what it is given and ends it when the test says so, as a worker process does."""

    def __init__(self) -> None:
        self.started: list[BatchItem] = []
        self.cancelled = 0
        self._on_progress = self._on_end = None

    def start(self, item, on_progress, on_end) -> None:
        assert self._on_end is None, "one at a time"
        self.started.append(item)
        self._on_progress, self._on_end = on_progress, on_end

    def cancel(self) -> None:
        self.cancelled += 1

    def go_on(self, share: float) -> None:
        self._on_progress(share)

    def end(self, outcome=REPORT) -> None:
        on_end, self._on_end = self._on_end, None
        on_end(outcome)


def items(*names: str) -> list[BatchItem]:
    return [BatchItem(name, name) for name in names]


def states(batch: Batch) -> list[str]:
    return [item.state for item in batch.items]


CANCELLED = HipError("cancelled", "It was cancelled.")
BROKEN = HipError("unreadable", "It cannot be read.", "at byte 7")


def test_one_runs_after_the_other_and_the_share_of_the_whole_grows():
    work = Work()
    batch = Batch(items("a", "b", "c", "d"), work.start, work.cancel)
    batch.items[3].skip("There is a result already.")
    seen = []
    batch.changed.connect(lambda item: seen.append((item.name, item.state)))
    assert (batch.running, batch.share) == (False, 0)
    batch.run()
    batch.run()  # does nothing while it runs
    assert states(batch) == ["running", "waiting", "waiting", "skipped"] and batch.place == (1, 3)
    work.go_on(0.5)
    assert (batch.items[0].share, batch.share) == (0.5, pytest.approx(0.5 / 3))
    work.end()
    assert states(batch) == ["done", "running", "waiting", "skipped"] and batch.place == (2, 3)
    work.go_on(0.9)
    work.end(BROKEN)
    # What failed is done with.
    assert (batch.share, batch.running) == (pytest.approx(2 / 3), True)
    work.end({"warnings": [{"kind": "x", "sentence": "The left hip is cut off."}], "fallbacks": ["It took the CPU."]})
    assert states(batch) == ["done", "failed", "done", "skipped"]
    assert (batch.share, batch.running) == (1, False)
    a, b, c, d = batch.items
    assert a.report is REPORT and a.sentence == "" and a.share == 1
    assert (b.sentence, b.detail, b.report) == ("It cannot be read.", "at byte 7", None)
    assert c.sentence == "The left hip is cut off."
    assert d.sentence == "There is a result already." and d.seconds is None
    assert all(item.seconds >= 0 for item in (a, b, c))
    assert batch.summary == {"done": 2, "failed": 1, "skipped": 1}
    assert list(dict.fromkeys(seen)) == [
        ("a", "running"), ("a", "done"), ("b", "running"), ("b", "failed"), ("c", "running"), ("c", "done"),
    ]  # fmt: skip


def test_what_cannot_be_started_fails_with_its_sentence_and_the_others_run():
    def start(item, on_progress, on_end):
        if item.name == "a":
            raise BROKEN
        if item.name == "b":
            return {}["a mistake of ours"]
        return on_end(REPORT)

    batch = Batch(items("a", "b", "c"), start, lambda: None)
    batch.run()
    assert states(batch) == ["failed", "failed", "done"] and not batch.running
    a, b, _ = batch.items
    assert a.sentence == "It cannot be read."
    assert b.sentence.endswith(".") and "KeyError" in b.sentence and "a mistake of ours" in b.detail


@pytest.mark.parametrize("outcome", [REPORT, BROKEN])
def test_thousands_that_end_at_once_are_no_burden(outcome):
    batch = Batch(items(*map(str, range(5000))), lambda item, on_progress, on_end: on_end(outcome), lambda: None)
    batch.run()
    assert len(set(states(batch))) == 1 and not batch.running


def test_stopping_cancels_one_leaves_the_rest_waiting_and_can_be_continued():
    work = Work()
    batch = Batch(items("a", "b", "c"), work.start, work.cancel)
    batch.stop()
    assert work.cancelled == 0  # there was nothing to cancel
    batch.run()
    work.end()
    work.go_on(0.5)
    batch.stop()
    batch.stop()
    assert work.cancelled == 1 and batch.stopping and batch.running
    work.end(CANCELLED)
    assert states(batch) == ["done", "cancelled", "waiting"]
    assert batch.items[1].sentence == "It was cancelled."
    assert not batch.running and not batch.stopping and batch.share == pytest.approx(1.5 / 3)
    batch.run()
    assert states(batch) == ["done", "cancelled", "running"]
    work.end()
    assert batch.share == 1


def test_a_result_that_comes_in_spite_of_the_stop_is_kept():
    work = Work()
    batch = Batch(items("a", "b"), work.start, work.cancel)
    batch.run()
    batch.stop()
    work.end()
    assert states(batch) == ["done", "waiting"] and not batch.running


def test_cancelled_at_once_while_stopping():
    """A worker that has not begun yet gives the outcome inside the call that cancels it."""
    work = Work()
    batch = Batch(items("a", "b"), work.start, lambda: work.end(CANCELLED))
    batch.run()
    batch.stop()
    assert states(batch) == ["cancelled", "waiting"] and not batch.running and not batch.stopping


def test_one_that_somebody_else_cancelled_does_not_stop_the_others():
    work = Work()
    batch = Batch(items("a", "b"), work.start, work.cancel)
    batch.run()
    work.end(CANCELLED)
    assert states(batch) == ["cancelled", "running"]


def test_what_failed_is_tried_again_and_nothing_else():
    work = Work()
    batch = Batch(items("a", "b", "c", "d"), work.start, work.cancel)
    batch.run()
    for outcome in (BROKEN, REPORT, BROKEN):
        batch.retry_failed()  # does nothing while it runs
        work.end(outcome)
    batch.stop()
    work.end(CANCELLED)
    assert states(batch) == ["failed", "done", "failed", "cancelled"]
    batch.retry_failed()
    a, _, c, _ = batch.items
    assert a.state == "running" and (c.state, c.sentence, c.detail, c.seconds) == ("waiting", "", "", None)
    assert batch.place == (1, 2)
    work.end()
    work.end(BROKEN)
    assert states(batch) == ["done", "done", "failed", "cancelled"] and not batch.running
    assert [item.name for item in work.started] == ["a", "b", "c", "d", "a", "c"]


def test_the_same_items_twice():
    work = Work()
    batch = Batch(items("a", "b"), work.start, work.cancel)
    for outcome in (REPORT, BROKEN):
        for item in batch.items:
            item.wait()
            assert (item.share, item.report) == (0, None)
        batch.run()
        work.end(outcome)
        work.end(outcome)
    assert [item.name for item in work.started] == ["a", "b"] * 2
    assert states(batch) == ["failed", "failed"]


def test_items_of_the_same_name_are_different_items():
    started = []
    batch = Batch(items("hips", "hips"), lambda item, *rest: (started.append(item), rest[1](REPORT)), lambda: None)
    batch.run()
    assert started == batch.items and started[0] is not started[1]
