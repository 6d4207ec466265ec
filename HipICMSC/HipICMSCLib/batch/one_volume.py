"""One volume of a batch from its file to the files of its result, here or on a worker of a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.batch.files import FileSource
from HipICMSCLib.common.errors import HipError, unexpected
from HipICMSCLib.common.files import creating
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.common.volume_names import exists, volume_stem
from HipICMSCLib.reading.volume import read_with_notes
from HipICMSCLib.results.dicom_seg import ENDING as DICOM_ENDING
from HipICMSCLib.results.dicom_seg import check_source, write_dicom_seg
from HipICMSCLib.results.segmentation_file import write_segmentation

if TYPE_CHECKING:
    from HipICMSCLib.engine import HipSegmenter
    from HipICMSCLib.measures.morphometry import Morphometry


def segment_volume(
    segmenter: HipSegmenter,
    loading: float,
    files: FileSource,
    series: str | None,
    heads: FemoralHeads | None,
    morphometry: bool,
    progress: Progress = lambda stage, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, Any], str]:
    """Segment a volume and write what is asked for.

    Args:
        loading: seconds that the model took to load.
        series: of a DICOM folder.
        heads: femoral head centres in mm (LPS), where they need not be looked for.
        morphometry: whether to measure the hips, too, and write table and report beside the segmentation.

    Returns:
        The report of the result, which also says why it was not measured, and the measures in words.

    Raises:
        HipError: as for reading, segmenting and writing.
    """
    # Loaded late: torch takes a second that whoever hands volumes to a cluster need not wait.
    from HipICMSCLib.results.provenance import provenance
    from HipICMSCLib.results.report import report

    started = time.perf_counter()
    if not files.overwrite and exists(files.output):
        raise _appeared(files.output)
    to_dicom = files.output.name.lower().endswith(DICOM_ENDING)
    if to_dicom:
        check_source(files.path, series)
    image, read = read_with_notes(files.path, series)
    reading = time.perf_counter() - started
    result = segmenter.segment(image, heads, progress, cancelled)
    # Measured before anything is written: a segmentation that is there would be skipped the next time.
    measured = _measured(result.labels, progress) if morphometry else None
    started = time.perf_counter()
    about = {"input": files.path.name, "output": files.output.name} | report(result, segmenter.package)
    about["warnings"] = [*({"kind": "reading", "sentence": sentence} for sentence in read), *about["warnings"]]
    if isinstance(measured, HipError):
        about["warnings"].append({"kind": "not_measured", "sentence": _why_not(measured)})
    with _output(files) as output:
        if to_dicom:
            write_dicom_seg(result.labels, output, provenance(about), files.path, series)
        else:
            write_segmentation(result.labels, output, provenance(about))
    about["seconds"] = (
        {"loading the model": round(loading, 2), "reading": round(reading, 2)}
        | about["seconds"]
        | {"writing": round(time.perf_counter() - started, 2)}
    )
    if measured is None or isinstance(measured, HipError):
        return about, ""
    return about, _with_measures(measured, files.output, only_missing=not files.overwrite)


@contextlib.contextmanager
def _output(files: FileSource) -> Iterator[Path]:
    """Where to write the result: another call, or a user who saves a correction, may have been quicker."""
    if files.overwrite:
        yield files.output
        return
    try:
        with creating(files.output) as beside:
            yield beside
    except HipError as error:
        if error.kind != "exists":
            raise
        raise _appeared(files.output) from error


def _appeared(output: Path) -> HipError:
    return HipError(
        "exists", f"{output} has appeared since the batch began and is left as it is; call again to do what is left."
    )


def measure_result(output: Path, progress: Progress = lambda stage, share: None) -> str:
    """Measure a segmentation that is there, and write beside it what is missing of table and report.

    Returns:
        The measures in words, or why there are none.
    """
    from HipICMSCLib.reading.segmentation import read_segmentation

    try:
        measured = _measured(read_segmentation(output), progress)
    except HipError as error:
        measured = error
    # A table or report that is there may have been corrected by hand.
    return _why_not(measured) if isinstance(measured, HipError) else _with_measures(measured, output, only_missing=True)


def has_measures(output: Path) -> bool:
    """Whether table and report of measures lie beside a segmentation."""
    return beside(output, "csv").exists() and beside(output, "html").exists()


def _measured(labels: Any, progress: Progress) -> Morphometry | HipError:
    """The measures, or why there are none: a segmentation is of use without them, too."""
    from HipICMSCLib.measures.morphometry import measure

    try:
        return measure(labels, progress=lambda share: progress("measuring", share))
    except HipError as error:
        return error
    except Exception as error:  # a mistake of ours there costs nobody the segmentation
        return unexpected(error, "Measuring")


def _why_not(error: HipError) -> str:
    return f"Not measured: {error.sentence}"


def _with_measures(measured: Morphometry, output: Path, only_missing: bool = False) -> str:
    """Write table and report beside a segmentation, and say in words what they say and where they are."""
    from HipICMSCLib.results.morphometry_report import write_report
    from HipICMSCLib.results.morphometry_table import in_words, write_table

    lines = [in_words(measured)]
    for name, ending, write in (("Table", "csv", write_table), ("Report", "html", write_report)):
        path = beside(output, ending)
        if only_missing and path.exists():
            lines.append(f"{name}, left as it was: {path}")
        else:
            write(measured, output.name, path)
            lines.append(f"{name}: {path}")
    return "\n".join(lines)


def beside(output: Path, ending: str) -> Path:
    """The path of a table or report of measures beside a segmentation's."""
    stem = volume_stem(output).removesuffix(".seg")
    return output.with_name(f"{stem}-morphometry.{ending}")
