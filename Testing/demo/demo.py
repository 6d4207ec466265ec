"""`make demo`: segments a hip MRI with the model that ships and shows the result. `demo.py OUT [--mri FILE]`

Without an MRI of the user's it takes the one that ships as sample data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.terminal import ProgressLine
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import DEFAULT_MODEL, find_model
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.overlay import write_overlays
from HipICMSCLib.results.provenance import provenance
from HipICMSCLib.results.report import report
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import write_segmentation

SAMPLE = Path(__file__).parents[2] / "HipICMSC" / "Resources" / "SampleData" / "HipICMSC-MRI-CPTAC-C3N-01875.nii.gz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--mri", type=Path, help="segment this MRI instead of the sample")
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
    if mri is None:
        print(
            f"{SAMPLE.name}: a coronal T1 MRI of both hips (CPTAC-UCEC, CC BY 4.0; attribution in the file beside it)"
        )
    started = time.perf_counter()
    image_path = mri or SAMPLE
    image = read_volume(image_path)
    seconds["reading the MRI"] = time.perf_counter() - started

    started = time.perf_counter()
    segmenter = HipSegmenter(find_model(DEFAULT_MODEL))
    seconds["loading the model"] = time.perf_counter() - started
    line = ProgressLine()
    result = segmenter.segment(image, progress=line.show)
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
