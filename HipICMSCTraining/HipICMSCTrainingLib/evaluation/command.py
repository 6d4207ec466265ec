"""`hipicmsc evaluate`, `measure`, `compare` and `leave-one-out`: results against truth."""

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

    compare = commands.add_parser("compare", help="an old and a new model side by side on corrected MRIs")
    compare.add_argument("old", metavar="OLD", help="a model package, or the name of one of your models")
    compare.add_argument("new", metavar="NEW", help="as OLD")
    compare.add_argument(
        "--cases", type=Path, nargs="+", required=True, metavar="FOLDER",
        help="folders of corrected cases; those that a model was trained on are left out",
    )  # fmt: skip
    _add_page_arguments(compare)
    compare.set_defaults(run=_compare)

    left_out = commands.add_parser(
        "leave-one-out", help="compare on the corrected MRIs that a run learned from, by a training without each"
    )
    left_out.add_argument("folder", type=Path, metavar="RUN")
    _add_page_arguments(left_out)
    left_out.set_defaults(run=_leave_one_out)


def _add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Of a comparison; :func:`_tell` reads them."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="write a page with pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace a page that is there")
    parser.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")


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


def _compare(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.models.chosen import find_model

    from HipICMSCTrainingLib.evaluation.compare import compare_models

    if chosen.output:
        check_may_write(chosen.output, chosen.overwrite)
    with progress_shown(chosen.progress, "case") as show:
        comparison = compare_models(find_model(chosen.old), find_model(chosen.new), chosen.cases, show)
    _tell(comparison, chosen)


def _leave_one_out(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation.leave_one_out import leave_one_out
    from HipICMSCTrainingLib.run.folder import RunFolder

    if chosen.output:
        check_may_write(chosen.output, chosen.overwrite)
    with progress_shown(chosen.progress, "case") as show:
        comparison = leave_one_out(RunFolder(chosen.folder), show)
    _tell(comparison, chosen)


def _tell(comparison: Any, chosen: argparse.Namespace) -> None:
    """Print a comparison, and write the page that was asked for."""
    from HipICMSCTrainingLib.evaluation.comparison_report import comparison_text, notes, verdict, write_comparison

    if chosen.output:
        write_comparison(comparison, chosen.output)
    if chosen.progress:
        told = comparison.to_json() | {"verdict": verdict(comparison), "notes": list(notes(comparison))}
        print(json.dumps({"compared": told}), flush=True)
    else:
        print(comparison_text(comparison))


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
