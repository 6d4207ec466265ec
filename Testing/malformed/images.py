"""Malformed volumes, segmented as `hipicmsc segment` does it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.preprocessing.geometry import same_geometry
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.provenance import provenance
from HipICMSCLib.results.report import report
from HipICMSCLib.results.segmentation_file import write_segmentation
from HipICMSCLib.worker.preflight import image_findings, inspect, verdict
from HipICMSCLib.worker.run_times import RunTimes

from malformed import meta_files, nifti_files, nrrd_files, odd_files
from malformed.case import Case, Wrong
from malformed.reading import agrees, readings

MAKERS = nifti_files.MAKERS | nrrd_files.MAKERS | meta_files.MAKERS | odd_files.MAKERS

#: Digests of images whose segmentation was found right, for many cases come to the same image.
_segmented: set[int] = set()
#: Further ones are only read and looked at.
MOST_SEGMENTED = int(os.environ.get("MALFORMED_MOST_SEGMENTED", "1000000"))


def attempt(case: Case, output: Path) -> None:
    """Read, look at it before, segment, write."""
    image = read(case)
    digest = hash((image.GetOrigin(), image.GetSpacing(), image.GetDirection(), _bytes(image)))
    if digest in _segmented:
        return
    findings = image_findings(image, str(case.path))
    if len(_segmented) >= MOST_SEGMENTED:
        return
    result = _segmenter().segment(image)
    inspection = inspect(image, _segmenter(), RunTimes(output / "run-times.json"), result.heads)
    if verdict((*findings, *inspection.findings)).level == "stop":
        raise Wrong("segmented, although the card says that it will not work")
    path = output / "hips.seg.nrrd"
    write_segmentation(result.labels, path, provenance(report(result, _segmenter().package)))
    written = sitk.ReadImage(str(path))
    labels = sitk.GetArrayViewFromImage(written)
    if not same_geometry(written, image) or labels.max() > 4:
        raise Wrong("the segmentation does not lie on the voxels of the image")
    if not labels.any() and not result.notices:
        raise Wrong("the segmentation is empty, and nobody says so")
    _segmented.add(digest)


def read(case: Case) -> sitk.Image:
    """The image of a case, compared with what its file says.

    Raises:
        HipError: it was refused.
        Wrong: it was read as what it is not, or the refusal does not name the file.
    """
    try:
        image = read_volume(case.path)
    except HipError as error:
        if HipError("", str(case.path)).sentence[:500] not in error.sentence:
            raise Wrong(f"the refusal does not name the file: {error.sentence}") from error
        raise
    known = [case.truth] if case.truth else readings(case.path)
    if not any(agrees(image, reading) for reading in known):
        raise Wrong(
            f"read as {image.GetSize()} {image.GetSpacing()} {image.GetOrigin()} {image.GetDirection()}, where the "
            f"file says {[reading.to_lps.tolist() for reading in known] or 'nothing valid'}"
        )
    return image


def _bytes(image: sitk.Image) -> bytes:
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(image)).tobytes()


@cache
def _segmenter() -> HipSegmenter:
    return HipSegmenter(Path(os.environ["MALFORMED_MODEL"]), "cpu")
