"""Which series of a DICOM folder is segmented; the worker, which can read DICOM, says what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.worker.protocol import Series

ListSeries = Callable[[Path, Callable[[tuple[Series, ...]], None], Callable[[HipError], None]], None]


class SeriesChoice:
    """Shows a box for one folder at a time and remembers what was chosen for each.

    Attributes:
        chosen: signal of the folder for which the user chose.
    """

    def __init__(self, frame, box, list_series: ListSeries) -> None:
        """
        Args:
            frame: the widget that holds the box and its label.
            list_series: asks for the volumes of a folder; calls back with them or with a HipError.
        """
        self.chosen = Signal()
        self._frame, self._box, self._list_series = frame, box, list_series
        self._usual_tip = box.toolTip
        self._folder: Path | None = None
        self._listed: dict[Path, tuple[Series, ...]] = {}
        self._choices: dict[Path, str] = {}
        box.connect("activated(int)", self._on_activated)
        self.show(None)

    def of(self, folder: Path) -> str | None:
        """The key of the series that the user chose; None for the only one that is no localizer."""
        return self._choices.get(folder)

    def show(self, folder: Path | None) -> None:
        """Let the user choose among the series of this DICOM folder; None shows nothing."""
        self._folder = folder
        self._frame.visible = folder is not None
        if folder is None:
            return
        if folder in self._listed:
            self._fill()
            return
        self._say(_("Looking for the series …"))
        self._list_series(
            folder, lambda listed: self._on_listed(folder, listed), lambda error: self._on_error(folder, error)
        )

    def forget(self) -> None:
        """The folders may hold something else by now; what was chosen stays chosen."""
        self._listed.clear()

    def _on_listed(self, folder: Path, listed: tuple[Series, ...]) -> None:
        self._listed[folder] = listed
        if folder == self._folder:
            self._fill()

    def _on_error(self, folder: Path, error: HipError) -> None:
        if folder == self._folder:
            self._say(_("The series could not be listed."), error.sentence)

    def _fill(self) -> None:
        listed = self._listed[self._folder]
        keys = [series.key for series in listed]
        usual = [series.key for series in listed if not series.is_localizer] or keys
        chosen = self.of(self._folder) or (usual[0] if len(usual) == 1 else None)
        self._box.clear()
        self._box.addItems([series.words for series in listed])
        self._box.currentIndex = keys.index(chosen) if chosen in keys else -1
        self._box.enabled = len(listed) > 1
        self._box.toolTip = self._usual_tip if len(listed) > 1 else _("There is one series in this folder.")

    def _say(self, words: str, why: str = "") -> None:
        self._box.clear()
        self._box.addItems([words])
        self._box.enabled, self._box.toolTip = False, why or words

    def _on_activated(self, index: int) -> None:
        self._choices[self._folder] = self._listed[self._folder][index].key
        self.chosen.emit(self._folder)
