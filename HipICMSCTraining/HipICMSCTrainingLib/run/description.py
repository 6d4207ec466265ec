"""What a run is, as run.json says it, and how a new one begins."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, to_json
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package

from HipICMSCTrainingLib.data.corrections import voxels_sha256_of
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.dataset_problems import check_labels
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.registry import find_method
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.starting_weights import StartingModel, check_fits, starting_model
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class RunDescription:
    """run.json as objects.

    Attributes:
        started_from: the package that ``settings.start_from`` names, as it was when the run was made.
        corrected: SHA-256 of the voxels of the corrected MRIs that are trained on.
    """

    method: str
    settings: TrainingSettings
    method_settings: Any
    dataset: Dataset
    started_from: StartingModel | None = None
    corrected: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: RunFolder) -> RunDescription:
        """
        Raises:
            HipError: ``no_run``, ``damaged_run``; ``unknown_method`` or ``bad_setting`` where somebody edited it.
        """
        values = folder.description()
        try:
            method = find_method(values["method"])
            started_from = values.get("started_from")
            return cls(
                method=values["method"],
                settings=from_json(TrainingSettings, values["settings"]),
                method_settings=from_json(method.Settings, values["method_settings"], method.retired_settings),
                dataset=from_json(Dataset, values["dataset"]),
                started_from=from_json(StartingModel, started_from) if started_from else None,
                corrected=tuple(map(str, values.get("corrected", ()))),
            )
        except (KeyError, TypeError) as error:
            raise HipError("damaged_run", f"{folder.path / 'run.json'} describes no run.", repr(error)) from error

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "settings": to_json(self.settings),
            "method_settings": to_json(self.method_settings),
            "dataset": self.dataset.to_json(),
            "started_from": to_json(self.started_from) if self.started_from else None,
            "corrected": list(self.corrected),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "SimpleITK": sitk.Version.VersionString(),
            },
            "command": sys.argv[1:],
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def start_run(folder: Path, description: RunDescription) -> RunFolder:
    """Write a new run folder, in the first of several processes; :class:`Trainer` of trainer.py does the rest.

    Raises:
        HipError: as :meth:`RunFolder.create`, :meth:`Method.check_settings`, :meth:`Method.check_corrections` and
            :func:`check_labels`; ``bad_case``; for a package to start from, as :func:`read_package` and
            :func:`check_fits`.
    """
    method = find_method(description.method)
    method.check_settings(description.settings)
    check_labels(description.dataset, method.reads_mr_labels)
    corrected = description.dataset.corrected("train")
    if corrected:
        method.check_corrections(description.settings)
        description = replace(description, corrected=tuple(map(voxels_sha256_of, corrected)))
    if description.settings.start_from is not None:
        package = read_package(find_model(description.settings.start_from))
        check_fits(package, description.settings)
        description = replace(description, started_from=starting_model(package))
    run = RunFolder(folder)
    distribution = Distribution()
    if distribution.is_main:
        run.create(description.to_json())
    distribution.wait_for_first()
    return run
