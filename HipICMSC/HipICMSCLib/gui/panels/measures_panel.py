"""Measures hips of a segmentation and lets a user see where each number comes from, move its points, and save it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT
from vtkmodules.vtkCommonCore import vtkCommand

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write, write_text
from HipICMSCLib.common.tables import MARK_OF_UTF8
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.gui.panels.file_to_save import file_to_save
from HipICMSCLib.gui.panels.measures_view import MeasuresView, frame_in_words
from HipICMSCLib.gui.running.measuring_job import MeasuringJob
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.running.segmentation_service import SegmentationService
from HipICMSCLib.gui.running.segmentation_task import Listener, Outcome
from HipICMSCLib.gui.running.ticks import Ticks
from HipICMSCLib.gui.scene.bone_labels import fingerprint, reason_against_measuring
from HipICMSCLib.gui.scene.measures import follow_moved_point, hide_measures, measures_steps
from HipICMSCLib.gui.scene.measures_map import is_coverage_shown, set_coverage_shown
from HipICMSCLib.gui.scene.measures_marks import (
    jump_to,
    marks_of,
    moved_landmarks,
    moved_points,
    reset_marks,
    show_marks,
)
from HipICMSCLib.gui.scene.measures_plots import Kind, clock_chart
from HipICMSCLib.gui.scene.measures_table import (
    MeasureRow,
    check_stale,
    csv_of,
    frame_of,
    is_stale,
    is_whole,
    measured_segmentations,
    put_back,
    rows_of,
    table_of,
)
from HipICMSCLib.gui.scene.result import is_result
from HipICMSCLib.results.research_use import RESEARCH_USE

#: While a point is dragged, numbers follow so often; what was moved in between is taken together.
_FOLLOW_MILLISECONDS = 50
#: What is said of a segmentation that is not shown any more stands so long in Slicer's status bar.
_STATUS_MILLISECONDS = 15000


class MeasuresPanel(VTKObservationMixin):
    """The collapsible section "Measures"; all that it shows of a segmentation is in the segmentation's table node."""

    def __init__(self, resource_path: Callable[[str], str], service: SegmentationService) -> None:
        super().__init__()
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Measures.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._service = service
        self._ticks = Ticks()
        self._view = MeasuresView(self.ui.measuresTable, self.ui.measuresNoteLabel)
        self._node = self._seen_table = None
        self._reason_of_others, self._said, self._detail = "", "", ""
        self._started = 0.0
        self._dragged, self._placing = None, False
        self._following = RepeatingTimer(_FOLLOW_MILLISECONDS, self._follow)
        self._refreshing = RepeatingTimer(0, self._on_refresh_due)
        self._checking = RepeatingTimer(0, self._on_check_due)
        self._usual_tips = {
            name: getattr(self.ui, name).toolTip
            for name in ("measuresResetButton", "measuresTableButton", "measuresReportButton")
        }
        ui = self.ui
        ui.measuresSelector.setMRMLScene(slicer.mrmlScene)
        ui.measuresSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_chosen)
        ui.measureButton.connect("clicked(bool)", self._on_measure)
        ui.measuresAllPointsCheckBox.connect("toggled(bool)", self._on_all_points)
        ui.measuresCoverageCheckBox.connect("toggled(bool)", self._on_coverage)
        ui.measuresAlphaButton.connect("clicked(bool)", lambda checked=False: self._show_clock("alpha"))
        ui.measuresRimButton.connect("clicked(bool)", lambda checked=False: self._show_clock("rim"))
        ui.measuresResetButton.connect("clicked(bool)", self._on_reset)
        ui.measuresTableButton.connect("clicked(bool)", self._on_save_table)
        ui.measuresReportButton.connect("clicked(bool)", self._on_save_report)
        self._view.selected.connect(self._on_selected)
        self._take(None)

    @property
    def settled(self) -> bool:
        """Whether nothing runs and nothing waits for its tick."""
        return not self._service.measuring and not self._ticks.waiting and not self._placing

    def show(self, segmentation_node) -> None:
        """Offer this result to be measured; where an MRI has none, that of another one is let go, and what the user
        chose that is no result of ours stays."""
        if segmentation_node is not None or is_result(self._node):
            self.ui.measuresSelector.setCurrentNode(segmentation_node)

    def take_scene(self) -> None:
        """A scene was loaded: show what was measured in it, unless something is chosen."""
        measured = measured_segmentations()
        if self._node is None and measured:
            self.ui.measuresSelector.setCurrentNode(measured[-1])

    def set_available(self, reason_against: str) -> None:
        """Say why nothing can be measured now; empty where it can."""
        self._reason_of_others = reason_against
        self._show_button()

    def forget_scene(self) -> None:
        """The scene is closed."""
        self._service.cancel_measuring()
        self._ticks.clear()
        self._take(None)

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._ticks.clear()
        self._following.stop()
        self._refreshing.stop()
        self._checking.stop()
        self.ui.measuresSelector.setMRMLScene(None)
        # The selector has told of having no node, upon which the scene was observed once more.
        self.removeObservers()

    # What is seen.

    @property
    def _table(self):
        return table_of(self._node)

    def _on_chosen(self, node=None) -> None:
        self._take(self.ui.measuresSelector.currentNode())

    def _take(self, node) -> None:
        self._node, self._said, self._detail, self._placing = node, "", "", False
        if node is not None:
            check_stale(node)
        self._observe()
        self._refresh()
        if self.ui.measuresAllPointsCheckBox.checked:
            self._show_marks()

    def _hide_measures_of_others(self) -> None:
        """Marks of one patient's hips say nothing over another's MRI; those of a segmentation that was deleted
        stay in the scene, with what the user moved, but not in view."""
        former, self._seen_table = self._seen_table, self._table
        if former is not None and former is not self._seen_table and former.GetScene() is not None:
            hide_measures(former)

    def _observe(self) -> None:
        """The segmentation for edits, its measures for whoever changes them, and each point for a user who moves it."""
        self.removeObservers()
        self._following.stop()
        self._checking.stop()
        self._hide_measures_of_others()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)
        for event in (scene.EndUndoEvent, scene.EndRedoEvent):
            self.addObserver(scene, event, self._on_undone)
        if self._node is None:
            return
        kind, segmentation = slicer.vtkSegmentation, self._node.GetSegmentation()
        # A segment of another name may be another bone.
        for event in (kind.SegmentModified, kind.SegmentAdded, kind.SegmentRemoved):
            self.addObserver(segmentation, event, self._on_segments_changed)
        table = self._table
        if table is None:
            return
        # Also where a surface or another segment was made, which changes no bone, so the voxels are asked (0.12 s of
        # 448 × 448 × 192). A segment that is cleared tells by the second event alone.
        for event in (kind.SourceRepresentationModified, kind.RepresentationModified):
            self.addObserver(segmentation, event, self._on_represented)
        self.addObserver(self._node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._on_represented)
        self.addObserver(table, vtkCommand.ModifiedEvent, self._on_table_changed)
        for mark in marks_of(table).values():
            if not mark.GetLocked():
                self.addObserver(mark, mark.PointModifiedEvent, self._on_point_moved)
                self.addObserver(mark, mark.PointEndInteractionEvent, self._on_point_left)

    def _refresh(self) -> None:
        table = self._table
        self._view.show([] if table is None else rows_of(table))
        self._show_state()
        self._show_button()

    def _show_state(self) -> None:
        ui, table = self.ui, self._table
        running, notes = self._service.measuring, ""
        ui.measuresProgressBar.visible = running
        words = [_("Measuring …") if running else self._said]
        if table is not None and not running:
            frame, caution, notes = frame_of(table)
            if is_stale(table):
                words.append(_("The segmentation was changed since it was measured: measure again."))
            elif not is_whole(table):
                words.append(
                    _("Points were moved; the numbers that follow from them are shown. For the others, Measure again.")
                )
            words.append(
                _("Frame of the pelvis: {name}. {caution}").format(name=frame_in_words(frame), caution=caution).strip()
            )
        elif table is None and not running:
            words.append(reason_against_measuring(self._node))
        ui.measuresStateLabel.text = " ".join(filter(None, words))
        ui.measuresStateLabel.toolTip = self._detail or notes
        ui.measuresStateLabel.visible = bool(ui.measuresStateLabel.text)

    def _show_button(self) -> None:
        ui, table, running = self.ui, self._table, self._service.measuring
        reason = self._reason_of_others or reason_against_measuring(self._node)
        ui.measureButton.text = _("Cancel") if running else _("Measure") if table is None else _("Measure again")
        ui.measureButton.enabled = running or not reason
        ui.measureButton.toolTip = (
            _("Stop measuring; nothing is changed then.")
            if running
            else reason or _("Measure both hips in the process beside Slicer; takes some seconds a hip.")
        )
        ui.measuresSelector.enabled = not running
        for name in (
            "measuresAllPointsCheckBox", "measuresCoverageCheckBox", "measuresAlphaButton", "measuresRimButton",
            "measuresResetButton", "measuresTableButton", "measuresReportButton", "measuresLimitsLabel",
        ):  # fmt: skip
            getattr(ui, name).visible = table is not None
        if table is None:
            return
        box = ui.measuresCoverageCheckBox
        box.blockSignals(True)
        box.checked = is_coverage_shown(table)
        box.blockSignals(False)
        moved = "" if moved_points(table) or moved_landmarks(table) else _("No point was moved.")
        busy = _("Wait until the measuring is done.") if running else ""
        outdated = "" if is_whole(table) else _("Measure again first: some numbers are out of date.")
        self._enable("measuresResetButton", busy or moved or self._reason_of_others)
        self._enable("measuresTableButton", busy or outdated)
        self._enable("measuresReportButton", busy or outdated or reason)

    def _enable(self, name: str, reason_against: str) -> None:
        button = getattr(self.ui, name)
        button.enabled = not reason_against
        button.toolTip = reason_against or self._usual_tips[name]

    # Measuring.

    def _on_measure(self, checked: bool = False) -> None:
        if self._service.measuring:
            self.ui.measuresStateLabel.text = _("Cancelling …")
            self._service.cancel_measuring()
        else:
            self._measure(self._node)

    def _measure(self, node, page: Path | None = None) -> None:
        table = table_of(node)
        self._said, self._detail, self._started = "", "", time.monotonic()
        sent = _moved(table)
        try:
            mark = fingerprint(node)
            job = MeasuringJob(node, *sent, page)
            self._service.measure(
                job,
                Listener(lambda outcome: self._on_ended(node, outcome, mark, page, sent), progressed=self._on_progress),
            )
        except HipError as error:
            self._said, self._detail = error.sentence, error.detail
        self.ui.measuresProgressBar.value = 0
        self._refresh()

    def _on_progress(self, stage: str, share: float) -> None:
        self.ui.measuresProgressBar.value = round(100 * share)

    def _on_ended(
        self, node, outcome: Outcome | HipError, mark: str, page: Path | None, sent: tuple[dict, dict]
    ) -> None:
        if isinstance(outcome, HipError):
            if node is self._node:
                self._detail = outcome.detail
            self._end(node, outcome.sentence)
            return
        if _moved(table_of(outcome.node)) != sent:
            # What the user did since is worth more than what was asked for before.
            said = _("Points were moved while the hips were being measured; measure again.")
            if page is not None:
                said += " " + _("The report in {name} has the former points.").format(name=page.name)
            self._end(node, said)
            return
        seconds = duration(time.monotonic() - self._started)
        said = _("Measured in {time}.").format(time=seconds)
        if page is not None:
            said = _("The report is in {name}. {research_use}").format(name=page.name, research_use=RESEARCH_USE)
        scene = outcome.node.GetScene()
        if scene.GetUndoFlag():
            scene.SaveStateForUndo()
        self._placing = True
        for step in (*measures_steps(outcome.node, outcome.report, mark), lambda: self._on_shown(outcome.node, said)):
            self._ticks.add(step)

    def _on_shown(self, node, said: str) -> None:
        self._placing = False
        if node.GetScene() is not None:
            # It may have been edited while it was measured.
            check_stale(node)
        if node is self._node:
            self._observe()
        self._end(node, said)
        if node is self._node:
            self._show_marks()

    def _end(self, node, said: str) -> None:
        """Nothing is measured any more; what is to be said of it is said where it is still shown."""
        if node is self._node:
            self._said = said
        else:
            slicer.util.showStatusMessage(f"{node.GetName()}: {said}", _STATUS_MILLISECONDS)
        self._refresh()

    # Seeing.

    def _on_selected(self, row: MeasureRow) -> None:
        jump_to(self._table, row.marks, row.side)
        self._show_marks()

    def _show_marks(self) -> None:
        current = self._view.current
        names = () if current is None else current.marks
        if self._table is not None:
            show_marks(self._table, names, self.ui.measuresAllPointsCheckBox.checked)

    def _on_all_points(self, checked: bool) -> None:
        self._show_marks()

    def _on_coverage(self, checked: bool) -> None:
        set_coverage_shown(self._table, checked)

    def _show_clock(self, kind: Kind) -> None:
        current = self._view.current
        sides = [current.side] if current is not None else ["right", "left"]
        chart = next((c for c in (clock_chart(self._table, side, kind) for side in sides) if c is not None), None)
        if chart is None:
            self._said = _("This clock is not known, for the reason that its measures give.")
            self._show_state()
        else:
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    # Moving points.

    def _on_point_moved(self, caller, event) -> None:
        if self._placing or slicer.mrmlScene.IsUndoing() or slicer.mrmlScene.IsRedoing():
            return
        self._dragged = caller
        self._following.start()

    def _follow(self) -> None:
        self._following.stop()
        self._follow_point(at_end=False)

    def _on_point_left(self, caller, event) -> None:
        self._following.stop()
        self._dragged = caller
        self._follow_point(at_end=True)

    def _follow_point(self, at_end: bool) -> None:
        table = self._table
        if table is None or self._dragged is None or self._dragged.GetScene() is None:
            return
        self._placing, self._said = True, ""
        try:
            follow_moved_point(table, self._dragged, at_end)
        except HipError as error:
            self._said = error.sentence
            self._show_state()
        finally:
            self._placing = False

    def _on_reset(self, checked: bool = False) -> None:
        if slicer.mrmlScene.GetUndoFlag():
            slicer.mrmlScene.SaveStateForUndo()
        self._placing = True
        try:
            reset_marks(self._table)
            put_back(self._table)
        finally:
            self._placing = False
        self._measure(self._node)

    # Saving.

    def _on_save_table(self, checked: bool = False) -> None:
        table = self._table
        path = self._path_to_save(_("Save measures"), ".csv", _("Table"))
        if path is None:
            return
        try:
            write_text(path, MARK_OF_UTF8 + csv_of(table))
        except HipError as error:
            self._said = error.sentence
        else:
            self._said = _("The table is in {name}. {research_use}").format(name=path.name, research_use=RESEARCH_USE)
        self._show_state()

    def _on_save_report(self, checked: bool = False) -> None:
        node = self._node
        path = self._path_to_save(_("Save report"), ".html", _("Page"))
        if path is not None:
            self._measure(node, page=path)

    def _path_to_save(self, title: str, ending: str, kind: str) -> Path | None:
        """Where the user wants a file, which may and can be written there; None where not.

        While the dialog is open a batch may end and show another result, so whoever asks has taken what is to be saved
        before.
        """
        node = self._node
        path = file_to_save(self.widget, title, f"{node.GetName()}-measures", {ending: kind})
        if path is None:
            return None
        try:
            if node.GetScene() is None:
                raise HipError("deleted", _("The segmentation was deleted meanwhile, so nothing was saved."))
            check_may_write(path, overwrite=True)
        except HipError as error:
            self._said = error.sentence
            self._show_state()
            return None
        return path

    # What happens by itself.

    def _on_segments_changed(self, caller, event) -> None:
        self._refreshing.start()
        self._on_represented(caller, event)

    def _on_represented(self, caller, event) -> None:
        if self._table is not None and not is_stale(self._table) and not slicer.mrmlScene.IsImporting():
            self._checking.start()

    def _on_check_due(self) -> None:
        self._checking.stop()
        if self._node is not None:
            check_stale(self._node)
        if self._table is not None and is_stale(self._table):
            self._said = self._detail = ""

    def _on_table_changed(self, caller, event) -> None:
        if not self._ticks.waiting:
            self._refreshing.start()

    def _on_refresh_due(self) -> None:
        self._refreshing.stop()
        self._refresh()

    def _on_undone(self, caller, event) -> None:
        self._observe()
        self._refreshing.start()

    @calldata_type(VTK_OBJECT)
    def _on_node_removed(self, caller, event, node) -> None:
        if node is self._node:
            self._take(None)
        elif node.IsA("vtkMRMLTableNode"):
            self._refreshing.start()


def _moved(table) -> tuple[dict, dict]:
    """The points and the landmarks that the user moved."""
    return ({}, {}) if table is None else (moved_points(table), moved_landmarks(table))
