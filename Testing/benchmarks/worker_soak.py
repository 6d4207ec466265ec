"""Many segmentations in a row by one worker process: does memory grow, or the number of open or temporary files?

    worker_soak.py [--segmentations 1000] [--seed 0]

Everything is as in Slicer: real MRML nodes (slicer-core), HipICMSC's service, the worker process and its files. In
between volumes are looked over, segmentations cancelled and others refused. Needs Linux, where the system tells what a
process holds. Prints a closing line and writes worker_soak.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Testing"))

import ball_hips  # noqa: E402
import slicer_stand_ins  # noqa: E402

RESULTS = Path(__file__).with_suffix(".json")
#: Until then libraries are loaded and caches filled.
SETTLED_AFTER = 100
#: Single readings jump by what an image holds, so levels are medians of as many, or of a quarter of all.
READINGS = 40
#: Of the requests between the segmentations that come to an end.
LOOKED_OVER, CANCELLED, REFUSED = 0.3, 0.08, 0.12
SECONDS = 300.0


@dataclass(frozen=True)
class Reading:
    """What the two processes hold after a number of segmentations; the worker's process is that with ``worker_pid``."""

    segmentations: int
    worker_pid: int
    worker_mib: float
    client_mib: float
    worker_files: int
    client_files: int
    client_threads: int
    temporary_files: int


class NoTimer:
    """In Qt's place: :class:`Slicer` polls by itself."""

    def __init__(self, milliseconds: int, function: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass

    stop = start


class Slicer:
    """A scene, HipICMSC's service and what came of each request."""

    def __init__(self, app, model: Path) -> None:
        from HipICMSCLib.gui.running import segmentation_service

        self._timer, segmentation_service.RepeatingTimer = segmentation_service.RepeatingTimer, NoTimer
        self.service = segmentation_service.SegmentationService()
        # One process for all: also where this computer is busy, a cancelled one is waited for.
        self.service._worker.CANCEL_SECONDS = SECONDS
        self.scene, self.model = app.scene, model
        self.came_of = Counter()

    def close(self) -> None:
        from HipICMSCLib.gui.running import segmentation_service

        self.service.close()
        segmentation_service.RepeatingTimer = self._timer

    def nodes(self) -> set[str]:
        return {self.scene.GetNthNode(i).GetID() for i in range(self.scene.GetNumberOfNodes())}

    def forget(self, kept: set[str]) -> None:
        """Remove what was added to the scene."""
        for node in [self.scene.GetNthNode(i) for i in range(self.scene.GetNumberOfNodes())]:
            if node.GetID() not in kept:
                self.scene.RemoveNode(node)

    def load(self, image: sitk.Image):
        """The image as a volume node."""
        import slicer

        to_ras = np.eye(4)
        to_ras[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        to_ras[:3, 3] = image.GetOrigin()
        node = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hips")
        slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-1, -1, 1, 1]) @ to_ras))
        return node

    def look_over(self, volume) -> None:
        told = []
        self.service.preflight(volume, str(self.model), "cpu", None, lambda findings, pending: told.append(pending))
        self._wait(lambda: told[-1] is False)
        self.came_of["looked over"] += 1

    def segment(self, volume, model: Path | None = None, cancel_at: float | None = None) -> None:
        """
        Args:
            cancel_at: share of the whole at which it is cancelled.
        """
        from HipICMSCLib.common.errors import HipError
        from HipICMSCLib.gui.running.segmentation_job import NodeJob
        from HipICMSCLib.gui.running.segmentation_task import Listener

        def progressed(stage: str, share: float) -> None:
            if cancel_at is not None and share >= cancel_at:
                self.service.cancel()

        outcomes = []
        try:
            job = NodeJob(volume, None, model or self.model, "cpu")
            self.service.start(job, Listener(outcomes.append, progressed))
        except HipError as error:
            outcomes.append(error)
        self._wait(lambda: outcomes)
        (outcome,) = outcomes
        self.came_of[outcome.kind if isinstance(outcome, HipError) else "segmented"] += 1

    def reading(self, temporary: Path) -> Reading:
        worker = self.service._worker._process.pid
        return Reading(
            self.came_of["segmented"], worker, resident_mib(worker), resident_mib(os.getpid()), open_files(worker),
            open_files(os.getpid()), len(os.listdir("/proc/self/task")), sum(1 for _ in temporary.rglob("*")),
        )  # fmt: skip

    def _wait(self, until: Callable[[], Any]) -> None:
        limit = time.monotonic() + SECONDS
        while not until():
            if time.monotonic() > limit:
                raise TimeoutError(f"No outcome after {SECONDS:g} s; so far {dict(self.came_of)}.")
            self.service.poll()
            time.sleep(0.01)


