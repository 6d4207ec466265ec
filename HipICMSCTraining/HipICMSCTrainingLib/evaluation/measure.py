"""Measures a run's weights on the labelled MRIs of its dataset. These take no part in the training, and nothing is ever
chosen by what comes out here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import ENDING
from HipICMSCLib.reading.volume import read_volume

from HipICMSCTrainingLib.data.corrections import read_corrections
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.evaluation.found import labels_found
from HipICMSCTrainingLib.evaluation.pairs import Pair, masks_beside
from HipICMSCTrainingLib.evaluation.scores import Evaluation, VolumeScores, evaluate_pairs
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.export import Weights, export_package
from HipICMSCTrainingLib.run.folder import RunFolder


@dataclass(frozen=True)
class Measurement:
    """What came out; ``failed`` holds a sentence for each case, by its name, that could not be measured."""

    evaluation: Evaluation
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return self.evaluation.as_dict() | {"failed": self.failed}


def measure_run(
    folder: RunFolder,
    weights: Weights = "selected",
    route: str | None = None,
    progress: Progress = lambda case, share: None,
) -> Measurement:
    """Segment every labelled MRI of the run's dataset as HipICMSC would, and compare the results with the labels.

    Args:
        weights, route: as for :func:`HipICMSCTrainingLib.run.export.export_package`.
        progress: called with the name of the next case and the share of cases that are done.

    Raises:
        HipError: ``no_labelled_mri``; the error of the first case if none could be measured; or as for an export.
    """
    cases = RunDescription.read(folder).dataset.measured()
    if not cases:
        raise HipError("no_labelled_mri", "The dataset of this run has no labelled MRI of the role test.")
    with tempfile.TemporaryDirectory() as beside:
        package = Path(beside) / f"measured{ENDING}"
        export_package(folder, package, weights, route)
        segmenter = HipSegmenter(package)
    compared: list[VolumeScores] = []
    failed: dict[str, HipError] = {}
    for number, case in enumerate(cases):
        progress(case.name, number / len(cases))
        try:
            compared += evaluate_pairs([_segmented(segmenter, case)]).volumes
        except HipError as error:
            failed[case.name] = error
    if not compared:
        raise next(iter(failed.values()))
    sentences = {name: error.sentence for name, error in failed.items()}
    return Measurement(Evaluation(None, compared), sentences)


def _segmented(segmenter: HipSegmenter, case: Case) -> Pair:
    image = read_volume(Path(case.image))
    if case.corrected:
        corrections = read_corrections(case)
        truth, ignored = corrections.classes, [corrections.not_counted]
    else:
        truth, ignored = read_labels(case, image), masks_beside(Path(case.label), f"the mask of {case.name}")
    # As classes: a result with bones of one kind alone could be taken for a map of classes.
    sides = {segment.value: segment.bone for segment in SEGMENTS}
    return Pair(case.name, sitk.ChangeLabel(labels_found(segmenter, image), sides), truth, ignored)
