"""Slicer never stands still for longer than a person notices, whatever the user does."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_LONGEST_SECONDS = 0.3


def test_from_the_click_to_the_reviewed_result_slicer_never_stands_still(bench, open_panel, monkeypatch, tmp_path):
    gaps = measured(bench, monkeypatch)
    import gui_gaps

    gui_gaps.segment(gaps, open_panel, tmp_path)
    assert_short(gaps)


def test_while_a_training_is_watched_slicer_never_stands_still(bench, open_panel, monkeypatch):
    gaps = measured(bench, monkeypatch)
    import gui_gaps

    gui_gaps.train(gaps, open_panel)
    assert_short(gaps)


def measured(bench, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    import gui_gaps

    return gui_gaps.Gaps(bench[1])


def assert_short(gaps) -> None:
    """By the processor's time: what other processes take of this machine is not ours."""
    processor = {step: own for step, (_, own) in gaps.longest.items()}
    assert processor and max(processor.values()) <= _LONGEST_SECONDS, processor
