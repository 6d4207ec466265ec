"""Measures a run on the two labelled validation MRIs: `python score.py RUN DATA OUT.json`.

F_t is measured beside no adaptation, F_s(x_t), and translation before segmentation, F_s(G_ts(x_t)), of the same run.
The labels only measure here: nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.common.files import write_text
from HipICMSCLib.engine import HipSegmenter
from HipICMSCTrainingLib.evaluation.pairs import Pair
from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder

VOLUMES = ("cptac_C3N-01003_t1cor", "cptac_C3N-02632_t1cor")
ROI_MM = 50.0
#: (weights, route); the first, F_t after the final warm_start.py, is what ships, the second what ICMSC alone gave.
VARIANTS = (
    ("last", "F_t"),
    ("selected", "F_t"),
    ("selected", "F_s(G_ts)"),
    ("selected", "F_s"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    results = {}
    for weights, route in VARIANTS:
        results[f"{route}, {weights} weights"] = scores(RunFolder(chosen.run), chosen.data / "mri_val", weights, route)
    write_text(chosen.output, json.dumps(results, indent=2) + "\n")


def scores(run: RunFolder, folder: Path, weights: str, route: str) -> dict[str, object]:
    """All metrics of the raw network result, and of what the user gets after post-processing."""
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "scored.hipmodel"
        export_package(run, package, weights, route)
        segmenter = HipSegmenter(package, "cpu")
    raw, delivered = [], []
    for name in VOLUMES:
        result = segmenter.segment(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
        truth, ignore = folder / f"{name}_label.nii.gz", folder / f"{name}_ignore.nii.gz"
        raw.append(Pair(name, result.classes, truth, [ignore]))
        delivered.append(Pair(name, result.labels, truth, [ignore]))
    evaluation = evaluate_pairs(delivered, ROI_MM)
    print(f"\n## {route}, {weights} weights, as delivered\n\n{evaluation.table()}", flush=True)
    return {"raw": evaluate_pairs(raw, ROI_MM).as_dict(), "delivered": evaluation.as_dict()}


if __name__ == "__main__":
    main()
