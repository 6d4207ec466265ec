"""`make benchmark`: every benchmark in one run; `results.json`, and `results.md`, the table that README quotes.

    run_all.py [--smallest]

The machine should have nothing else to do. ``--smallest`` shows within minutes that everything works and prints a table
of no meaning, without writing one.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import growth
import inference
import sample_generation
import throughput
import training_step
from measuring import SMALLEST, machine

RESULTS = Path(__file__).with_name("results.json")
PARTS = {
    "inference": inference,
    "folder": throughput,
    "training step": training_step,
    "sample generation": sample_generation,
    "growth": growth,
}
#: Of the engine's stages, what a person asks about.
STAGES = {
    "read": ("loading the model", "reading"),
    "prepare": ("finding the hips", "preparing"),
    "network": ("segmenting",),
    "way back": ("mapping back", "separating bones"),
    "write": ("writing",),
}


def main() -> None:
    started = time.monotonic()
    about = {"machine": machine(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": _commit()}
    results = about | {name: part.main() for name, part in PARTS.items()}
    results["minutes"] = round((time.monotonic() - started) / 60, 1)
    if not SMALLEST:
        RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        RESULTS.with_suffix(".md").write_text(table(results), encoding="utf-8")
    print(table(results))


def _commit() -> str:
    """Of the code that was measured."""
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def table(results: dict[str, Any]) -> str:
    """All of it in one table, a row a measurement; and a list of what compares two of them."""
    heading = ["part", "what", "seconds", "peak MiB", *STAGES, "more"]
    rows, ratios = [heading, ["---"] * len(heading)], []
    for part in PARTS:
        for what, found in results[part].items():
            if isinstance(found, dict):
                rows.append([part, what, *_cells(found)])
            else:
                ratios.append(f"- {what}: {found:.2f}")
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    lines = [f"`make benchmark`, {results['date']}, commit {results['commit']}, {results['minutes']} min; {facts}.", ""]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *ratios, ""])


def _cells(found: dict[str, Any]) -> list[str]:
    known, stages = {"seconds", "peak_mib", "stages"}, found.get("stages", {})
    more = ", ".join(f"{name} {_short(value)}" for name, value in found.items() if name not in known)
    of_stages = [sum(stages[name] for name in names if name in stages) for names in STAGES.values()]
    return [
        f"{found['seconds']:.2f}" if "seconds" in found else "",
        f"{found['peak_mib']:.0f}" if "peak_mib" in found else "",
        *(f"{seconds:.2f}" if stages else "" for seconds in of_stages),
        more,
    ]


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    main()
