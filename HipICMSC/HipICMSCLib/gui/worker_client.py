"""Slicer's end of the worker process: starts it, listens, and turns whatever happens to it into one event."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.errors import HipError
from HipICMSCLib.gui.child_process import end_tree, start_connected
from HipICMSCLib.protocol import Event, Failed, Finished, SegmentRequest, decode, encode

_LIBRARY_FOLDER = Path(__file__).resolve().parents[2]
_CANCELLED = Failed("cancelled", "The segmentation was cancelled; nothing was changed.")


class WorkerClient:
    """One worker process, started with the first request and kept for the next.

    Nothing happens by itself: whoever owns the client calls :meth:`poll` every 100 ms or so while it is busy.
    """

    #: A worker that does not answer a cancellation for this long is killed.
    CANCEL_SECONDS = 0.8

    def __init__(self, on_event: Callable[[Event], None], arguments: tuple[str, ...] = ("-m", "HipICMSCLib.worker")):
        """
        Args:
            on_event: called from :meth:`poll` with each event.
            arguments: of the Python process, in place of the worker's.
        """
        self._on_event, self._arguments = on_event, arguments
        self._process: subprocess.Popen | None = None
        self._request: SegmentRequest | None = None
        self._kill_at: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a request awaits its last event."""
        return self._request is not None

    def send(self, request: SegmentRequest) -> None:
        """Ask for something; not while busy."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._request, self._kill_at = request, None
        with contextlib.suppress(OSError):  # the process just died, which poll() will find and say
            self._process.stdin.write(encode(request))
            self._process.stdin.flush()

    def cancel(self) -> None:
        """Ask the worker to give up; if it does not, :meth:`poll` kills it. The last event says ``cancelled``."""
        if self.busy and self._kill_at is None:
            Path(self._request.cancel_flag).touch()
            self._kill_at = time.monotonic() + self.CANCEL_SECONDS

    def poll(self) -> None:
        """Hand on what the worker said since the last time; what it said counts before how it ended."""
        while self.busy:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                if self._kill_at is not None and time.monotonic() > self._kill_at:
                    self.close()
                    self._take(_CANCELLED)
                return
            self._take(self._ended() if line is None else self._understood(line))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            end_tree(self._process)
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                with contextlib.suppress(OSError):
                    stream.close()
            self._process = None

    def _start(self) -> None:
        self.close()
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._printed: deque[str] = deque(maxlen=200)
        try:
            self._process = start_connected(list(self._arguments), [_LIBRARY_FOLDER])
        except OSError as error:
            raise HipError("not_started", "The segmentation process could not be started.", str(error)) from error
        printing = threading.Thread(target=_read_into, args=(self._process.stderr, self._printed.append), daemon=True)
        printing.start()
        threading.Thread(target=self._listen, args=(self._process, self._lines, printing), daemon=True).start()

    @staticmethod
    def _listen(process: subprocess.Popen, lines: queue.Queue, printing: threading.Thread) -> None:
        _read_into(process.stdout, lines.put)
        # Its last words often say why it ended.
        printing.join(1.0)
        lines.put(None)

    def _take(self, event: Event) -> None:
        if isinstance(event, Finished | Failed):
            self._request = self._kill_at = None
        self._on_event(event)

    def _understood(self, line: str) -> Event:
        try:
            return decode(line)
        except HipError as error:
            self.close()
            return Failed(error.kind, error.sentence, error.detail)

    def _ended(self) -> Failed:
        if self._kill_at is not None:
            return _CANCELLED
        code = self._process.wait()
        return Failed(
            "worker_died",
            "The segmentation process ended unexpectedly, perhaps because this computer ran out of memory.",
            f"Exit code {code}.\n{''.join(self._printed)}".strip(),
        )


def _read_into(stream, take: Callable[[str], None]) -> None:
    # The stream is closed under the reader's hands when the process is killed.
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            take(line)
