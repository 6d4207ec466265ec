"""Looks through a folder in Slicer's own process, a moment at a time: nobody knows how large or how far away it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer

#: Slicer is with its user again after so long, and for so long.
_TURN_SECONDS = 0.1
_PAUSE_MILLISECONDS = 50


class Look:
    """
    Attributes:
        under_way: whether there is more to look at.
    """

    def __init__(self, on_end: Callable[[list[Any] | HipError], None]) -> None:
        """
        Args:
            on_end: called with what was found, or why nothing was; also from within :meth:`begin`, where all is found
                in a moment.
        """
        self._on_end = on_end
        self.under_way = False
        self._folder = Path()
        self._steps: Iterator[Any] = iter(())
        self._found: list[Any] = []
        self._timer = RepeatingTimer(_PAUSE_MILLISECONDS, self._go_on)

    def begin(self, folder: Path, steps: Iterator[Any]) -> None:
        """Look; a look that is under way is given up.

        Args:
            steps: yields what is found, and None whenever there may be a pause; may raise a HipError, or an OSError
                where the folder cannot be read.
        """
        self._folder, self._steps, self._found, self.under_way = folder, steps, [], True
        self._go_on()

    def stop(self) -> None:
        """Give it up; nobody is told."""
        self.under_way = False
        self._timer.stop()

    def _go_on(self) -> None:
        self._timer.stop()
        end = time.monotonic() + _TURN_SECONDS
        try:
            for found in self._steps:
                self._found += [] if found is None else [found]
                if time.monotonic() > end:
                    self._timer.start()
                    return
            outcome = self._found
        except HipError as error:
            outcome = error
        except OSError as error:
            outcome = unreadable(self._folder, error)
        self.under_way = False
        self._on_end(outcome)


def unreadable(folder: Path, error: OSError) -> HipError:
    """Why a folder could not be looked through, in one sentence."""
    return HipError(
        "unreadable",
        _("The folder {folder} cannot be read ({reason}); choose another one.").format(
            folder=folder, reason=error.strerror or error
        ),
        str(error),
    )
