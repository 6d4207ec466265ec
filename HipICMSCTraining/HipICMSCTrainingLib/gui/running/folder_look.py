"""Looks through a folder in Slicer's own process, a moment at a time: nobody knows how large or how far away it is."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case

#: Slicer is with its user again after so long, and for so long.
_TURN_SECONDS = 0.1
_PAUSE_MILLISECONDS = 50
#: A few looks are enough for a volume, or for a patient's DICOM folder; who needs so many was led astray.
_MOST_LOOKS = 40_000


class FolderLook:
    """Keeps what was found last.

    Attributes:
        ended: signal without values: a look that took longer than a moment has come to its end.
    """

    def __init__(self) -> None:
        self.ended = Signal()
        self._folder: Path | None = None
        self._key: Hashable = None
        self._steps: Iterator[Case | None] = iter(())
        self._looks = 0
        self._cases: list[Case] = []
        self._problem: HipError | None = None
        self._timer = RepeatingTimer(_PAUSE_MILLISECONDS, self._on_time)

    def forget(self) -> None:
        """Look anew the next time, and no longer now."""
        self._timer.stop()
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
            self.forget()
            self._folder, self._key, self._steps, self._looks, self._cases = folder, key, steps, 0, []
            self._go_on()
        if self._problem:
            # The same one is raised many times, and must not grow by it.
            raise self._problem.with_traceback(None)
        return self._cases

    def _on_time(self) -> None:
        self._timer.stop()
        self._go_on()
        if self._problem is None or self._problem.kind != "looking":
            self.ended.emit()

    def _go_on(self) -> None:
        end = time.monotonic() + _TURN_SECONDS
        try:
            for case in self._steps:
                self._looks += 1
                self._cases += [case] if case else []
                if self._looks > _MOST_LOOKS:
                    raise HipError(
                        "too_much",
                        _(
                            "{folder} holds too much to look through; choose the folder in which the volumes lie."
                        ).format(folder=self._folder),
                    )
                if time.monotonic() > end:
                    self._problem = HipError("looking", _("The folder is being looked through; wait a moment."))
                    self._timer.start()
                    return
            self._problem = None
        except HipError as error:
            self._problem = error
        except OSError as error:
            self._problem = unreadable(self._folder, error)


def unreadable(folder: Path, error: OSError) -> HipError:
    """Why a folder could not be looked through, in one sentence."""
    return HipError(
        "unreadable",
        _("The folder {folder} cannot be read ({reason}); choose another one.").format(
            folder=folder, reason=error.strerror or error
        ),
        str(error),
    )
