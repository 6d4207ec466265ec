"""What each corrected MRI teaches, put once onto the slices that the networks read, and kept in the run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import coronal_slices, crop_grid
from HipICMSCLib.preprocessing.slabs import slice_grid

from HipICMSCTrainingLib.data.corrections import Corrections, digest_of, read_corrections
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.kept_arrays import Arrays, kept_arrays
from HipICMSCTrainingLib.data.slab_cache import cached_slices, plane_to_read
from HipICMSCTrainingLib.data.slice_cache import cached_volume, fingerprint, naming, read_case
from HipICMSCTrainingLib.settings.training import TrainingSettings

_KINDS = {"classes": (3, np.uint8), "weights": (3, np.float16)}


def cached_corrections(case: Case, settings: TrainingSettings, folder: Path) -> Arrays:
    """What a corrected MRI teaches, together with the slices that `cached_slices` or, of a crop, `cached_volume` gives.

    Returns:
        Besides: ``classes`` (slice, row, column) uint8; ``weights`` float16, 0 to 1, how much a pixel counts.

    Raises:
        HipError: as :func:`read_corrections`, and whatever is wrong with the image, naming the case;
            ``nothing_corrected``, too, where nothing that counts lies on the slices.
    """
    of_crop = settings.reads == "crop"
    with naming(case):  # each time, so that a case that was moved or changed is told of
        name = fingerprint(case, "corrections", digest_of(case), settings.crop if of_crop else settings.slab)
    slices = (cached_volume if of_crop else cached_slices)(case, settings, folder)

    def make() -> Arrays:
        with naming(case):
            corrections = read_corrections(case)
        classes, weights = _on_crop(case, corrections, settings) if of_crop else _on_slices(corrections, settings)
        # Slices are kept without their padding.
        _, rows, columns = slices["slices"].shape
        classes, weights = classes[:, :rows, :columns], weights[:, :rows, :columns]
        # Pixels that pad a slice show nothing.
        return {"classes": classes, "weights": (weights * slices["covered"]).astype(np.float16)}

    def fit(kept: Arrays) -> bool:
        return kept["classes"].shape == kept["weights"].shape == slices["slices"].shape

    kept = kept_arrays(folder / f"{name}.safetensors", _KINDS, fit, make)
    if not kept["weights"].any():
        raise HipError(
            "nothing_corrected",
            f"Case {case.name}: nothing of what is marked as completed lies where the networks look; leave it out.",
        )
    return slices | kept


def _on_slices(corrections: Corrections, settings: TrainingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights where `cached_slices` reads the MRI."""
    grid = slice_grid(corrections.classes, plane_to_read(corrections.classes), settings.slab)
    classes, weights = (
        sitk.GetArrayFromImage(grid.resample(image, sitk.sitkNearestNeighbor, 0))
        for image in (corrections.classes, corrections.weights)
    )
    return classes, weights


def _on_crop(case: Case, corrections: Corrections, settings: TrainingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights where `cached_volume` reads the MRI; classes in the way in which it reads label maps."""
    image, _ = read_case(case)
    with naming(case):
        heads = find_femoral_heads(image)
    grid = crop_grid(image, heads.midpoint(), settings.crop)
    classes = coronal_slices(grid.resample(corrections.classes, sitk.sitkLabelLinear, 0))
    return classes, coronal_slices(grid.resample(corrections.weights, sitk.sitkNearestNeighbor, 0))
