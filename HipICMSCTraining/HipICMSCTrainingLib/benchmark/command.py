"""`hipicmsc benchmark …`: the paper's tables and figures from one command each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.terminal import ProgressLine

if TYPE_CHECKING:
    from HipICMSCTrainingLib.benchmark.plan import Plan

_TABLES = {
    "table1": "train and measure every method beside the others",
    "table2": "train and measure ICMSC with one consistency term more in each row",
}
_FIGURES = {
    "figure2": "draw MRI, the result of each method and the truth, an example a row",
    "figure3": "draw input, translation and reconstruction by CycleGAN and by ICMSC, both directions",
}


def add_benchmark_command(commands: Any) -> None:
    """Add it to the subparsers of ``hipicmsc``."""
    benchmark = commands.add_parser("benchmark", help="measure the methods side by side, as the paper's tables do")
    parts = benchmark.add_subparsers(required=True, metavar="WHAT")
    for table, text in _TABLES.items():
        parser = parts.add_parser(table, help=f"{text}; the same command again goes on where it ended")
        parser.add_argument("folder", type=Path, metavar="FOLDER", help="for all runs; both tables may share it")
        parser.add_argument(
            "--preset", help="paper (for a GPU), phantom-cpu (default, hours on a CPU), smoke; cpu-small with --dataset"
        )
        parser.add_argument(
            "--contrast",
            choices=("t1", "fat-suppressed"),
            help="of synthetic MRIs (fat-suppressed); of yours, a guess of which then holds all that translates",
        )
        parser.add_argument("--data-seed", type=int, help="of the synthetic volumes (0)")
        parser.add_argument("--dataset", type=Path, help="your dataset.json in place of synthetic volumes")
        parser.add_argument(
            "--roi-mm", type=float, metavar="MM", help="measure the hip bone only so near to the femoral heads"
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a setting of all trainings, or of one method alone: icmsc.image_pool=20",
        )
        parser.add_argument("--seeds", type=int, default=3, help="how many trainings of each row (3)")
        parser.add_argument("--rows", default="", metavar="ROW,ROW", help="only these, e.g. cyclegan,icmsc")
        parser.set_defaults(run=_make_table, table=table)
    status = parts.add_parser("status", help="say how the runs of a benchmark go")
    status.add_argument("folder", type=Path, metavar="FOLDER")
    status.set_defaults(run=_status)
    check = parts.add_parser("check", help="say whether a table's numbers follow from the scores of each MRI")
    check.add_argument("table", type=Path, metavar="TABLE.json", help="with its Markdown beside it")
    check.add_argument("--runs", type=Path, metavar="FOLDER", help="where it was made, to compare its runs' files, too")
    check.set_defaults(run=_check)
    for figure, text in _FIGURES.items():
        parser = parts.add_parser(figure, help=text)
        parser.add_argument("folder", type=Path, metavar="FOLDER")
        parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.png")
        parser.add_argument("--seed", type=int, default=0, help="of the trainings that are shown (0)")
        parser.add_argument("--examples", type=int, default=3, help="how many rows or slices (3)")
        parser.add_argument("--overwrite", action="store_true", help="replace a picture that is there")
        parser.set_defaults(run=_draw, figure=figure)


def _make_table(chosen: argparse.Namespace) -> int:
    """Exit code 2 where a row could not be finished."""
    from HipICMSCTrainingLib.benchmark.runs import Benchmark

    if chosen.seeds < 1:
        raise HipError("bad_setting", f"At least one seed is needed, not {chosen.seeds}.")
    line = ProgressLine()
    try:
        benchmark = Benchmark(chosen.folder, _plan(chosen), line.show)
        keys = [key for key in chosen.rows.split(",") if key]
        failures = benchmark.make(chosen.table, range(chosen.seeds), keys)
    finally:
        line.close()
    print((chosen.folder / f"{chosen.table}.md").read_text(encoding="utf-8"))
    for run, sentence in failures.items():
        print(f"{run} failed: {sentence}")
    return 2 if failures else 0


def _plan(chosen: argparse.Namespace) -> Plan:
    """The plan that the options describe; that of the folder if there are no options."""
    from HipICMSCTrainingLib.benchmark.plan import Plan

    given = (chosen.preset, chosen.contrast, chosen.data_seed, chosen.dataset, chosen.roi_mm, *chosen.set)
    known = Plan.read(chosen.folder)
    if known is not None and all(option is None for option in given):
        return known
    return _new_plan(chosen)


def _new_plan(chosen: argparse.Namespace) -> Plan:
    from HipICMSCLib.common.settings import replaced
    from HipICMSCLib.common.terminal import name_and_value

    from HipICMSCTrainingLib.benchmark.data import SCALES, contrast_priors, settings_of_preset
    from HipICMSCTrainingLib.benchmark.plan import Plan
    from HipICMSCTrainingLib.evaluation.scores import check_roi
    from HipICMSCTrainingLib.methods.registry import METHODS

    check_roi(chosen.roi_mm)
    preset, contrast = chosen.preset or "phantom-cpu", chosen.contrast or "fat-suppressed"
    settings = settings_of_preset(preset, synthetic=chosen.dataset is None)
    guessed = chosen.contrast is not None if chosen.dataset else SCALES[preset].contrast_prior
    method_settings = contrast_priors(contrast) if guessed else {}
    for assignment in chosen.set:
        name, value = name_and_value(assignment)
        method, _, own = name.partition(".")
        if method in METHODS:
            replaced(METHODS[method].Settings(), own, value)  # refuses what there is not
            method_settings.setdefault(method, {})[own] = value
        else:
            settings = replaced(settings, name, value)
        if name == "seed":
            raise HipError("bad_setting", "Each row has seeds of its own: say by --seeds how many.")
    if settings.reads != "crop":
        raise HipError(
            "bad_setting",
            "The tables compare methods on the paper's crop, which all of them read; leave reads at crop.",
        )
    if not 0 <= (chosen.data_seed or 0) < 2**31:
        raise HipError("bad_setting", f"--data-seed is {chosen.data_seed}; give a number from 0.")
    return Plan(
        preset=preset,
        settings=settings,
        method_settings=method_settings,
        dataset=str(chosen.dataset.resolve()) if chosen.dataset else None,
        contrast=contrast,
        data_seed=chosen.data_seed or 0,
        roi_mm=chosen.roi_mm,
    )


def _status(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.benchmark.states import states_of

    for line in states_of(chosen.folder):
        print(line)


def _check(chosen: argparse.Namespace) -> int:
    """Exit code 2 where something differs."""
    from HipICMSCTrainingLib.benchmark.checking import differences_in

    sentences = differences_in(chosen.table, chosen.runs)
    print("\n".join(sentences) or f"All numbers of {chosen.table.name} follow from the scores of each MRI.")
    return 2 if sentences else 0


def _draw(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.benchmark import figures

    if chosen.examples < 1:
        raise HipError("bad_setting", f"--examples is {chosen.examples}; give a number from 1.")
    check_may_write(chosen.output, chosen.overwrite)
    draw = {"figure2": figures.write_figure_2, "figure3": figures.write_figure_3}[chosen.figure]
    draw(chosen.folder, chosen.output, chosen.seed, chosen.examples)
    print(chosen.output)
