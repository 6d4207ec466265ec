"""The ground that a model stands on: on what kind of MRI it was measured, and whether another one is of that kind.

A model package may say so in its manifest, as ``training["ground"]``: an object, or a list of such. Nothing here
needs a label or torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.field_of_view import shows_one_hip
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.common.voxels import patient_axis
from HipICMSCLib.preprocessing.geometry import PLANES, slice_axis

#: The brightest 1 % inside the body against the fat below the skin: 1.0 to 1.6 in 20 real T1 MRIs (15 coronal, 5
#: axial), 1.9 in a VIBE, 4 where fat is suppressed (phantoms).
LARGEST_OVER_FAT = 1.7

# The look at the contrast.
_VOXEL_MM = 3.0
#: Of the brightest intensities; what is darker is air.
_LEAST_OF_BODY = 0.1
#: How deep below the skin fat lies, and from where on it is other tissue as well.
_FAT_DEPTH_MM = (4.0, 12.0)
_INSIDE_MM = 20.0


@dataclass(frozen=True)
class Ground:
    """The MRIs on which a model was measured.

    Attributes:
        plane: of their slices: coronal, axial or sagittal.
        contrast: T1, or what else its makers call it.
        body_part: "both hips" or "one hip".
        measured: how well it did there, as a sentence; empty where its makers do not say.
    """

    plane: str = "coronal"
    contrast: str = "T1"
    body_part: str = "both hips"
    measured: str = ""

    def in_words(self) -> str:
        return f"{self.plane} {self.contrast} MRIs of {self.body_part}"

    def judged_by(self) -> list[str]:
        """What :func:`differences` looks at; an MRI can differ from these in all else."""
        of_contrast = ["contrast"] if self.is_t1 else []
        return ["plane", *of_contrast, "field of view"] if self.shows_both_hips else ["plane", *of_contrast]

    @property
    def is_t1(self) -> bool:
        return self.contrast.lower().startswith("t1")

    @property
    def shows_both_hips(self) -> bool:
        return self.body_part == "both hips"


def grounds_of(manifest: Mapping[str, Any]) -> tuple[Ground, ...]:
    """What a package says of its grounds, one or several; none where it says nothing, or nothing that is understood.

    Args:
        manifest: model.json.
    """
    training = manifest.get("training")
    stated = training.get("ground") if isinstance(training, Mapping) else None
    try:
        listed = stated if isinstance(stated, list | tuple) else [stated] if stated is not None else []
        return tuple(from_json(Ground, each) for each in listed)
    except HipError:  # written by a newer version
        return ()


def differences(image: sitk.Image, ground: Ground) -> list[str]:
    """In what an MRI differs from those that a model was measured on, each in a few words; none where it is alike.

    Args:
        image: any orientation and spacing, LPS mm.
    """
    found = []
    plane = _plane(image)
    if plane != ground.plane:
        found.append(f"its slices are {plane}" if plane else "it is a volume without thick slices")
    if ground.is_t1 and not fat_is_brightest(image):
        found.append("its contrast is not that of a T1 MRI")
    if ground.shows_both_hips and shows_one_hip(image):
        found.append("it shows less than both hips")
    return found


def fat_is_brightest(image: sitk.Image) -> bool:
    """Whether nothing in the body is much brighter than the fat below the skin, as on T1: suppressed fat is dark, and
    on T2 fluid is brighter."""
    shrunk = sitk.BinShrink(
        sitk.Cast(image, sitk.sitkFloat32), [max(1, round(_VOXEL_MM / spacing)) for spacing in image.GetSpacing()]
    )
    voxels = sitk.GetArrayFromImage(shrunk)
    bright = sitk.GetImageFromArray((voxels > _LEAST_OF_BODY * np.percentile(voxels, 99)).astype(np.uint8))
    bright.CopyInformation(shrunk)
    whole = sitk.BinaryFillhole(sitk.BinaryMorphologicalOpening(bright, [1, 1, 1]))
    body = sitk.RelabelComponent(sitk.ConnectedComponent(whole)) == 1
    depth = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(body, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    )
    fat = voxels[(depth > _FAT_DEPTH_MM[0]) & (depth < _FAT_DEPTH_MM[1])]
    inside = voxels[depth > _INSIDE_MM]
    if not fat.size or not inside.size:
        return False
    return bool(np.percentile(inside, 99) < LARGEST_OVER_FAT * np.percentile(fat, 75))


def _plane(image: sitk.Image) -> str:
    """Empty where voxels are about even."""
    axis = slice_axis(image)
    return "" if axis is None else PLANES[patient_axis(image, axis)]
