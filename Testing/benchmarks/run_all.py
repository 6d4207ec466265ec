"""`make benchmark`: every benchmark, one JSON file of results; the machine should have nothing else to do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import inference
import training_step
from measuring import machine

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    results = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "inference": inference.main(),
        "training step": training_step.main(),
    }
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
