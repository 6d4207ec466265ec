"""Malformed label maps, read and checked as `hipicmsc check` and a training do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.reading.volume import read_volume
from HipICMSCTrainingLib.data.check import check_dataset, report_text
from HipICMSCTrainingLib.data.dataset import Case as DatasetCase
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.label_maps import read_labels

from malformed import label_files
from malformed.case import Case, Wrong
from malformed.reading import agrees, readings

MAKERS = label_files.MAKERS
_CROP = CropSettings(spacing_mm=(4.0, 4.0, 4.0), size=(24, 24, 24))


def attempt(case: Case, output: Path) -> None:
    """The check says what is wrong with a map, and a training refuses it for the same reason."""
    image = str(case.path.parent / "mri.nii")
    listed = DatasetCase("mri", "MR", "test", "p", image, str(case.path))
    report = check_dataset(Dataset((listed,)), _CROP)
    report_text(report)
    said = {problem.kind for problem in report.stops if problem.case == "mri"}
    for problem in report.problems:
        if not (problem.sentence.isprintable() and problem.sentence.endswith(".") and problem.fix.endswith(".")):
            raise Wrong(f"no sentence: {problem}")
    try:
        labels = read_labels(listed, read_volume(Path(image)))
    except HipError as error:
        if error.kind not in said:
            raise Wrong(f"a training refuses it ({error.sentence}), but the check says {said}") from error
        raise
    values = sitk.GetArrayFromImage(labels)
    for reading in readings(case.path):
        if agrees(labels, reading) and set(np.unique(reading.voxels)) <= {0, 1, 2}:
            break
    else:
        raise Wrong(f"read as classes {np.unique(values)}, which the file does not say")
