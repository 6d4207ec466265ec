"""Choosing, adding and removing models in the panel, with real packages in real folders."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import slicer_stand_ins

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
SHIPPED = ["hip-mri", "hip-phantom-mri", "hip-t1-mri"]


class Bench:
    """The panel in a form, as the module shows it, and what it says to the module."""

    def __init__(self, application) -> None:
        import pythonqt
        from HipICMSCLib.gui.panels.model_panel import ModelPanel
        from PySide6 import QtWidgets

        self._application = application
        self.panel = ModelPanel(lambda name: str(RESOURCES / name))
        self.ui = self.panel.ui
        self.chosen: list[str] = []
        self.panel.chosen.connect(self.chosen.append)
        self.frame = pythonqt.QT["QFrame"]()
        QtWidgets.QFormLayout(self.frame).addRow("Model:", self.panel.widget)

    def texts(self) -> list[str]:
        return [self.ui.modelComboBox.itemText(index) for index in range(self.ui.modelComboBox.count)]

    def pick(self, text: str) -> None:
        """As a user does in the list."""
        self.ui.modelComboBox.currentIndex = self.texts().index(text)

    def add(self, path: Path | str) -> None:
        import pythonqt

        pythonqt.QFileDialog.answer = str(path)
        self.ui.addModelButton.click()
        pythonqt.QFileDialog.answer = ""

    def details(self) -> str:
        return self.ui.modelDetailsBrowser.plainText

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        QtWidgets.QWidget.resize(self.frame, 420, 420 if self.ui.modelDetailsButton.checked else 90)
        self._application.processEvents()
        QtWidgets.QWidget.grab(self.frame).save(str(path))


@pytest.fixture
def models(bench, tmp_path, monkeypatch) -> Bench:
    """The panel of a user who has no models yet."""
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "home"))
    return Bench(bench[1])


@pytest.fixture
def dialogs(models) -> list[tuple[str, str]]:
    """What Slicer would have asked and said since the test began."""
    import pythonqt

    pythonqt.DIALOGS.clear()
    return pythonqt.DIALOGS


@pytest.fixture
def mine(ball_model, tmp_path) -> Path:
    return Path(shutil.copy(ball_model, tmp_path / "my balls.hipmodel"))


def test_the_models_that_ship_are_listed_and_the_usual_one_is_chosen(models, tmp_path, pictures):
    assert models.texts() == SHIPPED
    assert models.panel.current() == models.ui.modelComboBox.currentText == "hip-mri"
    assert not (tmp_path / "home").exists(), "looking at the list created a folder"
    assert models.chosen == []
    models.picture(pictures / "models.png")


def test_the_users_choice_is_told_once_and_a_choice_from_code_is_not(models):
    models.pick("hip-phantom-mri")
    assert models.chosen == ["hip-phantom-mri"] and models.panel.current() == "hip-phantom-mri"
    models.panel.select("hip-t1-mri")
    models.panel.refresh()
    assert models.chosen == ["hip-phantom-mri"] and models.ui.modelComboBox.currentText == "hip-t1-mri"


def test_a_receiver_that_selects_again_makes_no_loop(models, mine):
    """The module writes the name into its parameter node, which selects it in the panel."""
    models.panel.chosen.connect(models.panel.select)
    models.pick("hip-phantom-mri")
    models.add(mine)
    assert models.chosen == ["hip-phantom-mri", "my balls"] and models.panel.current() == "my balls"


def test_a_model_file_is_added_chosen_and_marked(models, mine, tmp_path, dialogs, pictures):
    from HipICMSCLib.models.chosen import find_model

    models.add(mine)
    assert dialogs == []
    assert models.texts() == [*SHIPPED, "my balls (yours)"]
    assert models.chosen == ["my balls"] and models.ui.modelComboBox.currentText == "my balls (yours)"
    mine.unlink()
    assert find_model("my balls").parent == tmp_path / "home" / "models" and find_model("my balls").is_file()
    models.picture(pictures / "models-yours.png")


def test_a_dialog_that_is_closed_adds_nothing(models, dialogs):
    models.add("")
    assert (models.texts(), models.chosen, dialogs) == (SHIPPED, [], [])


@pytest.mark.parametrize(
    ("name", "contents", "sentence"),
    [
        ("damaged.hipmodel", b"PK\x03\x04", "is damaged or was altered; get it again."),
        ("notes.hipmodel", b"hello", "are never opened because they can run code."),
        ("weights.pth", b"\x80\x02}q\x00.", "a name such as mine.hipmodel, but not weights.pth."),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_a_sentence(models, tmp_path, dialogs, name, contents, sentence):
    (tmp_path / name).write_bytes(contents)
    models.add(tmp_path / name)
    ((kind, text),) = dialogs
    assert kind == "errorDisplay" and text.endswith(sentence)
    assert (models.texts(), models.chosen) == (SHIPPED, [])


def test_another_file_of_the_same_name_is_refused(models, mine, dialogs):
    models.add(mine)
    shutil.copy(RESOURCES / "Models" / "hip-phantom-mri.hipmodel", mine)
    models.add(mine)
    ((_, text),) = dialogs
    assert "my balls" in text and "rename" in text
    assert models.panel.details().name == "balls", "the first one was replaced"


def test_only_ones_own_models_can_be_removed_after_a_question(models, mine, monkeypatch, tmp_path):
    import slicer

    assert not models.ui.removeModelButton.enabled
    assert models.ui.removeModelButton.toolTip == "hip-mri is not one of your own models and cannot be removed here."
    models.add(mine)
    assert models.ui.removeModelButton.enabled
    questions = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    models.ui.removeModelButton.click()
    assert "my balls" in questions[0] and str(tmp_path / "home") in questions[0]
    assert models.panel.current() == "my balls" and models.panel.details() is not None
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: True)
    models.ui.removeModelButton.click()
    assert models.texts() == SHIPPED and list((tmp_path / "home" / "models").iterdir()) == []
    assert models.chosen == ["my balls", "hip-mri"]
    assert not models.ui.removeModelButton.enabled


def test_a_model_of_another_computer_is_shown_as_missing_and_not_replaced(models, mine, pictures):
    models.panel.select("of a colleague")
    assert models.panel.current() == "of a colleague"
    assert models.ui.modelComboBox.currentText == "of a colleague (missing)"
    assert models.panel.details() is None and models.chosen == []
    assert not models.ui.removeModelButton.enabled and "of a colleague" in models.ui.removeModelButton.toolTip
    models.ui.modelDetailsButton.checked = True
    assert "There is no model of a colleague" in models.details()
    models.picture(pictures / "models-missing.png")
    models.pick("hip-t1-mri")
    assert models.texts() == SHIPPED


def test_a_model_that_vanishes_or_appears_on_disk_is_noticed(models, mine, tmp_path):
    models.add(mine)
    kept = tmp_path / "home" / "models" / mine.name
    kept.rename(tmp_path / "elsewhere")
    models.panel.refresh()
    assert models.texts() == [*SHIPPED, "my balls (missing)"] and models.panel.current() == "my balls"
    (tmp_path / "elsewhere").rename(kept)
    models.panel.refresh()
    assert models.texts() == [*SHIPPED, "my balls (yours)"]
    assert models.chosen == ["my balls"]


def test_a_file_anywhere_can_be_the_choice(models, mine):
    """From the Python console, the name may be a file."""
    models.panel.select(str(mine))
    assert models.ui.modelComboBox.currentText == str(mine) and models.panel.current() == str(mine)
    assert models.panel.details().name == "balls"
    assert not models.ui.removeModelButton.enabled


def test_the_details_say_what_the_package_says(models, pictures):
    assert not models.ui.modelDetailsBrowser.visible
    models.ui.modelDetailsButton.click()
    details, text = models.panel.details(), models.details()
    for wanted in (details.licence, details.intended_use, details.sha256, *details.citations):
        assert wanted in " ".join(text.split())
    size_mb = (RESOURCES / "Models" / "hip-mri.hipmodel").stat().st_size / 1e6
    assert text.startswith("Name: hip-mri") and f"{size_mb:.1f} MB" in text and "20 labelled CTs" in text
    assert "Limits" in text and "**" not in text and "##" not in text, "the card is not rendered"
    assert text.count(details.citations[-1]) == 1
    models.picture(pictures / "models-details.png")
    models.pick("hip-phantom-mri")
    assert models.details().startswith("Name: hip-phantom-mri")


def test_citations_that_the_card_leaves_out_are_shown(models, tmp_path):
    from HipICMSCLib.models.archive import read_archive, write_archive

    shipped = read_archive(RESOURCES / "Models" / "hip-t1-mri.hipmodel")
    write_archive(tmp_path / "a.hipmodel", shipped.manifest, shipped.weights, "A short card.")
    models.add(tmp_path / "a.hipmodel")
    models.ui.modelDetailsButton.click()
    for citation in models.panel.details().citations:
        assert citation in models.details()


def test_a_package_that_says_little_is_shown_too(models, mine):
    models.add(mine)
    models.ui.modelDetailsButton.click()
    assert "Trained on: not stated" in models.details() and "Bright is femur." in models.details()


def test_reading_on_stays_at_its_place_when_the_module_selects_the_same_model_again(models):
    models.ui.modelDetailsButton.click()
    models.picture(Path("/dev/null"))
    bar = models.ui.modelDetailsBrowser.verticalScrollBar()
    bar.setValue(100)
    models.panel.select("hip-mri")
    assert bar.value() == 100


def test_a_card_opens_no_other_file(models, tmp_path):
    """What a stranger wrote is text: no picture is fetched from a disk or a server, no HTML, no link."""
    import pythonqt
    from HipICMSCLib.models.archive import read_archive, write_archive
    from PySide6 import QtGui

    pixel = tmp_path / "pixel.png"
    image = QtGui.QImage(4, 4, QtGui.QImage.Format_RGB32)
    image.fill(0xFF0000)
    image.save(str(pixel))
    uri = pixel.as_uri()
    card = f'![a]({uri}) ![b][1] <img src="{uri}"> [more]({uri})\n\n[1]: {uri}\n'
    shipped = read_archive(RESOURCES / "Models" / "hip-t1-mri.hipmodel")
    write_archive(tmp_path / "a.hipmodel", shipped.manifest, shipped.weights, card)
    models.add(tmp_path / "a.hipmodel")
    models.ui.modelDetailsButton.click()
    browser = models.ui.modelDetailsBrowser
    html = browser.document.toHtml()
    assert "more" in models.details() and "<img" in models.details()
    assert "<img" not in html
    flags = browser.property("textInteractionFlags")
    assert not flags & pythonqt.QtCore.Qt.LinksAccessibleByMouse and not browser.property("openLinks")


def test_the_panel_loads_without_the_libraries_of_the_network():
    """Slicer's own process imports it, so that it may import nothing that is not in Slicer."""
    code = """
import sys
for name in ("torch", "skimage", "safetensors"):
    sys.modules[name] = None
sys.path[:0] = sys.argv[1:]
from types import ModuleType, SimpleNamespace
for name in ("slicer", "slicer.i18n", "qt"):
    sys.modules[name] = ModuleType(name)
sys.modules["slicer.i18n"].tr = str
import HipICMSCLib.gui.panels.model_panel
"""
    paths = [str(RESOURCES.parent)]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "card",
    [
        "![x](file:///etc/hostname)", "!![x](file:///etc/hostname)", "!!![x](file:///etc/hostname)",
        "![x][1]\n\n[1]: file:///etc/hostname", "\\![x](file:///etc/hostname)", "\\\\![x](file:///etc/hostname)",
        "<img src='file:///etc/hostname'>", "<script>alert(1)</script>", "&lt;img src='file:///etc/hostname'&gt;",
        "<!-- --><img\nsrc=file:///etc/hostname>", "`![x](file:///etc/hostname)`", "[![x](file:///etc/hostname)](http://x)",
    ],
)  # fmt: skip
def test_the_card_of_a_stranger_shows_no_picture_and_runs_nothing(models, mine, card):
    """Qt would open the file of a picture; a picture that is none is a replacement character in the text."""
    from HipICMSCLib.models.archive import read_archive, write_archive

    archive = read_archive(mine)
    write_archive(mine, archive.manifest | {"name": card.replace("\n", " ")}, archive.weights, f"# Card\n\n{card}\n")
    models.add(mine)
    models.ui.modelDetailsButton.click()
    browser = models.ui.modelDetailsBrowser
    html = browser.toHtml().partition("<body")[2]
    assert "Card" in models.details() and "\ufffc" not in models.details()
    assert "<img" not in html and "<script" not in html
    assert not browser.openLinks and not browser.openExternalLinks


def test_the_name_of_a_file_is_no_html_in_a_tool_tip(models, mine):
    named = mine.with_name("<img src='x'>.hipmodel")
    mine.rename(named)
    models.add(named)
    assert models.ui.removeModelButton.toolTip.startswith("<qt>") and "&lt;img" in models.ui.removeModelButton.toolTip
