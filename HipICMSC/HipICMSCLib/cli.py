"""The commands that need no training library: `hipicmsc segment` and `hipicmsc model`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from HipICMSCLib.batch.files import make_result_folder, result_paths, volumes_of
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable, write_text
from HipICMSCLib.common.terminal import ProgressLine
from HipICMSCLib.common.volume_names import volume_stem
from HipICMSCLib.models.chosen import (
    DEFAULT_MODEL,
    ENDING,
    add_model,
    available_models,
    find_model,
    remove_model,
    shipped_models,
    user_models,
    user_models_folder,
)
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import check_ending, write_segmentation


def add_commands(commands: Any) -> None:
    """Add this module's commands to the subparsers of `hipicmsc`."""
    segment = commands.add_parser("segment", help="segment the hip bones and femora on MRI")
    segment.add_argument("input", type=Path, nargs="+", help="volumes, a DICOM folder, or one folder of such")
    segment.add_argument(
        "-o", "--output", type=Path, required=True,
        help="file.seg.nrrd, a label map (.nii.gz, .nrrd, .mha), or a folder for several inputs",
    )  # fmt: skip
    segment.add_argument("--model", help="a model by name (see `hipicmsc model list`), or a .hipmodel file")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    segment.add_argument("--report", type=Path, help="write what was found and how as JSON")
    # Three arguments each: one like -80,5,10 would be taken for an option because of its sign.
    for side in ("right", "left"):
        segment.add_argument(
            f"--{side}-head", type=float, nargs=3, metavar=("X", "Y", "Z"), help=f"{side} femoral head centre, LPS mm"
        )
    segment.add_argument("--shard", type=_shard, metavar="I/N", help="only every N-th input, from the I-th (1 to N)")
    segment.add_argument("--morphometry", action="store_true", help="also measure the hips: table and report beside")
    segment.set_defaults(run=_segment)

    morphometry = commands.add_parser("morphometry", help="measure hips from a segmentation: angles, coverage, version")
    morphometry.add_argument("segmentation", type=Path, help="a .seg.nrrd, or a label map of any tool with --values")
    morphometry.add_argument("-o", "--output", type=Path, help="write the table to this .csv file")
    morphometry.add_argument("--markups", type=Path, metavar="FOLDER", help="write Slicer markups into this folder")
    morphometry.add_argument("--html", type=Path, help="write a report of one page with pictures to this .html file")
    morphometry.add_argument(
        "--values", nargs="+", metavar="BONE=N[,N…]",
        help="what the values mean: hip=1 femur=2, or right-hip=1 left-hip=2 right-femur=3 left-femur=4 (the default)",
    )  # fmt: skip
    morphometry.set_defaults(run=_morphometry)

    model = commands.add_parser("model", help="look at model packages, add and remove them")
    model_commands = model.add_subparsers(required=True, metavar="COMMAND")
    show = model_commands.add_parser("show", help="check a package and print its card")
    show.add_argument("model", help="a model by name, or a .hipmodel file")
    show.set_defaults(run=_show_model)
    listing = model_commands.add_parser("list", help="the models that ship and your own")
    listing.set_defaults(run=_list_models)
    add = model_commands.add_parser("add", help="keep a package among your models, so that its name is enough")
    add.add_argument("file", type=Path, help="a .hipmodel file; it is copied")
    add.set_defaults(run=_add_model)
    remove = model_commands.add_parser("remove", help="delete one of your models")
    remove.add_argument("name", help="as `hipicmsc model list` shows it")
    remove.set_defaults(run=_remove_model)


def _segment(chosen: argparse.Namespace) -> int:
    inputs, to_folder = _inputs(chosen.input)
    to_folder = to_folder or chosen.output.is_dir() or chosen.shard is not None
    outputs = _outputs(inputs, chosen.output, to_folder)
    if chosen.shard:
        number, count = chosen.shard
        inputs, outputs = inputs[number - 1 :: count], outputs[number - 1 :: count]
    if chosen.report:
        check_writable(chosen.report)
    heads = _heads(chosen, len(inputs))
    if chosen.morphometry:
        for output in outputs:
            check_writable(_beside(output, "csv"))

    # Imported late: torch takes a second that a mistyped command should not cost.
    from HipICMSCLib.engine import HipSegmenter

    started = time.perf_counter()
    segmenter = HipSegmenter(find_model(chosen.model or DEFAULT_MODEL), chosen.device)
    loading = time.perf_counter() - started
    reports = []
    failed: list[HipError] = []
    for source, output in zip(inputs, outputs, strict=True):
        try:
            reports.append(_segment_one(segmenter, source, output, heads, loading, chosen.morphometry))
        except HipError as error:
            if not to_folder:
                raise
            failed.append(error)
            print(f"{source}: {error.sentence}", file=sys.stderr)
            # Folders have patients' names; what the input is called suffices to find it.
            sentence = error.sentence.replace(str(source), source.name)
            reports.append({"input": source.name, "error": {"kind": error.kind, "sentence": sentence}})
    if chosen.report:
        write_text(chosen.report, json.dumps(reports if to_folder else reports[0], indent=2) + "\n")
    if to_folder:
        print(f"{len(inputs) - len(failed)} of {len(inputs)} volumes segmented.")
    print(RESEARCH_USE)
    return 2 if failed else 0


