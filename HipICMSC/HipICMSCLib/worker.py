"""The process that segments for Slicer: ``python -m HipICMSCLib.worker``.

It reads requests from stdin and answers on stdout (see protocol), one request after the other; models stay loaded in
between. When stdin ends, for example because Slicer died, it gives up what it is doing and ends, too.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from HipICMSCLib.errors import HipError
from HipICMSCLib.protocol import Event, Failed, Finished, Progress, Ready, SegmentRequest, Warned, decode, encode
from HipICMSCLib.segmentation_file import write_segmentation
from HipICMSCLib.volume_input import read_volume


def main() -> int:
    """Returns 0 when stdin ended, 1 when a library is missing."""
    say = _sayer(_take_stdout())
    try:
        # All that needs torch comes with this one, so a missing library is said before the first request.
        from HipICMSCLib.report import VERSION
    except ImportError as error:
        say(
            Failed(
                "not_installed",
                f"The Python library {error.name} cannot be loaded; install it and try again.",
                traceback.format_exc(),
            )
        )
        return 1
    say(Ready(VERSION))
    requests = _Requests(sys.stdin)
    worker = _Worker(say, requests.ended)
    while (line := requests.next()) is not None:
        worker.answer(line)
    return 0


class _Requests:
    """Reads lines in a thread of its own, so that the end of the input is seen during a computation as well."""

    def __init__(self, stream: TextIO) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def next(self) -> str | None:
        """The next request, waiting for it; None at the end."""
        return self._lines.get()

    def ended(self) -> bool:
        return self._ended.is_set()

    def _read(self, stream: TextIO) -> None:
        for line in stream:
            self._lines.put(line)
        self._ended.set()
        self._lines.put(None)


class _Worker:
    def __init__(self, say: Callable[[Event], None], abandoned: Callable[[], bool]) -> None:
        self._say, self._abandoned = say, abandoned
        self._loaded: tuple[tuple, object] | None = None

    def answer(self, line: str) -> None:
        """Do one request; whatever goes wrong becomes one error event."""
        try:
            self._say(self._segment(decode(line)))
        except HipError as error:
            self._say(Failed(error.kind, error.sentence, error.detail))
        except MemoryError:
            sentence = "This computer has too little memory for this volume; close other programs or crop the volume."
            self._say(Failed("out_of_memory", sentence, traceback.format_exc()))
        except Exception as error:
            sentence = f"The segmentation failed unexpectedly ({type(error).__name__}); the details say more."
            self._say(Failed("unexpected", sentence, traceback.format_exc()))

    def _segment(self, request: SegmentRequest) -> Finished:
        from HipICMSCLib.femoral_heads import FemoralHeads
        from HipICMSCLib.report import provenance, report

        known = request.right_head or request.left_head
        segmenter = self._segmenter(Path(request.model), request.device)
        result = segmenter.segment(
            read_volume(Path(request.image)),
            FemoralHeads(request.right_head, request.left_head) if known else None,
            progress=lambda stage, share: self._say(Progress(stage, share)),
            cancelled=lambda: self._abandoned() or Path(request.cancel_flag).exists(),
        )
        write_segmentation(result.labels, Path(request.output), provenance(result, segmenter.package))
        for notice in result.notices:
            self._say(Warned(notice.kind, notice.sentence))
        for sentence in result.fallbacks:
            self._say(Warned("fallback", sentence))
        return Finished(request.output, report(result, segmenter.package))

    def _segmenter(self, package: Path, device: str):
        """The last model is kept, for most users have one."""
        from HipICMSCLib.engine import HipSegmenter

        wanted = (package, package.stat().st_mtime_ns if package.is_file() else None, device)
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # frees the old one's memory first
            self._loaded = wanted, HipSegmenter(package, device)
        return self._loaded[1]


def _take_stdout() -> TextIO:
    """The process's stdout for the protocol alone; what anything else prints, C libraries too, goes to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own


def _sayer(stream: TextIO) -> Callable[[Event], None]:
    def say(event: Event) -> None:
        stream.write(encode(event))
        stream.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
