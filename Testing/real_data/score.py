"""Measures packages on the labelled MRIs of the working set: `python score.py DATA OUT.json MODEL [MODEL …]`.

Coronal T1 of both hips (mri_val/), as drawn and with what the readers left out masked, and axial T1 of one hip (sts/,
the two patients that no training sees). The labels only measure here: nothing is chosen by them.

Of the coronal ones the hip bone counts within 50 mm of the heads, and the femur as a whole and, beside that, as near:
the readers drew the marrow of shafts, and where slices cut a shaft's cortex lengthwise no band of it is masked.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.anatomy.heads_of_bones import heads_of_bones
from HipICMSCLib.anatomy.segments import FEMUR
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.engine import HipSegmenter, Quality
from HipICMSCTrainingLib.evaluation.label_classes import read_classes, read_label_map
from HipICMSCTrainingLib.evaluation.metrics import METRICS, score_mask, within_balls
from HipICMSCTrainingLib.evaluation.pairs import Pair
from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs
from make_dataset import MEASURED

CORONAL = ("cptac_C3N-01003_t1cor", "cptac_C3N-02632_t1cor")
ROI_MM = 50.0


@dataclass(frozen=True)
class Volume:
    """A labelled MRI.

    Attributes:
        kind: what is told together.
        masks: voxels that do not count: known to be bone or no bone to other readers, or outside what is known.
        cortex: the dark band outside the hand contours, which the CT labels contain; None where there is none.
    """

    kind: str
    image: Path
    label: Path
    masks: Path
    cortex: Path | None


def volumes_of(data: Path) -> Iterator[Volume]:
    for name in CORONAL:
        folder = data / "mri_val"
        yield Volume(
            "coronal T1 of both hips",
            folder / f"{name}.nii.gz",
            folder / f"{name}_label.nii.gz",
            folder / f"{name}_ignore.nii.gz",
            data / "mri_val_cortex" / f"{name}_cortex.nii.gz",
        )
    for patient in MEASURED:
        parts = (data / "sts" / f"sts_{patient}_{part}.nii.gz" for part in ("t1", "label", "ignore"))
        yield Volume("axial T1 of one hip", *parts, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--quality", choices=("standard", "high"), default="standard")
    chosen = parser.parse_args()
    found = {model.stem: scores(model, chosen.data, chosen.quality) for model in chosen.models}
    write_text(chosen.output, json.dumps(found, indent=2) + "\n")


def scores(model: Path, data: Path, quality: Quality) -> dict[str, object]:
    """Every metric by kind of MRI and by what was masked, of the network's raw result and of what the user gets."""
    segmenter = HipSegmenter(model, "cpu", quality=quality)
    cases: dict[tuple[str, str, str], list[Pair]] = {}
    for volume in volumes_of(data):
        try:
            result = segmenter.segment(sitk.ReadImage(str(volume.image)))
        except HipError as error:
            print(f"\n{model.stem}: {volume.image.name} is left out. {error.sentence}", flush=True)
            continue
        masks: dict[str, tuple[Path, ...]] = {"ignored voxels left out": (volume.masks,)}
        if volume.cortex is not None:
            masks = {"as drawn": ()} | masks
            masks["ignored voxels and cortical band left out"] = (volume.masks, volume.cortex)
        for words, ignored in masks.items():
            for which, labels in (("raw", result.classes), ("delivered", result.labels)):
                case = Pair(volume.image.name.partition(".")[0], labels, volume.label, ignored)
                cases.setdefault((volume.kind, words, which), []).append(case)
    found: dict[str, dict] = {}
    for (kind, words, which), of_kind in cases.items():
        # Of one hip the field of view may end at the head, whose centre is then not known.
        evaluation = evaluate_pairs(of_kind, ROI_MM if kind.startswith("coronal") else None)
        summary = evaluation.as_dict()["summary"]["raw"]
        if kind.startswith("coronal"):
            summary[f"femur within {ROI_MM:g} mm"] = femur_near_heads(of_kind)
        found.setdefault(kind, {}).setdefault(words, {})[which] = summary
        print(f"\n## {model.stem}: {kind}, {words}, {which}\n\n{evaluation.table()}", flush=True)
    return found


def femur_near_heads(cases: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Each metric's mean over volumes in which a head is found, counting as near to it as the hip bone counts."""
    near = []
    for case in cases:
        truth = read_classes(case.truth, case.name)
        counted = within_balls(truth, filter(None, astuple(heads_of_bones(truth))), ROI_MM)
        for mask in case.ignore:
            counted &= read_label_map(mask, mask.name) == 0
        near.append(score_mask(read_classes(case.prediction, case.name) == FEMUR, truth == FEMUR, counted))
    return {
        metric: {"mean": statistics.fmean(getattr(scores, metric) for scores in near), "volumes": len(near)}
        for metric in METRICS
    }


if __name__ == "__main__":
    main()