def _segment_one(
    segmenter: Any, source: Path, output: Path, heads: Any, loading: float, measured: bool
) -> dict[str, Any]:
    from HipICMSCLib.results.provenance import provenance
    from HipICMSCLib.results.report import report

    line = ProgressLine()
    started = time.perf_counter()
    image = read_volume(source)
    reading = time.perf_counter() - started
    try:
        result = segmenter.segment(image, heads, progress=lambda stage, share: line.show(share, stage))
    finally:
        line.close()
    started = time.perf_counter()
    about = {"input": source.name, "output": output.name} | report(result, segmenter.package)
    write_segmentation(result.labels, output, provenance(about))
    about["seconds"] = (
        {"loading the model": round(loading, 2), "reading": round(reading, 2)}
        | about["seconds"]
        | {"writing": round(time.perf_counter() - started, 2)}
    )
    print(f"{output}: " + ", ".join(f"{name} {ml:g} ml" for name, ml in about["volumes_ml"].items() if ml))
    for sentence in (*(warning["sentence"] for warning in about["warnings"]), *about["fallbacks"]):
        print(f"  Note: {sentence}")
    if measured:
        _measure(result.labels, output.name, _beside(output, "csv"), _beside(output, "html"), None)
    return about


def _beside(output: Path, ending: str) -> Path:
    """The table's or report's path beside a segmentation's."""
    return output.with_name(f"{volume_stem(output)}-morphometry.{ending}")


def _morphometry(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.measures.labels import with_our_values
    from HipICMSCLib.reading.segmentation import read_segmentation

    for path in (chosen.output, chosen.html):
        if path:
            check_writable(path)
    if chosen.values:
        labels = with_our_values(read_volume(chosen.segmentation), dict(_bone_values(text) for text in chosen.values))
    else:
        labels = read_segmentation(chosen.segmentation)
    _measure(labels, chosen.segmentation.name, chosen.output, chosen.html, chosen.markups)
    print(RESEARCH_USE)


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
        morphometry = measure(labels, progress=lambda share: line.show(share, "measuring"))
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


def _inputs(given: list[Path]) -> tuple[list[Path], bool]:
    """The volumes to segment, and whether there may be several of them, so that the output is a folder."""
    if len(given) == 1 and given[0].is_dir():
        volumes = volumes_of(given[0])
        if volumes and volumes != given:
            return volumes, True
    return given, len(given) > 1


def _outputs(inputs: list[Path], output: Path, to_folder: bool) -> list[Path]:
    if not to_folder:
        check_ending(output)
        check_writable(output)
        return [output]
    make_result_folder(output)
    return result_paths(inputs, output)


def _heads(chosen: argparse.Namespace, inputs: int) -> Any:
    if chosen.right_head is None and chosen.left_head is None:
        return None
    if inputs != 1:
        raise HipError("bad_points", "Femoral head centres can be given for one volume at a time only.")
    from HipICMSCLib.anatomy.femoral_heads import FemoralHeads

    return FemoralHeads(*(head and tuple(head) for head in (chosen.right_head, chosen.left_head)))


def _show_model(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.models.package import read_package

    package = read_package(find_model(chosen.model))
    package.network()  # fails where the weights are not those of the networks described
    print(package.card)
    print(f"File: {package.path.name}\nSHA-256: {package.sha256}\nFormat: {package.manifest.format}")


def _list_models(chosen: argparse.Namespace) -> None:
    print("Models that come with HipICMSC:")
    for path in shipped_models():
        print(f"  {path.stem}{' (used unless --model names another)' if path.stem == DEFAULT_MODEL else ''}")
    print(f"Your models, in {user_models_folder()}:")
    usable = available_models()
    for path in user_models():
        print(f"  {path.stem}{'' if path in usable else ' (not used: one that ships has this name; rename the file)'}")
    if not user_models():
        print("  none")


def _add_model(chosen: argparse.Namespace) -> None:
    path = add_model(chosen.file)
    print(f"{path.stem} is among the models now: {path}")


def _remove_model(chosen: argparse.Namespace) -> None:
    path = find_model(chosen.name.removesuffix(ENDING))
    remove_model(path)
    print(f"{path.stem} was removed.")


def _shard(text: str) -> tuple[int, int]:
    number, count = (int(part) for part in text.split("/"))
    if not 1 <= number <= count:
        raise ValueError
    return number, count
