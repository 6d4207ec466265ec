"""Looks through a folder for cases, a moment at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.running.look import Look
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case

#: A few looks are enough for a volume, or for a patient's DICOM folder; who needs so many was led astray.
_MOST_LOOKS = 40_000


class FolderLook:
    """Keeps what was found last.

    Attributes:
        ended: signal without values: a look that took longer than a moment has come to its end.
    """

    def __init__(self) -> None:
        self.ended = Signal()
        self._key: Hashable = None
        self._outcome: list[Case] | HipError = []
        self._takes_longer = False
        self._look = Look(self._on_end)

    def forget(self) -> None:
        """Look anew the next time, and no longer now."""
        self._look.stop()
        self._key = None

    def cases(self, folder: Path, key: Hashable, steps: Iterator[Case | None]) -> list[Case]:
        """The cases of a folder.

        Args:
            key: of the folder's state and of what is looked for; the same one is not looked for again.
            steps: as `cases_of_folders.cases_in_steps`.

        Raises:
            HipError: ``looking`` while there is more to look at, ``too_much``, ``unreadable``, or as the steps.
        """
        if key != self._key:
            self._key, self._takes_longer = key, False
            self._outcome = HipError("looking", _("The folder is being looked through; wait a moment."))
            self._look.begin(folder, _not_too_many(folder, steps))
            self._takes_longer = self._look.under_way
        if isinstance(self._outcome, HipError):
            # The same one is raised many times, and must not grow by it.
            raise self._outcome.with_traceback(None)
        return self._outcome

    def _on_end(self, outcome: list[Case] | HipError) -> None:
        self._outcome = outcome
        if self._takes_longer:
            self.ended.emit()


def _not_too_many(folder: Path, steps: Iterator[Case | None]) -> Iterator[Case | None]:
    for looks, case in enumerate(steps, 1):
        if looks > _MOST_LOOKS:
            raise HipError(
                "too_much",
                _("{folder} holds too much to look through; choose the folder in which the volumes lie.").format(
                    folder=folder
                ),
            )
        yield case
