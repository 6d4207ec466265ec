"""The weights of a run that can leave it, and the newest scores of each."""

from __future__ import annotations

from typing import Any

from HipICMSCLib.common.errors import HipError
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.panels.score_words import used_labels_of_mri
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.metrics import MetricsReader

#: As `hipicmsc export --weights` takes them, in the order in which they are offered.
WEIGHTS = ("selected", "average", "last")


class ScoredWeights:
    """Of one run, or of none."""

    def __init__(self, run: RunFolder | None) -> None:
        self._run = run
        self._reader = None if run is None else MetricsReader(run.metrics_file)
        #: The newest line with scores, by weights.
        self._scored: dict[str, dict[str, Any]] = {}

    def read(self) -> None:
        """Take up what was scored since.

        Raises:
            HipError: as for reading metrics.
        """
        if self._reader is None:
            return
        lines = self._reader.new_lines()
        if self._reader.restarted:
            self._scored = {}
        self._scored |= {line["weights"]: line for line in lines if "scores" in line and "weights" in line}

    def scores_of(self, weights: str) -> dict[str, Any] | None:
        """``step`` and ``scores`` of these weights, as far as they were scored."""
        if weights != "selected":
            return self._scored.get(weights)
        try:
            return None if self._run is None else self._run.checkpoints.selection()
        except HipError:
            return None

    def in_words(self, weights: str) -> str:
        if weights == "average":
            return _("Newest average of the weights")
        if weights == "last":
            return _("Newest weights")
        scored = self.scores_of(weights)
        if scored is None:
            return _("Best score (none yet)")
        if used_labels_of_mri(scored["scores"]):
            return _("Best Dice on held-out MRI (step {step})").format(step=scored["step"])
        return _("Best label-free score (step {step})").format(step=scored["step"])
