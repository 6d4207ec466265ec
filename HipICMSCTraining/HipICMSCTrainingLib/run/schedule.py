"""Which stage a training is in, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from HipICMSCTrainingLib.methods.method import Moment


@dataclass(frozen=True)
class Schedule:
    """All epochs are of one length; the stages follow one another.

    Attributes:
        epochs: by stage, in the order of STAGES.
    """

    epochs: tuple[int, ...]
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * sum(self.epochs)

    def bounds(self, stage: int) -> tuple[int, int]:
        """The first step of a stage, and the one after its last."""
        before = sum(self.epochs[:stage])
        return self.steps_per_epoch * before, self.steps_per_epoch * (before + self.epochs[stage])

    def moment(self, step: int) -> Moment:
        """At the end of a training, the end of its last stage."""
        stages = [stage for stage, epochs in enumerate(self.epochs) if epochs]
        stage = next((stage for stage in stages if step < self.bounds(stage)[1]), stages[-1])
        first, end = self.bounds(stage)
        return Moment(step, stage, (step - first) / (end - first))
