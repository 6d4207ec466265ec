"""The card that says before any click whether the chosen MRI can be segmented and what that takes.

One line where all is fine; each caution and stop has a line of its own, and the rest is folded away. A stop comes with
what takes it away.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.signal import Signal
from HipICMSCLib.worker.preflight import Finding, Remedy, overruled, verdict

#: What matters most comes first.
_ORDER = ("stop", "caution", "fine")


class PreflightCard:
    """
    Attributes:
        widget: the card.
        findings: what is shown, in the order in which it was found.
        pending: whether more is still to be found.
        remedy_wanted: signal of the Remedy that the user pressed the button for.
        insisted: signal without values, when the user insists, or does not any more.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Preflight.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.findings: tuple[Finding, ...] = ()
        self.pending = False
        self._against_result = ""
        self.remedy_wanted, self.insisted = Signal(), Signal()
        self.ui.preflightMoreButton.connect("toggled(bool)", self._on_more)
        self.ui.preflightRemedyButton.connect("clicked(bool)", self._on_remedy)
        self.ui.preflightInsistCheckBox.connect("toggled(bool)", self._on_insist)
        self.clear(_("Choose an MRI to see whether it can be segmented."))

    def show(self, findings: Iterable[Finding], pending: bool) -> None:
        """Show what was found; ``pending`` says that the worker still looks for the rest."""
        self.findings, self.pending = tuple(findings), pending
        if not self._can_insist():
            self.ui.preflightInsistCheckBox.checked = False
        self._show()

    def refuse_result(self, reason: str) -> None:
        """Say in the headline that the chosen Result cannot take the bones; an empty reason takes that back.

        The reason itself stands below the choice of the Result.
        """
        if reason != self._against_result:
            self._against_result = reason
            if self.findings:
                self._show()

    def clear(self, sentence: str, pending: bool = False) -> None:
        """Show nothing but a sentence that says why, or what to do."""
        self.findings, self.pending = (), pending
        self.ui.preflightInsistCheckBox.checked = False
        self._write(sentence, "")

    def stop(self) -> Finding | None:
        """What keeps the MRI from being segmented; None if nothing does, or if the user knows better."""
        return next((finding for finding in self._counting() if finding.level == "stop"), None)

    @property
    def insists(self) -> bool:
        """Whether the user wants to segment what was judged to be no MRI."""
        return self._can_insist() and self.ui.preflightInsistCheckBox.checked

    def _can_insist(self) -> bool:
        return any(finding.remedy == "insist" for finding in self.findings)

    def _counting(self) -> tuple[Finding, ...]:
        """The findings as they count, now that the user insists or does not."""
        return overruled(self.findings) if self.insists else self.findings

    def _remedy(self) -> Remedy:
        """Of the first stop."""
        stop = self.stop()
        return "" if stop is None else stop.remedy

    def _show(self) -> None:
        told = verdict(self._counting())
        headline, waiting = told.sentence, _("Still looking at the MRI …") if self.pending else ""
        if told.level != "stop":
            if self._against_result:
                headline = _("Nothing can be segmented into this result.")
            elif self.pending and not self.insists:
                # It says itself that there is more to come.
                headline, waiting = _("Looking at the MRI …"), ""
        self._write(headline, waiting)

    def _write(self, headline: str, waiting: str) -> None:
        rows = sorted(self._counting(), key=lambda finding: _ORDER.index(finding.level))
        to_mind = [finding for finding in rows if finding.level != "fine"]
        fine = [finding for finding in rows if finding.level == "fine"]
        spoken = [f"{_word(finding)}, {finding.subject}: {finding.sentence}" for finding in rows]
        ui, remedy = self.ui, self._remedy()
        ui.preflightHeadlineLabel.text = headline
        ui.preflightBodyLabel.text = _table(to_mind) + (f"<p>{html.escape(waiting)}</p>" if waiting else "")
        ui.preflightBodyLabel.visible = bool(to_mind or waiting)
        ui.preflightFineLabel.text = _table(fine)
        ui.preflightMoreButton.visible = bool(fine)
        ui.preflightFineLabel.visible = bool(fine) and ui.preflightMoreButton.checked
        ui.preflightRemedyButton.visible = remedy in ("install", "mark_heads")
        ui.preflightRemedyButton.text = (
            _("Mark the femoral &heads…") if remedy == "mark_heads" else _("&Install what is missing…")
        )
        ui.preflightInsistCheckBox.visible = self._can_insist()
        self.widget.accessibleDescription = "\n".join(filter(None, [headline, *spoken, waiting]))

    def _on_more(self, shown: bool) -> None:
        self.ui.preflightFineLabel.visible = shown and bool(self.ui.preflightFineLabel.text)

    def _on_remedy(self, checked: bool = False) -> None:
        self.remedy_wanted.emit(self._remedy())

    def _on_insist(self, checked: bool) -> None:
        if self.findings:
            self._show()
        self.insisted.emit()


def _table(findings: list[Finding]) -> str:
    rows = "".join(map(_row, findings))
    return f'<table cellspacing="0" cellpadding="2">{rows}</table>' if rows else ""


def _row(finding: Finding) -> str:
    """The level is a word, in bold where it asks for attention."""
    word, subject, sentence = map(html.escape, (_word(finding), finding.subject, finding.sentence))
    if finding.level != "fine":
        word = f"<b>{word}</b>"
    return f"<tr><td>{word} &nbsp;{subject}: {sentence}</td></tr>"


def _word(finding: Finding) -> str:
    return {"fine": _("Fine"), "caution": _("Caution"), "stop": _("Stop")}[finding.level]
