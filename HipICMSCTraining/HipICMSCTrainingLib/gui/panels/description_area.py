"""What can be chosen for a training: read by a process of its own, and what is said until it is known."""

from __future__ import annotations

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.setup.installation import python_interpreter
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.running.settings_reading import SettingsReading
from HipICMSCTrainingLib.settings.choices import Description


class DescriptionArea:
    """Works on the widgets of the section "Training".

    Attributes:
        description: None as long as it is not known.
        changed: signal without values: it is known now, or why it is not.
    """

    def __init__(self, ui) -> None:
        self.description: Description | None = None
        self.changed = Signal()
        self._ui = ui
        self._reading: SettingsReading | None = None
        self._error: HipError | None = None
        self._known_of: str | None = None
        ui.settingsAgainButton.connect("clicked(bool)", self._on_again)

    def known(self) -> Description:
        """
        Raises:
            HipError: ``not_described`` as long as it is being read, or what keeps it from being read.
        """
        if self.description is None:
            raise self._error or HipError("not_described", _("The settings are still being read; wait a moment."))
        return self.description

    def read(self) -> None:
        """Find out; ``changed`` may be emitted before this returns."""
        self.description, self._error = None, None
        self._known_of = python_interpreter()
        self._reading = SettingsReading(self._on_described, self._on_not_described)
        if self.description is not None or self._error is not None:
            self._reading = None
        self.show()

    def read_again_if_needed(self) -> None:
        """What was missing may be there now."""
        if self._reading is None and (self._error is not None or self._known_of != python_interpreter()):
            self.read()

    def show(self) -> None:
        """Settings where they are known, otherwise a sentence in their place."""
        ui, there = self._ui, self.description is not None
        ui.settingsFrame.visible = ui.settingsAdvancedCollapsibleButton.visible = there
        ui.settingsStateLabel.visible = not there
        ui.settingsAgainButton.visible = self._error is not None
        if self._error is not None:
            ui.settingsStateLabel.text = _("The settings cannot be read. {reason}").format(reason=self._error.sentence)
            ui.settingsStateLabel.toolTip = self._error.detail
        else:
            ui.settingsStateLabel.text, ui.settingsStateLabel.toolTip = _("The settings are being read …"), ""

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _on_described(self, description: Description) -> None:
        self._reading, self.description = None, description
        self.changed.emit()

    def _on_not_described(self, error: HipError) -> None:
        self._reading, self._error = None, error
        self.changed.emit()

    def _on_again(self, checked: bool = False) -> None:
        self.read()
