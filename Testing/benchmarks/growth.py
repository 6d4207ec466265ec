"""How time and memory grow: of the engine with slices and with the width of F, of a training step with the batch.

`growth.py` prints JSON.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import inference
import training_step
from HipICMSCTrainingLib.settings.training import PRESETS
from measuring import SMALLEST, in_child

SLICES, WIDTHS, BATCHES = ((40, 80, 160), (16, 32, 64), (1, 2, 4)) if not SMALLEST else ((16, 32), (4, 8), (1, 2))
#: Left-right and head-foot; front to back they share as many mm, whatever their number.
(COLUMNS, _, ROWS), (LEFT, _, UP) = inference.FULL_SIZE, inference.FULL_SPACING
DEPTH_MM = 200.0
STEP_SETTINGS = PRESETS["smoke" if SMALLEST else "cpu-small"]


def of_engine(slices: int, width: int) -> dict[str, object]:
    """The whole volume read by F in fp32."""
    return inference.engine((COLUMNS, slices, ROWS), (LEFT, DEPTH_MM / slices, UP), width=width, whole=True)


MEASUREMENTS = (
    {f"engine, {slices} slices": partial(of_engine, slices, WIDTHS[-1]) for slices in SLICES}
    | {f"engine, {SLICES[0]} slices, width {width}": partial(of_engine, SLICES[0], width) for width in WIDTHS}
    | {f"ICMSC step, batch of {count}": partial(training_step.ours, STEP_SETTINGS, count) for count in BATCHES}
)


def main() -> dict[str, object]:
    return {name: in_child(__file__, name) for name in MEASUREMENTS}


if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]]() if sys.argv[1:] and sys.argv[1] in MEASUREMENTS else main()))
