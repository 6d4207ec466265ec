"""Reads and writes the pipes of a process in threads of their own, so that neither it nor Slicer waits for the other.

These threads hand on bytes and make nothing else: wherever Python makes an object that holds others it may clear away
what nobody needs any more, and to clear away Qt's and VTK's objects in another thread than theirs ends Slicer. So they
use no file objects, whose reading makes such objects; lines, text and messages are made by whoever asks for them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections import deque

#: Read at once, and most pieces that wait to be asked for: who says more while nobody listens is not read.
_PIECE, _MOST_UNREAD = 1 << 13, 1000
_LOOK_SECONDS = 0.2
#: Of what is printed the last pieces are kept.
_PRINTED_PIECE, _KEPT_PRINTED = 1 << 12, 200


class ProcessOutput:
    """What a process writes to its standard output, line by line, and the last of what it prints as errors. The threads
    end with the process, or when this is closed, and close its pipes."""

    def __init__(self, process: subprocess.Popen, longest_line: int, seconds_for_last_words: float = 1.0) -> None:
        """
        Args:
            longest_line: in bytes; of a longer one the pieces come as lines.
            seconds_for_last_words: so long the end waits for what is still printed, which often says why.
        """
        self._longest, self._seconds_for_last_words = longest_line, seconds_for_last_words
        #: None is the end.
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._line = bytearray()
        self._printed: deque[bytes] = deque(maxlen=_KEPT_PRINTED)
        self._has_spoken = self._closed = False
        self._printing = threading.Thread(target=self._read_printed, args=(process.stderr,), daemon=True)
        self._printing.start()
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()

    def next_line(self) -> str | None:
        """With its end; None when all has been read.

        Raises:
            queue.Empty: there is no more yet.
        """
        searched = 0
        while (end := self._line.find(b"\n", searched) + 1) == 0 and len(self._line) < self._longest:
            searched = len(self._line)
            piece = self._pieces.get_nowait()
            if piece is None:
                # Asked again, there is the end again.
                self._pieces.put(None)
                if not self._line:
                    return None
                break
            self._line += piece
        end = min(end or len(self._line), self._longest)
        line = self._line[:end].decode("utf-8", "replace")
        del self._line[:end]
        return line

    def has_unread(self) -> bool:
        """Whether it said, or ended, more than was asked for."""
        return bool(self._line) or not self._pieces.empty()

    def has_spoken(self) -> bool:
        """Whether it wrote anything since this was last asked."""
        spoken, self._has_spoken = self._has_spoken, False
        return spoken

    def printed(self) -> str:
        """The last of what it printed as errors."""
        return b"".join(self._printed).decode("utf-8", "replace")

    def close(self) -> None:
        """Nobody listens any more."""
        self._closed = True

    def _listen(self, stdout) -> None:
        with contextlib.suppress(OSError), stdout:
            while piece := os.read(stdout.fileno(), _PIECE):
                self._has_spoken = True
                while self._pieces.qsize() >= _MOST_UNREAD and not self._closed:
                    time.sleep(_LOOK_SECONDS)
                if self._closed:
                    return
                self._pieces.put(piece)
        self._printing.join(self._seconds_for_last_words)
        self._pieces.put(None)

    def _read_printed(self, stderr) -> None:
        with contextlib.suppress(OSError), stderr:
            while piece := os.read(stderr.fileno(), _PRINTED_PIECE):
                self._printed.append(piece)


class ProcessInput:
    """Tells a process what is asked: a pipe takes a few kilobytes, and more only when the process reads. The thread
    ends with the process, or when this is closed."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(process.stdin,), daemon=True).start()

    def say(self, line: str) -> None:
        self._lines.put(line.encode())

    def close(self) -> None:
        self._lines.put(None)

    def _write(self, stdin) -> None:
        with contextlib.suppress(OSError), stdin:  # that the process died its output says
            for line in iter(self._lines.get, None):
                while (written := os.write(stdin.fileno(), line)) < len(line):
                    line = line[written:]
