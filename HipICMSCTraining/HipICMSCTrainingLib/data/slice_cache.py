"""Each volume preprocessed once and kept as coronal slices in the run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import exists
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import coronal_slices
from HipICMSCLib.preprocessing.image_check import no_mri
from HipICMSCLib.reading.volume import read_volume

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.kept_arrays import Arrays, kept_arrays
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: slices (slice, row, column) float16 in [-1, 1]; covered bool; labels uint8 (CT only); position_mm float32.
CachedVolume = Arrays
_KINDS = {"slices": (3, np.float16), "covered": (3, np.bool_), "position_mm": (1, np.float32)}
_KIND_OF_LABELS = {"labels": (3, np.uint8)}


def cached_volume(case: Case, settings: TrainingSettings, folder: Path) -> CachedVolume:
    """The slices of ``case``, made now or read from ``folder`` where file and settings are still the same.

    Raises:
        HipError: whatever is wrong with the image or its label map, naming the case.
    """
    columns, _, rows = settings.crop.size

    def fit(volume: CachedVolume) -> bool:
        shape = (len(volume["position_mm"]), rows, columns)
        return shape[0] > 0 and all(array.shape == shape for array in volume.values() if array.ndim == 3)

    kinds = _KINDS | (_KIND_OF_LABELS if case.label else {})
    return kept_arrays(cache_file(case, settings, folder), kinds, fit, lambda: _prepare_case(case, settings))


def cache_file(case: Case, settings: TrainingSettings, folder: Path) -> Path:
    """Where the slices of ``case`` are kept, whether or not they are there yet.

    Raises:
        HipError: ``missing_file``, naming the case.
    """
    # Without the case's name, which may be a patient's, or a path where run.json is somebody else's.
    return folder / f"{fingerprint(case, settings.crop, settings.intensity)}.safetensors"


def read_case(case: Case) -> tuple[sitk.Image, sitk.Image | None]:
    """The image of a case and, where it has one, its label map (1 hip bone, 2 femur).

    Raises:
        HipError: whatever is wrong with them, naming the case.
    """
    with naming(case):
        image = read_volume(Path(case.image))
        labels = read_labels(case, image) if case.label else None
        judged = no_mri(image) if case.modality == "MR" else None
        if judged is not None:
            other = "a label map" if judged.kind == "labels_given" else "a CT"
            raise HipError(judged.kind, f"{case.name} is listed as an MRI, but its values are those of {other}.")
    return image, labels


def _prepare_case(case: Case, settings: TrainingSettings) -> CachedVolume:
    image, labels = read_case(case)
    with naming(case):
        heads = find_femoral_heads(image)
    prepared = prepare(image, heads, case.modality, settings.crop, settings.intensity)
    volume: CachedVolume = {
        "slices": prepared.slices.astype(np.float16),
        "covered": prepared.covered,
        "position_mm": prepared.position_mm.astype(np.float32),
    }
    if labels is not None:
        on_grid = prepared.grid.resample(labels, sitk.sitkLabelLinear, 0)
        volume["labels"] = coronal_slices(on_grid)
    return volume


@contextmanager
def naming(case: Case) -> Iterator[None]:
    """What is wrong, said with the name of the case."""
    try:
        yield
    except HipError as error:
        sentence = _without_folders(error.sentence, case)
        raise HipError(error.kind, f"Case {case.name}: {sentence}", error.detail) from error


def _without_folders(sentence: str, case: Case) -> str:
    """Sentences stay in the run, and folders have patients' names; run.json says where the files are."""
    for path in filter(None, (case.image, case.label, case.corrected)):
        sentence = sentence.replace(path, Path(path).name)
    return sentence


def fingerprint(case: Case, *described: object) -> str:
    """A word that changes with the files of a case, what its labels mean, and what else is described.

    Args:
        described: words, and the settings (dataclasses) by which the case is prepared.

    Raises:
        HipError: ``missing_file``, naming the case.
    """
    files = [Path(path) for path in (case.image, case.label) if path]
    for file in files:
        if not exists(file):
            raise HipError("missing_file", f"Case {case.name}: there is no file {file.name} any more; put it back.")
    values = [
        [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        case.modality,
        asdict(case.label_values) if case.label else None,
        *(part if isinstance(part, str) else asdict(part) for part in described),
    ]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
