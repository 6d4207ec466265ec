"""The one exception that a user meets."""

from __future__ import annotations


class HipError(Exception):
    """Something the user can act on.

    Args:
        kind: stable machine-readable word, e.g. ``"no_hip"``; the worker protocol and tests rely on it.
        sentence: one whole sentence for a clinician: what is wrong and what to do.
        detail: technical background for "Show details" and logs.
    """

    def __init__(self, kind: str, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.detail = detail
