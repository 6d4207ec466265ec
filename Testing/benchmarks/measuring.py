"""Each measurement runs in a process of its own, so that peak memory is its own, too."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

#: Of so small a size that it only shows that everything works; figures mean nothing.
SMALLEST = "--smallest" in sys.argv


def measured(work: Callable[[], object], repeats: int = 1, child: bool = False) -> dict[str, float]:
    """Best of ``repeats`` wall-clock times and the peak resident memory of this process, or of those it started."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN if child else resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return {"seconds": min(seconds), "peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10)}


def in_child(script: str, name: str) -> dict[str, Any]:
    """Run one named measurement of ``script`` (a file beside this one) in a child process."""
    print(f"{script}: {name} …", file=sys.stderr, flush=True)
    command = [sys.executable, str(Path(script).resolve()), name, *(["--smallest"] if SMALLEST else [])]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
