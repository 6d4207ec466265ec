"""The process that segments for Slicer: ``python -m HipICMSCLib.worker [IDLE_SECONDS]``.

It reads requests from stdin and answers on stdout (see protocol), one request after the other; models stay loaded in
between. As long as it computes it gives signs of life. When stdin ends, for example because Slicer died, it gives up
what it is doing and ends, too; and when nothing was asked for IDLE_SECONDS, so that a Slicer that is left open does not
hold its memory for days.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import SimpleITK as sitk

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, head_at
from HipICMSCLib.common.errors import HipError, unexpected
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.models.chosen import user_folder
from HipICMSCLib.preprocessing.geometry import Grid, within_voxels_of
from HipICMSCLib.preprocessing.intensity import without_unit
from HipICMSCLib.reading.volume import read_image, read_volume, read_with_notes
from HipICMSCLib.results.segmentation_file import write_segmentation
from HipICMSCLib.worker.protocol import (
    Alive,
    Event,
    ExportRequest,
    Failed,
    Finished,
    KeepCaseRequest,
    KeptCase,
    MeasureRequest,
    PreflightRequest,
    Progress,
    Ready,
    Request,
    SegmentRequest,
    SelfTestRequest,
    Series,
    SeriesRequest,
    Warned,
    decode,
    encode,
)
from HipICMSCLib.worker.run_times import RunTimes

IDLE_SECONDS = 900.0
#: So often it gives a sign of life.
ALIVE_SECONDS = 5.0
#: Whoever used less of a processor in that time waits for something that may never come.
_LEAST_PROCESSOR_SECONDS = 0.01


def main(idle_seconds: float = IDLE_SECONDS) -> int:
    """Returns 0 when stdin ended or nobody asked for long, 1 when a library is missing."""
    say = _sayer(_take_stdout())
    threading.Thread(target=_tell_alive, args=(say,), daemon=True).start()
    try:
        # All that needs torch comes with this one, so a missing library is said before the first request.
        from HipICMSCLib.results.report import VERSION
    except Exception as error:  # what a broken library raises is not ours to know
        say(Failed("not_installed", _not_loaded(error), traceback.format_exc()))
        return 1
    say(Ready(VERSION))
    requests = _Requests(sys.stdin)
    worker = _Worker(say, requests.ended)
    while (line := requests.next(idle_seconds)) is not None:
        worker.answer(line)
    return 0


class _Requests:
    """Reads lines in a thread of its own, so that the end of the input is seen during a computation as well."""

    def __init__(self, stream: TextIO) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def next(self, seconds: float) -> str | None:
        """The next request, waiting for it; None at the end, or if there is none for so long."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def ended(self) -> bool:
        return self._ended.is_set()

    def _read(self, stream: TextIO) -> None:
        try:
            for line in stream:
                self._lines.put(line)
        finally:  # also where it is no text
            self._ended.set()
            self._lines.put(None)


#: What is done for each request, in a sentence.
_TASKS = {
    SegmentRequest: "The segmentation",
    PreflightRequest: "The look at the MRI",
    SeriesRequest: "The look into the folder",
    ExportRequest: "The export",
    KeepCaseRequest: "Keeping the case",
    SelfTestRequest: "The self-test",
    MeasureRequest: "The measuring",
}


