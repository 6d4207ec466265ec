"""Does everything that a segmentation needs work on this computer? A small computation whose outcome is known."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.networks.devices import available_devices
from HipICMSCLib.results.report import versions

SLICES = 2
#: What a model that reads no crop is tried on: a size that every such network takes.
WHOLE_SLICES = (256, SLICES, 256)


def self_test(segmenter: HipSegmenter) -> dict[str, Any]:
    """Run a model's network on slices of noise.

    Returns:
        A JSON object without any patient data: versions, devices, model, precision, seconds a slice.

    Raises:
        HipError: ``self_test_failed`` if what the network gives are no probabilities, ``out_of_memory``.
    """
    crop = segmenter.package.manifest.crop
    width, _, height = crop.size if crop else WHOLE_SLICES
    slices = np.random.default_rng(0).uniform(-1, 1, (SLICES, height, width)).astype(np.float32)
    started = time.perf_counter()
    foreground = segmenter.inference.foreground(slices, lambda share: None, lambda: False)
    seconds = (time.perf_counter() - started) / SLICES
    sums = foreground.sum(axis=0)
    if foreground.shape[1:] != slices.shape or not ((foreground >= 0).all() and (sums <= 1 + 1e-3).all()):
        raise HipError(
            "self_test_failed",
            "The network gave values that are no probabilities; choose the device cpu, or install PyTorch again.",
            f"shape {foreground.shape}, sums {sums.min():g} to {sums.max():g}",
        )
    return {
        "versions": versions(),
        "devices": available_devices(),
        "device": segmenter.device_name,
        "precision": segmenter.inference.precision.name,
        "model": {"name": segmenter.package.manifest.name, "sha256": segmenter.package.sha256},
        "seconds_per_slice": round(seconds, 3),
        "fallbacks": list(segmenter.inference.fallbacks),
    }
