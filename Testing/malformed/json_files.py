"""Malformed JSON files of a dataset, a run and a benchmark, and what is remembered of label maps and their values."""

from __future__ import annotations

import json
import math
import shutil
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from HipICMSCLib.common.settings import from_json, to_json
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCTrainingLib.benchmark.plan import Plan
from HipICMSCTrainingLib.data.check import check_dataset
from HipICMSCTrainingLib.data.dataset import Case as DatasetCase
from HipICMSCTrainingLib.data.dataset import Dataset, LabelValues
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file, unchecked_dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.gui.panels.label_values import last_values
from HipICMSCTrainingLib.gui.scene.label_mapping import remembered_mapping
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.curves import RunCurves
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.export import About
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings

from malformed.case import Case, Maker, Wrong
from malformed.json_texts import LONG, MALFORMED, Malform
from malformed.protocol_lines import differs

_CASES = [
    {"name": "c1", "modality": "CT", "role": "train", "patient": "a", "image": "c1.nii", "label": "c1_label.nii"},
    {"name": "c2", "modality": "CT", "role": "val", "patient": "b", "image": "c2.nii", "label": "c2_label.nii",
     "label_values": {"acetabulum": [1, 3], "femur": [2, 4], "ignore_others": True}},
    {"name": "m1", "modality": "MR", "role": "train", "patient": "c", "image": "m1.nii"},
    {"name": "m2", "modality": "MR", "role": "val", "patient": "d", "image": "m2.nii"},
]  # fmt: skip
_STEPS = 40


@cache
def _run() -> dict[str, Any]:
    """A sound run.json."""
    dataset = Dataset(tuple(from_json(DatasetCase, case) for case in _CASES))
    method_settings = METHODS["icmsc"].Settings()
    return RunDescription("icmsc", TrainingSettings(), method_settings, dataset).to_json()


def _line(step: int) -> dict[str, Any]:
    return {"step": step, "stage": 1, "losses": {"cycle": 1.5, "adversarial": 0.25},
            "learning_rates": {"generators": 0.0002}, "seconds": 1.5}  # fmt: skip


_SOUND: dict[str, Callable[[], Any]] = {
    "dataset.json": lambda: {"cases": _CASES, "label_values": {"acetabulum": [1], "femur": [2]}},
    "run.json": _run,
    "status.json": lambda: to_json(
        Status("paused", "stage 1", "It waits.", 3, 40, 1.5, 60.0, 1, 1.7e9, "", "here", 5.0)
    ),
    "metrics.jsonl": lambda: _line(20),
    "about.json": lambda: to_json(About(citations=("A, 2021",))),
    "benchmark.json": lambda: to_json(Plan("smoke", PRESETS["smoke"], {"icmsc": {"image_pool": 2}})),
    "mapping.json": lambda: {"hip_left": "acetabulum", "femur_left": "femur", "skin": ""},
    "values.json": lambda: {"acetabulum": [1, 3], "femur": [2, 4]},
}


def _maker(name: str, malform: Malform) -> Maker:
    def make(folder: Path, rng: np.random.Generator) -> Case:
        run = folder / "runs" / "run"
        run.mkdir(parents=True)
        for case in _CASES:
            for key in ("image", "label"):
                if key in case:
                    (folder / case[key]).write_bytes(b"no volume")
        for other in ("run.json", "status.json"):
            (run / other).write_text(json.dumps(_SOUND[other]()))
        path = (folder if name in ("dataset.json", "mapping.json", "values.json") else run) / name
        path.write_bytes(malform(_SOUND[name](), rng))
        if name == "metrics.jsonl":
            lines = [json.dumps(_line(1)).encode(), path.read_bytes(), json.dumps(_line(_STEPS)).encode(), b""]
            path.write_bytes(b"\n".join(lines))
        return Case(path, "either")

    return make


MAKERS: dict[str, Maker] = {
    f"{name}: {kind}": _maker(name, malform)
    for name in _SOUND
    for kind, malform in (MALFORMED | (LONG if name in ("dataset.json", "run.json", "metrics.jsonl") else {})).items()
}


def attempt(case: Case, output: Path) -> None:
    """Read the file as its owner's program does."""
    _ATTEMPTS[case.path.name](case.path, output)


def _said(path: Path) -> Any:
    return json.loads(path.read_bytes().decode("utf-8-sig"))


