"""Leave-one-out: what a run's model does on MRIs like those that taught it, where there were too few to hold some out.

For each corrected MRI that the run learned from, a model is trained in the same way on everything but what there is of
this patient, and measured on it. The trainings lie in the run's folder, and a second call goes on where the first one
was ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_files import refuse_links
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.models.chosen import ENDING, find_model
from HipICMSCLib.models.package import read_package

from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.evaluation.compare import Comparison, compare_left_out
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.run.trainer import Trainer

#: In the run's folder.
FOLDER = "leave_one_out"


def leave_one_out(run: RunFolder, progress: Progress = lambda case, share: None) -> Comparison:
    """Train a model without each corrected patient in turn, and compare it there with that before the run.

    Args:
        progress: called with the name of the case that is left out, and the share that is done, 0 to 1.

    Raises:
        HipError: ``not_left_out`` where there is nothing to leave out or no model before; ``changed_start``;
            ``stopped`` where somebody asked a training to stop; as for a training, an export and a comparison.
    """
    description = RunDescription.read(run)
    corrected = description.dataset.corrected("train")
    patients = {case.patient: case.name for case in corrected}
    if len(patients) < 2 or description.started_from is None:
        raise HipError(
            "not_left_out",
            f"The run {run.path.name} learned from corrected MRIs of {len(patients)} patients"
            f"{'' if description.started_from else ' and started from no model'}; leave-one-out needs two at least, "
            "and a model before to compare with.",
        )
    old = find_model(description.settings.start_from)
    if read_package(old).sha256 != description.started_from.sha256:
        raise HipError(
            "changed_start",
            f"The model file {old} is not the one that the run {run.path.name} started from; put that one back.",
        )
    refuse_links(run.path)
    refuse_links(run.path / FOLDER)
    packages: dict[str, Path] = {}
    for number, (patient, name) in enumerate(patients.items()):

        def show(status: Status, number: int = number, name: str = name) -> None:
            progress(name, (number + status.share) / len(patients))

        # By number: a name in the run.json of a stranger may be any path.
        packages[patient] = _trained_without(patient, run.path / FOLDER / str(number + 1), run, description, show)
    return compare_left_out(old, run.path.name, [(case, packages[case.patient]) for case in corrected])


def _trained_without(
    patient: str, folder: Path, run: RunFolder, description: RunDescription, report: Callable[[Status], None]
) -> Path:
    """The package of a model that learned from everybody but one patient."""
    package, without = folder / f"model{ENDING}", RunFolder(folder)
    if package.exists():
        return package
    if not (folder / "run.json").exists():
        others = tuple(case for case in description.dataset.cases if case.patient != patient)
        start_run(folder, replace(description, dataset=Dataset(others), corrected=(), started_from=None))
    _lend_cache(run, without)
    status = Trainer(without, report).train()
    if status.state != "finished":
        raise HipError("stopped", "Leave-one-out was stopped; the same command goes on.")
    export_package(without, package)
    return package


def _lend_cache(run: RunFolder, other: RunFolder) -> None:
    """What is prepared of the volumes, as links; where the disk has none, it is prepared once more."""
    for file in run.cache.glob("*.safetensors"):
        with contextlib.suppress(OSError):
            os.link(file, other.cache / file.name)
