"""Many malformed inputs, each of which must be refused in a sentence or read rightly (see Testing/malformed).

    python Testing/benchmarks/malformed_input.py --cases 2000 --seed 0

What came of them stands in malformed_input.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ball_hips import write_ball_model
from malformed.child import MOST_MEMORY
from malformed.watch import SECONDS_PER_CASE, Outcome, outcomes, plan

RESULTS = Path(__file__).with_suffix(".json")


def main() -> int:
    """1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found, results = tried(plan(chosen.cases, chosen.seed), chosen.seed, SECONDS_PER_CASE)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = results["outcomes"]
    print(
        f"\n{len(found)} malformed inputs of {results['kinds']} kinds: {counts.get('refused', 0)} refused in words, "
        f"{counts.get('right', 0)} read rightly, {counts.get('failed', 0)} failed."
    )
    return 1 if counts.get("failed") else 0


def tried(
    planned: list[tuple[str, str, int]], seed: int, seconds_per_case: float
) -> tuple[list[Outcome], dict[str, Any]]:
    """What came of each case, failures told at once, and all that the file of results says of them."""
    started = time.monotonic()
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        model = write_ball_model(Path(folder) / "balls.hipmodel")
        for outcome in outcomes(planned, model, lambda count: _show(count, len(planned)), seconds_per_case):
            found.append(outcome)
            if outcome.outcome == "failed":
                print(f"\n{outcome.area}, {outcome.kind}, seed {outcome.seed}: {outcome.why}", file=sys.stderr)
    return found, _summary(found) | {
        "seed": seed,
        "seconds": round(time.monotonic() - started),
        "limits": {"seconds a case": seconds_per_case, "MiB a case": MOST_MEMORY >> 20},
        "commit": _commit(),
        "machine": f"{os.cpu_count()} CPU cores",
    }


def _summary(found: list[Outcome]) -> dict:
    """Counts by area, kind of refusal and outcome, and all that failed."""
    by_area: dict[str, Counter] = defaultdict(Counter)
    for outcome in found:
        by_area[outcome.area][outcome.outcome] += 1
    return {
        "cases": len(found),
        "kinds": len({(outcome.area, outcome.kind) for outcome in found}),
        "outcomes": dict(Counter(outcome.outcome for outcome in found)),
        "by area": {area: dict(counts) for area, counts in by_area.items()},
        "refusals": dict(Counter(outcome.error for outcome in found if outcome.error).most_common()),
        "failed": [asdict(outcome) for outcome in found if outcome.outcome == "failed"],
        "slowest case, seconds": round(max((outcome.seconds for outcome in found), default=0.0), 1),
    }


def _show(count: int, total: int) -> None:
    if count % 50 == 0 or count == total:
        print(f"\r{count} of {total}", end="", file=sys.stderr, flush=True)


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