def _dataset(path: Path, output: Path) -> None:
    dataset = unchecked_dataset_from_file(path)
    said = _said(path)
    default = said.get("label_values")
    expected = []
    for entry in said["cases"]:
        files = {key: str((path.parent / entry[key]).resolve()) for key in ("image", "label") if entry.get(key)}
        expected.append(({"label_values": default} if default else {}) | {"label": None} | entry | files)
        expected[-1]["label"] = files.get("label")
    if differs(json.loads(json.dumps(dataset.to_json()))["cases"], expected):
        raise Wrong(f"read as {str(dataset)[:600]}")
    for problem in check_dataset(dataset, CropSettings()).problems if len(dataset.cases) < 10 else ():
        if not (problem.sentence.isprintable() and problem.sentence.endswith(".") and len(problem.sentence) < 2200):
            raise Wrong(f"no sentence: {str(problem)[:600]}")
    dataset_from_file(path)
    copy = output / "copy.json"
    write_dataset_file(dataset, copy)
    if unchecked_dataset_from_file(copy) != dataset:
        raise Wrong("is another dataset when it is written again")


def _run_file(path: Path, output: Path) -> None:
    folder = RunFolder(path.parent)
    if [run.path for run in runs_below(path.parent.parent)] != [path.parent]:
        raise Wrong("the run is not listed")
    _check_status(folder)
    share = folder.stage_1_steps(_STEPS)
    if share is not None and not 0 <= share <= _STEPS:
        raise Wrong(f"{share} of {_STEPS} steps belong to stage 1")
    read, said = RunDescription.read(folder), _said(path)
    again = {"settings": to_json(read.settings), "method_settings": to_json(read.method_settings),
             "dataset": read.dataset.to_json(), "method": read.method}  # fmt: skip
    if differs(json.loads(json.dumps(again)), {key: said[key] for key in again}):
        raise Wrong(f"read as {str(again)[:600]}")


def _check_status(folder: RunFolder) -> None:
    status = folder.status()
    numbers = [status.step, status.total_steps, status.heartbeat, status.seconds_left, status.seconds_per_step]
    sound = all(number is None or (isinstance(number, int | float) and math.isfinite(number)) for number in numbers)
    texts = (status.state, status.phase, status.sentence, status.kind, status.machine)
    if not sound or not all(isinstance(text, str) and text.encode() is not None for text in texts):
        raise Wrong(f"a status of {str(status)[:600]}")


def _status(path: Path, output: Path) -> None:
    _check_status(RunFolder(path.parent))


def _metrics(path: Path, output: Path) -> None:
    """The sound lines about the malformed one are there, and what is read can be drawn."""
    folder = RunFolder(path.parent)
    curves = RunCurves(folder)
    curves.update()
    columns = curves.tables["losses"].columns()
    steps = columns["step"].tolist()
    if steps[:1] != [1] or steps[-1] != _STEPS or columns["cycle"][-1] != 1.5:
        raise Wrong(f"read the steps {steps[:20]}")
    if len({len(column) for column in columns.values()}) != 1 or len(columns) > 200:
        raise Wrong("the columns are not of one length, or too many")
    copy = RunFolder(output / "run")
    shutil.copytree(path.parent, copy.path)
    copy.forget_metrics_after(1)
    kept = [line["step"] for line in copy.metrics()]
    if 1 not in kept or max(kept) > 1:
        raise Wrong("did not forget what came later")


def _about(path: Path, output: Path) -> None:
    read = from_json(About, RunFolder(path.parent).about())
    if differs(json.loads(json.dumps(to_json(read))), _said(path)):
        raise Wrong(f"read as {str(read)[:600]}")


def _benchmark(path: Path, output: Path) -> None:
    read = Plan.read(path.parent)
    if differs(json.loads(json.dumps(to_json(read))), _said(path)):
        raise Wrong(f"read as {str(read)[:600]}")


def _mapping(path: Path, output: Path) -> None:
    _put_into_settings(path)
    for name, meaning in remembered_mapping().items():
        if not isinstance(name, str) or meaning not in ("acetabulum", "femur", ""):
            raise Wrong(f"remembers {name!r} as {meaning!r}")


def _values(path: Path, output: Path) -> None:
    _put_into_settings(path)
    read = last_values()
    if read == LabelValues():
        return
    said = _said(path)
    if any(differs(list(getattr(read, name)), said[name]) for name in ("acetabulum", "femur")):
        raise Wrong(f"read as {read}")


def _put_into_settings(path: Path) -> None:
    """Slicer's settings give back whatever was put into them; Qt is stood in for."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    sys.modules["qt"] = types.SimpleNamespace(QSettings=lambda: types.SimpleNamespace(value=lambda name, default: text))


_ATTEMPTS: dict[str, Callable[[Path, Path], None]] = {
    "dataset.json": _dataset,
    "run.json": _run_file,
    "status.json": _status,
    "metrics.jsonl": _metrics,
    "about.json": _about,
    "benchmark.json": _benchmark,
    "mapping.json": _mapping,
    "values.json": _values,
}
