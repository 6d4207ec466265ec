"""The button that segments or cancels: it says what it does or, in its tool tip, why it does nothing."""

from __future__ import annotations

from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.panels.model_panel import ModelPanel
from HipICMSCLib.gui.panels.preflight_card import PreflightCard
from HipICMSCLib.gui.panels.set_up_panel import SetUpPanel
from HipICMSCLib.gui.panels.target_note import reason_against_result
from HipICMSCLib.models.chosen import find_model


class SegmentButton:
    """Works on the button "Segment hip" of the panel."""

    def __init__(self, button, card: PreflightCard, model_panel: ModelPanel, set_up_panel: SetUpPanel) -> None:
        self._button, self._card, self._model_panel, self._set_up_panel = button, card, model_panel, set_up_panel
        self._key = button.shortcut

    def offer_cancel(self, cancelling: bool) -> None:
        """A segmentation runs; ``cancelling`` says that it was asked to stop."""
        self._button.text, self._button.enabled = _("Cancel"), not cancelling
        self._button.toolTip = _("Stop the segmentation; nothing is changed.")

    def offer_segment(self, choices) -> None:
        """Nothing runs.

        Args:
            choices: the parameter node; None while there is no scene.
        """
        self._card.refuse_result(reason_against_result(choices))
        reason = self._reason_against(choices)
        self._say_segment(not reason)
        self._button.toolTip = reason or _("Find the hip bones and femora in the chosen MRI (Ctrl+Shift+H).")

    def refuse(self, reason: str) -> None:
        """Something else is going on."""
        self._say_segment(False)
        self._button.toolTip = reason

    def _say_segment(self, enabled: bool) -> None:
        self._button.text, self._button.enabled = _("Segment hip"), enabled
        # Qt takes the key away with each new text; it never cancels.
        self._button.shortcut = self._key

    def reason_of_set_up(self) -> str:
        """Why nothing at all can be segmented here and now; empty if something can."""
        if self._set_up_panel.blocking_sentence():
            return self._set_up_panel.blocking_sentence()
        try:
            find_model(self._model_panel.current())
        except HipError as error:
            return error.sentence
        return ""

    def _reason_against(self, choices) -> str:
        if choices is None or choices.inputVolume is None:
            return _("Choose an MRI first.")
        if choices.inputVolume.GetImageData() is None:
            return _("The chosen volume is empty; choose another one.")
        stop = self._card.stop()
        return reason_against_result(choices) or self.reason_of_set_up() or ("" if stop is None else stop.sentence)
