"""What the generators of a finished run make of slices."""

from __future__ import annotations

import torch
from torch import Tensor

from HipICMSCTrainingLib.data.batches import SliceStack
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.methods.ways import through
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.previews import about_the_heads


class Translation:
    """The selected generators of a run of a method that translates."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.description = run, RunDescription.read(run)
        of = METHODS[self.description.method]
        settings = self.description.settings
        method = of(settings, self.description.method_settings, torch.device("cpu"), Distribution())
        for name, weights in run.checkpoints.selected().items():
            method.networks[name].load_state_dict(weights)
            method.networks[name].eval()
        self.networks, self.ways = method.networks, method.ways()

    def slices(self, modality: str, count: int) -> list[Tensor]:
        """Held-out slices about the femoral heads, each (1, 1, rows, columns)."""
        cases = self.description.dataset.of(modality, "val")
        stack = SliceStack([cached_volume(case, self.description.settings, self.run.cache) for case in cases])
        return [stack.images([index]) for index in about_the_heads(stack)[:count]]

    @torch.no_grad()
    def there_and_back(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """A slice of ``modality`` translated into the other one, and that translated back."""
        there, back = self.ways.mr_to_ct, self.ways.ct_to_mr
        if modality == "CT":
            there, back = back, there
        translated = through(self.networks, there)(x)
        return translated, through(self.networks, back)(translated)
