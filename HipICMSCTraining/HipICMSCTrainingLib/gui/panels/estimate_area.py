"""The button "Estimate" with its bar and its result, which times a few real steps in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.panels.estimate_words import estimate_in_words
from HipICMSCTrainingLib.gui.running.activity import Activity
from HipICMSCTrainingLib.gui.running.command import Command


class EstimateArea:
    """Works on the widgets of the section that it is a part of."""

    def __init__(self, ui, activity: Activity, what: Callable[[], list[str]], runs_folder: Callable[[], Path]) -> None:
        """
        Args:
            what: the arguments that name data and settings; raises a HipError that says why there are none.
            runs_folder: where the run would write.
        """
        self._ui, self._activity, self._what, self._runs_folder = ui, activity, what, runs_folder
        self._usual_tip = ui.settingsEstimateButton.toolTip
        self._command: Command | None = None
        self._found: dict[str, Any] | None = None
        #: What is said of the present settings; empty after they were changed.
        self._estimated = ""
        ui.settingsEstimateButton.connect("clicked(bool)", self._on_click)
        activity.changed.connect(self.refresh)

    def refresh(self) -> None:
        """Settings or data may be others."""
        if self._estimated and self._is_outdated():
            self.outdate()
        button, running = self._ui.settingsEstimateButton, self._command is not None
        reason = "" if running else self._reason()
        self._ui.settingsProgressBar.visible = running
        button.text = _("Cancel") if running else _("&Estimate")
        button.enabled = not reason
        button.toolTip = _("Stop estimating.") if running else reason or self._usual_tip

    def outdate(self) -> None:
        """Settings or data were changed, so the last result is not theirs."""
        if self._estimated:
            self.say("\n".join([_("Estimated before settings or data were changed:"), self._estimated]))
            self._estimated = ""

    def say(self, text: str, detail: str = "") -> None:
        """In the place of the result."""
        label = self._ui.settingsResultLabel
        label.text, label.toolTip, label.visible = text, detail, bool(text)

    def close(self) -> None:
        """An estimate that is under way is given up."""
        if self._command is not None:
            self._command.close()
            self._command = None

    def _reason(self) -> str:
        try:
            self._what()
        except HipError as error:
            return error.sentence
        return self._activity.reason_against()

    def _on_click(self, checked: bool = False) -> None:
        if self._command is not None:
            self._command.cancel()
            return
        self._found, self._estimated = None, ""
        self.say(_("Starting …"))
        self._ui.settingsProgressBar.value = 0
        self._estimating = self._what()
        self._command = Command(["estimate", *self._estimating, "--progress"], self._on_line, self._on_end)
        self._activity.say(_("Time, memory and disk are being estimated."))
        self.refresh()

    def _on_line(self, line: dict[str, Any]) -> None:
        if "estimate" in line:
            self._found = line["estimate"]
        elif "progress" in line:
            self._ui.settingsProgressBar.value = round(100 * line["progress"])
            self.say(str(line.get("text", "")))

    def _on_end(self, error: HipError | None) -> None:
        self._command = None
        self._activity.end()
        if error is None and self._found is None:
            error = HipError("no_estimate", _("The estimate ended without a result; try again."))
        if error is not None:
            self.say(error.sentence, error.detail)
        else:
            self._estimated = "\n".join(estimate_in_words(self._found, self._runs_folder()))
            self.say(self._estimated)
            if self._is_outdated():
                self.outdate()
        self.refresh()

    def _is_outdated(self) -> bool:
        """Settings and data can be changed while they are estimated, too."""
        try:
            return self._what() != self._estimating
        except HipError:  # what keeps a training from starting is said elsewhere
            return False
