"""One row of a benchmark with one seed: trained to its end, then measured on the labelled MRIs.

``python -m HipICMSCTrainingLib.benchmark.row RUN [HEADS [ROI]]`` does it in a process of its own, so that its memory
can be told and its failure ends nobody else. What is done already is not done again; without HEADS it only trains.

HEADS                        femoral heads of the test cases, see heads.py
ROI                          the hip bone counts only so near to a femoral head (mm), see evaluation/scores.py
RUN/…                        the run, see run/folder.py
RUN/measured/seconds.json    how long the training has worked by now
RUN/measured/cost.json       seconds and memory of the training when it has ended
RUN/measured/W.json          scores of the weights W: selected, average, last
RUN/measured/N.nii.gz        what the selected weights say of test case N: 0 background, 1 hip bone, 2 femur
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.images import write_image
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import ENDING
from HipICMSCLib.networks.devices import device_name
from HipICMSCLib.reading.volume import read_volume

from HipICMSCTrainingLib.benchmark.data import measured_cases
from HipICMSCTrainingLib.benchmark.heads import read_heads
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.evaluation.found import classes_found
from HipICMSCTrainingLib.evaluation.pairs import Pair, masks_beside
from HipICMSCTrainingLib.evaluation.scores import Evaluation, VolumeScores, evaluate_pairs
from HipICMSCTrainingLib.methods.ways import route_name
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.estimate import peak_memory_bytes
from HipICMSCTrainingLib.run.export import Weights, export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.run.trainer import Trainer

WEIGHTS: tuple[Weights, ...] = get_args(Weights)


class MeasuredRun:
    """What was measured of a run, as it lies in its folder."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.folder = run.path / "measured"

    @property
    def is_done(self) -> bool:
        return all(self._file(name).exists() for name in ("cost", *WEIGHTS))

    @property
    def cost(self) -> dict[str, Any] | None:
        """``seconds``, ``memory_bytes`` and ``device_memory_bytes`` at most (None where that is not known), ``device``,
        ``commit`` and ``versions``; None before the training ended."""
        return self._read("cost")

    @property
    def seconds(self) -> float:
        """How long the training has worked by now, scores and checkpoints included, in however many sessions."""
        return (self._read("seconds") or {"seconds": 0.0})["seconds"]

    def scores(self, weights: Weights) -> dict[str, Any] | None:
        """``step``, ``route``, ``evaluation`` (Evaluation.as_dict) and ``failed`` (a sentence by number of the test
        case); None before they were measured."""
        return self._read(weights)

    def prediction(self, number: int) -> Path:
        return self.folder / f"{number}.nii.gz"

    def write(self, name: str, values: dict[str, Any]) -> None:
        write_text(self._file(name), json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads(self._file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise HipError("damaged_run", f"{self._file(name)} cannot be read.", str(error)) from error


def train(run: RunFolder) -> bool:
    """Train to the end, from wherever the run stands; False if it was stopped on request before.

    Raises:
        HipError: as Trainer.
    """
    measured = MeasuredRun(run)
    if measured.cost is not None:
        return True
    run.withdraw("STOP")
    run.withdraw("PAUSE")
    measured.folder.mkdir(exist_ok=True)
    trainer = Trainer(run, _Clock(measured))
    if trainer.train().state != "finished":
        return False
    cuda = trainer.device.type == "cuda"
    measured.write(
        "cost",
        {
            "seconds": measured.seconds,
            "memory_bytes": peak_memory_bytes(),
            "device_memory_bytes": torch.cuda.max_memory_allocated(trainer.device) if cuda else None,
            "device": device_name(trainer.device),
            "commit": commit(),
            "versions": run.description()["versions"],
        },
    )
    return True


class _Clock:
    """Keeps the time of a training whenever it reports itself; while it is paused, the clock stands still."""

    def __init__(self, measured: MeasuredRun) -> None:
        self.measured = measured
        self.seconds, self.last = measured.seconds, time.monotonic()

    def __call__(self, status: Status) -> None:
        now = time.monotonic()
        if status.state != "paused":
            self.seconds += now - self.last
        self.last = now
        self.measured.write("seconds", {"seconds": self.seconds})


def commit() -> str | None:
    """The commit of this code, with "-dirty" if files differ from it; None outside a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def measure(run: RunFolder, heads: list[FemoralHeads | HipError], roi_mm: float | None = None) -> None:
    """Measure each of WEIGHTS that was not measured yet.

    Raises:
        HipError: as for an export; ``nothing_measured`` if no case could be segmented.
    """
    measured = MeasuredRun(run)
    cases = measured_cases(RunDescription.read(run).dataset)
    for weights in WEIGHTS:
        if measured.scores(weights) is None:
            _measure(measured, weights, cases, heads, roi_mm)


def _measure(
    measured: MeasuredRun,
    weights: Weights,
    cases: list[Case],
    heads: list[FemoralHeads | HipError],
    roi_mm: float | None,
) -> None:
    with tempfile.TemporaryDirectory() as beside:
        package = Path(beside) / f"measured{ENDING}"
        manifest = export_package(measured.run, package, weights)
        segmenter = HipSegmenter(package, manifest.training["settings"]["device"])
    volumes: list[VolumeScores] = []
    failed: dict[int, str] = {}
    for number, (case, of_case) in enumerate(zip(cases, heads, strict=True), start=1):
        # A number in place of the name, which may be a patient's.
        name = f"test {number}"
        try:
            if isinstance(of_case, HipError):
                raise of_case
            image = read_volume(Path(case.image))
            # What the network itself says: the product's own clean-up would hide its strays.
            classes = classes_found(segmenter, image, of_case)
            truth = read_labels(replace(case, name=name), image)
            ignore = masks_beside(Path(case.label), f"the mask of {name}")
            volumes += evaluate_pairs([Pair(name, classes, truth, ignore)], roi_mm).volumes
        except HipError as error:
            failed[number] = error.sentence.replace(case.image, name).replace(case.label, f"the label map of {name}")
            continue
        if weights == "selected":
            write_image(classes, measured.prediction(number))
    if not volumes:
        raise HipError("nothing_measured", f"No test MRI could be segmented. {next(iter(failed.values()))}")
    measured.write(
        weights,
        {
            "step": manifest.training["step"],
            "route": route_name(manifest.route),
            "evaluation": Evaluation(roi_mm, volumes).as_dict(),
            "failed": failed,
        },
    )


def _end_with_whoever_started_this() -> None:
    """Nobody may go on training a row that a benchmark of its own no longer knows of."""

    def wait() -> None:
        os.read(0, 1)  # ends when the other side of the pipe is closed, also by a kill
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    _end_with_whoever_started_this()
    run, *measuring = sys.argv[1:]
    try:
        if train(RunFolder(Path(run))) and measuring:
            heads, *roi_mm = measuring
            measure(RunFolder(Path(run)), read_heads(Path(heads)), *map(float, roi_mm))
    except HipError as error:
        print(f"{error.detail}\nhipicmsc: {error.sentence}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
