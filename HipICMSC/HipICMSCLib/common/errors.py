"""The one exception that a user meets."""

from __future__ import annotations

import traceback

#: Longer ones are cut in their middle: what they quote of a file may be megabytes.
_LONGEST_SENTENCE, _LONGEST_DETAIL = 2000, 100_000


class HipError(Exception):
    """Something the user can act on.

    Args:
        kind: stable machine-readable word, e.g. ``"no_hip"``; the worker protocol and tests rely on it.
        sentence: one whole sentence for a clinician: what is wrong and what to do. It may quote anybody's file: what
            cannot be printed in a line is replaced.
        detail: technical background for "Show details" and logs.
    """

    def __init__(self, kind: str, sentence: str, detail: str = "") -> None:
        sentence = _in_one_line(_cut(sentence, _LONGEST_SENTENCE))
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.detail = _cut(detail, _LONGEST_DETAIL).encode("utf-8", "replace").decode("utf-8")

    def __reduce__(self) -> tuple[type[HipError], tuple[str, str, str]]:
        """It travels between processes whole."""
        return type(self), (self.kind, self.sentence, self.detail)


def unexpected(error: Exception, task: str = "The segmentation") -> HipError:
    """For what nobody foresaw, in one of several volumes: a mistake of ours keeps the others from nothing."""
    sentence = f"{task} failed unexpectedly ({type(error).__name__}); the details say more."
    return HipError("unexpected", sentence, "".join(traceback.format_exception(error)))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-length // 2 :]}"


def _in_one_line(text: str) -> str:
    """Without ends of lines, commands to a terminal and halves of characters, all of which a file's name may have."""
    return "".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.splitlines()))
