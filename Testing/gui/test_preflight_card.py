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
    Finding(
        "fine",
        "Device",
        "The processor (cpu) computes. Memory: about 0.7 GB are needed, 22.0 GB are free.",
        "needs 0.7 GB of memory",
    ),
    Finding("fine", "Time", "About 9 s for 38 slices, as measured in earlier runs on this computer.", "about 9 s"),
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
        """What is to be minded, as it reads without markup."""
        return _read(self.card.ui.preflightBodyLabel)

    def folded(self) -> list[str]:
        """What is shown on demand."""
        return _read(self.card.ui.preflightFineLabel)

    def picture(self, path: Path, width: int = 420) -> None:
        from PySide6 import QtWidgets

        widget = self.card.widget
        height = QtWidgets.QWidget.heightForWidth(widget, width)
        QtWidgets.QWidget.resize(widget, width, height)
        self._application.processEvents()
        QtWidgets.QWidget.grab(widget).save(str(path))


def _read(label) -> list[str]:
    rows = re.findall(r"<(?:tr|p)>(.*?)</(?:tr|p)>", label.text)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", "", row)).split()) for row in rows]


@pytest.fixture
def card(bench) -> Bench:
    return Bench(bench[1])


def test_without_an_mri_it_says_what_it_is_for(card, pictures):
    assert card.headline() == "Choose an MRI to see whether it can be segmented."
    assert card.lines() == [] and not card.card.ui.preflightBodyLabel.visible
    assert card.card.findings == () and card.card.stop() is None
    card.picture(pictures / "preflight-empty.png")


def test_while_the_worker_looks_it_does_not_promise_anything(card, pictures):
    card.card.show(FINE, True)
    assert card.headline() == "Looking at the MRI …"
    assert card.lines() == [] and "hips" not in card.card.widget.accessibleDescription, "not every model looks for them"
    assert card.card.findings == FINE
    card.picture(pictures / "preflight-pending.png")


def test_where_all_is_fine_it_is_one_line(card, pictures):
    from PySide6 import QtWidgets

    card.card.show([finding for finding in FINE + FOUND if finding.level == "fine"], False)
    assert card.headline() == "Ready: about 9 s, needs 0.7 GB of memory."
    assert card.lines() == [] and not card.card.ui.preflightFineLabel.visible
    line = card.card.ui.preflightHeadlineLabel.fontMetrics().height()
    assert QtWidgets.QWidget.heightForWidth(card.card.widget, 390) < 3 * line
    card.picture(pictures / "preflight-fine.png")


def test_what_is_to_be_minded_has_a_line_of_its_own_and_the_rest_is_folded(card, pictures):
    card.card.show(FINE + FOUND, False)
    assert card.headline() == "Ready, with one caution: about 9 s, needs 0.7 GB of memory."
    (line,) = card.lines()
    assert line.startswith("Caution Field of view: The right hip joint is cut")
    assert not card.card.ui.preflightFineLabel.visible
    card.card.ui.preflightMoreButton.click()
    assert not card.card.ui.preflightFineLabel.isHidden() and len(card.folded()) == 8
    for finding in FINE + FOUND:
        found = [line for line in card.lines() + card.folded() if line.endswith(finding.sentence)]
        assert len(found) == 1 and finding.subject in found[0]
    assert card.card.findings == FINE + FOUND and card.card.stop() is None
    card.picture(pictures / "preflight-caution.png")


def test_a_stop_says_at_once_that_and_why_it_will_not_work(card, pictures):
    card.card.show((*FINE[:2], STOP), True)
    assert card.headline() == "This cannot be segmented as it is."
    assert card.lines()[0] == f"Stop Modality: {STOP.sentence}"
    assert card.card.stop() == STOP
    assert card.card.ui.preflightRemedyButton.isHidden() and card.card.ui.preflightInsistCheckBox.isHidden()
    card.card.show((*FINE[:2], STOP), False)
    card.picture(pictures / "preflight-stop.png")


@pytest.mark.parametrize(
    ("remedy", "words"), [("install", "Install what is missing"), ("mark_heads", "Mark the femoral")]
)
def test_a_stop_carries_its_remedy_as_a_button(card, remedy, words, pictures):
    wanted = []
    card.card.remedy_wanted.connect(wanted.append)
    card.card.show((Finding("stop", "Set-up", "PyTorch is not installed.", remedy=remedy, of_image=False),), False)
    assert card.headline() == "Nothing can be segmented yet."
    button = card.card.ui.preflightRemedyButton
    assert not button.isHidden() and words in button.text.replace("&", "")
    button.click()
    assert wanted == [remedy]
    card.picture(pictures / f"preflight-{remedy}.png")


