"""A run whose images lie elsewhere now: the same ones, told by what the networks read of them, are found again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text

from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.slice_cache import cache_file, cached_volume
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import RunDescription
from HipICMSCTrainingLib.settings.training import TrainingSettings


def use_moved_data(folder: RunFolder, found: Dataset) -> None:
    """Let a run read its cases where ``found`` has them; roles and patients stay the run's.

    A case is known by its name and modality. One that takes part in the training must give the very slices that are in
    the run's cache; a test case, which is only measured, is taken by its name.

    Raises:
        HipError: ``other_images``, and the run stays as it was; as for reading a case.
    """
    description = RunDescription.read(folder)
    there = {(case.modality, case.name): case for case in found.cases}
    lost = [case.name for case in description.dataset.cases if (case.modality, case.name) not in there]
    if lost:
        raise HipError(
            "other_images",
            f"There is nothing by the name of the run's {'cases' if len(lost) > 1 else 'case'} {', '.join(lost[:5])}; "
            "name the data set that this run was made with.",
        )
    known = {_digest(file) for file in folder.cache.glob("*.safetensors") if file.name[0] != "."}
    cases = []
    for case in description.dataset.cases:
        now = there[case.modality, case.name]
        moved = replace(case, image=now.image, label=now.label if case.label else None)
        if case.role != "test":
            _check_same(moved, description.settings, folder.cache, known)
        cases.append(moved)
    values = folder.description() | {"dataset": Dataset(tuple(cases)).to_json()}
    write_text(folder.path / "run.json", json.dumps(values, indent=2) + "\n")


def _check_same(case: Case, settings: TrainingSettings, cache: Path, known: set[str]) -> None:
    file = cache_file(case, settings, cache)
    was_there = file.exists()
    cached_volume(case, settings, cache)
    if _digest(file) not in known:
        if not was_there:
            file.unlink()
        raise HipError(
            "other_images",
            f"{Path(case.image).name} is not the image of the case {case.name} that this run has read; name the data "
            "set that it was made with.",
        )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
