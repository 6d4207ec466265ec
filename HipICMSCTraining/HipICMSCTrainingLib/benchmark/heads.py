"""Where the femoral heads of the test cases are: found once, for every method to be measured about the same points."""

from __future__ import annotations

import json
from pathlib import Path

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.reading.volume import read_volume

from HipICMSCTrainingLib.data.dataset import Case


def find_heads(cases: list[Case], file: Path) -> None:
    """Look for the femoral heads of each case as the engine does, and write them for :func:`read_heads`.

    Raises:
        HipError: as for any file.
    """
    found = []
    for case in cases:
        try:
            heads = find_femoral_heads(read_volume(Path(case.image)))
            found.append({"right": heads.right, "left": heads.left})
        except HipError as error:
            found.append({"kind": error.kind, "sentence": error.sentence})
    write_text(file, json.dumps(found, indent=1) + "\n")


def read_heads(file: Path) -> list[FemoralHeads | HipError]:
    """For each test case its heads (LPS, mm), or why there are none."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return [
        HipError(values["kind"], values["sentence"])
        if "kind" in values
        else FemoralHeads(*(tuple(values[side]) if values[side] else None for side in ("right", "left")))
        for values in found
    ]
