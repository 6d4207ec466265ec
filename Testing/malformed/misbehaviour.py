"""What a broken product would do: the judge and the watch must see it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from HipICMSCLib.common.errors import HipError

from malformed.case import Case, Maker, Wrong


def _refuse(sentence: str, detail: str = "") -> None:
    raise HipError("unreadable", sentence, detail)


def _wrong() -> None:
    raise Wrong("the voxels are others")


def _leave(folder: str) -> None:
    (Path(folder) / "left.tmp").write_bytes(b"x")


def _touch_memory() -> None:
    np.ones(1_300_000_000, np.uint8)


def _ask_for_memory() -> None:
    np.empty(4_000_000_000, np.uint8)


_DEEDS: dict[str, Callable[[Path], object]] = {
    "refuses well": lambda output: _refuse("The file is damaged; export it again."),
    "crashes": lambda output: os.abort(),
    "hangs": lambda output: time.sleep(1000),
    "takes memory": lambda output: _touch_memory(),
    "asks for memory": lambda output: _ask_for_memory(),
    "raises another exception": lambda output: [][0],
    "leaves a temporary file": lambda output: _leave(tempfile.gettempdir()),
    "leaves a file beside the input": lambda output: _leave(str(output.parent / "given")),
    "leaves a result, although it refuses": lambda output: (_leave(str(output)), _refuse("It is damaged.")),
    "says no sentence": lambda output: _refuse("RuntimeError"),
    "shows a traceback": lambda output: _refuse("Traceback (most recent call last).", ""),
    "was refused memory": lambda output: _refuse("The file is damaged.", "std::bad_alloc"),
    "gives a wrong result": lambda output: _wrong(),
    "takes what must be refused": lambda output: None,
}


def _maker(name: str) -> Maker:
    def make(folder: Path, rng: np.random.Generator) -> Case:
        path = folder / name
        path.write_bytes(b"")
        return Case(path)

    return make


MAKERS: dict[str, Maker] = {name: _maker(name) for name in _DEEDS}


def attempt(case: Case, output: Path) -> None:
    _DEEDS[case.path.name](output)
