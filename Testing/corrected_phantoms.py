"""Corrected cases of the phantoms of tiny_training: the truth stands for what a person corrected."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.cases.corrected_case import CorrectedCase
from HipICMSCLib.cases.keep import keep_case
from HipICMSCLib.preprocessing.geometry import Grid

ALL = frozenset(segment.segment_id for segment in SEGMENTS)


def corrected_phantom(
    phantoms: Path, number: int, folder: Path, completed: Collection[str] = ALL, sha256: str = "ab" * 32, drawn=None
) -> CorrectedCase:
    """MRI ``number`` of a phantom dataset as a case in ``folder``.

    Args:
        drawn: what the model drew; None is not known.
    """
    image = sitk.ReadImage(str(phantoms / "mri" / f"mri{number:02d}.nii.gz"))
    truth = sitk.ReadImage(str(phantoms / "mri_truth" / f"mri{number:02d}_label.nii.gz"))
    made_by = {"ModelName": "start", "ModelSha256": sha256}
    return keep_case(folder, image, with_sides(truth), made_by, drawn, completed, f"phantom {number}")


def with_sides(truth: sitk.Image) -> sitk.Image:
    """Classes as the values of a result: phantoms lie about the middle, and their first axis points to the left."""
    classes = sitk.GetArrayFromImage(truth)
    labels = np.zeros_like(classes)
    half = classes.shape[2] // 2
    for segment in SEGMENTS:
        side = np.s_[:, :, :half] if segment.side == "right" else np.s_[:, :, half:]
        labels[side][classes[side] == segment.bone] = segment.value
    return Grid.of(truth).image(labels.astype(np.uint8))
