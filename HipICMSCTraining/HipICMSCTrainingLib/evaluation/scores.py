"""Scores predictions against truth, volume by volume, and tells the result as JSON and as a table.

Two conventions of label maps meet here. The training data say 1 hip bone, 2 femur; the engine says 1 right hip bone,
2 left hip bone, 3 right femur, 4 left femur. ``read_classes`` brings both to the first, by this rule:

- a ``.seg.nrrd`` goes by the names of its segments ("femur"/"femoral", or "hip"/"acetabul…"), and without names by the
  engine's four values;
- any other label map with a value 3 or 4 has the engine's four values;
- any other label map has the two classes.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.preprocessing.geometry import Grid, same_geometry
from HipICMSCLib.reading.volume import VOLUME_ENDINGS, volume_files, volume_stem

from HipICMSCTrainingLib.evaluation.metrics import (
    DEFINITIONS,
    METRICS,
    MaskScores,
    femoral_head_centres,
    largest_components,
    score_mask,
    within_balls,
)

CLASSES = {"hip_bone": HIP_BONE, "femur": FEMUR}
# The two results that are reported side by side.
RESULTS = {
    "raw": "The prediction as it is.",
    "largest_components": "The prediction without strays: of each class the largest component, and the next one if it "
    "has at least a quarter of its voxels (the other side); components are 26-connected.",
}

_ENGINE_VALUES = {segment.value: segment.bone for segment in SEGMENTS}
_CLASS_VALUES = {HIP_BONE: HIP_BONE, FEMUR: FEMUR}
_TRUTH_SUFFIXES = ("_label", ".seg")
_PREDICTION_SUFFIXES = (".seg", "_segmentation", "_seg", "_prediction", "_pred", "_label")
_IGNORE_SUFFIX = "_ignore"


@dataclass(frozen=True)
class Case:
    """One volume to score; each part is a file or an image in memory.

    Attributes:
        name: what the tables call the volume.
        prediction: label map in either convention.
        truth: label map in either convention.
        ignore: nonzero where voxels are left out of the score of both classes.
    """

    name: str
    prediction: Path | sitk.Image
    truth: Path | sitk.Image
    ignore: Path | sitk.Image | None = None


@dataclass(frozen=True)
class VolumeScores:
    """The scores of one volume.

    Attributes:
        name: of the case.
        sources: where prediction, truth and ignore mask came from.
        head_centres_lps_mm: the centres of the region of interest, empty without one.
        scores: result (key of ``RESULTS``) → class (key of ``CLASSES``) → scores.
    """

    name: str
    sources: dict[str, str | None]
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


def roi_note(roi_mm: float) -> str:
    """What a region of interest does to the numbers of the hip bone."""
    return (
        f"hip bone ({roi_mm:g} mm): only within {roi_mm:g} mm of a femoral head centre of the truth; distances run "
        "from the border voxels inside to the whole other border."
    )


def run_evaluate(prediction: Path, truth: Path, roi_mm: float | None = None, output: Path | None = None) -> str:
    """Score two files or two folders; write the JSON to ``output`` and return the table.

    Raises:
        HipError: as ``find_cases`` and ``evaluate_cases``; also if ``output`` cannot be written.
    """
    evaluation = evaluate_cases(find_cases(prediction, truth), roi_mm)
    if output is not None:
        write_text(Path(output), json.dumps(evaluation.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return evaluation.table()


def evaluate_cases(cases: Iterable[Case], roi_mm: float | None = None) -> Evaluation:
    """Score each case, as predicted and without strays.

    Args:
        cases: predictions and truths on equal grids.
        roi_mm: restrict the hip bone to this distance from the femoral head centres of the truth.

    Raises:
        HipError: ``bad_setting``, ``unreadable``, ``unknown_label``, ``overlapping_segments``, ``geometry_mismatch`` or
            ``no_femoral_head`` (of the truth, with ``roi_mm``).
    """
    check_roi(roi_mm)
    return Evaluation(roi_mm, [_evaluate(case, roi_mm) for case in cases])


def check_roi(roi_mm: float | None) -> None:
    """
    Raises:
        HipError: ``bad_setting`` for a radius that is none.
    """
    if roi_mm is not None and not roi_mm > 0:
        raise HipError("bad_setting", f"The radius of the region of interest must be above 0 mm, not {roi_mm:g}.")


def find_cases(prediction: Path, truth: Path) -> list[Case]:
    """Pair two files, or the files of two folders by name.

    ``X.nii.gz`` or ``X_label.nii.gz`` of the truth belongs to ``X``, ``X_seg``, ``X_segmentation``, ``X_pred``,
    ``X_prediction`` or ``X_label`` of the predictions, whatever the ending. In a folder that holds ``_label`` files
    these alone are the truth, the others being their images. ``X_ignore`` beside a truth is used by itself.

    Raises:
        HipError: ``missing_file`` for a missing path or an empty folder, ``unmatched`` for a volume that has no
            partner or several.
    """
    prediction, truth = Path(prediction), Path(truth)
    for path in (prediction, truth):
        if not path.exists():
            raise HipError("missing_file", f"{path} does not exist; check the path.")
    if prediction.is_dir() != truth.is_dir():
        raise HipError("unmatched", f"Give two files or two folders: {prediction} and {truth} are one of each.")
    if truth.is_file():
        name = _stem(truth, _TRUTH_SUFFIXES)
        return [Case(name, prediction, truth, _ignore_mask(truth.parent, name))]

    truths = _by_stem(_truth_files(truth), _TRUTH_SUFFIXES)
    predictions = _by_stem(_label_maps(prediction), _PREDICTION_SUFFIXES)
    for folder, files in ((prediction, predictions), (truth, truths)):
        if not files:
            raise HipError("missing_file", f"The folder {folder} holds no label maps ({', '.join(VOLUME_ENDINGS)}).")
    lonely = [truths[stem].name for stem in truths.keys() - predictions.keys()]
    lonely += [predictions[stem].name for stem in predictions.keys() - truths.keys()]
    if lonely:
        names = ", ".join(sorted(lonely))
        raise HipError("unmatched", f"These files of {prediction} and {truth} have no partner: {names}.")
    return [Case(stem, predictions[stem], truths[stem], _ignore_mask(truth, stem)) for stem in sorted(truths)]


def read_classes(source: Path | sitk.Image, name: str) -> sitk.Image:
    """Read a label map of either convention as uint8 with 1 hip bone and 2 femur, by the rule at the top of this file.

    Args:
        source: a file, or an image in memory (never a ``.seg.nrrd``, so the values decide).
        name: what messages call it.

    Raises:
        HipError: ``unreadable``, ``overlapping_segments`` or ``unknown_label``.
    """
    image = _read(source, name)
    values = _values(image, name)
    if isinstance(source, Path) and source.name.lower().endswith(".seg.nrrd"):
        classes = _segment_classes(image, name) or _ENGINE_VALUES
    else:
        classes = _ENGINE_VALUES if values & {3, 4} else _CLASS_VALUES
    unknown = sorted(values - classes.keys() - {0})
    if unknown:
        raise HipError(
            "unknown_label",
            f"{name} has the label values {', '.join(map(str, unknown))}; known are 1 hip bone and 2 femur, or 1 and 2 "
            "right and left hip bone and 3 and 4 right and left femur.",
        )
    return sitk.ChangeLabel(sitk.Cast(image, sitk.sitkUInt16), {float(k): float(v) for k, v in classes.items()})


def ignore_mask_beside(truth: Path, name: str) -> sitk.Image | None:
    """The mask ``X_ignore`` beside the label map ``X`` or ``X_label``, if there is one.

    Args:
        name: what messages call the mask.

    Raises:
        HipError: ``unreadable``.
    """
    file = _ignore_mask(truth.parent, _stem(truth, _TRUTH_SUFFIXES))
    return None if file is None else _read(file, name)


def _evaluate(case: Case, roi_mm: float | None) -> VolumeScores:
    names = {
        part: None if source is None else str(source) if isinstance(source, Path) else f"the {part} of {case.name}"
        for part, source in (("prediction", case.prediction), ("truth", case.truth), ("ignore", case.ignore))
    }
    truth = read_classes(case.truth, names["truth"])
    prediction = read_classes(case.prediction, names["prediction"])
    _require_same_geometry(prediction, names["prediction"], truth, names["truth"])
    counted = None
    if case.ignore is not None:
        ignore = _read(case.ignore, names["ignore"])
        _require_same_geometry(ignore, names["ignore"], truth, names["truth"])
        counted = ignore == 0
        counted.CopyInformation(truth)  # equal but for the last digits of a file header, over which SimpleITK stumbles

    counted_of = dict.fromkeys(CLASSES, counted)
    heads = []
    if roi_mm is not None:
        heads = femoral_head_centres(truth)
        if not heads:
            raise HipError(
                "no_femoral_head", f"{names['truth']} shows no femoral head in its socket for a region of interest."
            )
        roi = within_balls(truth, heads, roi_mm)
        counted_of["hip_bone"] = roi if counted is None else roi & counted

    scores = {}
    for result, labels in (("raw", prediction), ("largest_components", largest_components(prediction))):
        scores[result] = {
            class_name: score_mask(labels == value, truth == value, counted_of[class_name])
            for class_name, value in CLASSES.items()
        }
    return VolumeScores(case.name, names, heads, scores)


def _require_same_geometry(image: sitk.Image, name: str, truth: sitk.Image, truth_name: str) -> None:
    if not same_geometry(image, truth):
        raise HipError(
            "geometry_mismatch",
            f"{name} and {truth_name} differ in size, spacing, origin or direction; bring them onto one grid.",
            detail="\n".join(f"{each}: {Grid.of(its)}" for each, its in ((name, image), (truth_name, truth))),
        )


def _read(source: Path | sitk.Image, name: str) -> sitk.Image:
    """A 3-D image with one number a voxel."""
    try:
        image = sitk.ReadImage(str(source)) if isinstance(source, Path) else source
    except RuntimeError as error:
        raise HipError("unreadable", f"{name} cannot be read as an image.", str(error)) from error
    if name.lower().endswith(".seg.nrrd") and (image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1):
        raise HipError("overlapping_segments", f"The segments of {name} overlap; save it without overlaps.")
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise HipError("unreadable", f"{name} is not a label map: a 3-D volume with one number a voxel is needed.")
    return image


def _values(image: sitk.Image, name: str) -> set[int]:
    values = np.unique(sitk.GetArrayViewFromImage(image))
    if not np.array_equal(values, np.round(values)) or values[0] < 0 or values[-1] > 65535:
        raise HipError("unknown_label", f"{name} is not a label map: it has values other than small whole numbers.")
    return {int(value) for value in values}


def _segment_classes(image: sitk.Image, name: str) -> dict[int, int]:
    """Label value → class by the names of the segments, empty where the file names none."""
    classes = {}
    number = 0
    while image.HasMetaDataKey(f"Segment{number}_LabelValue") and image.HasMetaDataKey(f"Segment{number}_Name"):
        value = int(image.GetMetaData(f"Segment{number}_LabelValue"))
        classes[value] = _class_of_segment(image.GetMetaData(f"Segment{number}_Name"), name)
        number += 1
    return classes


def _class_of_segment(segment: str, name: str) -> int:
    words = segment.lower()
    is_femur = "femur" in words or "femoral" in words
    is_hip_bone = "hip" in words or "acetabul" in words
    if is_femur == is_hip_bone:
        raise HipError(
            "unknown_label",
            f"The segment '{segment}' of {name} is neither a hip bone nor a femur by its name; rename or remove it.",
        )
    return FEMUR if is_femur else HIP_BONE


def _label_maps(folder: Path) -> list[Path]:
    return [path for path in volume_files(folder) if not volume_stem(path).endswith(_IGNORE_SUFFIX)]


def _truth_files(folder: Path) -> list[Path]:
    files = _label_maps(folder)
    return [path for path in files if volume_stem(path).endswith("_label")] or files


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


def _ignore_mask(folder: Path, stem: str) -> Path | None:
    return next((path for path in volume_files(folder) if volume_stem(path) == stem + _IGNORE_SUFFIX), None)


def heading(metric: str) -> str:
    """What stands above a metric's numbers in a table, with its unit."""
    return {
        "dice": "Dice %",
        "asd_mm": "ASD mm",
        "hd95_mm": "HD95 mm",
        "surface_dice_1mm": "surface Dice 1 mm %",
        "surface_dice_3mm": "surface Dice 3 mm %",
    }[metric]


def number_text(value: float | None, metric: str) -> str:
    """A metric's number in the unit of its heading; '–' where there is none."""
    if value is None:
        return "–"
    return f"{100 * value:.2f}" if "dice" in metric else f"{value:.2f}"


def summary_text(mean: float | None, sd: float | None, missing: int, metric: str) -> str:
    """Mean ± deviation as :func:`number_text`, and how many values are missing from them."""
    text = number_text(mean, metric)
    if sd is not None:
        text += f" ± {number_text(sd, metric)}"
    return f"{text} ({missing} missing)" if missing else text


def markdown_table(rows: list[list[str]]) -> str:
    """The first of ``rows`` is the header. A table whose columns also line up as plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
