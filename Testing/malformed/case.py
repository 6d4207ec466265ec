"""One malformed input, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from malformed.reading import Reading

Verdict = Literal["refuse", "read", "either"]


class Wrong(Exception):
    """The product gave a result, but not the right one, or refused what is right."""


@dataclass(frozen=True)
class Case:
    """An input that lies ready.

    Attributes:
        path: what the user would choose.
        verdict: whether it must be refused, must be read, or may be either as long as what is read is right.
        truth: what it must be read as, where `malformed.reading` cannot tell.
    """

    path: Path
    verdict: Verdict = "refuse"
    truth: Reading | None = None


#: Writes a case into an empty folder.
Maker = Callable[[Path, np.random.Generator], Case]


class Area(Protocol):
    """A module of cases of one sort."""

    #: By the name of what is malformed.
    MAKERS: dict[str, Maker]

    def attempt(self, case: Case, output: Path) -> None:
        """Do what a user would do with the case; results go into the empty folder ``output``.

        Raises:
            HipError: it was refused.
            Wrong: what came of it is not right.
        """
