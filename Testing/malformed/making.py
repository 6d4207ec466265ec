"""What makers of malformed volumes share."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from malformed.case import Case, Verdict
from malformed.volumes import voxels

Random = np.random.Generator
NAN, INF = float("nan"), float("inf")
HUGE = [2**31 - 1, 2**31, 2**32, 2**40, 2**62, 10**30]


def one_of(rng: Random, *values):
    return values[int(rng.integers(len(values)))]


def placed(folder: Path, name: str, data: bytes, verdict: Verdict = "refuse") -> Case:
    """A case of one file."""
    path = folder / name
    path.write_bytes(data)
    return Case(path, verdict)


def cut(data: bytes, rng: Random) -> bytes:
    return data[: int(rng.integers(len(data) - 1))]


def damaged(data: bytes, rng: Random, upto: int | None = None) -> bytes:
    """One to 20 bytes changed at random, anywhere or in the first ``upto`` bytes."""
    changed = bytearray(data)
    for place in rng.integers(0, upto or len(data), int(rng.integers(1, 21))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def spoiled(rng: Random, value: float) -> np.ndarray:
    """The voxels of the balls as float32, one of them ``value``."""
    array = voxels().astype(np.float32)
    array.flat[int(rng.integers(array.size))] = value
    return array


def bomb(block: int, times: int) -> bytes:
    """So many gzip members of zeros, each of ``block`` bytes."""
    return gzip.compress(bytes(block), 9) * times
