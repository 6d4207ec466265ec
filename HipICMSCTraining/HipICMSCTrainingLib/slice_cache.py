"""Each volume preprocessed once and kept as coronal slices in the run folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.errors import HipError
from HipICMSCLib.femoral_heads import find_femoral_heads
from HipICMSCLib.files import replacing
from HipICMSCLib.geometry import coronal_slices, same_geometry
from HipICMSCLib.preprocessing import prepare
from HipICMSCLib.segmenter import CLASS_NAMES
from HipICMSCLib.volume_input import looks_like_ct, read_volume
from safetensors.numpy import load_file, save

from HipICMSCTrainingLib.dataset import Case
from HipICMSCTrainingLib.training_settings import TrainingSettings

#: slices (slice, row, column) float16 in [-1, 1]; covered bool; labels uint8 (CT only); position_mm float32.
CachedVolume = dict[str, np.ndarray]


def cached_volume(case: Case, settings: TrainingSettings, folder: Path) -> CachedVolume:
    """The slices of ``case``, made now or read from ``folder`` where file and settings are still the same.

    Raises:
        HipError: whatever is wrong with the image or its label map, naming the case.
    """
    file = folder / f"{case.name}-{_fingerprint(case, settings)}.safetensors"
    if not file.exists():
        volume = _prepare_case(case, settings)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside:
            beside.write_bytes(save(volume))
    return load_file(file)


def read_labels(case: Case, image: sitk.Image) -> sitk.Image:
    """The label map of a CT case, checked against its image.

    Raises:
        HipError: ``geometry_mismatch``, ``unknown_labels``, ``empty_labels``, or as for reading a volume.
    """
    labels = read_volume(Path(case.label))
    if not same_geometry(image, labels):
        raise HipError(
            "geometry_mismatch",
            f"The label map of {case.name} does not lie on the same voxels as its CT; resample it to the CT first.",
        )
    present = set(np.unique(sitk.GetArrayViewFromImage(labels)).tolist())
    unknown = sorted(present - set(range(len(CLASS_NAMES))))
    if unknown:
        raise HipError(
            "unknown_labels",
            f"The label map of {case.name} has the value {unknown[0]:g}; only 0 background, 1 hip bone and 2 proximal "
            "femur are known.",
        )
    missing = [name for value, name in enumerate(CLASS_NAMES) if value not in present]
    if missing:
        raise HipError("empty_labels", f"The label map of {case.name} has no voxel of {missing[0]}.")
    return sitk.Cast(labels, sitk.sitkUInt8)


def _prepare_case(case: Case, settings: TrainingSettings) -> CachedVolume:
    try:
        image = read_volume(Path(case.image))
        labels = read_labels(case, image) if case.label else None
        if case.modality == "MR" and looks_like_ct(image):
            raise HipError("ct_given", f"{case.name} is listed as an MRI, but its intensities are those of a CT.")
        heads = find_femoral_heads(image)
    except HipError as error:
        raise HipError(error.kind, f"Case {case.name}: {error.sentence}", error.detail) from error
    prepared = prepare(image, heads, case.modality, settings.crop, settings.intensity)
    volume: CachedVolume = {
        "slices": prepared.slices.astype(np.float16),
        "covered": prepared.covered,
        "position_mm": prepared.position_mm.astype(np.float32),
    }
    if labels is not None:
        on_grid = prepared.grid.resample(labels, sitk.sitkLabelLinear, 0)
        volume["labels"] = coronal_slices(on_grid)
    # safetensors writes the memory as it lies, so a transposed view must be laid out first.
    return {name: np.ascontiguousarray(array) for name, array in volume.items()}


def _fingerprint(case: Case, settings: TrainingSettings) -> str:
    files = [Path(path) for path in (case.image, case.label) if path]
    for file in files:
        if not file.exists():
            raise HipError("missing_file", f"Case {case.name}: there is no file {file} any more.")
    described = [
        [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        case.modality,
        asdict(settings.crop),
        asdict(settings.intensity),
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
