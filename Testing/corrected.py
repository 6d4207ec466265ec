"""A result and what a person made of it, for the tests of cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from ball_hips import ball_image
from HipICMSCLib.cases.corrected_case import CorrectedCase
from HipICMSCLib.cases.keep import keep_case

MADE_BY = {"ModelName": "balls", "ModelSha256": "ab" * 32}
#: Turned about all three axes.
_TURNS = (0.3, -0.2, 0.15)


def hips(oblique: bool = False) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """An MRI with two balls, the model's labels of it, and these with the left femur corrected."""
    turn = sitk.Euler3DTransform((0, 0, 0), *_TURNS)
    image = ball_image(np.array(turn.GetMatrix()).reshape(3, 3) if oblique else None)
    bright = sitk.GetArrayFromImage(image) > 600
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(bright.astype(np.uint8))))
    right = np.argmax(np.bincount(pieces.ravel())[1:]) + 1  # the larger ball
    made = np.where(pieces == right, 3, np.where(bright, 4, 0)).astype(np.uint8)
    corrected = made.copy()
    corrected[:, :, : made.shape[2] // 2][corrected[:, :, : made.shape[2] // 2] == 4] = 0
    left = np.argwhere(corrected == 4)
    corrected[tuple(left[: len(left) // 4].T)] = 0
    return (image, *(_like(image, voxels) for voxels in (made, corrected)))


def case_in(folder: Path, source: str = "a.nii.gz") -> CorrectedCase:
    """A case with one bone completed and one edited."""
    image, original, labels = hips()
    return keep_case(folder, image, labels, MADE_BY, original, {"RightFemur"}, source)


def _like(image: sitk.Image, voxels: np.ndarray) -> sitk.Image:
    labels = sitk.GetImageFromArray(voxels)
    labels.CopyInformation(image)
    return labels
