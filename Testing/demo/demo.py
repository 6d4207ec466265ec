"""`make demo`: segments a hip MRI with a model that ships and shows the result. `demo.py OUT [--mri FILE]`

Without an MRI of the user's it makes a synthetic one, whose truth is known.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing, write_text
from HipICMSCLib.common.terminal import ProgressLine
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import DEFAULT_MODEL, PHANTOM_MODEL, find_model
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.overlay import write_overlays
from HipICMSCLib.results.provenance import provenance
from HipICMSCLib.results.report import report
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import write_segmentation
from HipICMSCTrainingLib.evaluation.scores import Case, evaluate_cases
from HipICMSCTrainingLib.phantom.subject import make_mri

SEED, SUBJECT = 2026, 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--mri", type=Path, help="segment this MRI instead of a synthetic one")
    chosen = parser.parse_args()
    try:
        run(chosen.output, chosen.mri)
    except HipError as error:
        print(f"demo: {error.sentence}", file=sys.stderr)
        return 2
    return 0


def run(folder: Path, mri: Path | None) -> None:
    """Segment, write everything into ``folder`` and say what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    truth = None
    if mri is None:
        started = time.perf_counter()
        subject = make_mri(SEED, SUBJECT)
        image, truth, image_path = subject.image, subject.label, folder / "hip-mri.nrrd"
        with replacing(image_path) as beside:
            sitk.WriteImage(image, str(beside), useCompression=True)
        seconds["making the synthetic MRI"] = time.perf_counter() - started
        print(f"{image_path}: a synthetic T1 MRI of both hips, subject {SUBJECT} of seed {SEED}")
    else:
        image, image_path = read_volume(mri), mri

    started = time.perf_counter()
    segmenter = HipSegmenter(find_model(PHANTOM_MODEL if mri is None else DEFAULT_MODEL))
    seconds["loading the model"] = time.perf_counter() - started
    line = ProgressLine()
    result = segmenter.segment(image, progress=lambda stage, share: line.show(share, stage))
    line.close()
    seconds |= result.seconds

    started = time.perf_counter()
    segmentation = folder / "hips.seg.nrrd"
    about = report(result, segmenter.package)
    write_segmentation(result.labels, segmentation, provenance(about))
    write_text(folder / "report.json", json.dumps(about, indent=2) + "\n")
    pictures = write_overlays(image, result.labels, result.heads, folder, "hips")
    seconds["writing results and pictures"] = time.perf_counter() - started
    started = time.perf_counter()
    scene = _write_scene(image_path, segmentation, folder / "hips.mrb")
    seconds["writing the Slicer scene"] = time.perf_counter() - started

    print(f"\nModel: {about['model']['name']} on {result.device} in {result.precision}")
    for name, millilitres in about["volumes_ml"].items():
        print(f"  {name}: {millilitres:g} ml")
    for sentence in (*(notice.sentence for notice in result.notices), *result.fallbacks):
        print(f"  Note: {sentence}")
    if truth is not None:
        print("\nAgainst the synthetic truth:")
        print(evaluate_cases([Case("synthetic MRI", result.labels, truth)]).table())
    print("\nSeconds by stage:")
    for stage, value in seconds.items():
        print(f"  {stage}: {value:.1f}")
    print("\nOpen in 3D Slicer:", scene)
    for path in (segmentation, *pictures, folder / "report.json"):
        print(" ", path)
    print(RESEARCH_USE)


def _write_scene(image: Path, segmentation: Path, scene: Path) -> Path:
    """In a process of its own, since Slicer's runtime should not share one with torch."""
    command = [sys.executable, str(Path(__file__).with_name("scene.py")), str(image), str(segmentation), str(scene)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise HipError("no_scene", "The Slicer scene could not be written.", run.stderr)
    return scene


if __name__ == "__main__":
    sys.exit(main())
