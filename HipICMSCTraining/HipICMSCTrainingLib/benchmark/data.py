"""How large a benchmark is, and the synthetic data that it measures on (method.md, A phantom benchmark)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.translator import TranslatorSettings
from HipICMSCLib.preprocessing.geometry import CropSettings

from HipICMSCTrainingLib.data.dataset import Case, Dataset, Role
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.methods.contrast_prior import ContrastPriorSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.phantom.dataset import FULL, SMOKE, Resolution, write_dataset
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings

Contrast = Literal["t1", "fat-suppressed"]


@dataclass(frozen=True)
class Subjects:
    """How many synthetic people there are of each domain; those that are left over are test cases."""

    each: int
    ct_train: int
    ct_val: int
    mr_train: int
    mr_val: int

    def role(self, modality: Literal["CT", "MR"], number: int) -> Role:
        train, val = (self.ct_train, self.ct_val) if modality == "CT" else (self.mr_train, self.mr_val)
        return "train" if number < train else "val" if number < train + val else "test"


@dataclass(frozen=True)
class Scale:
    """What a benchmark costs: settings of every training, and the synthetic data that go with them.

    Attributes:
        contrast_prior: on synthetic data, whether a guess of their contrast holds all that translates
            (methods/contrast_prior.py).
    """

    settings: TrainingSettings
    subjects: Subjects
    resolution: Resolution
    contrast_prior: bool = False


# Rows and columns are multiples of 8, as SIFA needs them; the paper has 300 columns.
SCALES: dict[str, Scale] = {
    # The paper's networks, schedule and numbers of volumes; for a GPU.
    "paper": Scale(
        replace(PRESETS["paper"], crop=CropSettings(size=(304, 160, 240))),
        Subjects(19, ct_train=15, ct_val=3, mr_train=10, mr_val=2),
        FULL,
    ),
    # Slices of 96 × 80 pixels and narrow networks: an hour or two a seed on two CPU cores. Translation has few steps,
    # so they are long ones, and without a guess of the contrast all that translates would leave bright what is bright.
    "phantom-cpu": Scale(
        replace(
            PRESETS["cpu-small"],
            stage1_epochs=4,
            stage2_epochs=4,
            steps_per_epoch=600,
            learning_rate_translation=5e-4,
            crop=CropSettings(spacing_mm=(3.9, 4.5, 3.0), size=(96, 44, 80)),
            segmenter=SegmenterSettings(width=16, norm="group"),
            translator=TranslatorSettings(width=16, blocks=3),
            discriminator_width=32,
        ),
        Subjects(12, ct_train=9, ct_val=2, mr_train=6, mr_val=2),
        Resolution(ct_mm=(1.5, 2.0, 1.5), mri_in_plane_mm=1.2, mri_slice_mm=4.5),
        contrast_prior=True,
    ),
    # Shows within minutes that everything works together; its numbers say nothing.
    "smoke": Scale(
        replace(PRESETS["smoke"], crop=CropSettings(spacing_mm=(5.0, 5.0, 5.0), size=(80, 40, 48))),
        Subjects(3, ct_train=1, ct_val=1, mr_train=1, mr_val=1),
        SMOKE,
    ),
}


def contrast_priors(contrast: Contrast) -> dict[str, dict[str, Any]]:
    """The settings by which a guess of the contrast holds each method that translates, by method and name."""
    translating = [name for name, method in METHODS.items() if issubclass(method.Settings, ContrastPriorSettings)]
    return {name: {"contrast_prior": contrast} for name in translating}


def settings_of_preset(name: str, synthetic: bool) -> TrainingSettings:
    """The settings of a preset, which need not be a scale where the user has data.

    Raises:
        HipError: ``unknown_preset``.
    """
    presets = ({} if synthetic else PRESETS) | {scale: SCALES[scale].settings for scale in SCALES}
    if name not in presets:
        raise HipError("unknown_preset", f"There is no preset {name}; there are {', '.join(presets)}.")
    return presets[name]


@dataclass(frozen=True)
class BenchmarkData:
    """The same cases twice.

    Attributes:
        adaptation: without a label of any MRI in training or validation.
        labelled: with labels of all of them, for the target model; None where not all have labels.
    """

    adaptation: Dataset
    labelled: Dataset | None

    @property
    def measured_cases(self) -> list[Case]:
        """The labelled MRIs that take no part in a training."""
        return measured_cases(self.adaptation)


def measured_cases(dataset: Dataset) -> list[Case]:
    """The labelled MRIs that take no part in a training."""
    return [case for case in dataset.of("MR", "test") if case.label]


def read_data(file: Path) -> BenchmarkData:
    """A dataset.json, in which MRIs in training and validation may have labels for the target model.

    Raises:
        HipError: as :func:`dataset_from_file`; ``no_labelled_mri`` without a test case to measure.
    """
    try:
        labelled = dataset_from_file(file, labelled_mri=True)
    except HipError as error:
        if error.kind != "mri_without_label":
            raise
        data = BenchmarkData(dataset_from_file(file), None)
    else:
        data = BenchmarkData(Dataset(tuple(_as_unlabelled(case) for case in labelled.cases)), labelled)
    if not data.measured_cases:
        raise HipError("no_labelled_mri", f"{file} has no labelled MRI of the role test, so nothing can be measured.")
    return data


def write_phantoms(folder: Path, scale: Scale, seed: int, contrast: Contrast) -> Path:
    """Synthetic CTs and MRIs of different people and of different populations, made now unless they are in ``folder``.

    Nothing else may be in the folder's parent: what a killed process left there is removed.

    Returns:
        Their dataset.json, in which all MRIs have labels.

    Raises:
        HipError: as :func:`write_dataset`.
    """
    file = folder / "dataset.json"
    if not (folder / "subjects.json").exists():  # the folder appears whole or not at all
        for half_written in folder.parent.glob(f".????????-{folder.name}"):
            shutil.rmtree(half_written)
        fat_suppressed = contrast == "fat-suppressed"
        write_dataset(folder, scale.subjects.each, seed, resolution=scale.resolution, fat_suppressed=fat_suppressed)
    if not file.exists():
        write_dataset_file(Dataset(tuple(_cases(folder.resolve(), scale.subjects))), file)
    return file


def _cases(folder: Path, subjects: Subjects) -> list[Case]:
    cases = []
    for number in range(subjects.each):
        for modality, images, labels in (("CT", "ct", "ct"), ("MR", "mri", "mri_truth")):
            name = f"{images}{number:02d}"
            image, label = folder / images / f"{name}.nii.gz", folder / labels / f"{name}_label.nii.gz"
            cases.append(Case(name, modality, subjects.role(modality, number), name, str(image), str(label)))
    return cases


def _as_unlabelled(case: Case) -> Case:
    return replace(case, label=None) if case.modality == "MR" and case.role != "test" else case
