"""How long a DICOM series of 300 slices takes to read, beside pydicom's own reading of its files and voxels.

python Testing/benchmarks/reading_series.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dicom_objects import slices, write
from HipICMSCLib.reading.volume import read_volume

SLICES, SIZE, REPEATS = 300, 256, 7


def main() -> dict[str, float]:
    """Seconds, the best of some repeats in turn, and their ratio."""
    rng = np.random.default_rng(0)
    made = slices(rng.integers(0, 4000, (SLICES, SIZE, SIZE)).astype(np.uint16))
    for each in made:
        for number in range(60):  # a scanner writes many elements that nobody needs
            each.add_new(0x00191000 + number, "LO", f"private {number}")
    best = {"pydicom": np.inf, "HipICMSC": np.inf}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), made)
        for _ in range(REPEATS):
            started = time.process_time()
            np.stack([pydicom.dcmread(path).pixel_array for path in sorted(Path(folder).iterdir())])
            best["pydicom"] = min(best["pydicom"], time.process_time() - started)
            started = time.process_time()
            read_volume(Path(folder))
            best["HipICMSC"] = min(best["HipICMSC"], time.process_time() - started)
    return {name: round(seconds, 3) for name, seconds in best.items()} | {
        "ratio": round(best["HipICMSC"] / best["pydicom"], 2)
    }


if __name__ == "__main__":
    print(main())
