"""A folder of 20 synthetic MRIs by `hipicmsc segment`: volumes an hour, and whether memory stays where it is.

`throughput.py` prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCTrainingLib.phantom.subject import make_mri
from measuring import SMALLEST, in_child
from worker_soak import resident_mib

VOLUMES, SUBJECTS = (20, 4) if not SMALLEST else (3, 1)
IN_PLANE_MM, SLICE_MM = (0.9, 5.0) if not SMALLEST else (2.5, 5.0)


def write_volumes(folder: Path) -> tuple[int, ...]:
    """Several subjects, each several times with other noise; the voxels of one."""
    images = [make_mri(0, number, in_plane_mm=IN_PLANE_MM, slice_mm=SLICE_MM).image for number in range(SUBJECTS)]
    for number in range(VOLUMES):
        image = sitk.AdditiveGaussianNoise(images[number % SUBJECTS], 2.0, 0.0, number + 1)
        sitk.WriteImage(image, str(folder / f"mri{number:02d}.nii.gz"))
    return images[0].GetSize()


def folder_of_volumes() -> dict[str, object]:
    """Seconds of the whole process; its resident memory when each result appeared, in MiB."""
    with tempfile.TemporaryDirectory() as name:
        volumes, results = Path(name) / "volumes", Path(name) / "results"
        volumes.mkdir()
        size = write_volumes(volumes)
        command = [sys.executable, "-m", "HipICMSCTrainingLib.cli", "segment", str(volumes), "-o", str(results)]
        memory: list[float] = []
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                done = len([*results.glob("mri*.seg.nrrd")]) if results.exists() else 0
                if done > len(memory):
                    memory.append(resident_mib(process.pid))
                time.sleep(0.02)
        seconds = time.perf_counter() - started
        segmented = len([*results.glob("mri*.seg.nrrd")])
    half = np.array_split(memory[1:], 2)  # the first also loads
    return {
        "seconds": seconds,
        "voxels": size,
        "volumes": segmented,
        "volumes an hour": 3600 * segmented / seconds,
        "resident MiB, first half": float(np.median(half[0])),
        "resident MiB, second half": float(np.median(half[1])),
        "peak_mib": max(memory),
    }


MEASUREMENTS = {f"folder of {VOLUMES} volumes": folder_of_volumes}


def main() -> dict[str, object]:
    return {name: in_child(__file__, name) for name in MEASUREMENTS}


if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]]() if sys.argv[1:] and sys.argv[1] in MEASUREMENTS else main()))
