"""Run folders from strangers: watched, exported and resumed, each is refused in one sentence or does no more than a
sound one. `Testing/benchmarks/hostile_files.py` tries many more."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.run.files import is_picture, line_of_metrics
from HipICMSCTrainingLib.run.folder import RunFolder
from malformed.run_folders import RECIPES, RunMaker, try_run, write_good_run

#: What could do the most harm; the others are tried with the slow tests.
WORST = (
    "checkpoint: PyTorch's pickle",
    "checkpoint: moments of 40 gigabytes",
    "selected: pickle",
    "run.json: starts from a pickle",
    "run.json: case is a path",
    "link: cache",
    "link: metrics.jsonl",
    "pipe: checkpoints/selected.safetensors",
)


@pytest.fixture(scope="module")
def good(tiny_data, tmp_path_factory) -> Path:
    return write_good_run(tiny_data, tmp_path_factory.mktemp("run") / "good")


def outcome_of(kind: str, good: Path, folder: Path, only_watch: bool = False):
    hostile = RunMaker(good, folder).make(kind, np.random.default_rng(zlib.crc32(kind.encode())))
    return try_run(hostile, only_watch), hostile.expected


@pytest.mark.parametrize("kind", RECIPES)
def test_watching_a_hostile_run_does_no_harm(good, tmp_path, kind):
    outcome, _ = outcome_of(kind, good, tmp_path, only_watch=True)
    assert outcome.fits("either"), outcome


@pytest.mark.parametrize(
    "kind", [kind if kind in WORST else pytest.param(kind, marks=pytest.mark.slow) for kind in RECIPES]
)
def test_what_comes_of_a_hostile_run(good, tmp_path, kind):
    outcome, expected = outcome_of(kind, good, tmp_path)
    assert outcome.fits(expected), outcome


def test_what_is_tried_is_a_run_that_can_be_resumed_and_exported(good, tmp_path):
    maker = RunMaker(good, tmp_path)
    sound = maker.make("run.json: command", np.random.default_rng(0))
    run = RunFolder(sound.path)
    assert run.status().state == "paused" and run.checkpoints.selection()["step"] == 8
    outcome = try_run(sound)
    assert outcome.result == "right", outcome
    assert RunFolder(sound.path).status().step == 12


def test_the_log_is_shown_without_what_it_would_do_to_a_terminal(good, tmp_path):
    run = RunFolder(RunMaker(good, tmp_path).make("log: commands", np.random.default_rng(0)).path)
    (line,) = run.tail_of_log(1)
    assert "owned" in line and "\x1b" not in line and "\u202e" not in line and line.count("\ufffd") == 6


def test_lines_of_metrics_that_no_training_writes_are_left_out():
    assert line_of_metrics(b'{"step": 3, "losses": {"a": 1, "b": NaN, "c": "x", "d": null}}')["losses"].keys() == {
        "a",
        "b",
    }
    for line in (b"", b"[1]", b'{"step": -1}', b'{"step": 1.5}', b'{"step": true}', b'{"losses": {}}', b"[" * 10**5,
                 b'{"step": 1, "scores": {"agreement": 1}}', b'{"step": 1, "losses": []}'):  # fmt: skip
        assert line_of_metrics(line) is None, line[:50]


def test_pictures_that_are_none_or_far_too_large_are_told_from_those_of_a_training(good, tmp_path):
    assert all(is_picture(path) for path in RunFolder(good).previews_of()) and RunFolder(good).previews_of()
    for kind in ("previews: no pictures", "previews: a bomb"):
        run = RunFolder(RunMaker(good, tmp_path / kind[-3:]).make(kind, np.random.default_rng(0)).path)
        assert not is_picture(run.previews_of()[-1])
    assert not is_picture(tmp_path)


def test_a_link_is_named_in_the_sentence_and_nothing_is_written_through_it(good, tmp_path):
    hostile = RunMaker(good, tmp_path).make("link: metrics.jsonl", np.random.default_rng(0))
    with pytest.raises(HipError, match=r"metrics\.jsonl is a link") as caught, RunFolder(hostile.path).locked():
        pass
    assert caught.value.kind == "linked_run"
    assert (hostile.path.parent / "outside").read_text() == "mine"
