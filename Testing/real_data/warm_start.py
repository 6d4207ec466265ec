"""Trains F_t of a stopped run for a while on guesses of the MR contrast alone: `python warm_start.py RUN STEPS`.

A step of F_t on a guess (`methods.contrast_prior`) costs a tenth of a whole ICMSC step, so F_t sees many more labelled
slices for the same time. Its weights in the run's last checkpoint are replaced; `hipicmsc resume` goes on.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, Segmenter
from HipICMSCTrainingLib.data.batches import BatchSource, SliceStack
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.methods.contrast_prior import random_guess
from HipICMSCTrainingLib.methods.losses import one_hot, segmentation_loss
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.scores import label_free_scores
from HipICMSCTrainingLib.run.trainer import RunDescription
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings

AUGMENTATION = AugmentationSettings(scaling=0.2, rotation_deg=10.0, shift=0.12, contrast=0.3)
LEARNING_RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("steps", type=int)
    chosen = parser.parse_args()
    folder = RunFolder(chosen.run)
    with folder.locked():
        state = folder.checkpoint()
        F_t = trained(folder, state["networks"]["F_t"], chosen.steps)
        state["networks"]["F_t"] = F_t.state_dict()
        state["average"]["F_t"] = copy.deepcopy(F_t.state_dict())
        folder.save_checkpoint(state)
        rescore(folder, state)


def rescore(folder: RunFolder, state: dict) -> None:
    """Report the label-free scores of the new weights, so that an export does not carry those of the old ones."""
    run = RunDescription.read(folder)
    method = METHODS[run.method](run.settings, run.method_settings, torch.device("cpu"), Distribution())
    for name, network in method.networks.items():
        network.load_state_dict(state["networks"][name])
        network.eval()
    ct, mr = (
        SliceStack([cached_volume(case, run.settings, folder.cache) for case in run.dataset.of(modality, "val")])
        for modality in ("CT", "MR")
    )
    scores = label_free_scores(
        method.networks, method.ways(), ct, mr, run.settings.validation_slices, torch.device("cpu")
    )
    folder.append_metrics({"step": state["step"], "scores": scores, "weights": "last"})


def trained(folder: RunFolder, weights: dict[str, torch.Tensor], steps: int) -> Segmenter:
    """F_t after ``steps`` steps of two slices each; the learning rate falls in a half cosine."""
    torch.set_flush_denormal(True)
    run = RunDescription.read(folder)
    settings = dataclasses.replace(run.settings, augmentation=AUGMENTATION, batch_size=2, share_field_of_view=False)
    ct, mr = (
        SliceStack([cached_volume(case, run.settings, folder.cache) for case in run.dataset.of(modality, "train")])
        for modality in ("CT", "MR")
    )
    batches = BatchSource(ct, mr, settings)
    F_t = Segmenter(settings.segmenter)
    F_t.load_state_dict(weights)
    optimizer = torch.optim.Adam(F_t.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    started, losses = time.monotonic(), []
    for step in range(steps):
        batch = batches.draw(step)
        random = np.random.default_rng([settings.seed, step, 1 << 22])
        guess = random_guess(batch.x_s, settings.intensity.ct_window_hu, "t1", random)
        with torch.autocast("cpu", torch.bfloat16):
            loss = segmentation_loss(F_t(guess), one_hot(batch.y_s, len(CLASS_NAMES)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: loss {np.mean(losses[-250:]):.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return F_t


if __name__ == "__main__":
    main()
