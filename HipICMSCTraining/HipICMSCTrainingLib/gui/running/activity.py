"""What the panel is doing: one thing at a time, in words that are true until the next ones."""

from __future__ import annotations

from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _


class Activity:
    """Shared by all that takes long and works on the same data: checking, estimating, writing volumes.

    Attributes:
        sentence: what is being done now; empty for nothing.
        changed: signal without values, when :attr:`sentence` is another.
    """

    def __init__(self) -> None:
        self.sentence = ""
        self.changed = Signal()

    def say(self, sentence: str) -> None:
        """This is being done now; to be called by whoever found :meth:`reason_against` empty, until :meth:`end`."""
        if sentence != self.sentence:
            self.sentence = sentence
            self.changed.emit()

    def end(self) -> None:
        """It is done, or came to nothing."""
        self.say("")

    def reason_against(self) -> str:
        """Why nothing else can begin; empty if something can."""
        return self.sentence and _("{doing} Wait for it, or cancel it.").format(doing=self.sentence)
