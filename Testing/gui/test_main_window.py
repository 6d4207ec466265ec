"""Both panels in Slicer's main window, on a small screen: the window keeps its width, and what is needed is in view."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import slicer_stand_ins
from ball_panel import add_volume
from main_window import DESKTOP, LAPTOP, PANEL_WIDTH

#: More than a data set, a run list or a scene needs to make a table ask for another width.
LONG = "a-rather-long-name-of-a-volume-that-came-from-an-archive"


@pytest.fixture
def training(open_panel):
    import qt

    panel = open_panel("HipICMSCTraining")
    panel.wait(lambda: not panel.widget.panel.settings_panel.reason_against_taking())
    yield panel
    qt.QSettings.values.clear()


def data_set(folder: Path, count: int) -> Path:
    cases = [
        {"name": f"{LONG}-{number}", "modality": kind, "role": "train", "patient": f"{LONG}-{number}-{kind}",
         "image": str(folder / f"{LONG}-{number}-{kind}.nrrd")}
        for number in range(count) for kind in ("CT", "MR")
    ]  # fmt: skip
    path = folder / "dataset.json"
    path.write_text(json.dumps({"cases": cases}))
    return path


def widths(window, seconds: float = 2.0) -> list[int]:
    """Of the window, again and again."""
    seen = []
    for _ in range(round(seconds / 0.1)):
        window.pass_time(0.1)
        seen.append(window.width)
    return seen


def test_the_training_panel_keeps_slicers_window_as_wide_as_it_is(training, tmp_path):
    with training.in_window(LAPTOP) as window:
        training.widget.panel.data_panel.set_dataset_file(data_set(tmp_path, 6))
        training.ui.dataSceneButton.checked = True
        assert set(widths(window)) == {LAPTOP[0]}
        assert not training.ui.dataTable.horizontalScrollBar().isVisible()
        assert window.panel_width <= PANEL_WIDTH


def test_the_headings_of_an_empty_list_can_be_read(training):
    with training.in_window(LAPTOP):
        table = training.ui.dataTable
        header = table.horizontalHeader()
        assert table.rowCount == 0
        assert [c for c in range(table.columnCount) if table.columnWidth(c) < header.sectionSizeHint(c)] == []


def test_the_button_that_checks_a_small_data_set_is_in_view_on_a_small_screen(training, tmp_path):
    with training.in_window(LAPTOP) as window:
        training.widget.panel.data_panel.set_dataset_file(data_set(tmp_path, 3))
        window.pass_time()
        assert window.is_in_view(training.ui.dataCheckButton)


def test_the_segmentation_panel_keeps_slicers_window_as_wide_as_it_is(open_panel):
    panel = open_panel("HipICMSC")
    with panel.in_window(LAPTOP) as window:
        assert set(widths(window, 1.0)) == {LAPTOP[0]}
        assert window.panel_width <= PANEL_WIDTH


def test_what_is_needed_before_and_after_the_click_is_in_view_on_a_small_screen(panel):
    """The window is that of a screen of 1,366 × 768 with help, Data Probe and status bar in it."""
    ui = panel.ui
    with panel.in_window(LAPTOP) as window:
        add_volume()
        panel.wait(lambda: not panel.widget.panel.card.pending)
        window.pass_time()
        assert window.is_in_view(ui.segmentButton) and window.is_in_view(ui.preflightBodyLabel)
        # Looked at whenever progress is told, as the work itself may be done before the bench looks again.
        running = []
        ui.progressBar.valueChanged.connect(
            lambda percent: (
                percent
                and running.append([window.is_in_view(w) for w in (ui.segmentButton, ui.progressBar, ui.statusLabel)])
            )
        )
        ui.segmentButton.click()
        panel.wait(lambda: panel.widget.panel.settled)
        assert running and all(map(all, running))
        window.pass_time()
        for name in ("statusLabel", "reviewStateLabel", "nextPlaceButton", "placesList", "confidenceMapCheckBox"):
            assert window.is_in_view(getattr(ui, name)), name
        assert window.shows_top_of(ui.editorCollapsibleButton)
        assert window.panel_width <= PANEL_WIDTH and window.width == LAPTOP[0]


@pytest.fixture
def longer_words(bench):
    """Slicer in a language of longer words. What our libraries say when they are loaded, they have said already."""
    from HipICMSCLib.gui.trial.longer_language import longer_language

    with longer_language(*(slicer_stand_ins.module_file(name).parent for name in ("HipICMSC", "HipICMSCTraining"))):
        yield


def test_a_language_of_longer_words_fits_into_the_panel_and_changes_nothing(longer_words, panel, pictures):
    from HipICMSCLib.gui.scene.result import result_of

    assert panel.ui.segmentButton.text == "Segment hip lang"
    with panel.in_window(LAPTOP) as window:
        volume = add_volume()
        panel.wait(lambda: not panel.widget.panel.card.pending)
        assert window.panel_width <= PANEL_WIDTH
        panel.ui.segmentButton.click()
        panel.wait(lambda: panel.widget.panel.settled)
        assert result_of(volume) is not None
        for section in ("batch", "setUp", "log", "editor"):
            getattr(panel.ui, f"{section}CollapsibleButton").collapsed = False
        window.pass_time()
        assert window.panel_width <= PANEL_WIDTH and window.width == LAPTOP[0]
        window.picture(pictures / "longer-words.png")


def test_a_language_of_longer_words_fits_into_the_training_panel(longer_words, training, tmp_path, pictures):
    with training.in_window(LAPTOP) as window:
        training.widget.panel.data_panel.set_dataset_file(data_set(tmp_path, 6))
        assert set(widths(window)) == {LAPTOP[0]}
        window.settle(lambda: overlapping(training))
        assert overlapping(training) == [] and window.panel_width <= PANEL_WIDTH
        table = training.ui.dataTable
        assert not table.horizontalScrollBar().isVisible()
        assert min(table.columnWidth(column) for column in range(table.columnCount)) > 40
        window.picture(pictures / "longer-words-training.png")


def open_everything(panel, window) -> None:
    """All that the panel can ever show, side by side."""
    from PySide6 import QtWidgets

    for widget in panel.frame.findChildren(QtWidgets.QWidget):
        # Qt's own parts of a widget have no name.
        if getattr(widget, "name", ""):
            if widget.name.endswith("CollapsibleButton"):
                widget.collapsed = False
            QtWidgets.QWidget.setVisible(widget, True)
    window.pass_time()


@pytest.mark.parametrize("words", ["english", "longer"])
@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_whatever_a_panel_can_show_fits_into_its_width(request, open_panel, name, words):
    if words == "longer":
        request.getfixturevalue("longer_words")
    panel = request.getfixturevalue("training") if name == "HipICMSCTraining" else open_panel(name)
    with panel.in_window(LAPTOP) as window:
        open_everything(panel, window)
        assert window.panel_width <= PANEL_WIDTH, widest(panel)


def widest(panel) -> list[tuple[int, str]]:
    """The least widths and names of those widgets that ask for most of it."""
    from PySide6 import QtWidgets

    named = [widget for widget in panel.frame.findChildren(QtWidgets.QWidget) if getattr(widget, "name", "")]
    return sorted(((widget.minimumSizeHint.width(), widget.name) for widget in named), reverse=True)[:12]


@pytest.fixture
def large_font(bench):
    from HipICMSCLib.gui.trial.larger_font import larger_font

    with larger_font():
        yield


@pytest.mark.slow
def test_on_a_screen_of_high_density_all_of_this_is_so_too():
    """With two pixels of the screen for one of Qt's, which a process is told when it starts."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__]
    run = subprocess.run(command, env=os.environ | {"QT_SCALE_FACTOR": "2"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]


def cut(panel) -> list[str]:
    """What has less room than it needs."""
    from HipICMSCLib.gui.trial import room

    return room.cut(panel.frame)


def overlapping(panel) -> list[str]:
    from HipICMSCLib.gui.trial import room

    return room.overlapping(panel.frame)


def test_with_a_large_font_nothing_of_the_segmentation_panel_is_cut(large_font, panel, pictures):
    with panel.in_window(DESKTOP) as window:
        add_volume()
        panel.wait(lambda: not panel.widget.panel.card.pending)
        panel.ui.segmentButton.click()
        panel.wait(lambda: panel.widget.panel.settled)
        panel.ui.againButton.click()
        panel.ui.modelDetailsButton.checked = True
        for section in ("batch", "setUp", "log", "measures"):
            getattr(panel.ui, f"{section}CollapsibleButton").collapsed = False
        window.settle(lambda: cut(panel))
        assert cut(panel) == [] and window.panel_width <= 1.5 * PANEL_WIDTH and window.width == DESKTOP[0]
        window.picture(pictures / "large-font.png")


def test_with_a_large_font_nothing_of_the_training_panel_is_cut(large_font, training, tmp_path, pictures):
    with training.in_window(DESKTOP) as window:
        training.widget.panel.data_panel.set_dataset_file(data_set(tmp_path, 2))
        for section in ("settingsAdvanced", "liveLog"):
            getattr(training.ui, f"{section}CollapsibleButton").collapsed = False
        window.settle(lambda: cut(training))
        assert cut(training) == [] and window.panel_width <= 1.5 * PANEL_WIDTH and window.width == DESKTOP[0]
        window.picture(pictures / "large-font-training.png")
        window.scroll_to(training.ui.finishUseButton)
        window.picture(pictures / "large-font-training-finish.png")


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_on_a_high_screen_the_room_that_is_left_is_below_the_sections(open_panel, name):
    from PySide6 import QtWidgets

    panel = open_panel(name)
    if name == "HipICMSC":
        QtWidgets.QWidget.setVisible(panel.ui.resultFrame, True)
        panel.ui.reviewCollapsibleButton.collapsed = False
    widgets = QtWidgets.QWidget.findChildren(panel.frame, QtWidgets.QWidget)
    sections = [widget for widget in widgets if type(widget).__name__ == "ctkCollapsibleButton"]
    heights = []
    for size in (LAPTOP, (LAPTOP[0], 5000)):
        with panel.in_window(size) as window:
            window.pass_time()
            heights.append([QtWidgets.QWidget.geometry(box).height() for box in sections])
    # Without a scroll bar words have more room and may take fewer lines.
    assert len(sections) >= 5
    assert all(high <= low for low, high in zip(*heights, strict=True)), heights


@pytest.mark.parametrize("name", ["HipICMSC", "HipICMSCTraining"])
def test_no_list_asks_for_the_width_that_it_has(open_panel, name):
    """A size hint that follows the widget's own width never settles."""
    from PySide6 import QtWidgets

    panel = open_panel(name)
    growing = [
        widget.name
        for widget in panel.frame.findChildren(QtWidgets.QAbstractScrollArea)
        if QtWidgets.QAbstractScrollArea.sizeAdjustPolicy(widget) == QtWidgets.QAbstractScrollArea.AdjustToContents
    ]
    assert growing == []
