"""What is read of a run's metrics to be drawn and to be judged: everything of a short run, enough of a long one, and
nothing of what a resumed run dropped."""

from __future__ import annotations

import math
import os
import time

import numpy as np
import pytest
from HipICMSCTrainingLib.run.alarm_watch import AlarmWatch
from HipICMSCTrainingLib.run.curves import MOST_POINTS, RunCurves
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import Status


@pytest.fixture
def run(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create({"method": "icmsc"})
    return folder


def scores(agreement: float, share: float = 1.0) -> dict[str, float]:
    return {"agreement": agreement, "selection": agreement, "foreground_femur": share}


def status(step: int) -> Status:
    return Status("running", "stage 2", "", step, 10 * step, 0.5, None, os.getpid(), time.time())


def test_each_chart_has_its_own_steps_and_absent_values_are_gaps(run):
    run.append_metrics({"step": 20, "losses": {"rec_s": 0.5}, "learning_rates": {"G": 2e-4}})
    run.append_metrics({"step": 30, "scores": scores(0.1), "weights": "last"})
    run.append_metrics({"step": 30, "scores": scores(0.2), "weights": "average"})
    run.append_metrics({"step": 40, "losses": {"rec_s": 0.4, "cmsc_s": math.nan, "supervised": 1.5, "imsc_s": None}})
    curves = RunCurves(run)
    assert curves.update()
    losses = curves.tables["losses"].columns()
    assert list(losses) == ["step", "rec_s", "cmsc_s", "supervised"]
    np.testing.assert_array_equal(losses["step"], [20, 40])
    np.testing.assert_array_equal(losses["rec_s"], [0.5, 0.4])
    np.testing.assert_array_equal(losses["supervised"], [math.nan, 1.5])
    np.testing.assert_array_equal(losses["cmsc_s"], [math.nan, math.nan])
    of_scores = curves.tables["scores"].columns()
    np.testing.assert_array_equal(of_scores["step"], [30])
    assert (of_scores["agreement (last)"], of_scores["agreement (average)"]) == ([0.1], [0.2])
    np.testing.assert_array_equal(curves.tables["learning_rates"].columns()["G"], [2e-4])


def test_what_is_new_is_added_and_nothing_new_is_said_to_be_nothing(run):
    curves = RunCurves(run)
    assert not curves.update()
    for step in (1, 2):
        run.append_metrics({"step": step, "losses": {"rec_s": 1 / step}})
        assert curves.update() and not curves.update()
    np.testing.assert_array_equal(curves.tables["losses"].columns()["rec_s"], [1, 0.5])


def test_what_a_resumed_run_dropped_is_forgotten(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "losses": {"rec_s": 1.0, "gone": 1.0} if step == 3 else {"rec_s": 1.0}})
    curves = RunCurves(run)
    curves.update()
    run.forget_metrics_after(2)
    run.append_metrics({"step": 3, "losses": {"rec_s": 9.0}})
    assert curves.update()
    columns = curves.tables["losses"].columns()
    assert list(columns) == ["step", "rec_s"]
    np.testing.assert_array_equal(columns["rec_s"], [1, 1, 9])


def test_a_hundred_thousand_lines_are_read_within_seconds_and_end_with_the_last(run):
    last = 100_003
    line = '{{"step": {step}, "losses": {{"rec_s": {step}.5, "rec_t": 0.5}}}}\n'
    (run.path / "metrics.jsonl").write_text("".join(line.format(step=step) for step in range(1, last + 1)))
    curves = RunCurves(run)
    began = time.monotonic()
    curves.update()
    columns = curves.tables["losses"].columns()
    assert time.monotonic() - began < 10
    assert MOST_POINTS / 2 <= len(columns["step"]) <= MOST_POINTS
    np.testing.assert_array_equal(columns["rec_s"], columns["step"] + 0.5)
    assert (columns["step"][0], columns["step"][-1]) == (1, last)
    between = np.diff(columns["step"])[:-1]
    assert (between == between[0]).all()
    run.append_metrics({"step": last + 1, "losses": {"rec_s": 7.0}})
    curves.update()
    assert curves.tables["losses"].columns()["rec_s"][-1] == 7


def test_alarms_of_a_long_run_know_its_beginning(run):
    """The best agreement was in the first epoch, long before the lines that are kept."""
    watch = AlarmWatch(run)
    run.append_metrics({"step": 1, "stage": 2, "scores": scores(0.9), "weights": "last"})
    text = "".join(f'{{"step": {step}, "stage": 2, "losses": {{"rec_s": 0.5}}}}\n' for step in range(2, 9000))
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write(text)
    assert watch.look(status(9000)) == ()
    for step in (9000, 9001, 9002):
        run.append_metrics({"step": step, "stage": 2, "scores": scores(0.4), "weights": "last"})
    (alarm,) = watch.look(status(9002))
    assert alarm.kind == "agreement_falling" and "0.90" in alarm.sentence
    assert watch.look(status(9002)) == (alarm,)


def test_an_alarm_about_what_a_resumed_run_dropped_is_taken_back(run):
    watch = AlarmWatch(run)
    for step in (10, 20):
        run.append_metrics({"step": step, "stage": 2, "scores": scores(0.5, share=0.01), "weights": "last"})
    assert [alarm.kind for alarm in watch.look(status(20))] == ["class_vanishing"]
    run.forget_metrics_after(10)
    assert watch.look(status(10)) == ()
