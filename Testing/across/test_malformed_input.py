"""Files from strangers: each malformed one is refused in a sentence or read rightly, and nothing else happens.

The cases come from `Testing/malformed`; thousands of them are tried by `Testing/benchmarks/malformed_input.py`.
"""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from malformed.child import AREAS
from malformed.misbehaviour import MAKERS as MISDEEDS
from malformed.watch import Outcome, outcomes, plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and pipes are watched in Linux's own way")

#: Of the areas that take long, every so many-th kind of malformation is tried; `make test-all` tries all.
EVERY = {"images": 1, "dicom": 2, "labels": 4, "json_files": 1, "protocol_lines": 1}


def _told(found: list[Outcome]) -> str:
    return "\n".join(f"{case.area}, {case.kind}, {case.seed}: {case.why}" for case in found)


@pytest.fixture(scope="module")
def found(ball_model) -> list[Outcome]:
    """One case of nearly every kind; two of the images that are read are segmented."""
    planned = []
    for area in AREAS:
        every = [case for case in plan(1000, seed=7, areas=[area]) if case[2] == 7]
        planned += [case for case in every[:: EVERY[area]] if "50 MB" not in case[1]]
    return list(outcomes(planned, ball_model, most_segmented=2))


@pytest.mark.parametrize("area", AREAS)
def test_a_malformed_input_is_refused_in_a_sentence_or_read_rightly(found, area):
    of_area = [case for case in found if case.area == area]
    failed = [case for case in of_area if case.outcome == "failed"]
    assert not failed, _told(failed)
    counts = Counter(case.outcome for case in of_area)
    assert counts["refused"] >= 5, counts
    assert counts["right"] >= 1, counts


def test_hundreds_of_kinds_are_tried(found):
    assert len({(case.area, case.kind) for case in found}) >= 300


@pytest.mark.slow
def test_every_kind_is_refused_in_a_sentence_or_read_rightly(ball_model):
    planned = [case for case in plan(2000, seed=8) if case[2] == 8]
    failed = [case for case in outcomes(planned, ball_model) if case.outcome == "failed"]
    assert not failed, _told(failed)


def test_whoever_judges_sees_what_a_broken_program_would_do(tmp_path):
    """Crash, hang, memory, files left behind, a wrong result or no sentence would not go unnoticed."""
    planned = [("misbehaviour", kind, 0) for kind in MISDEEDS if kind != "hangs"]
    found = list(outcomes(planned, tmp_path / "none"))
    assert [case.kind for case in found if case.outcome != "failed"] == ["refuses well"], _told(found)
    why = {case.kind: case.why for case in found}
    assert "exit code" in why["crashes"]
    assert "memory" in why["takes memory"] and "memory" in why["asks for memory"]
    (hanging,) = outcomes([("misbehaviour", "hangs", 0)], tmp_path / "none", seconds_per_case=0.3)
    assert hanging.outcome == "failed" and "no answer after" in hanging.why
