"""A training so small that a test can run it: phantoms of two subjects, slices of 24 × 32 pixels, narrow networks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from HipICMSCLib.common.settings import replaced
from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: As --set takes them; batch norm and a small pool, so that a resume has running statistics and a history to restore.
ASSIGNMENTS: dict[str, Any] = {
    "device": "cpu",
    "recompute": False,
    "crop.spacing_mm": [8.0, 8.0, 8.0],
    "crop.size": [32, 16, 24],
    "segmenter.width": 8,
    "segmenter.dilations": [1, 2],
    "translator.width": 8,
    "translator.blocks": 2,
    "discriminator_width": 8,
    "stage1_epochs": 1,
    "stage2_epochs": 2,
    "steps_per_epoch": 4,
    "validation_slices": 4,
    "ema_decay": 0.5,
}
#: The same on slabs of 64 × 64 pixels, an epoch of each of the four stages.
SLAB_ASSIGNMENTS: dict[str, Any] = ASSIGNMENTS | {
    "reads": "slabs",
    "simulation.patch": 64,
    "slab.pixel_mm": 4.0,
    "slab_unet.width": 8,
    "slab_unet.levels": 4,
    "slab_unet.largest_width": 32,
    "simulation_epochs": 1,
    "stage2_epochs": 1,
    "self_training_epochs": 1,
}
POOL = 2


def tiny_settings(assignments: dict[str, Any] = ASSIGNMENTS, **changes: Any) -> TrainingSettings:
    settings = TrainingSettings()
    for name, value in assignments.items():
        settings = replaced(settings, name, value)
    return replace(settings, **changes)


def set_arguments(assignments: dict[str, Any] = ASSIGNMENTS, **changes: Any) -> list[str]:
    """The same settings for the command line."""
    values = assignments | {"image_pool": POOL} | changes
    return [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]


@dataclass(frozen=True)
class TinyData:
    """A phantom dataset on disk, and its slices already preprocessed for the tiny settings.

    Attributes:
        assignments: those settings, as --set takes them.
    """

    folder: Path
    cache: Path
    dataset: Dataset
    assignments: dict[str, Any] = field(default_factory=lambda: ASSIGNMENTS)

    @property
    def arguments(self) -> list[str]:
        return ["--ct", str(self.folder / "ct"), "--mri", str(self.folder / "mri")]

    def lend_cache(self, run: Path) -> None:
        """So that a run need not preprocess the phantoms once more.

        Anatomies are large, and nothing writes into a file of a cache but by replacing it.
        """
        of_slabs = self.assignments is SLAB_ASSIGNMENTS
        shutil.copytree(self.cache, run / "cache", copy_function=os.link if of_slabs else shutil.copy2)

    def start(self, path: Path, own: Any = None, **changes: Any) -> RunFolder:
        """A new run in ``path`` that has done no step yet, of the method whose settings ``own`` are (ICMSC's)."""
        self.lend_cache(path)
        own = own or IcmscSettings(image_pool=POOL)
        name, method = next((name, method) for name, method in METHODS.items() if method.Settings is type(own))
        dataset = self.with_labels_of_mri if method.reads_mr_labels else self.dataset
        return start_run(path, RunDescription(name, tiny_settings(self.assignments, **changes), own, dataset))

    @property
    def with_labels_of_mri(self) -> Dataset:
        """The same cases for a method that is trained on labelled MRIs."""
        truth = self.folder / "mri_truth"
        return Dataset(
            tuple(
                replace(case, label=str(truth / f"{case.name}_label.nii.gz")) if case.modality == "MR" else case
                for case in self.dataset.cases
            )
        )


def tiny_dataset(folder: Path) -> Dataset:
    return dataset_from_folders(folder / "ct", folder / "mri", seed=0)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "HipICMSCTrainingLib.cli", *map(str, arguments)]


def child(arguments: list[str], **options: Any) -> subprocess.Popen:
    """A process of its own with one thread, so that its sums have the order they have here."""
    # What it prints is UTF-8 wherever the tests run, and a test file that is run finds the helpers.
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = os.environ | threads | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": paths}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, env=environment, stdout=pipe, stderr=pipe, encoding="utf-8", **options)


def differences(first: Any, second: Any, where: str = "") -> list[str]:
    """Where two nested structures of tensors and plain values are not equal bit for bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if torch.equal(first, second) else [where]
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return [f"{where}: keys"]
        return [place for key in first for place in differences(first[key], second[key], f"{where}/{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        if len(first) != len(second):
            return [f"{where}: length"]
        return [
            place
            for i, pair in enumerate(zip(first, second, strict=True))
            for place in differences(*pair, f"{where}/{i}")
        ]
    return [] if type(first) is type(second) and first == second else [where]


def at_step(step: int, action: Callable[[], None]) -> Callable:
    """A report for Trainer that does ``action`` once when the run first says it has done ``step`` steps."""
    done = []

    def report(status) -> None:
        if status.step == step and status.state == "running" and not done:
            done.append(True)
            action()

    return report
