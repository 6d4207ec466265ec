"""The section "Several MRIs": a list of what is in the scene or a folder, one click for all, and what came of each."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from ball_panel import add_volume
from dicom_objects import slices, write
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
REPORT = {
    "model": {"name": "hip-t1-mri", "sha256": "ab" * 32},
    "device": "cpu",
    "fallbacks": [],
    "date": "2026-01-02T03:04:05Z",
    "femoral_heads_lps_mm": {"right": [-85.0, 0.0, 0.0], "left": None},
    "volumes_ml": {
        "Right hip bone (acetabulum)": 301.5,
        "Left hip bone (acetabulum)": 0.0,
        "Right proximal femur": 142.3,
        "Left proximal femur": 0.0,
    },
    "warnings": [
        {"kind": "one_hip", "sentence": "Only the right hip was found; if the image shows both, mark them by hand."},
        {"kind": "cut_off", "sentence": "The right proximal femur ends at the edge of the image."},
    ],
}


class Work:
    """Segments nothing: it begins what it is given, and ends it when the test says so."""

    def __init__(self) -> None:
        self.started: list[object] = []
        self.cancelled = 0

    def start_node(self, node, on_progress, on_end) -> None:
        self.started.append(node.GetName())
        self.on_progress, self.end = on_progress, on_end

    def start_file(self, path, output, series, on_progress, on_end) -> None:
        self.started.append((path.name, output.name))
        self.on_progress, self.end = on_progress, on_end

    def cancel(self) -> None:
        self.cancelled += 1

    def list_series(self, folder, on_listed, on_error) -> None:
        raise AssertionError(f"nobody asked for the series of {folder}")


class Section:
    """The section as the module opens it."""

    def __init__(self, application, scene, work) -> None:
        from HipICMSCLib.gui.panels.batch_panel import BatchPanel

        self.application, self.scene = application, scene
        self.panel = BatchPanel(
            lambda name: str(RESOURCES / name),
            work.start_node,
            work.start_file,
            lambda: work.cancel(),
            work.list_series,
        )
        self.ui = self.panel.ui
        self.panel.widget.collapsed = False
        self.panel.widget.show()
        self.settle()

    def wait(self, until: Callable[[], bool]) -> None:
        wait(self.application, until)

    def settle(self) -> None:
        """Until the list has followed the scene or the folder."""
        limit = time.monotonic() + 0.5
        self.wait(lambda: time.monotonic() > limit)
        self.panel.set_available("")

    def cells(self, column: int) -> list[str]:
        return [self.ui.batchTable.item(row, column).text() for row in range(self.ui.batchTable.rowCount)]

    @property
    def names(self) -> list[str]:
        return self.cells(0)

    @property
    def states(self) -> list[str]:
        return self.cells(1)

    @property
    def ticks(self) -> list[bool]:
        import qt

        table = self.ui.batchTable
        return [table.item(row, 0).checkState() == qt.Qt.Checked for row in range(table.rowCount)]

    def tick(self, row: int, ticked: bool) -> None:
        import qt

        self.ui.batchTable.item(row, 0).setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)

    def can_be_ticked(self, row: int) -> bool:
        import qt

        return bool(self.ui.batchTable.item(row, 0).flags() & qt.Qt.ItemIsUserCheckable)

    def buttons(self) -> list[tuple[str, bool]]:
        buttons = (self.ui.batchStartButton, self.ui.batchRetryButton, self.ui.batchSaveButton)
        return [(button.text.replace("&", ""), button.enabled) for button in buttons]

    def choose_folders(self, folder: Path, output: Path) -> None:
        self.ui.batchFolderRadioButton.checked = True
        self.ui.batchInputPathLineEdit.currentPath = str(folder)
        self.ui.batchOutputPathLineEdit.currentPath = str(output)
        self.settle()

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        QtWidgets.QWidget.resize(self.panel.widget, 440, 100)
        for _ in range(3):
            self.application.processEvents()
        height = QtWidgets.QWidget.sizeHint(self.panel.widget).height()
        QtWidgets.QWidget.resize(self.panel.widget, 440, height)
        QtWidgets.QWidget.grab(self.panel.widget).save(str(path))


@pytest.fixture
def scene(bench):
    app, _ = bench
    app.scene.Clear()
    yield app.scene
    app.scene.Clear()


@pytest.fixture
def open_section(bench, scene):
    opened = []

    def open_it(work) -> Section:
        opened.append(Section(bench[1], scene, work))
        return opened[-1]

    yield open_it
    for section in opened:
        section.panel.close()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def section(open_section, work) -> Section:
    return open_section(work)


def add(scene, name: str, kind: str = "vtkMRMLScalarVolumeNode"):
    return scene.AddNewNodeByClass(kind, name)


def error(kind: str, sentence: str):
    from HipICMSCLib.common.errors import HipError

    return HipError(kind, sentence, "the technical background")


def cancelled():
    return error("cancelled", "The segmentation was cancelled; nothing was changed.")


def test_an_empty_scene_says_what_is_missing(section, pictures):
    assert section.buttons() == [
        ("Segment all", False), ("Try failed ones again", False), ("Save summary…", False),
    ]  # fmt: skip
    assert section.ui.batchStartButton.toolTip == "Load some MRIs first, or choose a folder."
    assert section.ui.batchStatusLabel.text == section.ui.batchStartButton.toolTip
    assert section.ui.batchRetryButton.toolTip == "Nothing has failed."
    assert section.ui.batchSaveButton.toolTip == "Nothing has been segmented yet."
    section.picture(pictures / "batch-empty.png")


def test_it_is_closed_until_somebody_opens_it(scene):
    import slicer

    assert slicer.util.loadUI(str(RESOURCES / "UI" / "HipICMSC-Batch.ui")).collapsed


def test_the_list_follows_the_scene_and_holds_only_what_may_be_an_mri(section, scene):
    first = add(scene, "first")
    add(scene, "labels", "vtkMRMLLabelMapVolumeNode")
    hidden = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.HideFromEditorsOn()
    scene.AddNode(hidden)
    add(scene, "second")
    section.settle()
    assert section.names == ["first", "second"]
    assert section.ticks == [True, True] and section.states == ["Waiting", "Waiting"]
    section.tick(1, False)
    assert section.states == ["Waiting", "Skipped"] and section.cells(5) == ["", "Left out."]
    assert section.buttons()[0] == ("Segment 1 of 2", True)
    scene.RemoveNode(first)
    add(scene, "third")
    section.settle()
    # What was left out stays so.
    assert section.names == ["second", "third"] and section.ticks == [False, True]
    section.tick(1, False)
    assert section.buttons()[0] == ("Segment all", False)
    assert section.ui.batchStartButton.toolTip == "Tick at least one MRI in the list."


def test_when_all_are_done_the_most_doubtful_result_is_first(section, scene, work, pictures):
    from HipICMSCLib.gui.scene.review import store_doubt

    for name in ("sure", "failing", "doubtful"):
        add(scene, name)
    section.settle()
    section.ui.batchStartButton.click()
    work.end(REPORT | {"doubt": {"unsure": 0.06, "mirrored": 0.08}})
    assert section.names == ["sure", "failing", "doubtful"], "nothing moves while it runs"
    work.end(error("no_hip", "No hip joint was found; is this an MRI of the hips?"))
    work.end(REPORT | {"doubt": {"unsure": 0.11, "mirrored": 0.32}})
    section.settle()
    assert section.names == ["doubtful", "sure", "failing"] and section.cells(2) == ["32 %", "8 %", ""]
    section.picture(pictures / "batch-doubt.png")
    # So is one that a scene brought along.
    earlier = add_volume(name="earlier")
    result = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    result.SetReferenceImageGeometryParameterFromVolumeNode(earlier)
    result.SetAttribute("HipICMSC.Date", "2026-01-01")
    store_doubt(result, 0.2)
    section.settle()
    assert section.names == ["doubtful", "earlier", "sure", "failing"] and section.states[1] == "Skipped"


def test_a_result_without_a_bone_comes_before_all_doubt_and_is_not_simply_done(section, scene, work, pictures):
    for name in ("without a hip bone", "doubtful"):
        add(scene, name)
    section.settle()
    section.ui.batchStartButton.click()
    missing = {"kind": "bone_missing", "sentence": "The left hip bone was not found although its hip is in the image."}
    work.end(REPORT | {"doubt": {"unsure": 0.02, "mirrored": 0.03}, "warnings": [missing]})
    work.end(REPORT | {"doubt": {"unsure": 0.11, "mirrored": 0.32}})
    section.settle()
    assert section.names == ["without a hip bone", "doubtful"] and section.states == ["Done, check", "Done"]
    assert "bones are missing or implausible: 1." in section.ui.batchStatusLabel.text
    section.picture(pictures / "batch-fault.png")


def test_files_of_results_are_replaced_only_after_a_question(section, work, tmp_path, monkeypatch):
    import slicer

    folder, output = tmp_path / "MRIs", tmp_path / "results"
    output.mkdir()
    folder.mkdir()
    for name in ("a", "b"):
        sitk.WriteImage(ball_hips.ball_image(), str(folder / f"{name}.nrrd"))
    (output / "a.seg.nrrd").write_bytes(b"corrected by hand")
    section.choose_folders(folder, output)
    section.ui.batchRedoCheckBox.checked = True
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    section.ui.batchStartButton.click()
    assert "with any correction that was made in them: 1." in questions[0]
    assert work.started == [] and not section.panel.busy and section.ticks == [True, True]
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: True)
    section.ui.batchStartButton.click()
    assert work.started == [("a.nrrd", "a.seg.nrrd")]


def test_one_click_segments_all_and_one_that_fails_does_not_stop_the_others(section, scene, work, pictures):
    for name in ("hip left out", "Müller, hips cor T1", "a very long name of a series that nobody can read", "last"):
        add(scene, name)
    section.settle()
    section.tick(0, False)
    section.ui.batchStartButton.click()
    assert section.buttons() == [("Cancel", True), ("Try failed ones again", False), ("Save summary…", False)]
    assert section.panel.busy and not section.can_be_ticked(1)
    for name in ("batchSceneRadioButton", "batchFolderRadioButton", "batchRedoCheckBox"):
        control = getattr(section.ui, name)
        assert not control.enabled and control.toolTip.startswith("Several MRIs are being segmented")
    work.on_progress(0.43)
    assert section.states == ["Skipped", "Running, 43 %", "Waiting", "Waiting"]
    assert section.ui.batchStatusLabel.text == "Segmenting MRI 1 of 3 …"
    assert section.ui.batchProgressBar.value == 14
    work.end(REPORT)
    section.picture(pictures / "batch-running.png")
    work.end(error("no_hip", "No hip joint was found; is this an MRI of the hips?"))
    work.end(REPORT)
    assert work.started == section.names[1:]
    assert not section.panel.busy and section.ui.batchProgressBar.value == 100
    section.settle()
    assert section.states == ["Skipped", "Done", "Failed", "Done"]
    assert section.cells(3) == ["", "302 / 142", "", "302 / 142"] and section.cells(4) == ["", "– / –", "", "– / –"]
    # What failed stays ticked, what is done does not; so the next click repeats nothing.
    assert section.ticks == [False, False, True, False] and section.can_be_ticked(1)
    assert section.ui.batchStatusLabel.text.startswith("Segmented: 2, failed: 1, not segmented: 1.")
    assert "research use only" in section.ui.batchStatusLabel.text
    assert section.buttons() == [
        ("Segment 1 of 4", True), ("Try failed ones again", True), ("Save summary…", True),
    ]  # fmt: skip
    assert section.ui.batchNoteLabel.text == "Select a row to read its note."
    section.ui.batchTable.selectRow(1)
    # All warnings, not only the first.
    assert section.ui.batchNoteLabel.text.startswith("Müller, hips cor T1: Only the right hip")
    assert section.ui.batchNoteLabel.text.endswith("edge of the image.")
    section.picture(pictures / "batch-done.png")
    section.ui.batchTable.selectRow(2)
    assert "No hip joint was found" in section.ui.batchNoteLabel.text
    assert "the technical background" in section.ui.batchNoteLabel.text


def test_the_failed_ones_are_tried_again(section, scene, work):
    for name in ("a", "b", "c"):
        add(scene, name)
    section.settle()
    section.ui.batchStartButton.click()
    work.end(error("unreadable", "It is broken."))
    work.end(REPORT)
    work.end(error("unreadable", "It is broken."))
    section.ui.batchRetryButton.click()
    assert section.states == ["Running, 0 %", "Done", "Waiting"] and section.cells(5)[2] == ""
    work.end(REPORT)
    work.end(REPORT)
    assert section.states == ["Done"] * 3 and work.started == ["a", "b", "c", "a", "c"]
    assert section.ui.batchRetryButton.toolTip == "Nothing has failed."


def test_cancel_keeps_what_is_done_and_the_rest_can_be_done_later(section, scene, work):
    for name in ("a", "b", "c"):
        add(scene, name)
    section.settle()
    changes = []
    section.panel.changed.connect(lambda: changes.append(section.panel.busy))
    section.ui.batchStartButton.click()
    work.end(REPORT)
    section.ui.batchStartButton.click()
    assert work.cancelled == 1 and section.ui.batchStatusLabel.text == "Cancelling …"
    assert section.buttons()[0] == ("Cancel", False)
    assert section.ui.batchStartButton.toolTip == "It is being cancelled."
    work.end(cancelled())
    section.settle()
    assert section.states == ["Done", "Cancelled", "Waiting"] and section.ticks == [False, True, True]
    assert changes == [True, False]
    section.ui.batchStartButton.click()
    work.end(REPORT)
    work.end(REPORT)
    assert section.states == ["Done"] * 3 and work.started == ["a", "b", "b", "c"]


def test_what_has_a_result_in_the_scene_is_segmented_again_only_on_demand(section, scene, work):
    volume = add_volume()
    result = add(scene, "hips hips", "vtkMRMLSegmentationNode")
    result.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    result.SetAttribute("HipICMSC.Date", "2026-01-02T03:04:05Z")
    add(scene, "other")
    section.settle()
    assert section.states == ["Skipped", "Waiting"] and section.ticks == [False, True]
    assert section.cells(5)[0] == "There is a result already."
    section.ui.batchRedoCheckBox.checked = True
    assert section.states == ["Waiting", "Waiting"] and section.ticks == [True, True]
    section.ui.batchStartButton.click()
    # Asked for once, it is not done for ever.
    assert not section.ui.batchRedoCheckBox.checked
    section.ui.batchStartButton.click()
    work.end(cancelled())
    section.settle()
    assert section.states == ["Cancelled", "Waiting"] and section.ticks == [True, True]


def test_the_owner_can_keep_it_from_starting(section, scene):
    add(scene, "a")
    section.settle()
    section.panel.set_available("Another segmentation is still running.")
    assert not section.ui.batchStartButton.enabled
    assert section.ui.batchStartButton.toolTip == "Another segmentation is still running."
    section.panel.set_available("")
    assert section.ui.batchStartButton.enabled and "one after the other" in section.ui.batchStartButton.toolTip


def test_a_volume_that_is_deleted_while_it_waits_fails_with_a_sentence(section, scene, work):
    add(scene, "a")
    waiting = add(scene, "b")
    add(scene, "c")
    section.settle()
    section.ui.batchStartButton.click()
    scene.RemoveNode(waiting)
    section.settle()
    work.end(REPORT)
    assert section.states == ["Done", "Failed", "Running, 0 %"]
    assert section.cells(5)[1] == "b was deleted before its turn came."
    work.end(REPORT)
    section.settle()
    # It stays in the list, and so in the summary.
    assert sorted(zip(section.names, section.states, strict=True)) == [("a", "Done"), ("b", "Failed"), ("c", "Done")]


def test_what_came_of_a_volume_does_not_keep_it_in_memory_when_it_is_deleted(section, scene, work):
    volume = add(scene, "large")
    gone = []
    volume.AddObserver("DeleteEvent", lambda caller, event: gone.append(event))
    section.settle()
    section.ui.batchTable.selectRow(0)
    section.ui.batchStartButton.click()
    work.end(REPORT)
    scene.RemoveNode(volume)
    section.settle()
    del volume
    gc.collect()
    assert gone and section.names == ["large"] and section.states == ["Done"]
    section.ui.batchTable.selectRow(0)


def test_closing_the_scene_cancels_and_empties_the_list(section, scene, work):
    add(scene, "a")
    add(scene, "b")
    section.settle()
    section.ui.batchStartButton.click()
    scene.Clear()
    assert work.cancelled == 1
    work.end(cancelled())
    section.settle()
    assert section.names == [] and not section.panel.busy and work.started == ["a"]


def shown(section) -> list[tuple[str, ...]]:
    return list(zip(*(section.cells(column) for column in range(6)), strict=True))


def test_a_look_at_the_folder_and_back_loses_nothing_of_a_run(section, scene, work, tmp_path):
    nodes = [add(scene, name) for name in ("one", "two", "three")]
    section.settle()
    section.ui.batchStartButton.click()
    work.end(REPORT)
    work.end(error("no_hip", "No hip joint was found."))
    work.end(REPORT)
    scene.RemoveNode(nodes[2])
    section.settle()
    of_scene = shown(section)
    assert [row[1] for row in of_scene] == ["Done", "Failed", "Done"]

    (tmp_path / "a.nrrd").touch()
    section.choose_folders(tmp_path, tmp_path / "results")
    assert section.names == ["a.nrrd"] and not section.ui.batchSaveButton.enabled
    section.ui.batchStartButton.click()
    work.end(REPORT)
    section.settle()
    of_folder = shown(section)
    assert of_folder[0][:2] == ("a.nrrd", "Done")

    section.ui.batchSceneRadioButton.checked = True
    section.settle()
    assert shown(section) == of_scene and section.ui.batchSaveButton.enabled
    section.ui.batchFolderRadioButton.checked = True
    section.settle()
    assert shown(section) == of_folder and section.ui.batchSaveButton.enabled
    # Closed meanwhile, the scene has nothing left to tell.
    scene.Clear()
    section.ui.batchSceneRadioButton.checked = True
    section.settle()
    assert section.names == []


def test_a_large_folder_is_looked_through_in_moments_and_given_up_for_another(section, work, tmp_path, monkeypatch):
    """Slicer does not stand still meanwhile, and nothing of a list that is not whole is begun."""
    from HipICMSCLib.gui.running import look

    for name, count in (("large", 100), ("small", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{name} {number}.nrrd").touch()
    monkeypatch.setattr(look, "_TURN_SECONDS", -1.0)  # each file takes a moment of its own
    section.choose_folders(tmp_path / "large", tmp_path / "results")
    assert section.ui.batchStatusLabel.text == "Looking into the folder …"
    for button in (section.ui.batchStartButton, section.ui.batchRetryButton, section.ui.batchSaveButton):
        assert not button.enabled and button.toolTip == "Looking into the folder …"
    assert section.ui.batchInputPathLineEdit.enabled and section.names == []
    section.ui.batchInputPathLineEdit.currentPath = str(tmp_path / "small")
    section.wait(lambda: section.ui.batchStartButton.enabled)
    assert section.names == ["small 0.nrrd", "small 1.nrrd"]
    section.ui.batchStartButton.click()
    assert work.started == [("small 0.nrrd", "small 0.seg.nrrd")]


def test_a_folder_that_goes_away_while_it_is_looked_through_ends_in_a_sentence(section, tmp_path, monkeypatch):
    from HipICMSCLib.gui.running import look

    for number in range(30):
        (tmp_path / f"a{number}").mkdir()
        (tmp_path / f"a{number}" / "a.nrrd").touch()
    monkeypatch.setattr(look, "_TURN_SECONDS", -1.0)
    section.choose_folders(tmp_path, tmp_path / "results")
    shutil.rmtree(tmp_path)
    section.wait(lambda: "Looking" not in section.ui.batchStatusLabel.text)
    assert str(tmp_path) in section.ui.batchStatusLabel.text and not section.ui.batchStartButton.enabled


def test_of_another_folder_nothing_is_remembered(section, work, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.nrrd").touch()
    section.choose_folders(tmp_path / "first", tmp_path / "results")
    section.ui.batchStartButton.click()
    work.end(REPORT)
    section.settle()
    assert section.states == ["Done"]
    for name in ("second", "first"):
        section.choose_folders(tmp_path / name, tmp_path / "results")
        assert section.states == ["Waiting"]


def test_when_slicer_ends_nothing_more_is_started(section, scene, work):
    add(scene, "a")
    add(scene, "b")
    section.settle()
    section.ui.batchStartButton.click()
    section.panel.close()
    assert work.cancelled == 1
    work.end(cancelled())
    assert work.started == ["a"] and not section.panel.busy


def test_a_folder(section, scene, work, tmp_path, pictures):
    folder, output = tmp_path / "MRIs", tmp_path / "results"
    folder.mkdir()
    section.ui.batchFolderRadioButton.checked = True
    assert section.ui.batchFolderFrame.visible
    assert section.ui.batchStartButton.toolTip == "Choose the folder with the MRIs."
    section.ui.batchInputPathLineEdit.currentPath = str(folder)
    section.settle()
    assert section.ui.batchStartButton.toolTip == "Choose a folder for the results."
    section.choose_folders(folder, output)
    assert "holds neither volumes nor" in section.ui.batchStatusLabel.text
    for name in ("a.nii.gz", "b.nrrd", "c.mha"):
        (folder / name).touch()
    output.mkdir()
    (output / "b.seg.nrrd").touch()
    section.ui.batchRereadButton.click()
    assert section.names == ["a.nii.gz", "b.nrrd", "c.mha"] and section.states == ["Waiting", "Skipped", "Waiting"]
    section.picture(pictures / "batch-folder.png")
    section.ui.batchStartButton.click()
    work.end(REPORT)
    scene.Clear()  # the scene has nothing to do with it
    assert work.cancelled == 0
    work.end(REPORT)
    assert work.started == [("a.nii.gz", "a.seg.nrrd"), ("c.mha", "c.seg.nrrd")]
    section.settle()
    assert section.states == ["Done", "Skipped", "Done"]
    # One of them by hand.
    section.tick(1, True)
    assert section.states[1] == "Waiting" and section.buttons()[0] == ("Segment 1 of 3", True)
    (folder / "A.nrrd").touch()
    section.ui.batchRereadButton.click()
    # Two images of one stem: both are there, each with a result of its own.
    assert section.names == ["A.nrrd", "a.nii.gz", "b.nrrd", "c.mha"]
    assert section.ui.batchStartButton.enabled


def test_a_result_folder_that_cannot_be_made_is_named_and_nothing_starts(section, work, tmp_path):
    import pythonqt

    (tmp_path / "a.nrrd").touch()
    section.choose_folders(tmp_path, tmp_path / "no" / "where")
    section.ui.batchStartButton.click()
    assert not section.panel.busy and work.started == []
    assert pythonqt.DIALOGS[-1] == (
        "errorDisplay", f"The folder {tmp_path / 'no'} does not exist; create it or choose another one.",
    )  # fmt: skip


def test_the_summary_is_saved_where_and_as_the_user_says(section, scene, work, tmp_path, monkeypatch):
    import pythonqt

    for name in ("Hüfte; 1", "b"):
        add(scene, name)
    section.settle()
    section.ui.batchStartButton.click()
    work.end(REPORT)
    work.end(error("no_hip", "No hip joint was found."))
    monkeypatch.setattr(pythonqt.QFileDialog, "answer", "")  # the user thinks better of it
    section.ui.batchSaveButton.click()
    monkeypatch.setattr(pythonqt.QFileDialog, "answer", str(tmp_path / "s.csv"))
    section.ui.batchSaveButton.click()
    assert section.ui.batchStatusLabel.text == "The summary is in s.csv."
    with open(tmp_path / "s.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["state"]) for row in rows] == [("Hüfte; 1", "done"), ("b", "failed")]
    assert rows[0]["right_hip_bone_ml"] == "301.5" and "research use only" in rows[0]["use"]
    monkeypatch.setattr(pythonqt.QFileDialog, "answer", str(tmp_path / "s.json"))
    section.ui.batchSaveButton.click()
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))[1]["sentence"] == "No hip joint was found."
    # As everywhere, who leaves the ending out gets the usual one.
    monkeypatch.setattr(pythonqt.QFileDialog, "answer", str(tmp_path / "summary"))
    section.ui.batchSaveButton.click()
    assert (tmp_path / "summary.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


class WorkerProcess:
    """Segments with the real worker process, as the module does."""

    def __init__(self, model: Path) -> None:
        from HipICMSCLib.gui.running.segmentation_service import SegmentationService

        self.model, self.service = model, SegmentationService()
        self.cancel, self.list_series = self.service.cancel, self.service.list_series

    def start_node(self, node, on_progress, on_end) -> None:
        from HipICMSCLib.gui.running.segmentation_job import NodeJob

        self._start(NodeJob(node, None, self.model, "cpu"), on_progress, on_end)

    def start_file(self, path, output, series, on_progress, on_end) -> None:
        from HipICMSCLib.gui.running.segmentation_job import FileJob

        self._start(FileJob(path, output, self.model, "cpu", series), on_progress, on_end)

    def _start(self, job, on_progress, on_end) -> None:
        from HipICMSCLib.common.errors import HipError
        from HipICMSCLib.gui.running.segmentation_task import Listener

        listener = Listener(
            ended=lambda outcome: on_end(outcome if isinstance(outcome, HipError) else outcome.report),
            progressed=lambda stage, share: on_progress(share),
        )
        self.service.start(job, listener)
        self.service.watch()


@pytest.fixture
def worker(bench, ball_model):
    process = WorkerProcess(ball_model)
    yield process
    process.service.close()


def test_a_folder_through_the_real_worker(open_section, worker, tmp_path, pictures):
    folder, output = tmp_path / "MRIs", tmp_path / "results"
    folder.mkdir()
    images = {
        "coronal.nrrd": ball_hips.ball_image(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), (2.5, 2.5, 5.0)),
        "axial.nii.gz": ball_hips.ball_image(),
    }
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / name))
    (folder / "broken.nrrd").write_text("NRRD0004\nthis is no header\n\n")
    section = open_section(worker)
    section.choose_folders(folder, output)
    assert section.names == ["axial.nii.gz", "broken.nrrd", "coronal.nrrd"]
    section.ui.batchStartButton.click()
    section.wait(lambda: not section.panel.busy)
    section.settle()
    # The model finds no hip bones.
    assert section.states == ["Done, check", "Done, check", "Failed"] and section.names[2] == "broken.nrrd"
    assert "cannot be read as an image" in section.cells(5)[2]
    doubts = [float(text.removesuffix(" %")) for text in section.cells(2)[:2]]
    assert doubts == sorted(doubts, reverse=True)
    section.picture(pictures / "batch-worker.png")
    for name, image in images.items():
        labels = sitk.ReadImage(str(output / f"{name.split('.')[0]}.seg.nrrd"))
        assert labels.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)
        for value, centre in ((3, ball_hips.RIGHT_CENTRE), (4, ball_hips.LEFT_CENTRE)):
            z, y, x = np.nonzero(sitk.GetArrayFromImage(labels) == value)
            index = [float(axis.mean()) for axis in (x, y, z)]
            assert labels.TransformContinuousIndexToPhysicalPoint(index) == pytest.approx(centre, abs=2.5)
    # A ball's volume, on the right the larger one: the list and the voxels say the same.
    right, left = (float(section.cells(column)[0].split(" / ")[1]) for column in (3, 4))
    for ml, radius in ((right, ball_hips.RIGHT_RADIUS), (left, ball_hips.LEFT_RADIUS)):
        assert ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.1)
    # Another look finds the results; the broken one is tried again, and still is broken.
    (folder / "new.nrrd").write_bytes((folder / "coronal.nrrd").read_bytes())
    section.ui.batchRereadButton.click()
    section.ui.batchRetryButton.click()
    section.wait(lambda: not section.panel.busy)
    section.settle()
    assert section.states == ["Done, check", "Done, check", "Failed", "Waiting"]
    assert sorted(path.name for path in output.iterdir()) == ["axial.seg.nrrd", "coronal.seg.nrrd"]


def test_a_series_is_chosen_among_several_of_a_dicom_folder(open_section, worker, tmp_path, pictures):
    """Patient A has two that may be meant and says so; patient B has one beside a localizer, which is left aside."""
    folder, output = tmp_path / "patients", tmp_path / "results"
    image = ball_hips.ball_image()
    write_series(folder / "A", image, "1.2.3", 4, "t1_tse_cor")
    write_series(folder / "A", sitk.Cast(image / 2, sitk.sitkInt16), "1.2.4", 5, "t2_tse_cor")
    write_series(folder / "B", image, "1.2.5", 6, "t1_tse_cor")
    write_series(folder / "B", image[:, :, :3], "1.2.6", 1, "localizer")
    section = open_section(worker)
    section.choose_folders(folder, output)
    section.ui.batchStartButton.click()
    section.wait(lambda: not section.panel.busy)
    section.settle()
    assert section.names == ["B", "A"] and section.states == ["Done, check", "Failed"]
    assert section.cells(5)[1].startswith("This folder holds several series; choose one below the list")
    assert "The series 6 't1_tse_cor'" in section.cells(5)[0] and "1 'localizer' (3 images)" in section.cells(5)[0]
    assert section.ui.batchSeriesFrame.isHidden()

    box = section.ui.batchSeriesComboBox
    section.ui.batchTable.selectRow(0)
    section.wait(lambda: box.count == 2)
    assert box.currentText.startswith("6 't1_tse_cor'")
    section.ui.batchTable.selectRow(1)
    section.wait(lambda: box.count == 2 and box.enabled)
    assert box.currentIndex == -1, "which one is meant is the user's to say"
    t2 = next(index for index in range(2) if "5 't2_tse_cor' (40 images of 100 × 50)" in box.itemText(index))
    box.currentIndex = t2
    box.activated.emit(t2)
    assert section.states == ["Done, check", "Waiting"] and section.buttons()[0] == ("Segment 1 of 2", True)
    section.picture(pictures / "batch-series.png")
    section.ui.batchStartButton.click()
    section.wait(lambda: not section.panel.busy)
    section.settle()
    patient_a = section.names.index("A")
    assert (
        section.states == ["Done, check", "Done, check"] and "The series 5 't2_tse_cor'" in section.cells(5)[patient_a]
    )
    assert sorted(path.name for path in output.iterdir()) == ["A.seg.nrrd", "B.seg.nrrd"]
    # The choice is kept, also when the folder is read again.
    section.ui.batchRereadButton.click()
    section.ui.batchTable.selectRow(section.names.index("A"))
    section.wait(lambda: box.count == 2 and box.enabled)
    assert box.currentIndex == t2


def test_what_is_wrong_with_one_folder_does_not_close_the_choice_of_another(section):
    from HipICMSCLib.common.errors import HipError
    from HipICMSCLib.gui.panels.series_choice import SeriesChoice
    from HipICMSCLib.worker.protocol import Series

    asked = {}
    box = section.ui.batchSeriesComboBox
    choice = SeriesChoice(section.ui.batchSeriesFrame, box, lambda folder, *answers: asked.update({folder: answers}))
    for folder in ("B", "A", "B"):
        choice.show(Path(folder))
    (on_listed, _), (_, on_error) = asked[Path("B")], asked[Path("A")]
    on_listed((Series("1", "4 't1'", False), Series("2", "5 't2'", False)))
    on_error(HipError("damaged", "A is damaged."))
    assert box.enabled and box.count == 2 and "damaged" not in box.toolTip


def write_series(folder: Path, image: sitk.Image, uid: str, number: int, description: str) -> None:
    elements = {"PixelSpacing": [3.0, 3.0], "SeriesNumber": number, "SeriesDescription": description}
    made = slices(sitk.GetArrayFromImage(image), uid, **elements)
    for index, each in enumerate(made):
        each.ImagePositionPatient = list(image.TransformIndexToPhysicalPoint((0, 0, index)))
    write(folder, made, f"{number}-{{:04d}}")


def test_a_scene_through_the_real_worker_is_cancelled_and_finished(open_section, scene, worker):
    nodes = [add_volume(), add_volume()]
    nodes[1].SetName("other hips")
    section = open_section(worker)
    section.ui.batchStartButton.click()
    asked = time.monotonic()
    section.ui.batchStartButton.click()
    section.wait(lambda: not section.panel.busy)
    assert time.monotonic() - asked < 2
    section.settle()
    assert section.states == ["Cancelled", "Waiting"]
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    section.ui.batchStartButton.click()
    section.wait(lambda: not section.panel.busy)
    section.settle()
    # Each volume has its result, and what belongs to a result is no further MRI.
    assert section.names == ["hips", "other hips"] and section.states == ["Done, check", "Done, check"]
    from HipICMSCLib.gui.scene.result import result_of

    assert result_of(nodes[0]) is not None and result_of(nodes[1]) is not None
    assert result_of(nodes[0]) is not result_of(nodes[1])
