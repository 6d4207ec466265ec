"""The card that says before any click whether the chosen MRI can be segmented and how long it takes."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.worker.preflight import Finding, verdict

#: What matters most comes first.
_ORDER = ("stop", "caution", "fine")


class PreflightCard:
    """A headline and below it a line for each finding; the level is a word, in bold where it asks for attention.

    Attributes:
        findings: what is shown, in the order in which it was found.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Preflight.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.findings: tuple[Finding, ...] = ()
        self.clear(_("Choose an MRI to see whether it can be segmented."))

    def show(self, findings: Iterable[Finding], pending: bool) -> None:
        """Show what was found; ``pending`` says that the worker still looks for the rest."""
        self.findings = tuple(findings)
        waiting = _("Still looking for the hips …") if pending else ""
        headline = verdict(self.findings).sentence
        if pending and not self.has_stop():
            headline = _("Looking at the MRI …")
        rows = sorted(self.findings, key=lambda finding: _ORDER.index(finding.level))
        self._write(headline, rows, waiting)

    def clear(self, sentence: str) -> None:
        """Show nothing but a sentence that says why, or what to do."""
        self.findings = ()
        self._write(sentence, [], "")

    def has_stop(self) -> bool:
        """Whether something found makes a segmentation impossible."""
        return any(finding.level == "stop" for finding in self.findings)

    def _write(self, headline: str, rows: list[Finding], waiting: str) -> None:
        table = "".join(_row(finding) for finding in rows)
        body = f'<table cellspacing="0" cellpadding="2">{table}</table>' if table else ""
        if waiting:
            body += f"<p>{html.escape(waiting)}</p>"
        spoken = [f"{_word(finding)}, {finding.subject}: {finding.sentence}" for finding in rows]
        self.ui.preflightHeadlineLabel.text = headline
        self.ui.preflightBodyLabel.text = body
        self.ui.preflightBodyLabel.visible = bool(body)
        self.widget.accessibleDescription = "\n".join(filter(None, [headline, *spoken, waiting]))


def _row(finding: Finding) -> str:
    word, subject, sentence = map(html.escape, (_word(finding), finding.subject, finding.sentence))
    if finding.level != "fine":
        word = f"<b>{word}</b>"
    # Only the sentence is wrapped.
    cells = [f'<td style="white-space: nowrap">{cell}&nbsp;</td>' for cell in (word, subject)]
    return f'<tr>{"".join(cells)}<td width="100%">{sentence}</td></tr>'


def _word(finding: Finding) -> str:
    return {"fine": _("Fine"), "caution": _("Caution"), "stop": _("Stop")}[finding.level]
