"""Reads the files of a run's folder, which may be anybody's: within bounds, and nothing but what a training writes.

Without torch, because Slicer's own process, which watches runs, must not load it.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_files import open_file
from HipICMSCLib.common.foreign_text import harmless, harmless_values

#: Of a file of weights; ours take some ten kilobytes.
_LARGEST_HEADER = 16 * 2**20
#: A training of the paper's length writes 10 MB of metrics.
_LARGEST_METRICS = 256 * 2**20
#: A method reports some twenty numbers a line.
_LONGEST_LINE = 2**20
_MOST_NUMBERS, _LONGEST_NAME = 100, 100
#: Above all steps and seconds that there will ever be; Qt counts no further either.
_LARGEST_COUNT = 2**31 - 1
#: A preview of the paper's size has some 10 million pixels.
_LARGEST_PICTURE = 2**26
_NUMBERS = ("losses", "learning_rates", "scores")


def about_weights(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its weights in its header: the length of it, then JSON.

    Raises:
        FileNotFoundError: if there is none.
        OSError, ValueError: if it cannot be read or says nothing.
    """
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _LARGEST_HEADER))
    try:
        values = json.loads(json.loads(header)["__metadata__"]["about"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no header of such a file") from error
    if not isinstance(values, dict):
        raise ValueError(f"a {type(values).__name__} in place of an object")
    return values


def open_metrics(path: Path) -> BinaryIO:
    """As :func:`open_file`."""
    return open_file(path, _LARGEST_METRICS)


def line_of_metrics(line: bytes) -> dict[str, Any] | None:
    """What a line of metrics.jsonl says; None for one that a power failure garbled or that no training wrote."""
    if len(line) > _LONGEST_LINE:
        return None
    try:
        values = harmless_values(json.loads(line))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not _is_count(values.get("step")):
        return None
    for name in set(_NUMBERS) & set(values):
        if not isinstance(values[name], dict):
            return None
        values[name] = {key: number for key, number in values[name].items() if _is_number(number)}
        if not _are_numbers(values[name]):
            return None
    if "scores" in values and not ("selection" in values["scores"] and isinstance(values.get("weights"), str)):
        return None
    return values if values.get("stage", 1) in range(4) else None


def checked_status(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of status.json, their texts harmless.

    Raises:
        ValueError: for numbers that no run can have.
    """
    counts = [values.get("step"), values.get("total_steps")]
    times = [values.get(name) for name in ("seconds_per_step", "seconds_left", "heartbeat", "awake")]
    if not all(map(_is_count, counts)) or counts[0] > counts[1]:
        raise ValueError(f"impossible numbers of steps {counts}")
    if not all(time is None or (_is_number(time) and 0 <= time <= 100 * _LARGEST_COUNT) for time in times):
        raise ValueError(f"impossible times {times}")
    return harmless_values(values)


def checked_selection(values: dict[str, Any]) -> dict[str, Any]:
    """What is said of selected weights.

    Raises:
        ValueError: if a training would not write them.
    """
    if not (_is_count(values.get("step")) and values.get("weights") in ("last", "average")):
        raise ValueError(f"impossible step {values.get('step')!r} or weights {values.get('weights')!r}")
    if not _are_numbers(values.get("scores")):
        raise ValueError("the scores are no numbers")
    return values


def end_of_text(path: Path, lines: int, most_bytes: int) -> list[str]:
    """The last lines of a text file, looked for in its last bytes; harmless.

    Raises:
        OSError: as :func:`open_file`.
    """
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most_bytes))
        text = file.read(most_bytes).decode("utf-8", "replace")
    return [harmless(line) for line in text.splitlines()[-lines:]]


def is_picture(path: Path) -> bool:
    """Whether a file begins as a PNG picture of no more than :data:`_LARGEST_PICTURE` pixels; a few bytes of a file can
    unfold to gigabytes on a screen."""
    try:
        with open_file(path) as file:
            signature, _, kind, width, height = struct.unpack(">8sI4sII", file.read(24))
    except (OSError, struct.error):
        return False
    return (signature, kind) == (b"\x89PNG\r\n\x1a\n", b"IHDR") and 0 < width * height <= _LARGEST_PICTURE


def check_checkpoint(path: Path) -> None:
    """Refuse what torch.save does not write: it packs nothing, so that loading takes no more memory than the file does.

    Raises:
        HipError: ``damaged_checkpoint``.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            sound = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except Exception as error:  # zipfile has many kinds for a damaged file
        raise damaged_checkpoint(path, str(error)) from error
    if not sound:
        raise damaged_checkpoint(path, "a part of it is packed")


def damaged_checkpoint(path: Path, detail: str) -> HipError:
    return HipError("damaged_checkpoint", f"{path} is damaged and cannot be resumed.", detail)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT


def _is_number(value: Any) -> bool:
    """NaN is one: a score may be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > 1e300


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and len(values) <= _MOST_NUMBERS
        and all(len(name) <= _LONGEST_NAME and _is_number(value) for name, value in values.items())
    )
