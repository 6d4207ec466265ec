"""Which prediction belongs to which truth, and which masks to both: by the names of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import VOLUME_ENDINGS, volume_files, volume_stem
from HipICMSCLib.results.dicom_seg import ENDING as DICOM_ENDING

from HipICMSCTrainingLib.data.cases_of_folders import LABEL_ENDINGS
from HipICMSCTrainingLib.evaluation.ignore_masks import IGNORE_SUFFIX, masks_of
from HipICMSCTrainingLib.evaluation.label_classes import read_label_map

_LABELS = tuple(ending for ending in LABEL_ENDINGS if "label" in ending)
#: The longest first, for the first that fits is taken off.
_TRUTH_SUFFIXES = tuple(sorted(LABEL_ENDINGS, key=len, reverse=True))
_PREDICTION_SUFFIXES = (*_TRUTH_SUFFIXES, "_segmentation", "_seg", "_prediction", "_pred")


@dataclass(frozen=True)
class Pair:
    """A prediction and the truth of one volume; each part is a file or an image in memory.

    Attributes:
        name: what the tables call the volume.
        prediction: label map in either convention.
        truth: label map in either convention.
        ignore: masks, each nonzero where voxels are left out of the scores of both classes.
    """

    name: str
    prediction: Path | sitk.Image
    truth: Path | sitk.Image
    ignore: Sequence[Path | sitk.Image] = ()


def find_pairs(prediction: Path, truth: Path, ignore: Sequence[str] | None = None) -> list[Pair]:
    """Pair two files, or the files of two folders by name.

    ``X.nii.gz`` or ``X_label.nii.gz`` of the truth belongs to ``X``, ``X_seg``, ``X_segmentation``, ``X_pred``,
    ``X_prediction`` or ``X_label`` of the predictions, whatever the ending. In a folder that holds ``_label`` files
    these alone are the truth, the others being their images; ``X.seg.nrrd`` is that of ``X.nii.gz`` beside it.

    Args:
        ignore: as :func:`masks_of`; without it ``X_ignore`` beside a truth is used.

    Raises:
        HipError: ``missing_file`` for a missing path or an empty folder, ``unmatched`` for a volume that has no
            partner or several; as :func:`masks_of`.
    """
    prediction, truth = Path(prediction), Path(truth)
    for path in (prediction, truth):
        if not path.exists():
            raise HipError("missing_file", f"{path} does not exist; check the path.")
    if prediction.is_dir() != truth.is_dir():
        raise HipError("unmatched", f"Give two files or two folders: {prediction} and {truth} are one of each.")
    if truth.is_file():
        name = _stem(truth, _TRUTH_SUFFIXES)
        return [Pair(name, prediction, truth, masks_of([name], truth.parent, ignore)[name])]

    no_truth = (IGNORE_SUFFIX, *(suffix for suffix in ignore or () if suffix.startswith("_")))
    truths = _by_stem(_truth_files(truth, no_truth), _TRUTH_SUFFIXES)
    predictions = _by_stem(_label_maps(prediction, no_truth), _PREDICTION_SUFFIXES)
    for folder, files in ((prediction, predictions), (truth, truths)):
        if not files:
            raise HipError("missing_file", f"The folder {folder} holds no label maps ({', '.join(VOLUME_ENDINGS)}).")
    lonely = [truths[stem].name for stem in truths.keys() - predictions.keys()]
    lonely += [predictions[stem].name for stem in predictions.keys() - truths.keys()]
    if lonely:
        names = ", ".join(sorted(lonely))
        raise HipError("unmatched", f"These files of {prediction} and {truth} have no partner: {names}.")
    masks = masks_of(truths, truth, ignore)
    return [Pair(stem, predictions[stem], truths[stem], masks[stem]) for stem in sorted(truths)]


def masks_beside(truth: Path, name: str) -> list[sitk.Image]:
    """The mask ``X_ignore`` beside the label map ``X`` or ``X_label``, or none.

    Args:
        name: what messages call it.

    Raises:
        HipError: ``unreadable``.
    """
    stem = _stem(truth, _TRUTH_SUFFIXES)
    return [read_label_map(file, name) for file in masks_of([stem], truth.parent)[stem]]


def _label_maps(folder: Path, masks: tuple[str, ...]) -> list[Path]:
    """All volumes and DICOM segmentations but those whose names end as masks do."""
    of_dicom = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(DICOM_ENDING)]
    return [path for path in [*volume_files(folder), *of_dicom] if not volume_stem(path).endswith(masks)]


def _truth_files(folder: Path, masks: tuple[str, ...]) -> list[Path]:
    files = _label_maps(folder, masks)
    labels = [path for path in files if volume_stem(path).endswith(_LABELS)]
    if labels:
        return labels
    labelled = {_stem(path, _TRUTH_SUFFIXES) for path in files if volume_stem(path).endswith(_TRUTH_SUFFIXES)}
    return [path for path in files if volume_stem(path) not in labelled]


def _by_stem(files: Sequence[Path], suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        stem = _stem(path, suffixes)
        if stem in found:
            raise HipError("unmatched", f"{found[stem]} and {path} are both for the volume {stem}; keep one of them.")
        found[stem] = path
    return found


def _stem(path: Path, suffixes: tuple[str, ...]) -> str:
    """The file's name without its ending and without the first of ``suffixes`` that it ends in."""
    stem = volume_stem(path)
    return next((stem[: -len(suffix)] for suffix in suffixes if stem.endswith(suffix)), stem)