def images(random: np.random.Generator) -> list[sitk.Image]:
    """Balls in voxels of several sizes and orders."""
    orders = (np.eye(3), np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))
    return [
        ball_hips.ball_image(orders[number % 2], tuple(random.uniform(2.5, 5.0, 3).round(2))) for number in range(12)
    ]


def what_is_refused(slicer: Slicer, folder: Path, image: sitk.Image) -> Iterator[tuple[sitk.Image, Path]]:
    """Images and models of which no segmentation comes, over and over."""
    damaged = folder / "damaged.hipmodel"
    damaged.write_bytes(slicer.model.read_bytes()[:-300])
    without_hips = sitk.AdditiveGaussianNoise(image * 0 + 200, 10.0)
    constant = image * 0
    while True:
        yield image, folder / "absent.hipmodel"
        yield without_hips, slicer.model
        yield image, damaged
        yield constant, slicer.model


def soak(
    app, segmentations: int, seed: int, folder: Path, say: Callable[[Reading], None] = lambda reading: None
) -> tuple[list[Reading], dict[str, int]]:
    """Let one worker do so many segmentations.

    Args:
        app: slicer-core's SlicerApp with the stand-ins installed.
        folder: empty, for all files.
        say: is told each reading.

    Returns:
        A reading after each segmentation, and how many requests came to what.
    """
    random = np.random.default_rng(seed)
    temporary = folder / "temporary"
    temporary.mkdir()
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    slicer = Slicer(app, ball_hips.write_ball_model(folder / "balls.hipmodel"))
    pool = images(random)
    refused = what_is_refused(slicer, folder, pool[0])
    kept, readings = slicer.nodes(), []
    try:
        while slicer.came_of["segmented"] < segmentations:
            image, chance = pool[random.integers(len(pool))], random.random()
            if chance < REFUSED:
                image, model = next(refused)
                slicer.segment(slicer.load(image), model)
            elif chance < REFUSED + CANCELLED:
                slicer.segment(slicer.load(image), cancel_at=random.uniform(0.0, 0.7))
            else:
                volume = slicer.load(image)
                if random.random() < LOOKED_OVER:
                    slicer.look_over(volume)
                slicer.segment(volume)
                readings.append(slicer.reading(temporary))
                say(readings[-1])
            slicer.forget(kept)
    finally:
        slicer.close()
        del os.environ["TMPDIR"]
        os.environ |= {"TMPDIR": before[0]} if before[0] is not None else {}
        tempfile.tempdir = before[1]
    return readings, dict(slicer.came_of)


def growth(readings: list[Reading]) -> dict[str, float]:
    """By how much each number is larger at the end than when everything had settled, and its slope where it is memory
    (KiB a segmentation)."""
    first = min(SETTLED_AFTER, len(readings) // 2)
    count = min(READINGS, len(readings) // 4)
    early, late = readings[first : first + count], readings[-count:]
    names = [name for name in asdict(readings[0]) if name not in ("segmentations", "worker_pid")]
    grown = {name: median(getattr(r, name) for r in late) - median(getattr(r, name) for r in early) for name in names}
    for name in ("worker_mib", "client_mib"):
        values = [getattr(reading, name) for reading in readings[first:]]
        grown[f"{name}_slope_kib"] = 1024 * float(np.polyfit(range(len(values)), values, 1)[0])
    return {name: round(value, 2) for name, value in grown.items()}


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def start_slicer():
    """slicer-core's SlicerApp, complete enough for our module."""
    from trame_slicer.core import SlicerApp

    app = SlicerApp()
    slicer_stand_ins.install(app)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmentations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    started = time.monotonic()

    def say(reading: Reading) -> None:
        if reading.segmentations % 50 == 0:
            print(f"{time.monotonic() - started:6.0f} s  {asdict(reading)}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HIPICMSC_HOME"] = str(folder / "home")
        readings, came_of = soak(start_slicer(), chosen.segmentations, chosen.seed, folder, say)
    grown = growth(readings)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    results = {
        "settings": vars(chosen),
        "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} CPU cores",
        "seconds": round(time.monotonic() - started),
        "workers": len({reading.worker_pid for reading in readings}),
        "outcomes": came_of,
        "growth": grown,
        "readings": [asdict(reading) for reading in readings[:: max(1, len(readings) // 20)] + readings[-1:]],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(
        f"{len(readings)} segmentations, worker processes: {results['workers']}. From segmentation "
        f"{min(SETTLED_AFTER, len(readings) // 2)} to the end the worker grew by {grown['worker_mib']:.1f} MiB and "
        f"Slicer's process by {grown['client_mib']:.1f} MiB, their open files by {grown['worker_files']:g} and "
        f"{grown['client_files']:g}, temporary files by {grown['temporary_files']:g}."
    )


if __name__ == "__main__":
    main()