class _Worker:
    def __init__(self, say: Callable[[Event], None], abandoned: Callable[[], bool]) -> None:
        self._say, self._abandoned = say, abandoned
        self._loaded: tuple[tuple, object] | None = None
        #: Of the volume that was looked at last: it is usually the next to be segmented.
        self._heads: tuple[str, FemoralHeads] | None = None
        self._measuring = None
        self._times = RunTimes(user_folder() / "run-times.json")

    def answer(self, line: str) -> None:
        """Do one request; whatever goes wrong becomes one error event."""
        request = None
        try:
            request = decode(line)
            self._say(Finished(self._done(request)))
        except HipError as error:
            self._say(Failed(error.kind, error.sentence, error.detail))
        except Exception as error:
            kind, sentence = _said_of(error, _TASKS.get(type(request), "The process beside Slicer"))
            self._say(Failed(kind, sentence, traceback.format_exc()))

    def _done(self, request: Request | Event) -> dict:
        if isinstance(request, SegmentRequest):
            return self._segment(request)
        if isinstance(request, PreflightRequest):
            return self._preflight(request)
        if isinstance(request, SeriesRequest):
            return self._series(request)
        if isinstance(request, ExportRequest):
            return self._export(request)
        if isinstance(request, KeepCaseRequest):
            return self._keep_case(request)
        if isinstance(request, SelfTestRequest):
            return self._self_test(request)
        if isinstance(request, MeasureRequest):
            return self._measure(request)
        raise HipError("bad_message", "The segmentation process was asked for something that it does not know.")

    def _segment(self, request: SegmentRequest) -> dict:
        from HipICMSCLib.results.provenance import provenance
        from HipICMSCLib.results.report import report
        from HipICMSCLib.results.review import confidence_percent, doubtful_places

        segmenter = self._segmenter(Path(request.model), request.device)
        started = time.perf_counter()
        image, read = read_with_notes(Path(request.image), request.series)
        heads = _marked_heads(request, image)
        if heads is None and segmenter.package.manifest.crop is not None:
            heads = self._known_heads(image)
        if request.insist:
            image = without_unit(image)
        result = segmenter.segment(
            image,
            heads,
            progress=lambda stage, share: self._say(Progress(stage, share)),
            cancelled=lambda: self._abandoned() or Path(request.cancel_flag).exists(),
        )
        about = report(result, segmenter.package)
        about["warnings"] = [*({"kind": "reading", "sentence": sentence} for sentence in read), *about["warnings"]]
        places = doubtful_places(result.confidence, result.labels)
        about["doubtful_places"] = [to_json(place) for place in places]
        write_segmentation(result.labels, Path(request.output), provenance(about))
        if request.confidence:
            write_image(confidence_percent(result.confidence), Path(request.confidence))
        self._times.record(segmenter.package.sha256, result.device, result.slices, time.perf_counter() - started)
        for notice in result.notices:
            self._say(Warned(notice.kind, notice.sentence))
        for sentence in result.fallbacks:
            self._say(Warned("fallback", sentence))
        return about

    def _preflight(self, request: PreflightRequest) -> dict:
        from HipICMSCLib.worker.preflight import inspect

        segmenter = self._segmenter(Path(request.model), request.device)
        image = read_volume(Path(request.image))
        known = _marked_heads(request, image)
        inspection = inspect(image, segmenter, self._times, known)
        if inspection.heads is not None and known is None:
            self._heads = _fingerprint(image), inspection.heads
        return {"findings": [to_json(finding) for finding in inspection.findings]}

    @staticmethod
    def _series(request: SeriesRequest) -> dict:
        from HipICMSCLib.reading.dicom import volumes_in

        volumes, _, _ = volumes_in(Path(request.folder))
        return {"series": [to_json(Series(volume.key, str(volume), volume.is_localizer)) for volume in volumes]}

    @staticmethod
    def _export(request: ExportRequest) -> dict:
        from HipICMSCLib.results.dicom_seg import write_corrected

        # The files of a series may lie among others, or in several folders.
        series = Path(request.labels).with_name("series")
        series.mkdir()
        for number, file in enumerate(request.images):
            try:
                shutil.copyfile(file, series / f"{number:05}.dcm")
            except FileNotFoundError as error:
                sentence = f"The DICOM file {Path(file).name} is not there any more; import the series again."
                raise HipError("input_gone", sentence, str(error)) from error
        write_corrected(read_image(Path(request.labels))[0], Path(request.output), request.provenance, series)
        return {}

    @staticmethod
    def _keep_case(request: KeepCaseRequest) -> dict:
        from HipICMSCLib.cases.correction import labels_as_made
        from HipICMSCLib.cases.in_words import in_words, remarks
        from HipICMSCLib.cases.keep import keep_case
        from HipICMSCLib.cases.source_list import source_list

        image, labels = read_volume(Path(request.image)), read_image(Path(request.labels))[0]
        grid = Grid.of(image)
        if within_voxels_of(image, labels) is None:
            labels = grid.resample(labels, sitk.sitkNearestNeighbor, 0)  # as where the user drew on finer voxels
        original, unknown = labels_as_made(request.as_made, grid)
        case = keep_case(
            Path(request.cases), image, labels, request.provenance, original, request.completed, request.source,
            request.overwrite, unknown,
        )  # fmt: skip
        words, notes = in_words(case), tuple(remarks(case))
        return to_json(KeptCase(case.number, str(case.folder), words, notes, str(source_list())))

    def _self_test(self, request: SelfTestRequest) -> dict:
        from HipICMSCLib.worker.self_test import self_test

        return self_test(self._segmenter(Path(request.model), request.device))

    def _measure(self, request: MeasureRequest) -> dict:
        from HipICMSCLib.worker.measuring import Measuring

        if self._measuring is None:
            self._measuring = Measuring()

        def progress(share: float) -> None:
            if self._abandoned() or Path(request.cancel_flag).exists():
                raise HipError("cancelled", "The measuring was cancelled; nothing was changed.")
            self._say(Progress("measuring", share))

        return self._measuring.answer(request, progress)

    def _known_heads(self, image: sitk.Image) -> FemoralHeads | None:
        return self._heads[1] if self._heads is not None and self._heads[0] == _fingerprint(image) else None

    def _segmenter(self, package: Path, device: str):
        """The last model is kept, for most users have one."""
        from HipICMSCLib.engine import HipSegmenter

        wanted = (package, _state_of(package), device)
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # frees the old one's memory first
            self._loaded = wanted, HipSegmenter(package, device)
        return self._loaded[1]


