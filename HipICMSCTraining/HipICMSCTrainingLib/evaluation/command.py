"""`hipicmsc evaluate` and `hipicmsc measure`: results against truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from HipICMSCLib.common.files import check_may_write, write_text
from HipICMSCLib.common.terminal import progress_shown


def add_evaluation_commands(commands: Any) -> None:
    """Add them to the subparsers of ``hipicmsc``."""
    measure = commands.add_parser("measure", help="measure a run's weights on the labelled MRIs of its dataset")
    measure.add_argument("folder", type=Path, metavar="RUN")
    measure.add_argument("--weights", default="selected", choices=("selected", "average", "last"))
    measure.add_argument("--route", help="as for export")
    measure.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    measure.set_defaults(run=_measure)

    evaluate = commands.add_parser("evaluate", help="measure results against truth")
    evaluate.add_argument("--prediction", type=Path, required=True, help="a segmentation, or a folder of them")
    evaluate.add_argument("--truth", type=Path, required=True, help="a label map, or a folder of them")
    evaluate.add_argument("--roi-mm", type=float, help="count the hip bone only this near to a femoral head's centre")
    evaluate.add_argument(
        "--ignore",
        action="append",
        metavar="MASK",
        help="leave a mask's voxels out: a file, a folder of files named NAME_…, or a suffix beside the truth such as "
        "_cortex; may be repeated; without it NAME_ignore is left out where there is one, with `none` nothing is",
    )
    evaluate.add_argument("-o", "--output", type=Path, help="write all numbers as JSON")
    evaluate.add_argument("--overwrite", action="store_true", help="replace numbers that are there")
    evaluate.set_defaults(run=_evaluate)


def _measure(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation.measure import measure_run
    from HipICMSCTrainingLib.run.folder import RunFolder

    with progress_shown(chosen.progress, "case") as show:
        measured = measure_run(RunFolder(chosen.folder), chosen.weights, chosen.route, show)
    if chosen.progress:
        print(json.dumps({"measured": measured.to_json()}), flush=True)
        return
    print(measured.evaluation.table())
    for name, sentence in measured.failed.items():
        print(f"{name}: {sentence}")


def _evaluate(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation.pairs import find_pairs
    from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs

    if chosen.output:
        check_may_write(chosen.output, chosen.overwrite, filter(Path.is_file, (chosen.prediction, chosen.truth)))
    evaluation = evaluate_pairs(find_pairs(chosen.prediction, chosen.truth, chosen.ignore), chosen.roi_mm)
    if chosen.output is not None:
        numbers = json.dumps(evaluation.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text(chosen.output, numbers + "\n")
    print(evaluation.table())