def test_a_judgement_on_the_image_can_be_overruled_knowingly_and_not_for_the_next_image(card, pictures):
    judged = Finding("stop", "Modality", STOP.sentence, remedy="insist")
    card.card.show((judged,), False)
    assert card.card.stop() == judged and not card.card.insists
    card.card.ui.preflightInsistCheckBox.click()
    assert card.card.stop() is None and card.card.insists
    assert card.headline() == "Will be segmented on your word, although it looks like a CT."
    assert [line.split(":")[0] for line in card.lines()] == ["Caution Modality"]
    assert "choose an MRI" not in card.card.widget.accessibleDescription
    card.card.show((judged,), True)
    assert card.card.insists and card.lines()[-1] == "Still looking at the MRI …"
    card.card.ui.preflightInsistCheckBox.click()
    assert card.headline() == "This cannot be segmented as it is." and card.lines()[0].startswith("Stop Modality")
    card.card.ui.preflightInsistCheckBox.click()
    card.card.show((judged, *FOUND), False)
    card.picture(pictures / "preflight-insist.png")
    card.card.show(FINE, False)
    card.card.show((judged,), False)
    assert card.card.stop() == judged, "what was said of one image does not hold for another"
    card.card.ui.preflightInsistCheckBox.click()
    card.card.show((judged, Finding("stop", "Set-up", "PyTorch is not installed.", remedy="install")), False)
    assert card.card.stop().subject == "Set-up", "only the judgement is overruled"


def test_where_the_result_cannot_take_the_bones_the_headline_does_not_say_ready(card):
    card.card.refuse_result("This result belongs to another MRI.")
    card.card.show(FINE, True)
    refused = "Nothing can be segmented into this result."
    assert card.headline() == refused
    card.card.show(FINE, False)
    assert card.headline() == refused and card.lines() == [], "why stands below the choice of the Result"
    card.card.refuse_result("")
    assert card.headline() == "Ready."
    card.card.show((STOP,), False)
    card.card.refuse_result("This result belongs to another MRI.")
    assert card.headline() == "This cannot be segmented as it is."


def test_the_next_volume_takes_the_place_of_the_last(card):
    card.card.show((STOP,), False)
    card.card.show(FINE, False)
    assert card.headline() == "Ready." and card.card.stop() is None
    card.card.clear("Load an MRI.")
    assert card.headline() == "Load an MRI." and card.lines() == [] and card.card.findings == ()


def test_names_are_shown_as_they_are_and_never_as_markup(card):
    sentence = 'The volume <img src="http://example.org/x.png"> & "co" is empty.'
    card.card.show((Finding("stop", "<b>Image</b>", sentence),), False)
    body = card.card.ui.preflightBodyLabel.text
    assert "<img" not in body and "<b>Image" not in body
    assert card.lines() == [f"Stop <b>Image</b>: {sentence}"]
    from PySide6.QtCore import Qt

    assert card.card.ui.preflightHeadlineLabel.textFormat == Qt.TextFormat.PlainText


def test_all_can_be_selected_and_is_read_out(card):
    from PySide6.QtCore import Qt

    card.card.show((STOP, *FINE, *FOUND), True)
    labels = ("preflightHeadlineLabel", "preflightBodyLabel", "preflightFineLabel")
    for label in (getattr(card.card.ui, name) for name in labels):
        assert label.textInteractionFlags & Qt.TextInteractionFlag.TextSelectableByMouse
    spoken = card.card.widget.accessibleDescription
    assert spoken.splitlines()[1].startswith("Stop, Modality")
    assert spoken.splitlines()[2].startswith("Caution, Field of view: The right hip joint is cut")
    assert "Still looking" in spoken and "<" not in spoken


def test_nothing_is_cut_off_in_a_narrow_panel(card, pictures):
    """At 300 pixels each row is wrapped: the card is as tall as its text needs."""
    from PySide6 import QtGui, QtWidgets

    card.card.show(FINE + FOUND, False)
    card.card.ui.preflightMoreButton.click()
    card.picture(pictures / "preflight-narrow.png", width=300)
    for label in (card.card.ui.preflightBodyLabel, card.card.ui.preflightFineLabel):
        document = QtGui.QTextDocument()
        document.setDefaultFont(QtWidgets.QWidget.font(label))
        document.setHtml(label.text)
        document.setDocumentMargin(0)
        document.setTextWidth(QtWidgets.QWidget.width(label))
        assert document.idealWidth() <= QtWidgets.QWidget.width(label)
        assert document.size().height() <= QtWidgets.QWidget.height(label) + 1