def _not_loaded(error: Exception) -> str:
    name = getattr(error, "name", None)
    library = f"The Python library {name}" if name else "A Python library"
    return f"{library} cannot be loaded; the section Set-up looks which one it is, and installs it again."


def _said_of(error: Exception, task: str) -> tuple[str, str]:
    """Kind and sentence of a failure that is no HipError."""
    if isinstance(error, ImportError):
        return "not_installed", _not_loaded(error)
    # Of what may not be written storage_error asks by writing beside it, and this may be a patient's folder.
    if isinstance(error, OSError) and not isinstance(error, PermissionError):
        full = storage_error(error, Path(error.filename2 or error.filename or Path(tempfile.gettempdir(), "file")))
        if full.kind == "disk_full":
            return full.kind, full.sentence
    from HipICMSCLib.networks.inference import is_of_graphics_card, is_out_of_memory

    if not is_out_of_memory(error):
        said = unexpected(error, task)
        return said.kind, said.sentence
    if is_of_graphics_card(error):
        return (
            "out_of_memory",
            "The graphics card has too little free memory; close other programs that use it or choose cpu as device.",
        )
    return (
        "out_of_memory",
        "This computer has too little memory for this volume; close other programs or crop the volume.",
    )


def _state_of(file: Path) -> tuple[int, ...] | None:
    """Changes when a file is replaced, by another Slicer for instance; None where there is none."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _marked_heads(request: SegmentRequest | PreflightRequest, image: sitk.Image) -> FemoralHeads | None:
    """What the user marked, each on its side, or None."""
    if not request.heads:
        return None
    if len(request.heads) == 1:
        return head_at(image, request.heads[0])
    right, left = sorted(request.heads)  # the patient's right is at smaller x
    return FemoralHeads(right, left)


def _fingerprint(image: sitk.Image) -> str:
    """Tells volumes apart by their voxels and where they lie."""
    digest = hashlib.sha256(repr((image.GetOrigin(), image.GetSpacing(), image.GetDirection())).encode())
    digest.update(sitk.GetArrayViewFromImage(image))
    return digest.hexdigest()


def _take_stdout() -> TextIO:
    """The process's stdout for the protocol alone; what anything else prints, C libraries too, goes to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own


def _sayer(stream: TextIO) -> Callable[[Event], None]:
    lock = threading.Lock()

    def say(event: Event) -> None:
        line = encode(event)
        with lock:
            stream.write(line)
            stream.flush()

    return say


def _tell_alive(say: Callable[[Event], None]) -> None:
    """For ever. A process that was stopped, that waits for ever or that has nothing to do is silent."""
    used = time.process_time()
    while True:
        time.sleep(ALIVE_SECONDS)
        before, used = used, time.process_time()
        if used - before > _LEAST_PROCESSOR_SECONDS:
            say(Alive())


if __name__ == "__main__":
    sys.exit(main(*(float(seconds) for seconds in sys.argv[1:])))
