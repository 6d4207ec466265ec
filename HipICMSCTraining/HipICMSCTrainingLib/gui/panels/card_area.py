"""What a person writes for the card of a run's model: licence, citations, data, limits. It is kept in the run's
folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.panels.list_height import fit_lines

from HipICMSCTrainingLib.run.folder import RunFolder

#: How high the boxes of text are.
_LINES = {"finishCitationsEdit": 3, "finishDataEdit": 3, "finishLimitsEdit": 3}


class CardArea:
    """Attributes:
    is_empty: whether all is left to its default.
    """

    def __init__(self, ui: Any, say_error: Callable[[HipError], None]) -> None:
        """
        Args:
            ui: the widgets of the section.
        """
        self.ui, self._say_error = ui, say_error
        self._run: RunFolder | None = None
        self._kept: dict[str, Any] = {}
        for name, lines in _LINES.items():
            fit_lines(getattr(ui, name), lines)

    @property
    def is_empty(self) -> bool:
        return not self._kept

    def attach(self, run: RunFolder | None) -> None:
        """Show what is written of this run; what is written of the one before must have been kept."""
        self._run = run
        about: dict[str, Any] = {}
        if run is not None:
            try:
                about = run.about()
            except HipError as error:
                self._say_error(error)
        self.ui.finishLicenceEdit.text = str(about.get("licence", ""))
        self.ui.finishCitationsEdit.plainText = "\n".join(map(str, about.get("citations", ())))
        self.ui.finishDataEdit.plainText = str(about.get("data", ""))
        self.ui.finishLimitsEdit.plainText = str(about.get("limits", ""))
        self._kept = self._written()

    def keep(self) -> None:
        """Write what changed into the run's folder."""
        written = self._written()
        if self._run is None or written == self._kept:
            return
        try:
            self._run.write_about(written)
            self._kept = written
        except HipError as error:
            self._say_error(error)

    def _written(self) -> dict[str, Any]:
        """What stands in the fields, as in export.About; an empty one is left to its default."""
        ui = self.ui
        citations = [line.strip() for line in ui.finishCitationsEdit.plainText.splitlines() if line.strip()]
        values = {
            "licence": ui.finishLicenceEdit.text.strip(),
            "citations": citations,
            "data": ui.finishDataEdit.plainText.strip(),
            "limits": ui.finishLimitsEdit.plainText.strip(),
        }
        return {name: value for name, value in values.items() if value}
