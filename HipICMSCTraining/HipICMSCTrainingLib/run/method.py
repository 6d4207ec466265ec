"""What the settings of a run tell of its method, whatever that is called. Without torch, because Slicer shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from HipICMSCTrainingLib.run.folder import RunFolder

_SHARE = "_share"
#: Shares of something else than the training.
_NO_PHASES = ("corrections_share",)
#: Of a method with phases of its own: the last one, and those in which its segmenter of MRI learns.
_LAST_PHASE = "alignment"
_PHASES_OF_MRI = ("target", _LAST_PHASE)


@dataclass(frozen=True)
class RunMethod:
    """A run's method.

    Attributes:
        name: as METHODS has it; empty where run.json says none.
        settings: those that all methods share and its own, by full names such as ``segmenter.width``.
    """

    name: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, run: RunFolder) -> RunMethod:
        """
        Raises:
            HipError: ``no_run`` or ``damaged_run``.
        """
        description = run.description()
        settings: dict[str, Any] = {}
        for part in ("settings", "method_settings"):
            if isinstance(description.get(part), dict):
                settings |= _by_full_names(description[part])
        return cls(str(description.get("method", "")), settings)

    @property
    def translates(self) -> bool:
        """Whether it makes CTs look like MRIs, or the reverse."""
        return "reconstruction_weight" in self.settings

    @property
    def segmenter_rate(self) -> str:
        """The setting that says how fast its segmenters learn; one whose encoder translates too learns as that does."""
        return f"learning_rate_{'translation' if 'encoder_translation_weight' in self.settings else 'segmentation'}"

    @property
    def adapts(self) -> bool:
        """Whether its segmenter of MRI learns from what tells CTs and MRIs apart."""
        return self.translates or bool(self.phases)

    @property
    def phases(self) -> dict[str, float]:
        """Phases that follow each other over the whole training, with the share of it that each takes, 0 to 1; none
        where the two stages are all that there is."""
        shares = {
            name.removesuffix(_SHARE): value
            for name, value in self.settings.items()
            if name.endswith(_SHARE) and name not in _NO_PHASES and isinstance(value, int | float) and 0 <= value <= 1
        }
        return {**shares, _LAST_PHASE: max(0.0, 1.0 - sum(shares.values()))} if shares else {}

    def phase_at(self, share: float) -> str:
        """The phase after this share of the training, 0 to 1; empty where there are none."""
        begins, current = 0.0, ""
        for name, length in self.phases.items():
            if length > 0 and share >= begins:
                current = name
            begins += length
        return current

    @property
    def share_before_mri(self) -> float:
        """The share of the training, 0 to 1, that its own phases take before its segmenter of MRI learns anything."""
        share = 0.0
        for name, length in self.phases.items():
            if name in _PHASES_OF_MRI:
                break
            share += length
        return share

    @property
    def share_to_stage_2(self) -> float:
        """The share of the training, 0 to 1, that is over when stage 2 ends."""
        epochs = [self.settings.get(name) or 0 for name in ("simulation_epochs", "stage1_epochs", "stage2_epochs")]
        after = self.settings.get("self_training_epochs") or 0
        return sum(epochs) / (sum(epochs) + after) if after else 1.0


def _by_full_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings are nested once at most."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        named |= {f"{name}.{inner}": of for inner, of in value.items()} if isinstance(value, dict) else {name: value}
    return named
