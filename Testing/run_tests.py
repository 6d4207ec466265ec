"""Runs all tests in processes of their own, side by side, and prints one closing line for all.

The widget bench of Testing/gui changes Qt's Python classes for the whole process, and Slicer's runtime should not share
one with torch. Arguments go to pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
#: What trains in processes of its own waits for them, while others of its part compute.
_RUNS = ["run", "gui"]
#: Folders by process.
PROCESSES = {
    "gui": ["gui"],
    "segmentation": ["HipICMSC", "across"],
    "runs": [f"HipICMSCTraining/{name}" for name in _RUNS],
    "training": sorted(
        f"HipICMSCTraining/{folder.name}"
        for folder in (HERE / "HipICMSCTraining").iterdir()
        if folder.name not in _RUNS and any(folder.glob("test_*.py"))
    ),
    "mrml": ["mrml"],
}
NO_TEST_SELECTED = 5
#: The processes share the machine: threads that wait for one another while others compute make all of them slower.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        runs = [(name, Path(folder) / name, _started(parts, Path(folder) / name)) for name, parts in PROCESSES.items()]
        passed = failed = skipped = code = 0
        for name, output, run in runs:
            run.wait()
            text = output.read_text(encoding="utf-8", errors="replace")
            print(f"=== {name}\n{text}", flush=True)
            closings = re.findall(r"^.*\b(?:passed|failed|error|errors|skipped)\b.* in .*$", text, re.MULTILINE)
            counts = {
                word: int(number) for number, word in re.findall(r"(\d+) (\w+)", closings[-1] if closings else "")
            }
            passed += counts.get("passed", 0)
            failed += counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
            skipped += counts.get("skipped", 0)
            if run.returncode not in (0, NO_TEST_SELECTED):
                code = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return code


def _started(parts: list[str], output: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pytest", "--durations=15", *sys.argv[1:], *(str(HERE / part) for part in parts)]
    with open(output, "wb") as file:
        return subprocess.Popen(
            command, cwd=HERE.parent, env=os.environ | ONE_THREAD, stdout=file, stderr=subprocess.STDOUT
        )


if __name__ == "__main__":
    sys.exit(main())
