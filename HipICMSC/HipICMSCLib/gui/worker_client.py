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
from HipICMSCLib.protocol import Event, Failed, Finished, Request, decode, encode

_LIBRARY_FOLDER = Path(__file__).resolve().parents[2]


class Conversation:
    """A request and who listens to what comes of it; the last event is `Finished` or `Failed`."""

    def __init__(self, request: Request, on_event: Callable[[Event], None]) -> None:
        self.request, self.on_event = request, on_event
        self.kill_at: float | None = None
        #: A worker that had been idle for long may end just when it is asked; then another one is asked, once.
        self.was_heard = self.was_repeated = False


class WorkerClient:
    """One worker process, started with the first request and kept for the next; requests are done in their order.

    Nothing happens by itself: whoever owns the client calls :meth:`poll` every 100 ms or so while it is busy.
    """

    #: A worker that does not answer a cancellation for this long is killed.
    CANCEL_SECONDS = 0.8

    def __init__(
        self,
        arguments: tuple[str, ...] = ("-m", "HipICMSCLib.worker"),
        python: Callable[[], str | None] = lambda: None,
    ) -> None:
        """
        Args:
            arguments: of the Python process.
            python: asked at each start for the interpreter; None is Slicer's own.
        """
        self._arguments, self._python = arguments, python
        self._process: subprocess.Popen | None = None
        self._waiting: deque[Conversation] = deque()
        self._current: Conversation | None = None

    @property
    def busy(self) -> bool:
        """Whether a request awaits its last event."""
        return self._current is not None

    def send(self, request: Request, on_event: Callable[[Event], None]) -> Conversation:
        """Ask for something; it begins when all that was asked before is done.

        Args:
            on_event: called from :meth:`poll` with each event.

        Raises:
            HipError: ``not_started`` if there is no process to ask.
        """
        conversation = Conversation(request, on_event)
        if self.busy:
            self._waiting.append(conversation)
        else:
            self._begin(conversation)
        return conversation

    def cancel(self, conversation: Conversation) -> None:
        """Ask the worker to give up; if it does not, :meth:`poll` kills it. The last event says ``cancelled``.

        Nothing happens to a conversation that is over.
        """
        if conversation in self._waiting:
            self._waiting.remove(conversation)
            conversation.on_event(_cancelled())
        elif conversation is self._current and conversation.kill_at is None:
            if flag := getattr(conversation.request, "cancel_flag", ""):
                Path(flag).touch()
            conversation.kill_at = time.monotonic() + self.CANCEL_SECONDS

    def forget(self, conversation: Conversation) -> None:
        """Nobody wants to know any more: the worker may go on, nothing that comes of it is handed on."""
        conversation.on_event = lambda event: None
        if conversation in self._waiting:
            self._waiting.remove(conversation)

    def poll(self) -> None:
        """Hand on what the worker said since the last time; what it said counts before how it ended."""
        while self.busy:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                kill_at = self._current.kill_at
                if kill_at is None or time.monotonic() <= kill_at:
                    return
                self._end_process()
                self._take(_cancelled())
            else:
                self._take(self._ended() if line is None else self._understood(line))

    def close(self) -> None:
        """End the process; what was asked comes to nothing and nobody is told."""
        self._current = None
        self._waiting.clear()
        self._end_process()

    def _end_process(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                with contextlib.suppress(OSError):
                    stream.close()
            self._process = None

    def _begin(self, conversation: Conversation) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._current = conversation
        with contextlib.suppress(OSError):  # the process just died, which poll() will find and say
            self._process.stdin.write(encode(conversation.request))
            self._process.stdin.flush()

    def _start(self) -> None:
        self._end_process()
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._printed: deque[str] = deque(maxlen=200)
        try:
            self._process = start_connected(list(self._arguments), [_LIBRARY_FOLDER], self._python())
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

    def _take(self, event: Event | None) -> None:
        """``None`` is no event: the request was put to another process."""
        conversation = self._current
        if event is None:
            return
        conversation.was_heard = True
        if isinstance(event, Finished | Failed):
            self._current = None
        conversation.on_event(event)
        # The listener may have asked for something else meanwhile.
        while not self.busy and self._waiting:
            following = self._waiting.popleft()
            try:
                self._begin(following)
            except HipError as error:
                following.on_event(Failed(error.kind, error.sentence, error.detail))

    def _understood(self, line: str) -> Event:
        try:
            return decode(line)
        except HipError as error:
            self._end_process()
            return Failed(error.kind, error.sentence, error.detail)

    def _ended(self) -> Event | None:
        conversation, code = self._current, self._process.wait()
        if conversation.kill_at is not None:
            return _cancelled()
        if code == 0 and not conversation.was_heard and not conversation.was_repeated:
            conversation.was_repeated = True
            try:
                self._begin(conversation)
            except HipError as error:
                return Failed(error.kind, error.sentence, error.detail)
            return None
        return Failed(
            "worker_died",
            "The segmentation process ended unexpectedly, perhaps because this computer ran out of memory.",
            f"Exit code {code}.\n{''.join(self._printed)}".strip(),
        )


def _cancelled() -> Failed:
    return Failed("cancelled", "The segmentation was cancelled; nothing was changed.")


def _read_into(stream, take: Callable[[str], None]) -> None:
    # The stream is closed under the reader's hands when the process is killed.
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            take(line)
