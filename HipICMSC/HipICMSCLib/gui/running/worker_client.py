"""Slicer's end of the worker process: starts it, listens, and turns whatever happens to it into one event."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.gui.setup.child_process import end_tree, start_connected
from HipICMSCLib.gui.setup.pipes import ProcessInput, ProcessOutput
from HipICMSCLib.worker.protocol import Alive, Event, Failed, Finished, Ready, Request, decode, encode

_LIBRARY_FOLDER = Path(__file__).resolve().parents[3]
#: Bytes; no message is as long.
_LONGEST_MESSAGE = 1 << 22
#: After these failures the process itself is not to be trusted any more, its hold on a graphics card above all, or
#: holds memory that others need.
_LAST_OF_A_PROCESS = ("bad_message", "not_installed", "other_version", "out_of_memory", "unexpected")


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

    Attributes:
        did_not_load: signal without values, when a library could not be loaded, or a process ended before all were.
    """

    #: A worker that does not answer a cancellation for this long is killed.
    CANCEL_SECONDS = 0.8
    #: A worker that gives no sign of life for this long is killed.
    SILENT_SECONDS = 120.0

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
        self.did_not_load = Signal()
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
            conversation.kill_at = time.monotonic() + self.CANCEL_SECONDS
            if flag := getattr(conversation.request, "cancel_flag", ""):
                # Where the disk is full it cannot be asked, only killed.
                with contextlib.suppress(OSError):
                    Path(flag).touch()

    def forget(self, conversation: Conversation) -> None:
        """Nobody wants to know any more: the worker may go on, nothing that comes of it is handed on."""
        conversation.on_event = lambda event: None
        if conversation in self._waiting:
            self._waiting.remove(conversation)

    def poll(self) -> None:
        """Hand on what the worker said since the last time; what it said counts before how it ended."""
        while self.busy:
            try:
                event = self._ear.next_event()
            except queue.Empty:
                if not self._is_too_late():
                    return
                self._end_process()
                self._take(_cancelled() if self._current.kill_at is not None else _silent(self._ear))
            else:
                self._take(self._ended() if event is None else event)

    def close(self) -> None:
        """End the process; what was asked comes to nothing and nobody is told."""
        self._current = None
        self._waiting.clear()
        self._end_process()

    def _is_too_late(self) -> bool:
        silence = self._ear.silence()
        kill_at = self._current.kill_at
        return silence > self.SILENT_SECONDS if kill_at is None else time.monotonic() > kill_at

    def _end_process(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            self._ear.close()
            self._mouth.close()
            self._process = None

    def _begin(self, conversation: Conversation) -> None:
        # What says something without being asked would be taken for the answer to what is asked now.
        if self._process is None or self._process.poll() is not None or self._ear.has_unread():
            self._start()
        self._ear.forget_silence()
        self._current = conversation
        self._mouth.say(encode(conversation.request))

    def _start(self) -> None:
        self._end_process()
        try:
            self._process = start_connected(list(self._arguments), [_LIBRARY_FOLDER], self._python())
        except OSError as error:
            raise HipError("not_started", "The segmentation process could not be started.", str(error)) from error
        # It reads when its libraries are loaded, and cannot before: on Windows a library such as OpenBLAS waits, while
        # it is loaded, for whoever reads the input.
        self._ear = _Ear(ProcessOutput(self._process, _LONGEST_MESSAGE))
        self._mouth = ProcessInput(self._process)

    def _take(self, event: Event | None) -> None:
        """``None`` is no event: the request was put to another process."""
        conversation = self._current
        if event is None:
            return
        conversation.was_heard = True
        if not isinstance(event, Finished | Failed):
            conversation.on_event(event)
            return
        ended = isinstance(event, Failed)
        did_not_load = ended and (
            event.kind == "not_installed" or (event.kind == "worker_died" and not self._ear.heard_ready)
        )
        if ended and event.kind in _LAST_OF_A_PROCESS:
            self._end_process()
        # Before the listener is told, for that may ask for something else, show a dialogue or fail.
        refused = self._begin_next()
        conversation.on_event(event)
        for other, error in refused:
            other.on_event(Failed(error.kind, error.sentence, error.detail))
        if did_not_load:
            self.did_not_load.emit()

    def _exit_code(self) -> int:
        # Who only closed its ear and mouth is ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0)
        end_tree(self._process)
        return self._process.wait()

    def _begin_next(self) -> list[tuple[Conversation, HipError]]:
        """Begin with the first that waits; those for which there is no process are returned."""
        refused = []
        self._current = None
        while not self.busy and self._waiting:
            following = self._waiting.popleft()
            try:
                self._begin(following)
            except HipError as error:
                refused.append((following, error))
        return refused

    def _ended(self) -> Event | None:
        conversation, code = self._current, self._exit_code()
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
            "The segmentation process ended unexpectedly, perhaps because this computer ran out of memory."
            if self._ear.heard_ready
            else "The segmentation process could not start; look into the section Set-up and at the details.",
            f"Exit code {code}.\n{self._ear.last_words()}".strip(),
        )


class _Ear:
    """Understands what a process says.

    Attributes:
        heard_ready: whether it has loaded its libraries.
    """

    #: A longer time between two looks is one in which the computer slept or Slicer was busy.
    _LONGEST_BETWEEN_LOOKS = 1.0

    def __init__(self, output: ProcessOutput) -> None:
        self._output = output
        self.has_unread, self.last_words, self.close = output.has_unread, output.printed, output.close
        self.heard_ready = False
        self.forget_silence()

    def next_event(self) -> Event | None:
        """What it said next; None is its end.

        Raises:
            queue.Empty: it said nothing more yet.
        """
        while (line := self._output.next_line()) is not None:
            try:
                event = decode(line)
            except HipError as error:
                return Failed(error.kind, error.sentence, error.detail)
            if isinstance(event, Ready):
                self.heard_ready = True
                return _of_other_version(event) if event.version != VERSION else event
            if not isinstance(event, Alive):
                return event
        return None

    def forget_silence(self) -> None:
        self._silence, self._looked_at = 0.0, time.monotonic()

    def silence(self) -> float:
        """Seconds without a sign of life; to be asked again and again, for only the time between is counted."""
        now = time.monotonic()
        self._silence += min(now - self._looked_at, self._LONGEST_BETWEEN_LOOKS)
        self._looked_at = now
        if self._output.has_spoken():
            self._silence = 0.0
        return self._silence


def _cancelled() -> Failed:
    return Failed("cancelled", "The segmentation was cancelled; nothing was changed.")


def _of_other_version(event: Ready) -> Failed:
    return Failed(
        "other_version",
        "HipICMSC was updated while Slicer was open; restart Slicer.",
        f"The process has version {event.version}, Slicer {VERSION}.",
    )


def _silent(ear: _Ear) -> Failed:
    return Failed(
        "no_answer",
        "The segmentation process gave no sign of life any more and was ended; try again, and restart the computer if "
        "that does not help.",
        ear.last_words().strip(),
    )
