"""`hipicmsc segment`: from an MRI, or a folder of them, to files of bones."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from HipICMSCLib.anatomy.segments import SIDES
from HipICMSCLib.batch.files import FileSource, items_of, make_result_folder, volumes_of
from HipICMSCLib.batch.one_volume import beside, has_measures, measure_result, segment_volume
from HipICMSCLib.batch.queue import Batch, BatchItem, notes, worst_first
from HipICMSCLib.batch.summary import check_table_ending, write_summary
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write, storage_error, write_text
from HipICMSCLib.common.terminal import ProgressLine, on_termination
from HipICMSCLib.models.chosen import DEFAULT_MODEL, find_model
from HipICMSCLib.results.dicom_seg import ENDING as DICOM_ENDING
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import LABEL_MAP_ENDINGS, SEGMENTATION_ENDING, check_ending

_MOST_DOUBTS = 10
#: Who resumes a batch must not be led to lose the segmentations, perhaps corrected, that are there.
_AND_REPLACES = "--overwrite would replace the segmentations that are there, too"
_ANOTHER_NAME = f"choose another name for it, since {_AND_REPLACES}"
_MOVE_AWAY = f"move it away, since {_AND_REPLACES}"
_ENDINGS = (SEGMENTATION_ENDING, *LABEL_MAP_ENDINGS, DICOM_ENDING)


def add_segment_command(commands: Any) -> None:
    """Add it to the subparsers of ``hipicmsc``."""
    segment = commands.add_parser("segment", help="segment the hip bones and femora on MRI")
    segment.add_argument("input", type=Path, nargs="+", help="volumes, a DICOM folder, or one folder of such")
    segment.add_argument(
        "-o", "--output", type=Path, required=True,
        help="file.seg.nrrd, a label map (.nii.gz, .nrrd, .mha), DICOM SEG (.dcm), or a folder for several inputs",
    )  # fmt: skip
    segment.add_argument("--model", help="a model by name (see `hipicmsc model list`), or a .hipmodel file")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    segment.add_argument(
        "--quality", default="standard", choices=("standard", "high"),
        help="high averages over mirror images and, where voxels are even, planes; takes twice as long or longer",
    )  # fmt: skip
    segment.add_argument("--series", help="which series of a DICOM folder: number, UID or description")
    segment.add_argument(
        "--format", default="seg.nrrd", choices=[ending[1:] for ending in _ENDINGS], help="of the results in a folder"
    )
    segment.add_argument(
        "--overwrite", action="store_true", help="replace the segmentations, tables and reports that are there"
    )
    segment.add_argument("--report", type=Path, help="write what was found and how as JSON")
    segment.add_argument("--morphometry", action="store_true", help="also measure the hips: table and report beside")
    segment.add_argument("--summary", type=Path, help="write a table, a row a volume: .csv or .json")
    # Three arguments each: one like -80,5,10 would be taken for an option because of its sign.
    for side in SIDES:
        segment.add_argument(
            f"--{side}-head", type=float, nargs=3, metavar=("X", "Y", "Z"), help=f"{side} femoral head centre, LPS mm"
        )
    segment.add_argument("--shard", type=_shard, metavar="I/N", help="only every N-th input, from the I-th (1 to N)")
    segment.add_argument(
        "--dask", metavar="ADDRESS", help="let the workers of a dask cluster segment, e.g. tcp://host:8786"
    )
    segment.set_defaults(run=_segment)


def _segment(chosen: argparse.Namespace) -> int:
    if chosen.dask:  # a worker stands in another folder
        chosen.input, chosen.output = [path.absolute() for path in chosen.input], chosen.output.absolute()
    items, to_folder = _items(chosen)
    if chosen.dask and not to_folder:
        raise HipError("bad_values", "--dask hands many volumes to a cluster; let -o name a folder.")
    if chosen.shard:
        number, count = chosen.shard
        items = items[number - 1 :: count]
    _check_other_outputs(chosen, items)
    if chosen.morphometry:
        for item in items:
            for ending in ("csv", "html"):
                may_replace = chosen.overwrite or item.state == "skipped"
                check_may_write(beside(item.source.output, ending), may_replace, remedy=_MOVE_AWAY)
    heads = _heads(chosen, len(items))

    terminated = threading.Event()
    where = _on_cluster if chosen.dask else _here
    with where(chosen, items, heads, terminated, to_folder) as work:
        for item in items:
            if item.state == "skipped":
                print(f"{item.source.path}: {item.sentence} It is left as it is; --overwrite replaces it.")
        try:
            work()
            if chosen.morphometry:
                _measure_what_was_there(items, terminated.is_set)
        finally:
            _write_reports(chosen, items, to_folder)
    if terminated.is_set():
        print("hipicmsc: ended on request; what is written is whole.", file=sys.stderr)
        return 128 + signal.SIGTERM
    if not to_folder and items[0].state != "done":
        raise HipError(items[0].kind, items[0].sentence, items[0].detail)
    if to_folder:
        print(f"{sum(item.state == 'done' for item in items)} of {len(items)} volumes segmented.")
        _tell_worst([item for item in worst_first(items) if item.has_fault or item.doubt is not None])
    print(RESEARCH_USE)
    return 2 if any(item.state == "failed" for item in items) else 0


def _measure_what_was_there(items: list[BatchItem], ended: Callable[[], bool]) -> None:
    """Results of an earlier call without --morphometry get their measures."""
    for item in items:
        output = item.source.output
        if item.state == "skipped" and not has_measures(output) and not ended():
            line = ProgressLine()
            try:
                words = measure_result(output, line.show)
            finally:
                line.close()
            print(f"{output}:\n{words}")


@contextlib.contextmanager
def _here(
    chosen: argparse.Namespace, items: list[BatchItem], heads: Any, terminated: threading.Event, to_folder: bool
) -> Iterator[Callable[[], None]]:
    """What segments the items one after the other, in this process."""
    # Imported late: torch takes a second that a mistyped command should not cost.
    from HipICMSCLib.engine import HipSegmenter

    started = time.perf_counter()
    segmenter = HipSegmenter(find_model(chosen.model or DEFAULT_MODEL), chosen.device, quality=chosen.quality)
    loading = time.perf_counter() - started

    def start(item: BatchItem, on_progress: Any, on_end: Any) -> None:
        line = ProgressLine()
        try:
            about, measures = segment_volume(
                segmenter, loading, item.source, chosen.series, heads, chosen.morphometry,
                line.show, terminated.is_set,
            )  # fmt: skip
        finally:
            line.close()
        _say_result(item.source, about, measures)
        on_end(about)

    batch = Batch(items, start, terminated.set)
    batch.changed.connect(lambda item: _tell(item) if to_folder else None)

    def end() -> None:
        terminated.set()
        batch.stop()

    with on_termination(end):
        yield batch.run


@contextlib.contextmanager
def _on_cluster(
    chosen: argparse.Namespace, items: list[BatchItem], heads: Any, terminated: threading.Event, to_folder: bool
) -> Iterator[Callable[[], None]]:
    """What hands the items to a cluster and waits for what comes of them."""
    from HipICMSCLib.batch.cluster import Task, connected, segment_on_cluster
    from HipICMSCLib.models.package import read_package

    model = chosen.model or DEFAULT_MODEL
    # A worker stands in another folder; a model's name it knows itself.
    model = str(Path(model).absolute()) if Path(model).is_file() else model
    sha256 = read_package(find_model(model)).sha256
    task = Task(model, sha256, chosen.device, chosen.quality, chosen.series, heads, chosen.morphometry)
    line = ProgressLine()

    def changed(item: BatchItem, measures: str) -> None:
        line.close()
        if item.state == "waiting":
            print(f"{item.source.path}: its worker ended; it is tried once more.", file=sys.stderr)
        if item.state == "done":
            _say_result(item.source, item.report, measures)
        _tell(item)
        left = sum(other.state in ("waiting", "running") for other in items)
        line.show(f"{left} of {len(items)} volumes left", 1 - left / len(items))

    with connected(chosen.dask) as client, on_termination(terminated.set):
        try:
            yield lambda: segment_on_cluster(client, items, task, changed, terminated.is_set)
        finally:
            line.close()


def _say_result(files: FileSource, about: dict[str, Any], measures: str) -> None:
    print(f"{files.output}: " + ", ".join(f"{name} {ml:g} ml" for name, ml in about["volumes_ml"].items() if ml))
    for sentence in notes(about):
        print(f"  Note: {sentence}")
    if measures:
        print(measures)


def _tell(item: BatchItem) -> None:
    if item.state == "failed":
        print(f"{item.source.path}: {item.sentence}", file=sys.stderr)


def _tell_worst(items: list[BatchItem]) -> None:
    """Which results to look at, and to correct, first; nothing of a single one."""
    if len(items) < 2:
        return
    print("What to look at first, and how much of its bone is doubtful:")
    for item in items[:_MOST_DOUBTS]:
        doubt = "    –" if item.doubt is None else f"{100 * item.doubt:3.0f} %"
        print(f"  {doubt} {item.name}{f': {item.sentence}' if item.has_fault else ''}")
    if len(items) > _MOST_DOUBTS:
        print(f"  and {len(items) - _MOST_DOUBTS} more; --summary writes all")


def _write_reports(chosen: argparse.Namespace, items: list[BatchItem], to_folder: bool) -> None:
    """What came of each volume, also where the others were never begun."""
    if chosen.report and (to_folder or items[0].report):
        reports = [_report_of(item) for item in items]
        write_text(chosen.report, json.dumps(reports if to_folder else reports[0], indent=2) + "\n")
    if chosen.summary:
        write_summary(chosen.summary, items)


def _report_of(item: BatchItem) -> dict[str, Any]:
    # Folders have patients' names; what the input is called suffices to find it.
    sentence = item.sentence.replace(str(item.source.path), item.source.path.name)
    if item.state == "done":
        return item.report
    if item.state == "skipped":
        return {"input": item.source.path.name, "skipped": sentence}
    kind, sentence = (item.kind, sentence) if item.kind else ("cancelled", "The batch was ended before its turn came.")
    return {"input": item.source.path.name, "error": {"kind": kind, "sentence": sentence}}


def _items(chosen: argparse.Namespace) -> tuple[list[BatchItem], bool]:
    """The volumes to segment, each with the file of its result, and whether these go into a folder."""
    given, output = chosen.input, chosen.output
    try:
        is_folder = output.is_dir()
    except OSError as error:  # of a name that no system takes
        raise storage_error(error, output) from error
    folder = given[0] if len(given) == 1 and given[0].is_dir() else None
    volumes = volumes_of(folder, output) or given if folder else given
    ending = next((ending for ending in _ENDINGS if output.name.lower().endswith(ending)), None)
    to_folder = is_folder or chosen.shard is not None or (ending is None and (len(given) > 1 or volumes != given))
    if to_folder:
        if folder and folder.resolve() == output.resolve() and "." + chosen.format != SEGMENTATION_ENDING:
            raise HipError(
                "same_folder",
                f"Results that are .{chosen.format} would lie among the volumes of {folder}; let -o name another "
                f"folder, or give --format {SEGMENTATION_ENDING[1:]}.",
            )
        make_result_folder(output)
        return items_of(volumes, output, "." + chosen.format, chosen.overwrite, folder), True
    check_ending(output, _ENDINGS)
    if len(volumes) > 1 and folder and all(volume.is_dir() for volume in volumes):
        volumes = given  # series of a study, of which one is meant
    if len(volumes) > 1:
        raise HipError(
            "several_volumes", f"{output} is one file, but there are {len(volumes)} volumes; let -o name a folder."
        )
    check_may_write(output, chosen.overwrite, [*given, *volumes])
    return [BatchItem(volumes[0].name, FileSource(volumes[0], output, chosen.overwrite))], False


def _check_other_outputs(chosen: argparse.Namespace, items: list[BatchItem]) -> None:
    """Refuse what would replace a file of the user's, or one another, before anything is computed."""
    others = [path for path in (chosen.report, chosen.summary) if path is not None]
    results = [item.source.output for item in items]
    if chosen.summary:
        check_table_ending(chosen.summary)
    for number, path in enumerate(others):
        if path.absolute() in [other.absolute() for other in (*others[:number], *results)]:
            raise HipError("same_file", f"{path} would be written twice; choose another name for one of the outputs.")
        inputs = [*chosen.input, *(item.source.path for item in items)]
        check_may_write(path, chosen.overwrite, inputs, _ANOTHER_NAME)


def _heads(chosen: argparse.Namespace, inputs: int) -> Any:
    if chosen.right_head is None and chosen.left_head is None:
        return None
    if inputs != 1:
        raise HipError("bad_points", "Femoral head centres can be given for one volume at a time only.")
    from HipICMSCLib.anatomy.femoral_heads import FemoralHeads

    return FemoralHeads(*(head and tuple(head) for head in (chosen.right_head, chosen.left_head)))


def _shard(text: str) -> tuple[int, int]:
    number, count = (int(part) for part in text.split("/"))
    if not 1 <= number <= count:
        raise ValueError
    return number, count
