"""Kills trainings (SIGKILL) at random moments and resumes them; each must end as one that nothing interrupted.

    .venv/bin/python Testing/benchmarks/training_kills.py [--kills 100] [--seed 0]

A run is killed some five to fifteen times, then finished and compared: weights, average, optimisers, selected weights,
metrics, previews, temporary files. Takes about ten seconds a kill and Linux. The figures go to training_kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

# One thread adds up in the same order every time.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from HipICMSCTrainingLib.phantom.dataset import SMOKE, write_dataset
from HipICMSCTrainingLib.run.folder import RunFolder
from killed_training import random_moments, train_and_kill
from tiny_training import child, command, set_arguments

RESULT = Path(__file__).with_suffix(".json")
#: A checkpoint after every step, and a preview after every sixth, so that many kills strike while one is written.
SETTINGS = {"checkpoint_minutes": 0.0, "stage1_epochs": 1, "stage2_epochs": 4, "steps_per_epoch": 6}
KILLS_A_RUN = (5, 15)


def main() -> int:
    """Exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = kill(Path(folder), chosen.kills, random.Random(chosen.seed))
    result = {
        "kills": chosen.kills,
        "seed": chosen.seed,
        "settings": SETTINGS,
        "commit": _commit(),
        "machine": f"{os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - started),
        **figures,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    written = sum(count for where, count in figures["struck"].items() if "writing" in where)
    print(
        f"{chosen.kills} kills in {figures['runs']} runs, {written} of them while a file was being written; "
        f"{figures['resumes']} resumes; {len(figures['losses'])} losses, "
        f"{figures['temporary files left']} temporary files left."
    )
    return 1 if figures["losses"] else 0


def kill(folder: Path, kills: int, chance: random.Random) -> dict[str, object]:
    """Train, kill and resume in ``folder`` until so many kills have struck."""
    data = folder / "data"
    write_dataset(data, subjects=2, seed=0, resolution=SMOKE)
    unbroken, life = RunFolder(folder / "unbroken"), -time.monotonic()
    process = child(command(*_arguments(data, unbroken)))
    out, err = process.communicate()
    life += time.monotonic()
    if process.returncode:
        raise RuntimeError(f"the training that nothing interrupts failed: {out}{err}")

    struck: Counter[str] = Counter()
    losses: list[str] = []
    runs = starts = 0
    while struck.total() < kills:
        run = RunFolder(folder / f"run-{runs}")
        wanted = min(chance.randint(*KILLS_A_RUN), kills - struck.total())
        moments = islice(random_moments(chance, life), wanted)
        outcome = train_and_kill(run, _arguments(data, run), moments, unbroken)
        struck.update(outcome.where)
        losses += [f"{run.path.name}: {loss}" for loss in outcome.losses]
        starts, runs = starts + outcome.starts, runs + 1
        print(f"{struck.total()} of {kills} kills, {runs} runs, {len(losses)} losses", file=sys.stderr, flush=True)
        shutil.rmtree(run.path)
    return {
        "runs": runs,
        "resumes": starts - runs,
        "struck": dict(sorted(struck.items())),
        "temporary files left": sum("temporary file" in loss for loss in losses),
        "losses": losses,
    }


def _arguments(data: Path, run: RunFolder) -> list[object]:
    return ["train", run.path, "--ct", data / "ct", "--mri", data / "mri", *set_arguments(**SETTINGS)]


def _commit() -> str:
    described = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    here = Path(__file__).parent
    return subprocess.run(described, cwd=here, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
