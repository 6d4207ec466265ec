"""Runs all tests in two processes and prints one closing line for both.

The widget bench of Testing/gui changes Qt's Python classes for the whole process, so it must not share one with the
other tests. Arguments go to pytest.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROCESSES = (["unit", "mrml"], ["gui"])
NO_TEST_SELECTED = 5


def main() -> int:
    passed = failed = skipped = 0
    code = 0
    for folders in PROCESSES:
        command = [sys.executable, "-m", "pytest", *sys.argv[1:], *(str(HERE / folder) for folder in folders)]
        run = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
        closing = ""
        for line in run.stdout:
            print(line, end="", flush=True)
            closing = line if re.search(r"\b(passed|failed|error|errors|skipped)\b.* in ", line) else closing
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", closing)}
        passed += counts.get("passed", 0)
        failed += counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
        skipped += counts.get("skipped", 0)
        if run.wait() not in (0, NO_TEST_SELECTED):
            code = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return code


if __name__ == "__main__":
    sys.exit(main())
