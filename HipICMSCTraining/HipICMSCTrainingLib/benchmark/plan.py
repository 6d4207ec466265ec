"""What all rows of a benchmark have in common, and what each row makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_files import read_object
from HipICMSCLib.common.settings import from_json, replaced, to_json

from HipICMSCTrainingLib.benchmark.data import Contrast, settings_of_preset
from HipICMSCTrainingLib.benchmark.rows import Row
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.settings.choices import assignment, flattened
from HipICMSCTrainingLib.settings.training import TrainingSettings


@dataclass(frozen=True)
class Plan:
    """What all rows of a benchmark have in common; it never changes once it is written.

    Attributes:
        preset: key of SCALES.
        settings: of every training, but for the seed.
        method_settings: what differs from a method's defaults, by method and name.
        dataset: the user's dataset.json; None for synthetic data.
        contrast, data_seed: of the synthetic data.
        roi_mm: the hip bone is measured only so near to a femoral head; None for all of it.
    """

    preset: str
    settings: TrainingSettings
    method_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset: str | None = None
    contrast: Contrast = "fat-suppressed"
    data_seed: int = 0
    roi_mm: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """The plan of a benchmark's folder, or None if there is none.

        Raises:
            HipError: ``damaged_benchmark``; ``bad_setting`` or ``missing_setting`` where somebody edited it.
        """
        file = Path(folder) / "benchmark.json"
        try:
            return from_json(cls, read_object(file))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise HipError("damaged_benchmark", f"{file} cannot be read.", str(error)) from error

    def without_folders(self) -> dict[str, Any]:
        """What may be published of it: not where the user's data lie, and nothing of the synthetic ones beside them."""
        values = to_json(self)
        if self.dataset is not None:
            values["dataset"] = "the user's own"
            del values["contrast"], values["data_seed"]
        return values

    def changes(self) -> list[str]:
        """Each setting that is not as the preset or the method's defaults have it, as ``--set`` takes it."""
        usual = flattened(to_json(settings_of_preset(self.preset, synthetic=self.dataset is None)))
        changed = {name: value for name, value in flattened(to_json(self.settings)).items() if value != usual[name]}
        return [assignment(name, value) for name, value in (changed | flattened(self.method_settings)).items()]

    def description(self, row: Row, seed: int, dataset: Dataset) -> RunDescription:
        own = from_json(METHODS[row.method].Settings, row.method_settings)
        for name, value in self.method_settings.get(row.method, {}).items():
            own = replaced(own, name, value)
        return RunDescription(row.method, replace(self.settings, seed=seed), own, dataset)
