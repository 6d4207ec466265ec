"""Scores predictions against truth, volume by volume, and tells the result as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.anatomy.heads_of_bones import heads_of_bones
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import Grid, difference, on_voxels_of, within_voxels_of
from HipICMSCLib.reading.segmentation import ENDING

from HipICMSCTrainingLib.evaluation.label_classes import read_classes, read_label_map
from HipICMSCTrainingLib.evaluation.metrics import (
    DEFINITIONS,
    METRICS,
    MaskScores,
    largest_components,
    score_mask,
    within_balls,
)
from HipICMSCTrainingLib.evaluation.pairs import Pair
from HipICMSCTrainingLib.evaluation.table import heading, markdown_table, number_text, roi_note, summary_text

CLASSES = {"hip_bone": HIP_BONE, "femur": FEMUR}
# The two results that are reported side by side.
RESULTS = {
    "raw": "The prediction as it is.",
    "largest_components": "The prediction without strays: of each class the largest component, and the next one if it "
    "has at least a quarter of its voxels (the other side); components are 26-connected.",
}


@dataclass(frozen=True)
class VolumeScores:
    """The scores of one volume.

    Attributes:
        name: of the pair.
        sources: where prediction, truth and the masks of what is ignored came from.
        head_centres_lps_mm: the centres of the region of interest, empty without one.
        scores: result (key of ``RESULTS``) → class (key of ``CLASSES``) → scores.
    """

    name: str
    sources: dict[str, str | list[str]]
    head_centres_lps_mm: list[tuple[float, float, float]]
    scores: dict[str, dict[str, MaskScores]]


@dataclass(frozen=True)
class Summary:
    """One metric over the volumes that have it; ``sd`` is the sample standard deviation, None for one volume."""

    mean: float | None
    sd: float | None
    volumes: int
    missing: int


@dataclass(frozen=True)
class Evaluation:
    """The scores of all volumes and the radius (mm) that the hip bone was restricted to, or None."""

    roi_mm: float | None
    volumes: list[VolumeScores]

    def summary(self, result: str, class_name: str, metric: str) -> Summary:
        """Mean and deviation over the volumes; the arguments are keys of RESULTS and CLASSES and one of METRICS."""
        values = [getattr(volume.scores[result][class_name], metric) for volume in self.volumes]
        present = [value for value in values if value is not None]
        return Summary(
            mean=statistics.fmean(present) if present else None,
            sd=statistics.stdev(present) if len(present) > 1 else None,
            volumes=len(present),
            missing=len(values) - len(present),
        )

    def as_dict(self) -> dict:
        """Everything, ready for JSON: settings, definitions in words, volumes, summary."""
        return {
            "settings": {"roi_mm": self.roi_mm, "notes": self._notes()},
            "definitions": DEFINITIONS,
            "results": RESULTS,
            "volumes": [asdict(volume) for volume in self.volumes],
            "summary": {
                result: {
                    class_name: {metric: asdict(self.summary(result, class_name, metric)) for metric in METRICS}
                    for class_name in CLASSES
                }
                for result in RESULTS
            },
        }

    def table(self) -> str:
        """Markdown: a table for each result, then what the numbers mean."""
        parts = [f"{title}\n\n{self._result_table(result)}" for result, title in RESULTS.items()]
        notes = [*self._notes(), *(f"{heading(metric)}: {text}" for metric, text in DEFINITIONS.items())]
        return "\n\n".join([*parts, "\n".join(f"- {note}" for note in notes)]) + "\n"

    def _result_table(self, result: str) -> str:
        rows = [["volume", "bone", *map(heading, METRICS)]]
        for volume in self.volumes:
            for class_name, scores in volume.scores[result].items():
                cells = [number_text(getattr(scores, metric), metric) for metric in METRICS]
                rows.append([volume.name, self._bone(class_name), *cells])
        for class_name in CLASSES:
            summaries = ((metric, self.summary(result, class_name, metric)) for metric in METRICS)
            cells = [summary_text(summary.mean, summary.sd, summary.missing, metric) for metric, summary in summaries]
            rows.append(["mean ± SD", self._bone(class_name), *cells])
        return markdown_table(rows)

    def _bone(self, class_name: str) -> str:
        bone = class_name.replace("_", " ")
        return f"{bone} ({self.roi_mm:g} mm)" if self.roi_mm and class_name == "hip_bone" else bone

    def _notes(self) -> list[str]:
        notes = [
            "mean ± SD: over volumes, sample standard deviation; '–' is a missing value, left out and counted.",
            "an empty prediction has Dice and surface Dice 0, and its distances are missing.",
        ]
        if self.roi_mm:
            notes.append(roi_note(self.roi_mm))
        ignored = [volume.name for volume in self.volumes if volume.sources["ignore"]]
        if ignored:
            notes.append(f"voxels of an ignore mask were left out in: {', '.join(ignored)}.")
        return notes


def evaluate_pairs(pairs: Iterable[Pair], roi_mm: float | None = None) -> Evaluation:
    """Score each pair, as predicted and without strays.

    Args:
        pairs: predictions and truths on equal grids.
        roi_mm: restrict the hip bone to this distance from the femoral head centres of the truth.

    Raises:
        HipError: ``bad_setting``, ``unreadable``, ``unknown_label``, ``overlapping_segments``, ``geometry_mismatch`` or
            ``no_femoral_head`` (of the truth, with ``roi_mm``).
    """
    check_roi(roi_mm)
    return Evaluation(roi_mm, [_evaluate(pair, roi_mm) for pair in pairs])


def check_roi(roi_mm: float | None) -> None:
    """
    Raises:
        HipError: ``bad_setting`` for a radius that is none.
    """
    if roi_mm is not None and not roi_mm > 0:
        raise HipError("bad_setting", f"The radius of the region of interest must be above 0 mm, not {roi_mm:g}.")


def _evaluate(pair: Pair, roi_mm: float | None) -> VolumeScores:
    truth_name, prediction_name = _name(pair.truth, "truth", pair), _name(pair.prediction, "prediction", pair)
    truth, prediction = read_classes(pair.truth, truth_name), read_classes(pair.prediction, prediction_name)
    if truth_name.lower().endswith(ENDING):
        truth = within_voxels_of(prediction, truth) or truth
    prediction = _on_truth(prediction, prediction_name, truth, truth_name)
    mask_names = [_name(mask, "ignore mask", pair) for mask in pair.ignore]
    counted = truth >= 0
    for mask, name in zip(pair.ignore, mask_names, strict=True):
        counted &= _on_truth(read_label_map(mask, name), name, truth, truth_name) == 0

    counted_of = dict.fromkeys(CLASSES, counted)
    heads = []
    if roi_mm is not None:
        found = heads_of_bones(truth)
        heads = [head for head in (found.right, found.left) if head is not None]
        if not heads:
            raise HipError(
                "no_femoral_head", f"{truth_name} shows no femoral head in its socket for a region of interest."
            )
        counted_of["hip_bone"] = within_balls(truth, heads, roi_mm) & counted

    scores = {}
    for result, labels in (("raw", prediction), ("largest_components", largest_components(prediction))):
        scores[result] = {
            class_name: score_mask(labels == value, truth == value, counted_of[class_name])
            for class_name, value in CLASSES.items()
        }
    sources = {"prediction": prediction_name, "truth": truth_name, "ignore": mask_names}
    return VolumeScores(pair.name, sources, heads, scores)


def _name(source: Path | sitk.Image, part: str, pair: Pair) -> str:
    """What messages and reports call a part of a pair."""
    return str(source) if isinstance(source, Path) else f"the {part} of {pair.name}"


def _on_truth(image: sitk.Image, name: str, truth: sitk.Image, truth_name: str) -> sitk.Image:
    """The image on the voxels of the truth, in whatever order its axes are stored; a segmentation may end before."""
    placed = within_voxels_of if name.lower().endswith(ENDING) else on_voxels_of
    same = placed(truth, image)
    if same is None:
        raise HipError(
            "geometry_mismatch",
            f"{name} does not lie on the voxels of {truth_name}: it {difference(truth, image)}; bring them onto one "
            "grid.",
            detail="\n".join(f"{each}: {Grid.of(its)}" for each, its in ((name, image), (truth_name, truth))),
        )
    return same
