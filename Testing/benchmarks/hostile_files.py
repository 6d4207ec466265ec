"""Many model packages and run folders of people who mean harm, each of which must be refused in a sentence or do no
more than a sound one (see Testing/malformed/model_packages.py and run_folders.py).

    python Testing/benchmarks/hostile_files.py --cases 500 --seed 0

What came of them stands in hostile_files.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from malformed.watch import Outcome, plan
from malformed_input import tried

RESULTS = Path(__file__).with_suffix(".json")
#: A run folder is resumed, and its volumes may have to be prepared anew.
SECONDS_PER_CASE = 300.0
#: Trying a run folder takes thirty times as long as trying a package.
SHARE_OF_RUNS = 0.3


def main() -> int:
    """1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    runs = round(SHARE_OF_RUNS * chosen.cases)
    planned = plan(chosen.cases - runs, chosen.seed, ["model_packages"]) + plan(runs, chosen.seed, ["run_folders"])
    found, results = tried(planned, chosen.seed, SECONDS_PER_CASE)
    results["by kind"] = _by_kind(found)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = results["outcomes"]
    print(
        f"\n{len(found)} packages and run folders of {results['kinds']} kinds: {counts.get('refused', 0)} refused in a "
        f"sentence, {counts.get('right', 0)} harmless, {counts.get('failed', 0)} failed; no code of them was run."
    )
    return 1 if counts.get("failed") else 0


def _by_kind(found: list[Outcome]) -> dict[str, dict[str, int]]:
    """How often each kind came to what."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for outcome in found:
        counts[outcome.kind][outcome.outcome] += 1
    return {kind: dict(of_kind) for kind, of_kind in counts.items()}


if __name__ == "__main__":
    sys.exit(main())
