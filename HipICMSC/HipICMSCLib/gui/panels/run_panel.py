"""How a segmentation goes: bar, stage and time left, the outcome in whole sentences, and a log for who wants more.

The bar is there while something runs, and the words where there are any.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.anatomy.segments import TAG_PREFIX
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.terminal import duration

#: Before so much is done, the time left is a guess that nobody should see.
_LEAST_SHARE = 0.05
#: Of its provenance, what is said of a result.
_FACTS = ("ModelName", "Date", "Warnings")


class RunPanel:
    """Nothing of the patient is written into the log but what the sentences themselves say.

    Attributes:
        widget: bar and words, which belong below the button.
        log_widget: the collapsible section "Log".
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Run.ui"))
        self.log_widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Log.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._log_ui = slicer.util.childWidgetVariables(self.log_widget)
        self._log_ui.clearLogButton.connect("clicked(bool)", self._clear_log)
        self._started = 0.0
        self._stage = ""
        self._warnings: list[str] = []
        self.clear()

    def clear(self) -> None:
        """Nothing runs and nothing is to be told."""
        self._show("", None)

    def start(self, sentence: str) -> None:
        """A run begins; ``sentence`` goes into the log."""
        self._started, self._stage, self._warnings = time.monotonic(), "", []
        self._show(_("Starting …"), 0.0)
        self._log(sentence)

    def progress(self, stage: str, share: float, other: str = "") -> None:
        """``share`` of the whole, 0 to 1, is done.

        Args:
            other: what the MRI is called, where another one than it is shown.
        """
        text = _("{stage} …").format(stage=stage.capitalize())
        if share > _LEAST_SHARE:
            left = (time.monotonic() - self._started) * (1 - share) / share
            text = _("{stage} … about {time} left").format(stage=stage.capitalize(), time=duration(left))
        self._show(_of_other(other, text), share)
        if stage != self._stage:
            self._stage = stage
            self._log(stage.capitalize())

    def cancelling(self) -> None:
        """The user wants it to stop."""
        self.ui.statusLabel.text = _("Cancelling …")

    def warn(self, sentence: str) -> None:
        """Something about the result, shown when it is there."""
        self._warnings.append(sentence)
        self._log(sentence)

    def finish(self, name: str) -> None:
        """The result is in the segmentation called ``name``."""
        seconds = duration(time.monotonic() - self._started)
        done = _("Done in {time}; the result is in {name}.").format(time=seconds, name=name)
        self._show("\n".join([*map(_as_caution, self._warnings), done]), None)
        self._log(done)

    def finish_unseen(self, other: str) -> None:
        """The result is that of an MRI called ``other``, while another one is shown, whose cautions these are not."""
        ready = _("The result is ready; choose this MRI to see it.")
        if self._warnings:
            ready = _("The result is ready, with cautions: {count}; choose this MRI to see it.")
        self._show(_of_other(other, ready.format(count=len(self._warnings))), None)
        self._log(_of_other(other, _("Done.")))

    def fail(self, error: HipError, other: str = "") -> None:
        """It came to nothing; the technical background goes into the log.

        Args:
            other: as for :meth:`progress`.
        """
        self._show(_of_other(other, error.sentence), None)
        self._log(error.sentence, error.detail)

    def show_result(self, segmentation_node) -> None:
        """Say of a result that was made before what its maker said."""
        facts = {name: segmentation_node.GetAttribute(f"{TAG_PREFIX}{name}") or "" for name in _FACTS}
        made = _("{name}, by the model {model} on {date}.").format(
            name=segmentation_node.GetName(), model=facts["ModelName"], date=facts["Date"][:10]
        )
        warnings = _as_caution(facts["Warnings"]) if facts["Warnings"] else ""
        self._show("\n".join(filter(None, [warnings, made])), None)

    def _show(self, text: str, share: float | None) -> None:
        """``share`` is None when nothing runs."""
        self.ui.statusLabel.text, self.ui.statusLabel.visible = text, bool(text)
        self.ui.progressBar.visible = share is not None
        self.ui.progressBar.value = round(100 * (share or 0.0))

    def _log(self, sentence: str, detail: str = "") -> None:
        self._log_ui.logText.appendPlainText(f"{time.strftime('%H:%M:%S')}  {sentence}")
        for line in detail.splitlines():
            self._log_ui.logText.appendPlainText(f"          {line}")

    def _clear_log(self, checked: bool = False) -> None:
        self._log_ui.logText.clear()


def _of_other(name: str, text: str) -> str:
    return _("{name}: {text}").format(name=name, text=text) if name else text


def _as_caution(sentence: str) -> str:
    return _("Caution: {sentence}").format(sentence=sentence)
