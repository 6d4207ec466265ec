"""Settings come back from JSON as they were, and a mistake in them is named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, replaced, to_json


@dataclass(frozen=True)
class Inner:
    width: int = 4
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    size: tuple[int, int] = (1, 2)
    steps: tuple[float, ...] = ()
    kind: Literal["hard", "soft"] = "hard"
    limit: int | None = None
    flag: bool = False
    notes: dict = field(default_factory=dict)


FULL = Outer("a", Inner(8, 0.1), (3, 4), (0.5, 1.0), "soft", 7, True, {"x": [1]})


def test_settings_survive_json():
    assert from_json(Outer, json.loads(json.dumps(to_json(FULL)))) == FULL
    assert from_json(Outer, json.loads(json.dumps(to_json(Outer("b"))))) == Outer("b")


def test_absent_fields_keep_their_defaults_and_whole_numbers_serve_as_floats():
    read = from_json(Outer, {"name": "a", "inner": {"rate": 1}})
    assert read == Outer("a", Inner(4, 1.0))
    assert isinstance(read.inner.rate, float)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"name": "a", "widht": 1}, "widht"),
        ({"name": "a", "inner": {"depth": 1}}, "depth"),
        ({"name": 5}, "name"),
        ({"name": "a", "inner": 5}, "Inner"),
        ({"name": "a", "inner": {"width": 4.5}}, "width"),
        ({"name": "a", "inner": {"width": True}}, "width"),
        ({"name": "a", "inner": {"rate": True}}, "rate"),
        ({"name": "a", "inner": {"rate": "0.5"}}, "rate"),
        ({"name": "a", "size": [1, 2, 3]}, "size"),
        ({"name": "a", "size": 3}, "size"),
        ({"name": "a", "steps": ["x"]}, "steps"),
        ({"name": "a", "kind": "medium"}, "kind must be one of hard, soft"),
        ({"name": "a", "limit": "7"}, "limit"),
        ({"name": "a", "flag": 1}, "flag"),
        ([], "Outer"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values, named):
    with pytest.raises(HipError, match=named) as raised:
        from_json(Outer, values)
    assert raised.value.kind == "bad_setting"


def test_one_setting_is_replaced_also_inside_another():
    assert replaced(FULL, "kind", "hard").kind == "hard"
    changed = replaced(FULL, "inner.width", 16)
    assert changed.inner == Inner(16, 0.1)
    assert changed.size == FULL.size
    assert FULL.inner.width == 8
    assert replaced(FULL, "limit", None).limit is None


@pytest.mark.parametrize("name", ["nothing", "inner.nothing", "name.width", "inner.width.more"])
def test_a_setting_that_does_not_exist_cannot_be_replaced(name):
    with pytest.raises(HipError) as raised:
        replaced(FULL, name, 1)
    assert raised.value.kind == "bad_setting"
