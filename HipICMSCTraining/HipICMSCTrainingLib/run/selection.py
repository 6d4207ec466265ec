"""Which weights of a run are the best so far, by scores that know no label of an MRI."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from HipICMSCTrainingLib.data.training_data import TrainingData
from HipICMSCTrainingLib.methods.ways import Networks, Ways, ready_to_use
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.previews import write_preview
from HipICMSCTrainingLib.run.scores import label_free_scores


class Selection:
    """Scores networks on what is held out and keeps the best in the run's folder.

    Attributes:
        best_score: of all that were scored, or where corrected MRIs teach, of those of the last time.
    """

    def __init__(
        self, folder: RunFolder, data: TrainingData, slices: int, with_corrections: bool, device: torch.device
    ) -> None:
        """
        Args:
            slices: how many of each domain are scored.
            with_corrections: whether corrected MRIs teach.
        """
        self.folder, self.data, self.slices, self.device = folder, data, slices, device
        self.with_corrections = with_corrections
        self.best_score = -math.inf

    def choose_from(
        self, candidates: Mapping[str, Networks], ways: Ways, step: int, stage: int, may_be_chosen: bool
    ) -> None:
        """Write the scores of each set of networks, keep the best, and draw what the last one does.

        Args:
            candidates: by what is written beside their scores.
            may_be_chosen: whether they have learned what a score could tell; otherwise none is kept.

        Raises:
            HipError: as for any file.
        """
        data = self.data
        x_t = data.mr_train.images(data.mr_train.evenly(self.slices))
        if self.with_corrections:
            # These scores know nothing of what was corrected, so they must not go back to weights before it.
            self.best_score = -math.inf
        for which, trained in candidates.items():
            networks = ready_to_use(trained, ways, x_t, self.device)
            scores = label_free_scores(
                networks, ways, data.ct_val, data.mr_val, self.slices, self.device, data.simulated_val
            )
            self.folder.append_metrics({"step": step, "stage": stage, "scores": scores, "weights": which})
            if may_be_chosen and scores["selection"] > self.best_score:
                self.best_score = scores["selection"]
                self.folder.checkpoints.save_selected(networks, {"step": step, "weights": which, "scores": scores})
        picture = self.folder.previews / f"step_{step:07d}.png"
        write_preview(networks, ways, data.ct_val, data.mr_val, picture, self.device, data.corrected)
