"""Simulated slabs: how many are made a second, and how many the network takes.

`sample_generation.py` prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.data.slab_source import SlabSource
from HipICMSCTrainingLib.data.training_data import prepared_case
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.phantom.dataset import SMOKE, Resolution, write_dataset
from HipICMSCTrainingLib.run.processor import making_threads, networks_beside
from HipICMSCTrainingLib.settings.stages import SIMULATION
from HipICMSCTrainingLib.settings.training import PRESETS
from measuring import SMALLEST, in_child

SETTINGS = PRESETS["slabs"] if not SMALLEST else replace(PRESETS["slabs"], batch_size=1)
RESOLUTION = SMOKE if SMALLEST else Resolution(ct_mm=(1.25, 1.25, 1.25), mri_in_plane_mm=2.5, mri_slice_mm=5.0)
#: The first ones load libraries and choose algorithms.
WARM_UP, STEPS = (8, 32) if not SMALLEST else (1, 3)


def made_and_taken() -> dict[str, float]:
    """Of the preset that made the model that ships: seconds of a step's batch alone, of the network's step alone on a
    batch that is there, and of both side by side as in a training; and the share of that spent waiting for a batch."""
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", 2, 0, resolution=RESOLUTION)
        dataset = dataset_from_folders(folder / "data/ct", folder / "data/mri", seed=0)
        cases = dataset.of("CT", "train")
        anatomies = [prepared_case(case, SETTINGS, folder / "cache") for case in cases]
        device = torch.device("cpu")
        method = Icmsc(SETTINGS, IcmscSettings(), device, Distribution())

        def new_source() -> SlabSource:
            """A new one for each measurement, or what was made ahead would count for nothing."""
            return SlabSource(anatomies, [1.0] * len(anatomies), [], [], SETTINGS, makers=making_threads(device))

        source = new_source()

        def step(number: int) -> tuple[float, float]:
            """When the batch was asked for and when it was there; the network's step follows."""
            asked = time.perf_counter()
            batch = source.draw(number, SIMULATION)
            there = time.perf_counter()
            method.train_step(batch, Moment(number, SIMULATION, 0.0), np.random.default_rng(number))
            return asked, there

        for number in range(WARM_UP):
            step(number)
        source.close()

        source = new_source()
        started = time.perf_counter()
        batches = [source.draw(number, SIMULATION) for number in range(STEPS)]
        making = (time.perf_counter() - started) / STEPS
        source.close()
        started = time.perf_counter()
        for number, batch in enumerate(batches):
            method.train_step(batch, Moment(number, SIMULATION, 0.0), np.random.default_rng(number))
        taking = (time.perf_counter() - started) / STEPS

        source = new_source()
        started = time.perf_counter()
        with networks_beside(source.busy_threads(SIMULATION), device):
            waited = sum(there - asked for asked, there in map(step, range(STEPS)))
        together = time.perf_counter() - started
        source.close()
    slabs = SETTINGS.batch_size
    return {
        "slabs a second, made alone": slabs / making,
        "slabs a second, taken alone": slabs / taking,
        "slabs a second, side by side": slabs * STEPS / together,
        "share of the time spent waiting for a batch": waited / together,
    }


MEASUREMENTS = {"simulated slabs, preset slabs": made_and_taken}


def main() -> dict[str, object]:
    return {name: in_child(__file__, name) for name in MEASUREMENTS}


if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]]() if sys.argv[1:] and sys.argv[1] in MEASUREMENTS else main()))
