"""`hipicmsc case`: corrected results kept for a training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.cases.in_words import in_words, remarks
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_with_notes


def add_case_commands(commands: Any) -> None:
    """Add them to the subparsers of ``hipicmsc``."""
    case = commands.add_parser("case", help="keep corrected segmentations as cases that a training learns from")
    case_commands = case.add_subparsers(required=True, metavar="COMMAND")
    keep = case_commands.add_parser("add", help="keep an MRI and its corrected segmentation; no patient field is kept")
    keep.add_argument("mri", type=Path, help="the MRI: a volume or a DICOM folder")
    keep.add_argument("segmentation", type=Path, help="a .seg.nrrd, DICOM SEG or label map of our values")
    keep.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder of the cases")
    keep.add_argument("--original", type=Path, metavar="SEG", help="the model's result, where the .seg.nrrd has it not")
    keep.add_argument(
        "--completed", nargs="+", default=(), metavar="NAME",
        help="segments that are right, beside those marked so in Slicer: "
        f"{', '.join(segment.segment_id for segment in SEGMENTS)}, or all",
    )  # fmt: skip
    keep.add_argument("--series", help="as for segment")
    keep.add_argument("--overwrite", action="store_true", help="replace the case of the same MRI")
    keep.set_defaults(run=_keep_case)
    cases = case_commands.add_parser("list", help="the cases in a folder, and what is wrong with them")
    cases.add_argument("folder", type=Path)
    cases.set_defaults(run=_list_cases)


def _keep_case(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.cases.correction import read_correction
    from HipICMSCLib.cases.keep import keep_case
    from HipICMSCLib.cases.source_list import source_list
    from HipICMSCLib.reading.segmentation import read_segmentation

    completed = _segments_named(chosen.completed)
    image, read = read_with_notes(chosen.mri, chosen.series)
    correction = read_correction(chosen.segmentation, image)
    original, unknown = correction.original_labels, correction.of_unknown_origin
    if chosen.original:
        original, unknown = read_segmentation(chosen.original), frozenset()
    source = f"{chosen.mri.absolute()}{f', series {chosen.series}' if chosen.series else ''}"
    try:
        case = keep_case(
            chosen.to, image, correction.labels, correction.made_by, original, correction.completed | completed, source,
            chosen.overwrite, unknown,
        )  # fmt: skip
    except HipError as error:
        if error.kind != "case_exists":
            raise
        sentence = f"{error.sentence.removesuffix('.')} with --overwrite."
        raise HipError(error.kind, sentence, error.detail) from error
    print(f"Case {case.number} is in {case.folder}: {in_words(case)}.")
    print(f"Whose it is stands in your own list alone: {source_list()}")
    for sentence in [*read, *remarks(case)]:
        print(f"  Note: {sentence}")


def _list_cases(chosen: argparse.Namespace) -> int:
    from HipICMSCLib.cases.corrected_case import cases_in, read_case

    folders, bad = cases_in(chosen.folder), 0
    for folder in folders:
        try:
            case = read_case(folder)
            print(f"{folder.name}: {in_words(case)}; made by {case.model or 'an unknown model'}")
        except HipError as error:
            bad += 1
            print(f"{folder.name}: {error.sentence}", file=sys.stderr)
    print(f"{len(folders) - bad} of {len(folders)} cases are whole.")
    return 2 if bad else 0


def _segments_named(names: Sequence[str]) -> frozenset[str]:
    known = {spelling.lower(): s.segment_id for s in SEGMENTS for spelling in (s.segment_id, s.name, s.short_name)}
    if list(names) == ["all"]:
        return frozenset(known.values())
    for name in names:
        if name.lower() not in known:
            ids = ", ".join(segment.segment_id for segment in SEGMENTS)
            raise HipError("unknown_segment", f"There is no segment {name}; there are {ids}, or all for all of them.")
    return frozenset(known[name.lower()] for name in names)
