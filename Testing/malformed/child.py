"""The process in which cases are tried: a request and an answer a line, JSON both.

It judges each case itself; whoever started it watches its time and its memory, see `malformed.watch`.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import sys
import tempfile
import traceback
import zlib
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from HipICMSCLib.common.errors import HipError

from malformed.case import Area, Wrong

AREAS = ("images", "dicom", "labels", "json_files", "protocol_lines")
#: A sentence that is longer quotes the file rather than saying what is wrong.
LONGEST_SENTENCE = 2100
#: Memory that one case may take beyond what the loaded process holds; the largest sound case takes a twentieth of it.
MOST_MEMORY = 2**30


def main() -> None:
    answers = _take_stdout()
    base = Path(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            area(request["load"])
            answer = {}
        else:
            answer = judged(request["area"], request["kind"], request["seed"], base)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def area(name: str) -> Area:
    return importlib.import_module(f"malformed.{name}")


def judged(area_name: str, kind: str, seed: int, base: Path) -> dict[str, Any]:
    """Try one case.

    Args:
        kind: one of the area's makers.
        seed: of the case's random numbers.
        base: a folder to work in.

    Returns:
        ``outcome`` (refused, right or failed), ``why`` it failed or was refused, ``error`` the kind of the refusal.
    """
    area_ = area(area_name)
    folder = base / "case"
    shutil.rmtree(folder, ignore_errors=True)
    given, output, temporary = folder / "given", folder / "output", folder / "temporary"
    for place in (given, output, temporary):
        place.mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    # The same whichever cases go before.
    case = area_.MAKERS[kind](given, np.random.default_rng([zlib.crc32(kind.encode()), seed]))
    before, memory = _listing(given), _Memory()
    outcome, why, error_kind = "right", "", ""
    try:
        area_.attempt(case, output)
    except HipError as error:
        outcome, why, error_kind = "refused", error.sentence, error.kind
        fault = _fault(error)
        if fault:
            outcome, why = "failed", f"{fault}: {error.sentence[:300]!r} {error.detail[:300]!r}"
        elif case.verdict == "read":
            outcome, why = "failed", f"refused, although it is sound: {error.sentence}"
        elif list(output.iterdir()):
            outcome, why = "failed", f"refused, but left behind {[path.name for path in output.iterdir()]}"
    except Wrong as error:
        outcome, why = "failed", f"wrong: {error}"
    except Exception:
        outcome, why = "failed", traceback.format_exc()
    else:
        if case.verdict == "refuse":
            outcome, why = "failed", "taken, although it must be refused"
    taken = memory.taken()
    if taken > MOST_MEMORY:
        outcome, why = "failed", f"took {taken >> 20} MiB of memory ({why})"
    left = [path.name for path in temporary.iterdir()] + [path.name for path in output.iterdir() if path.name[0] == "."]
    if left or _listing(given) != before:
        outcome, why = "failed", f"left files behind: {left or _listing(given) ^ before} ({why})"
    shutil.rmtree(folder, ignore_errors=True)
    return {"outcome": outcome, "why": why[:3000], "error": error_kind}


def _fault(error: HipError) -> str:
    """What is not as it should be with a refusal."""
    sentence = error.sentence
    if not sentence.endswith(".") or not sentence[:-1].strip() or len(sentence) > LONGEST_SENTENCE:
        return "no sentence"
    if not sentence.isprintable() or re.search(r"Traceback|Exception|Error\b(?! \()|0x[0-9a-f]{6}|itk::", sentence):
        return "nothing for a clinician"
    if re.search(r"bad_alloc|[Ff]ailed to allocate|MemoryError|out of memory", error.detail):
        return "memory was asked for before it was known to be needed"
    return ""


def _listing(folder: Path) -> set[tuple]:
    """All that lies below a folder, links not followed."""
    return {
        (str(path), (found := path.lstat()).st_mode, found.st_size, found.st_mtime_ns)
        for parent, folders, files in os.walk(folder)
        for path in (Path(parent, name) for name in (*folders, *files))
    }


class _Memory:
    """What the process takes at its peak from now on, by Linux: touched, or only asked for."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of what is touched begins anew
        self._before = self._numbers()

    def taken(self) -> int:
        now, before = self._numbers(), self._before
        asked_for = now["VmPeak"] - before["VmSize"] if now["VmPeak"] > before["VmPeak"] else 0
        return max(now["VmHWM"] - before["VmRSS"], asked_for)

    @staticmethod
    def _numbers() -> dict[str, int]:
        lines = Path("/proc/self/status").read_text().splitlines()
        return {name: 1024 * int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines)
                if name in ("VmPeak", "VmSize", "VmHWM", "VmRSS")}  # fmt: skip


def _take_stdout() -> TextIO:
    """stdout for the answers alone; what libraries print goes to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own


if __name__ == "__main__":
    main()
