"""Reads a DICOM segmentation object, ours or another program's, by highdicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import image_at


def read_dicom_seg(path: Path, name: str) -> tuple[sitk.Image, dict[int, str]]:
    """The label image of a DICOM SEG whose segments do not overlap, and the segments' names by value.

    Raises:
        HipError: ``unreadable`` or ``overlapping_segments``.
    """
    import highdicom

    try:
        made = highdicom.seg.segread(path)
        volume = made.get_volume(combine_segments=True, dtype=np.uint8)
        names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in made.SegmentSequence}
    except Exception as error:  # pydicom raises many kinds for a damaged file
        if "overlap" in str(error).lower():
            raise HipError("overlapping_segments", f"The segments of {name} overlap; save it without.") from error
        raise HipError("unreadable", f"{name} is no DICOM segmentation that can be read.", repr(error)) from error
    voxels, to_lps = np.asarray(volume.array), volume.get_affine("LPS")[:, [2, 1, 0, 3]]
    if np.linalg.det(to_lps[:3, :3]) < 0:  # highdicom counts slices so that its own order of axes is right-handed
        to_lps[:3, 3] += (len(voxels) - 1) * to_lps[:3, 2]
        to_lps[:3, 2] *= -1
        voxels = voxels[::-1]
    return image_at(voxels, to_lps, name), names
