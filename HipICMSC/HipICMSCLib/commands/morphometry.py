"""`hipicmsc morphometry`: measures of hips from a segmentation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.terminal import ProgressLine
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import check_ending


def add_morphometry_command(commands: Any) -> None:
    """Add it to the subparsers of ``hipicmsc``."""
    morphometry = commands.add_parser("morphometry", help="measure hips from a segmentation: angles, coverage, version")
    morphometry.add_argument("segmentation", type=Path, help="a .seg.nrrd, or a label map of any tool with --values")
    morphometry.add_argument("-o", "--output", type=Path, help="write the table to this .csv file")
    morphometry.add_argument("--markups", type=Path, metavar="FOLDER", help="write Slicer markups into this folder")
    morphometry.add_argument("--html", type=Path, help="write a report of one page with pictures to this .html file")
    morphometry.add_argument(
        "--values", nargs="+", metavar="BONE=N[,N…]",
        help="what the values mean: hip=1 femur=2, or right-hip=1 left-hip=2 right-femur=3 left-femur=4 (the default)",
    )  # fmt: skip
    morphometry.add_argument("--overwrite", action="store_true", help="replace files that are there")
    morphometry.set_defaults(run=_morphometry)


def _morphometry(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.measures.labels import with_our_values
    from HipICMSCLib.reading.segmentation import read_segmentation
    from HipICMSCLib.results.morphometry_markups import refuse_markups

    for path, endings in ((chosen.output, (".csv",)), (chosen.html, (".html", ".htm"))):
        if path:
            check_ending(path, endings)
            check_may_write(path, chosen.overwrite, [chosen.segmentation])
    if chosen.markups and not chosen.overwrite:
        refuse_markups(chosen.markups)
    if chosen.values:
        labels = with_our_values(read_volume(chosen.segmentation), _values_by_bone(chosen.values))
    else:
        labels = read_segmentation(chosen.segmentation)
    _measure(labels, chosen.segmentation.name, chosen.output, chosen.html, chosen.markups)
    print(RESEARCH_USE)


def _values_by_bone(texts: list[str]) -> dict[str, tuple[int, ...]]:
    values: dict[str, tuple[int, ...]] = {}
    for name, numbers in map(_bone_values, texts):
        if name in values:
            raise HipError("bad_values", f"--values has {name} twice; give all its numbers at once, as in {name}=1,2.")
        values[name] = numbers
    return values


def _bone_values(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, numbers = text.partition("=")
    try:
        return name, tuple(int(number) for number in numbers.split(","))
    except ValueError:
        raise HipError("bad_values", f"--values needs BONE=NUMBER, such as femur=2, not {text}.") from None


def _measure(labels: Any, name: str, table: Path | None, page: Path | None, markups: Path | None) -> None:
    from HipICMSCLib.measures.morphometry import measure
    from HipICMSCLib.results.morphometry_markups import write_markups
    from HipICMSCLib.results.morphometry_report import write_report
    from HipICMSCLib.results.morphometry_table import in_words, write_table

    line = ProgressLine()
    try:
        morphometry = measure(labels, progress=lambda share: line.show("measuring", share))
    finally:
        line.close()
    print(in_words(morphometry))
    if table:
        write_table(morphometry, name, table)
        print(f"Table: {table}")
    if page:
        write_report(morphometry, name, page)
        print(f"Report: {page}")
    if markups:
        print(f"{len(write_markups(morphometry, markups))} markups: {markups}")
