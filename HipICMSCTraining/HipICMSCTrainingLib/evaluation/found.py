"""What a model finds in an MRI that is measured: nothing, where it finds no hip, so that this counts against it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter, Result
from HipICMSCLib.preprocessing.geometry import Grid


def labels_found(segmenter: HipSegmenter, image: sitk.Image) -> sitk.Image:
    """Segments, as a user gets them.

    Raises:
        HipError: as for segmenting, but for ``no_hip``.
    """
    result = _result(segmenter, image, None)
    return _nothing(image) if result is None else result.labels


def classes_found(segmenter: HipSegmenter, image: sitk.Image, heads: FemoralHeads) -> sitk.Image:
    """Classes, as the network itself says.

    Raises:
        HipError: as for segmenting, but for ``no_hip``.
    """
    result = _result(segmenter, image, heads)
    return _nothing(image) if result is None else result.classes


def _result(segmenter: HipSegmenter, image: sitk.Image, heads: FemoralHeads | None) -> Result | None:
    try:
        return segmenter.segment(image, heads)
    except HipError as error:
        if error.kind != "no_hip":
            raise
        return None


def _nothing(image: sitk.Image) -> sitk.Image:
    return Grid.of(image).image(np.zeros(image.GetSize()[::-1], np.uint8))
