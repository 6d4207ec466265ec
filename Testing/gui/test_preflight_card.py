"""The card as a user reads it: in words, worst first, nothing cut off, and never taken for more than plain text."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
import slicer_stand_ins
from HipICMSCLib.worker.preflight import Finding

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"

FINE = (
    Finding(
        "fine", "Orientation", "Coronal slices, turned by 2° against the patient's axes, as the network reads them."
    ),
    Finding("fine", "Voxels", "Pixels of 0.91 × 0.91 mm in slices 5.2 mm apart."),
    Finding("fine", "Modality", "By its intensities it looks like an MRI."),
)
FOUND = (
    Finding("fine", "Hips", "Both femoral heads were found."),
    Finding(
        "caution",
        "Field of view",
        "The right hip joint is cut by the border of the image: of the 40 mm about the centre of its femoral head, "
        "24 mm at the bottom are missing. Shape and volume are incomplete there.",
    ),
    Finding("fine", "Device", "The processor (cpu) computes. Memory: about 0.7 GB are needed, 22.0 GB are free."),
    Finding("fine", "Time", "About 0 min 09 s for 38 slices, as measured in earlier runs on this computer."),
    Finding("fine", "Licence", "The model's licence is CC BY 4.0."),
    Finding("fine", "Intended use", "Research use only. It outlines hip bones on MRI for a person who corrects them."),
)
STOP = Finding("stop", "Modality", "This looks like a CT, but the model segments MRI; choose an MRI.")


class Bench:
    def __init__(self, application) -> None:
        from HipICMSCLib.gui.panels.preflight_card import PreflightCard

        self._application = application
        self.card = PreflightCard(lambda name: str(RESOURCES / name))

    def headline(self) -> str:
        return self.card.ui.preflightHeadlineLabel.text

    def lines(self) -> list[str]:
        """The rows of the table and what follows it, as they read without their markup."""
        body = self.card.ui.preflightBodyLabel.text
        rows = re.findall(r"<(?:tr|p)>(.*?)</(?:tr|p)>", body)
        return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in rows]

    def picture(self, path: Path, width: int = 420) -> None:
        from PySide6 import QtWidgets

        widget = self.card.widget
        height = QtWidgets.QWidget.heightForWidth(widget, width)
        QtWidgets.QWidget.resize(widget, width, height)
        self._application.processEvents()
        QtWidgets.QWidget.grab(widget).save(str(path))


@pytest.fixture
def card(bench) -> Bench:
    return Bench(bench[1])


def test_without_an_mri_it_says_what_it_is_for(card, pictures):
    assert card.headline() == "Choose an MRI to see whether it can be segmented."
    assert card.lines() == [] and not card.card.ui.preflightBodyLabel.visible
    assert card.card.findings == () and not card.card.has_stop()
    card.picture(pictures / "preflight-empty.png")


def test_while_the_worker_looks_it_does_not_promise_anything(card, pictures):
    card.card.show(FINE, True)
    assert "will" not in card.headline()
    assert len(card.lines()) == 4 and card.lines()[-1] == "Still looking for the hips …"
    assert card.card.findings == FINE
    card.picture(pictures / "preflight-pending.png")


def test_all_findings_are_shown_in_words_the_ones_to_mind_first(card, pictures):
    card.card.show(FINE + FOUND, False)
    assert card.headline() == "Segmentation will work, with one caution."
    lines = card.lines()
    assert lines[0].split()[:4] == ["Caution", "Field", "of", "view"]
    assert [line.split()[0] for line in lines[1:]] == ["Fine"] * 8
    for finding in FINE + FOUND:
        assert sum(line.endswith(finding.sentence) and finding.subject in line for line in lines) == 1
    assert card.card.findings == FINE + FOUND and not card.card.has_stop()
    card.picture(pictures / "preflight-caution.png")


def test_a_stop_says_at_once_that_and_why_it_will_not_work(card, pictures):
    card.card.show((*FINE[:2], STOP), True)
    assert card.headline() == f"Segmentation will not work. {STOP.sentence}"
    assert card.lines()[0].startswith("Stop")
    assert card.card.has_stop()
    card.card.show((*FINE[:2], STOP), False)
    card.picture(pictures / "preflight-stop.png")


def test_the_next_volume_takes_the_place_of_the_last(card):
    card.card.show((STOP,), False)
    card.card.show(FINE, False)
    assert card.headline() == "Segmentation will work." and not card.card.has_stop()
    card.card.clear("Load an MRI.")
    assert card.headline() == "Load an MRI." and card.lines() == [] and card.card.findings == ()


def test_names_are_shown_as_they_are_and_never_as_markup(card):
    sentence = 'The volume <img src="http://example.org/x.png"> & "co" is empty.'
    card.card.show((Finding("stop", "<b>Image</b>", sentence),), False)
    body = card.card.ui.preflightBodyLabel.text
    assert "<img" not in body and "<b>Image" not in body
    assert card.lines() == [f"Stop <b>Image</b> {sentence}"]
    assert card.headline().endswith(sentence)
    from PySide6.QtCore import Qt

    assert card.card.ui.preflightHeadlineLabel.textFormat == Qt.TextFormat.PlainText


def test_all_can_be_selected_and_is_read_out(card):
    from PySide6.QtCore import Qt

    card.card.show(FINE + FOUND, True)
    for label in (card.card.ui.preflightHeadlineLabel, card.card.ui.preflightBodyLabel):
        assert label.textInteractionFlags & Qt.TextInteractionFlag.TextSelectableByMouse
    spoken = card.card.widget.accessibleDescription
    assert spoken.splitlines()[1].startswith("Caution, Field of view: The right hip joint is cut")
    assert "Still looking" in spoken and "<" not in spoken


def test_nothing_is_cut_off_in_a_narrow_panel(card, pictures):
    """At 300 pixels each row is wrapped: the card is as tall as its text needs."""
    from PySide6 import QtGui, QtWidgets

    card.card.show(FINE + FOUND, False)
    card.picture(pictures / "preflight-narrow.png", width=300)
    label = card.card.ui.preflightBodyLabel
    document = QtGui.QTextDocument()
    document.setDefaultFont(QtWidgets.QWidget.font(label))
    document.setHtml(label.text)
    document.setDocumentMargin(0)
    document.setTextWidth(QtWidgets.QWidget.width(label))
    assert document.idealWidth() <= QtWidgets.QWidget.width(label)
    assert document.size().height() <= QtWidgets.QWidget.height(label) + 1
