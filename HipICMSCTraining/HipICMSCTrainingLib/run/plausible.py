"""Where an MRI may show bone, as F_t's own result after the clean-up says it: what it teaches itself of the rest is
that there is none.

The clean-up knows what no pixel does: that a bone is one piece, at a joint. So a stray teaches F_t what is no bone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.doubts import Notice
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import ENDING
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.preprocessing.slabs import slice_grid
from safetensors.numpy import load_file, save

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slab_cache import plane_to_read
from HipICMSCTrainingLib.data.slice_cache import read_case
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.files import damaged_checkpoint
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Bone may go on so far beyond what was found.
AROUND_MM = 6.0
#: A result with one of these doubts may lack bone, so it does not tell where there is none.
_LACKING = {"bone_missing", "one_hip", "sides_differ", "sides_uncertain", "volume_implausible"}


def write_plausible(
    folder: RunFolder, cases: Sequence[Case], settings: TrainingSettings, say: Callable[[str], None]
) -> None:
    """Segment the MRIs of a run with its selected weights and keep where bone is plausible.

    Args:
        say: called with a sentence before each MRI.

    Raises:
        HipError: as for an export, for reading a case and for segmenting it.
    """
    with tempfile.TemporaryDirectory() as beside:
        package = Path(beside) / f"selected{ENDING}"
        export_package(folder, package)
        segmenter = HipSegmenter(package, settings.device)
    masks = {}
    for number, case in enumerate(cases, start=1):
        say(f"Segmenting {number} of {len(cases)} MRIs, to know what of it is plausible.")
        image, _ = read_case(case)
        grid = slice_grid(image, plane_to_read(image), settings.slab)
        try:
            result = segmenter.segment(image)
            mask = plausible_bone(result.labels, result.notices, grid)
        except HipError as error:
            if error.kind != "no_hip":
                raise
            mask = np.ones(grid.size[::-1], bool)
        masks[case.name] = np.packbits(mask, axis=-1)
    with replacing(folder.checkpoints.plausible_file) as beside:
        beside.write_bytes(save(masks))


def plausible_bone(labels: sitk.Image, notices: Sequence[Notice], grid: Grid) -> np.ndarray:
    """
    Args:
        labels, notices: of a result; bone is whatever is not 0.

    Returns:
        bool, (slice, row, column) of ``grid``: within :data:`AROUND_MM` of the bones; everywhere, where some may lack.
    """
    if any(notice.kind in _LACKING for notice in notices):
        return np.ones(grid.size[::-1], bool)
    bones = grid.resample(labels, sitk.sitkNearestNeighbor, 0) > 0
    distance = sitk.SignedMaurerDistanceMap(bones, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(distance) <= AROUND_MM


def read_plausible(file: Path, cases: Sequence[Case], shapes: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """What :func:`write_plausible` kept, case by case.

    Args:
        shapes: (slices, rows, columns) of the cases.

    Raises:
        HipError: ``damaged_checkpoint``.
    """
    try:
        kept = load_file(file)
        masks = [
            np.unpackbits(kept[case.name], axis=-1, count=shape[-1]).astype(bool)
            for case, shape in zip(cases, shapes, strict=True)
        ]
    except Exception as error:  # safetensors raises its own kinds
        raise damaged_checkpoint(file, repr(error)) from error
    if [mask.shape for mask in masks] != list(shapes):
        raise damaged_checkpoint(file, "shapes differ from the MRIs'")
    return masks
