"""Phases of a method that follow each other over the whole training, wherever its two stages meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.methods.method import Moment, phase_of
from HipICMSCTrainingLib.settings.training import TrainingSettings


def phase_of_training(moment: Moment, settings: TrainingSettings, shares: Mapping[str, float]) -> tuple[str, float]:
    """As :func:`phase_of`, but ``shares`` are those of the whole training."""
    stage1, stage2 = settings.stage1_epochs, settings.stage2_epochs
    done = moment.stage_fraction * stage1 if moment.stage == 1 else stage1 + moment.stage_fraction * stage2
    return phase_of(replace(moment, stage_fraction=done / (stage1 + stage2)), shares)


def with_rest(shares: Mapping[str, float], last: str) -> dict[str, float]:
    """``shares`` and what they leave to the phase ``last``.

    Raises:
        HipError: ``bad_setting`` if one is below 0 or they exceed 1 together.
    """
    rest = 1 - sum(shares.values())
    if min(shares.values()) < 0 or rest < -1e-9:
        named = ", ".join(f"{name}_share {share:g}" for name, share in shares.items())
        raise HipError(
            "bad_setting", f"Shares of a training lie between 0 and 1 and are 1 together at most, not {named}."
        )
    return {**shares, last: max(rest, 0.0)}
