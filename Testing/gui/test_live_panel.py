"""The section "3. Watch" on a real training's folder: it says how the run goes, and reads only while it is shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import slicer_stand_ins
from training_run import trained_run
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"


class Watch:
    """The section as the module opens it, entered, and a copy of the run that the test may change."""

    def __init__(self, application, scene, folder: Path) -> None:
        from HipICMSCTrainingLib.gui.panels.live_panel import LivePanel
        from HipICMSCTrainingLib.run.folder import RunFolder

        self.application, self.scene = application, scene
        self.run = RunFolder(shutil.copytree(trained_run(), folder / "runs" / "first"))
        self.panel = LivePanel(lambda name: str(RESOURCES / name))
        self.ui = self.panel.ui
        self.panel.widget.show()
        self.panel.enter()

    def attach(self) -> None:
        self.panel.attach(self.run)
        self.settle()

    def settle(self) -> None:
        """Let Qt lay out what was shown, then look again, as the timer does."""
        from PySide6 import QtWidgets

        for _ in range(3):
            self.application.processEvents()
            height = QtWidgets.QWidget.layout(self.panel.widget).totalHeightForWidth(460)
            QtWidgets.QWidget.resize(self.panel.widget, 460, max(height, 100))
            self.panel.refresh()
        self.application.processEvents()

    def wait(self, until) -> None:
        wait(self.application, until)

    def say(self, **changes) -> None:
        """The training process reports something else."""
        self.run.write_status(replace(self.run.status(), **changes))

    def add_preview(self, step: int) -> Path:
        last = self.run.previews_of()[-1]
        return Path(shutil.copy(last, last.with_name(f"step_{step:07d}.png")))

    def shown_size(self) -> tuple[int, int]:
        from PySide6 import QtWidgets

        pixmap = QtWidgets.QLabel.pixmap(self.ui.livePreviewLabel)
        return pixmap.width(), pixmap.height()

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        self.settle()
        QtWidgets.QWidget.grab(self.panel.widget).save(str(path))


@pytest.fixture
def watch(bench, tmp_path):
    app, application = bench
    app.scene.Clear()
    opened = Watch(application, app.scene, tmp_path)
    yield opened
    opened.panel.exit()
    opened.panel.close()
    opened.panel.widget.deleteLater()
    app.scene.Clear()


@pytest.fixture
def another_run(watch):
    """A shorter run beside it."""
    from HipICMSCTrainingLib.run.folder import RunFolder

    other = RunFolder(watch.run.path.parent / "second")
    other.create({"method": "icmsc"})
    for step in (20, 40):
        other.append_metrics({"step": step, "losses": {"rec_s": 1 / step}, "learning_rates": {"G": 1e-4}})
    return other


def nodes_in_scene() -> int:
    import slicer

    kinds = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")
    return sum(slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds)


def names_in_chart(title: str) -> list[str]:
    import slicer

    chart = slicer.mrmlScene.GetFirstNodeByName(title)
    return [chart.GetNthPlotSeriesNode(i).GetName() for i in range(chart.GetNumberOfPlotSeriesNodes())]


def test_without_a_run_it_says_what_to_do(watch, pictures):
    watch.settle()
    assert "Choose or start a run" in watch.ui.liveStateLabel.text
    for button in (watch.ui.liveCurvesButton, watch.ui.livePreviewOpenButton):
        assert not button.enabled and "run" in button.toolTip
    watch.picture(pictures / "live-empty.png")


def test_a_finished_run_is_said_to_be_finished_with_its_newest_picture(watch, pictures):
    watch.attach()
    assert watch.ui.liveStateLabel.text == "Finished, step 24 of 24. Trained to the end."
    assert watch.ui.liveProgressBar.value == 100
    assert watch.ui.livePreviewText.text.startswith("Picture 3 of 3, after step 24.")
    watch.picture(pictures / "live-finished.png")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"state": "paused", "phase": "stopped", "sentence": "Stopped on request."},
         "Paused, step 12 of 24. Stopped on request."),
        ({"state": "failed", "phase": "stopped", "sentence": "The disk is full."},
         "Failed, step 12 of 24. The disk is full."),
        ({"state": "running", "phase": "stage 2", "sentence": ""},
         "Lost, step 12 of 24. The process ended without a word"),
    ],
)  # fmt: skip
def test_what_a_run_says_of_itself_is_said_in_words(watch, said, shown):
    watch.say(step=12, seconds_left=None, **said)
    watch.attach()
    assert watch.ui.liveStateLabel.text.startswith(shown)
    assert watch.ui.liveProgressBar.value == 50


def test_a_live_run_is_followed_by_itself_and_one_that_is_silent_is_stalled(watch, pictures):
    """Another process holds the run; the panel is not told of anything."""
    program = (
        "import sys; from pathlib import Path; from HipICMSCTrainingLib.run.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked():\n    print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(watch.run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        now = dict(machine="", awake=None, heartbeat=time.time())
        watch.say(state="running", phase="stage 2", sentence="", step=12, seconds_left=90.0, **now)
        watch.attach()
        assert watch.ui.liveStateLabel.text == "Running, stage 2, step 12 of 24, about 1 min 30 s left."
        watch.picture(pictures / "live-running.png")
        watch.say(step=18)
        watch.add_preview(100)
        watch.run.append_metrics({"step": 18, "losses": {"rec_s": 0.5}})
        watch.wait(lambda: watch.ui.liveProgressBar.value == 75)
        assert watch.ui.livePreviewText.text.startswith("Picture 4 of 4, after step 100.")
        watch.say(heartbeat=time.time() - 3600)
        watch.wait(lambda: watch.ui.liveStateLabel.text.startswith("Stalled, step 18 of 24"))
        holder.communicate("\n")


def test_nothing_is_read_while_another_module_is_open(watch):
    watch.attach()
    watch.panel.exit()
    watch.say(state="paused", sentence="Later.")
    limit = time.monotonic() + 1.5
    watch.wait(lambda: time.monotonic() > limit)
    assert watch.ui.liveStateLabel.text.startswith("Finished")
    watch.panel.enter()
    assert watch.ui.liveStateLabel.text.startswith("Paused")


def test_alarms_are_said_with_what_to_change_and_taken_back(watch, pictures):
    watch.run.forget_metrics_after(0)
    watch.attach()
    assert not watch.ui.liveAlarmsLabel.visible
    for step in (21, 22):
        scores = {"agreement": 0.5, "selection": 0.5, "foreground_femur": 0.01}
        watch.run.append_metrics({"step": step, "stage": 2, "scores": scores, "weights": "last"})
    watch.panel.refresh()
    text = watch.ui.liveAlarmsLabel.text
    assert watch.ui.liveAlarmsLabel.visible and text.startswith("Caution: Hardly any femur is found on MRI")
    # Settings are called as the form calls them.
    assert "'CMSC t start'" in text and "cmsc_t_start" not in text
    watch.picture(pictures / "live-alarm.png")
    watch.run.forget_metrics_after(21)
    watch.panel.refresh()
    assert not watch.ui.liveAlarmsLabel.visible


def as_another_method(watch, name: str) -> None:
    """The run says that it is one of this method, with its usual settings."""
    from HipICMSCLib.common.settings import to_json
    from HipICMSCTrainingLib.methods.registry import METHODS

    description = watch.run.description()
    description |= {"method": name, "method_settings": to_json(METHODS[name].Settings())}
    (watch.run.path / "run.json").write_text(json.dumps(description))


def described() -> dict:
    from HipICMSCTrainingLib.methods.description import description_of_settings
    from HipICMSCTrainingLib.settings.choices import Description

    return Description.from_json(description_of_settings()).methods


def test_what_a_method_does_when_is_said_whatever_the_method(watch, pictures):
    """ADDA has phases of its own and translates nothing."""
    as_another_method(watch, "adda")
    watch.panel.know_methods(described())
    with watch.run.locked():
        now = dict(machine="", awake=None, heartbeat=time.time(), seconds_left=None)
        for step, words in ((3, "stage 1 (pretraining)"), (18, "stage 2 (alignment)")):
            watch.say(state="running", phase=words[:7], sentence="", step=step, **now)
            watch.attach()
            assert watch.ui.liveStateLabel.text == f"Running, {words}, step {step} of 24."
    text = watch.ui.liveMethodLabel.text
    assert text.startswith("ADDA: ") and "F_s learns from CT, then its copy F_t" in text
    assert [watch.ui.livePreviewComboBox.itemText(index) for index in range(2)] == ["MRI", "CT"]
    watch.ui.livePreviewSlider.value = 0
    assert "translat" not in watch.ui.livePreviewText.text
    watch.picture(pictures / "live-adda.png")

    as_another_method(watch, "icmsc")
    watch.panel.attach(None)
    assert not watch.ui.liveMethodLabel.visible
    watch.attach()
    assert watch.ui.liveMethodLabel.text.startswith("ICMSC: ") and "Stage 1 trains" in watch.ui.liveMethodLabel.text
    assert watch.ui.livePreviewComboBox.itemText(0) == "MRI → CT-like → back to MRI"


def test_an_alarm_advises_what_the_method_of_the_run_has(watch):
    as_another_method(watch, "sifa")
    watch.run.forget_metrics_after(0)
    for step in (21, 22):
        scores = {"dice_S(E)": 0.9, "selection": 0.5, "foreground_femur": 0.01}
        watch.run.append_metrics({"step": step, "stage": 2, "scores": scores, "weights": "last"})
    watch.attach()
    text = watch.ui.liveAlarmsLabel.text
    assert "'Prediction weight'" in text and "cmsc" not in text.lower() and "F_t" not in text


@pytest.mark.parametrize("damage", ["gone", "no description", "damaged description"])
def test_a_folder_that_is_gone_or_damaged_is_a_sentence(watch, damage):
    watch.attach()
    if damage == "gone":
        shutil.rmtree(watch.run.path)
    elif damage == "no description":
        (watch.run.path / "run.json").unlink()
    else:
        (watch.run.path / "run.json").write_text("{ half")
    watch.panel.refresh()
    expected = "cannot be read" if damage == "damaged description" else "holds no run"
    assert expected in watch.ui.liveStateLabel.text and str(watch.run.path) in watch.ui.liveStateLabel.text


# Pictures.


def test_the_slider_goes_back_in_time_and_stays_there(watch):
    watch.attach()
    slider = watch.ui.livePreviewSlider
    assert (slider.minimum, slider.maximum, slider.value) == (0, 2, 2)
    watch.add_preview(100)
    watch.panel.refresh()
    assert slider.value == 3, "the newest picture is not shown"
    slider.value = 0
    assert watch.ui.livePreviewText.text.startswith("Picture 1 of 4, after step 8.")
    assert "of stage 1, so that its outlines may mean little" in watch.ui.livePreviewText.text
    watch.add_preview(200)
    watch.panel.refresh()
    assert (slider.value, slider.maximum) == (0, 4)
    slider.value = 4
    assert watch.ui.livePreviewText.text.startswith("Picture 5 of 5, after step 200.")
    assert "stage" not in watch.ui.livePreviewText.text


def test_each_way_of_translating_has_its_half_of_the_sheet_as_wide_as_the_panel(watch, pictures):
    from PySide6 import QtGui, QtWidgets

    watch.attach()
    sheet = QtGui.QImage(str(watch.run.previews_of()[-1]))
    for way, top in enumerate((0, sheet.height() // 2)):
        watch.ui.livePreviewComboBox.currentIndex = way
        shown = QtWidgets.QLabel.pixmap(watch.ui.livePreviewLabel)
        assert shown.width() == QtWidgets.QWidget.width(watch.ui.livePreviewLabel) > 400
        half = sheet.copy(0, top, sheet.width() // 2, sheet.height() // 2)
        assert shown.toImage() == QtGui.QPixmap.fromImage(half).scaledToWidth(
            shown.width(), QtGui.Qt.SmoothTransformation
        ).toImage()  # fmt: skip
    watch.picture(pictures / "live-ct.png")


def test_the_whole_sheet_opens_in_a_window_that_follows_the_slider(watch):
    from PySide6 import QtWidgets

    watch.attach()
    watch.ui.livePreviewOpenButton.click()
    (window,) = [w for w in watch.application.topLevelWidgets() if isinstance(w, QtWidgets.QScrollArea)]
    assert window.windowTitle == "first, after step 24"
    assert QtWidgets.QLabel.pixmap(QtWidgets.QScrollArea.widget(window)).width() > 2 * watch.shown_size()[0]
    watch.ui.livePreviewSlider.value = 0
    assert window.windowTitle == "first, after step 8"
    watch.panel.close()
    assert not QtWidgets.QWidget.isVisible(window)


def test_a_picture_that_is_no_picture_is_a_sentence(watch):
    watch.attach()
    watch.add_preview(100).write_bytes(b"half a picture")
    watch.panel.refresh()
    assert watch.ui.livePreviewText.text == "The picture step_0000100.png cannot be read."
    watch.ui.livePreviewSlider.value = 0
    assert watch.ui.livePreviewText.text.startswith("Picture 1 of 4")


def test_a_run_without_pictures_says_when_there_will_be_some(watch, another_run):
    watch.panel.attach(another_run)
    assert "each epoch ends with one" in watch.ui.livePreviewText.text
    assert not watch.ui.livePreviewLabel.visible and not watch.ui.livePreviewSlider.enabled


def test_an_unchanged_run_costs_next_to_nothing(watch):
    """With a long history, curves shown and the log open."""
    with open(watch.run.path / "metrics.jsonl", "a") as file:
        file.write("".join(f'{{"step": {step}, "losses": {{"rec_s": 0.5}}}}\n' for step in range(25, 20_000)))
    watch.attach()
    watch.ui.liveCurvesButton.click()
    watch.ui.liveLogCollapsibleButton.collapsed = False
    watch.settle()
    began = time.monotonic()
    for _ in range(100):
        watch.panel.refresh()
    assert time.monotonic() - began < 2


# Curves.


def test_curves_come_when_asked_for_and_go_again(watch, pictures):
    import slicer

    layout = watch.scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutConventionalView)
    before = nodes_in_scene()
    watch.attach()
    assert nodes_in_scene() == before
    watch.ui.liveCurvesButton.click()
    assert {"rec_s", "cmsc_t", "adv_D_t"} <= set(names_in_chart("Losses"))
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalPlotView
    watch.ui.liveChartComboBox.currentIndex = 1
    active = slicer.vtkMRMLSelectionNode.SafeDownCast(watch.scene.GetFirstNodeByClass("vtkMRMLSelectionNode"))
    assert watch.scene.GetNodeByID(active.GetActivePlotChartID()).GetName() == "Label-free scores"
    watch.ui.liveCurvesButton.click()
    assert nodes_in_scene() == before
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
    # Who arranges the views anew meanwhile keeps that.
    watch.ui.liveCurvesButton.click()
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    watch.ui.liveCurvesButton.click()
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView
    watch.scene.RemoveNode(layout)


def test_a_run_that_begins_beside_this_one_can_be_compared_with_it(watch):
    watch.attach()
    later = watch.run.path.with_name("later")
    later.mkdir()
    watch.settle()
    # Its process writes this some seconds after the folder was made.
    shutil.copy(watch.run.path / "run.json", later / "run.json")
    watch.settle()
    assert [watch.ui.liveRunsList.item(row).text() for row in range(watch.ui.liveRunsList.count)] == ["later"]


def test_other_runs_of_the_folder_are_compared(watch, another_run, pictures):
    import qt

    watch.attach()
    assert not watch.ui.liveRunsList.visible
    watch.ui.liveCurvesButton.click()
    (item,) = [watch.ui.liveRunsList.item(row) for row in range(watch.ui.liveRunsList.count)]
    assert item.text() == "second"
    item.setCheckState(qt.Qt.Checked)
    assert {"first: rec_s", "second: rec_s"} <= set(names_in_chart("Losses"))
    third = watch.run.path.parent / "third"
    shutil.copytree(another_run.path, third)
    watch.panel.refresh()
    assert {"first: rec_s", "second: rec_s"} <= set(names_in_chart("Losses")), "the tick was lost"
    assert watch.ui.liveRunsList.count == 2
    watch.picture(pictures / "live-compare.png")


def test_curves_of_a_closed_scene_are_switched_off(watch):
    watch.attach()
    watch.ui.liveCurvesButton.click()
    watch.scene.Clear()
    watch.panel.refresh()
    assert not watch.ui.liveCurvesButton.checked and nodes_in_scene() == 0
    watch.ui.liveCurvesButton.click()
    assert "rec_s" in names_in_chart("Losses")


def test_curves_follow_the_choice_of_another_run(watch, another_run):
    watch.attach()
    watch.ui.liveCurvesButton.click()
    watch.panel.attach(another_run)
    assert names_in_chart("Losses") == ["rec_s"]
    watch.panel.attach(None)
    assert nodes_in_scene() == 0


def test_the_log_shows_the_last_lines(watch):
    watch.attach()
    watch.run.log.write_text("".join(f"line {number}\n" for number in range(1000)))
    watch.ui.liveLogCollapsibleButton.collapsed = False
    lines = watch.ui.liveLogText.plainText.splitlines()
    assert (len(lines), lines[-1]) == (200, "line 999")


def test_a_run_of_a_stranger_is_shown_without_harm(watch):
    """What its files say is text and nothing else, and a picture that is none or far too large is not opened."""
    from malformed.run_folders import RECIPES, RunMaker

    maker = RunMaker(watch.run.path, watch.run.path.parent)
    maker.run = watch.run.path
    for kind in ("status: commands", "log: commands", "metrics: numbers", "metrics: other names", "previews: a bomb"):
        RECIPES[kind][1](maker)
    watch.attach()
    watch.ui.liveLogCollapsibleButton.collapsed = False
    watch.ui.liveCurvesButton.checked = True
    watch.settle()
    shown = watch.ui.liveStateLabel.text, watch.ui.liveLogText.plainText
    assert all("<img" in text and "\x1b" not in text and "\u202e" not in text for text in shown)
    for label in (watch.ui.liveStateLabel, watch.ui.liveAlarmsLabel, watch.ui.livePreviewText):
        assert label.textFormat == qt_plain_text()
    assert watch.ui.livePreviewText.text.startswith("Picture 4 of 4")
    watch.ui.livePreviewSlider.value = [path.name for path in watch.run.previews_of()].index("step_0000009.png")
    assert watch.ui.livePreviewText.text == "The picture step_0000009.png cannot be read."


def qt_plain_text():
    from PySide6.QtCore import Qt

    return Qt.TextFormat.PlainText
