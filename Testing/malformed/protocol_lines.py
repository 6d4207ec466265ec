"""Malformed lines between Slicer and its worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from HipICMSCLib.worker.protocol import decode, encode

from malformed.case import Case, Maker, Wrong
from malformed.json_texts import LONG, MALFORMED, Malform

_MESSAGES: list[dict[str, Any]] = [
    {"say": "segment", "image": "/a/mri.nrrd", "output": "/a/o.seg.nrrd", "model": "/a/m.hipmodel",
     "cancel_flag": "/a/c", "confidence": "", "device": "auto", "heads": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]},
    {"say": "preflight", "image": "/a/mri.nrrd", "model": "/a/m.hipmodel", "heads": [[1.0, 2.0, 3.0]]},
    {"say": "self-test", "model": "/a/m.hipmodel", "device": "cpu"},
    {"say": "ready", "version": "1.0"},
    {"say": "progress", "stage": "segmenting", "share": 0.5},
    {"say": "warning", "kind": "joint_cut", "sentence": "The joint is cut."},
    {"say": "result", "report": {"volumes_ml": {"right femur": 1.5}, "warnings": [], "fallbacks": []}},
    {"say": "error", "kind": "no_hip", "sentence": "No hip.", "detail": ""},
]  # fmt: skip


def _maker(malform: Malform) -> Maker:
    def make(folder: Path, rng: np.random.Generator) -> Case:
        path = folder / "line.txt"
        path.write_bytes(malform(_MESSAGES[int(rng.integers(len(_MESSAGES)))], rng))
        return Case(path, "either")

    return make


MAKERS: dict[str, Maker] = {f"line: {name}": _maker(malform) for name, malform in (MALFORMED | LONG).items()}


def attempt(case: Case, output: Path) -> None:
    """The line as it comes out of a pipe."""
    line = case.path.read_bytes().decode("utf-8", "replace")
    message = decode(line)
    again = json.loads(encode(message))
    said = json.loads(line)
    if differs(again, said):
        raise Wrong(f"understood as {str(again)[:500]}")
    if decode(encode(message)) != message:
        raise Wrong("is another message when it is sent on")


def differs(found: Any, said: Any) -> bool:
    """Whether one says what the other does not; fields may be left out, and whole numbers serve as floats."""
    if isinstance(said, dict) and isinstance(found, dict):
        return any(key not in found or differs(found[key], value) for key, value in said.items())
    if isinstance(said, list) and isinstance(found, list):
        return len(said) != len(found) or any(map(differs, found, said))
    return not (found == said or (found != found and said != said))  # the last is NaN
