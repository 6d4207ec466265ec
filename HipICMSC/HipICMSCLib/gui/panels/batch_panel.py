"""Segmenting all MRIs of the scene, or of a folder, in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from HipICMSCLib.batch.files import FileSource, items_in_steps, make_result_folder
from HipICMSCLib.batch.queue import Batch, BatchItem, worst_first
from HipICMSCLib.batch.summary import write_summary
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.batch_table import BatchTable
from HipICMSCLib.gui.panels.file_to_save import file_to_save
from HipICMSCLib.gui.panels.series_choice import ListSeries, SeriesChoice
from HipICMSCLib.gui.running.look import Look
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.scene.mrml import image_volumes
from HipICMSCLib.gui.scene.result import result_of
from HipICMSCLib.gui.scene.review import doubt_of

OnProgress = Callable[[float], None]
OnEnd = Callable[["dict[str, Any] | HipError"], None]

#: The list follows the scene and what is typed, but not at every node and letter.
_LISTING_MILLISECONDS = 300
_ENDED = ("done", "failed", "cancelled")


class BatchPanel(VTKObservationMixin):
    """The collapsible section "Several MRIs".

    What is ticked in the list is what the next click segments; a tick goes when there is a result.

    Attributes:
        about_to_start: signal without values, before the first volume of a batch.
        changed: signal without values, when :attr:`busy` is another.
        volume_chosen: signal of the volume node whose row the user selected.
    """

    def __init__(
        self,
        resource_path: Callable[[str], str],
        start_node: Callable[[Any, OnProgress, OnEnd], None],
        start_file: Callable[[Path, Path, str | None, OnProgress, OnEnd], None],
        cancel: Callable[[], None],
        list_series: ListSeries,
    ) -> None:
        """
        Args:
            start_node: begins to segment a volume node into the scene. Calls back with the share that is done, and
                once with the report or a HipError; may raise a HipError instead.
            start_file: the same for a file or DICOM folder, the file that its result becomes, and which series of the
                folder is meant, None for the only one.
            cancel: asks what was started last to stop.
            list_series: as for `SeriesChoice`.
        """
        super().__init__()
        self.about_to_start, self.changed, self.volume_chosen = Signal(), Signal(), Signal()
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Batch.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._start_node, self._start_file, self._cancel = start_node, start_file, cancel
        self._batch = Batch([], self._start, cancel)
        self._table = BatchTable(self.ui.batchTable, self.ui.batchNoteLabel)
        self._series = SeriesChoice(self.ui.batchSeriesFrame, self.ui.batchSeriesComboBox, list_series)
        self._unavailable = ""
        #: Why there is nothing in the list.
        self._problem = ""
        #: What the user ticked (True) or not, by source, where it is not what we proposed.
        self._choices: dict[Any, bool] = {}
        #: What has ended, by source, of the scene and of the folder.
        self._outcomes: dict[Any, BatchItem] = {}
        self._was_busy = self._scene_was_closed = self._closed = False
        # What the controls do when they can be used; the .ui file has it, and a reason takes its place.
        self._usual_tips = {name: getattr(self.ui, name).toolTip for name in (*_CHOICES, *_BUTTONS)}

        self._listing = RepeatingTimer(_LISTING_MILLISECONDS, self._list)
        self._look = Look(self._on_listed)
        for edit in (self.ui.batchInputPathLineEdit, self.ui.batchOutputPathLineEdit):
            # It may begin with the last path of some other module.
            edit.currentPath = ""
            edit.connect("currentPathChanged(QString)", self._on_path_changed)
            edit.connect("validInputChanged(bool)", self._on_path_changed)
        self.ui.batchFolderRadioButton.connect("toggled(bool)", self._on_mode_changed)
        self.ui.batchRedoCheckBox.connect("toggled(bool)", self._on_redo)
        self.ui.batchRereadButton.connect("clicked(bool)", self._on_reread)
        self._table.ticked.connect(self._on_tick)
        self._table.selected.connect(self._on_selected)
        self._series.chosen.connect(self._on_series)
        self.ui.batchStartButton.connect("clicked(bool)", self._on_start)
        self.ui.batchRetryButton.connect("clicked(bool)", self._on_retry)
        self.ui.batchSaveButton.connect("clicked(bool)", self._on_save)
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._on_scene_changed)
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_scene_end_close)
        self._list()

    @property
    def busy(self) -> bool:
        """Whether a batch is running."""
        return self._batch.running

    @property
    def reads_scene(self) -> bool:
        """Whether what is listed, and what runs, is the scene's; files do not mind when it is closed."""
        return not self.ui.batchFolderRadioButton.checked

    @property
    def counts(self) -> str:
        """A sentence: how many of the list are segmented, how many are not."""
        counts = self._batch.summary
        return _("Segmented: {done}, failed: {failed}, not segmented: {others}.").format(
            done=counts.get("done", 0),
            failed=counts.get("failed", 0),
            others=sum(counts.get(state, 0) for state in ("cancelled", "waiting", "skipped")),
        )

    def set_available(self, reason: str) -> None:
        """A sentence keeps batches from being started and says why; an empty one lets them."""
        self._unavailable = reason
        self._show_controls()

    def stop(self) -> None:
        """What runs is cancelled, and nothing more is started."""
        self._batch.stop()

    def close(self) -> None:
        """Slicer ends or the module is reloaded: what runs is cancelled, nothing more is started or shown."""
        self._closed = True
        self._listing.stop()
        self._look.stop()
        self.removeObservers()
        self.stop()

    # What there is to segment.

    def _list(self) -> None:
        """Read the scene or the folder; not while a batch runs, at its end it is done anyway."""
        self._listing.stop()
        self._look.stop()
        if self.busy:
            return
        if self.reads_scene:
            self._on_listed(_items_of_scene())
            return
        self._look.begin(Path(self.ui.batchInputPathLineEdit.currentPath), self._items_of_folder())
        if self._look.under_way:
            self._problem = _("Looking into the folder …")
            self._show_controls()

    def _on_listed(self, found: list[BatchItem] | HipError) -> None:
        items, self._problem = ([], found.sentence) if isinstance(found, HipError) else (found, "")
        items = worst_first(self._with_outcomes(items))
        for item in items:
            self._apply_choice(item)
        if not items and not self._problem:
            self._problem = _("Load some MRIs first, or choose a folder.")
        self._batch = Batch(items, self._start, self._cancel)
        self._batch.changed.connect(self._on_item_changed)
        self._table.fill(self._batch.items, self._is_chosen)
        # Filling it takes the selection away.
        self._series.show(None)
        self._show_controls()

    def _items_of_folder(self) -> Iterator[BatchItem | None]:
        """
        Raises:
            HipError: that says which choice is missing, or as `files.items_in_steps`.
        """
        if not self.ui.batchInputPathLineEdit.currentPath:
            raise HipError("no_folder", _("Choose the folder with the MRIs."))
        if not self.ui.batchOutputPathLineEdit.currentPath:
            raise HipError("no_folder", _("Choose a folder for the results."))
        yield from items_in_steps(
            Path(self.ui.batchInputPathLineEdit.currentPath), Path(self.ui.batchOutputPathLineEdit.currentPath)
        )

    def _with_outcomes(self, items: list[BatchItem]) -> list[BatchItem]:
        """What came of an item stays, also while the scene is listed instead of the folder or the other way round: of a
        volume, even of one that was deleted, until the scene is closed; of a file until another folder is chosen."""
        listed = {item.source: item for item in items}

        def is_kept(item: BatchItem) -> bool:
            if isinstance(item.source, FileSource):
                return self.reads_scene or item.source in listed
            return not self._scene_was_closed

        known = self._outcomes | {item.source: item for item in self._batch.items}
        self._outcomes = {source: item for source, item in known.items() if item.state in _ENDED and is_kept(item)}
        self._scene_was_closed = False
        for source, item in self._outcomes.items():
            if source in listed:
                item.name = listed[source].name
            if source in listed or (self.reads_scene and not isinstance(source, FileSource)):
                listed[source] = item
        return list(listed.values())

    def _apply_choice(self, item: BatchItem) -> None:
        if item.state == "skipped" and self._is_chosen(item):
            item.wait()
        elif item.state == "waiting" and not self._is_chosen(item):
            item.skip(_("Left out."))

    def _is_chosen(self, item: BatchItem) -> bool:
        has_result = item.state in ("done", "skipped")
        return self._choices.get(item.source, not has_result or self.ui.batchRedoCheckBox.checked)

    def _chosen(self) -> list[BatchItem]:
        return [item for item in self._batch.items if self._is_chosen(item)]

    # What the user does.

    def _on_path_changed(self, path: str) -> None:
        self._choices.clear()
        self._look.stop()
        self._listing.start()

    def _on_mode_changed(self, checked: bool) -> None:
        self._choices.clear()
        self._list()

    def _on_redo(self, checked: bool) -> None:
        self._list()

    def _on_reread(self, checked: bool = False) -> None:
        self._series.forget()
        self._list()

    def _on_tick(self, item: BatchItem, ticked: bool) -> None:
        self._choices[item.source] = ticked
        self._apply_choice(item)
        self._table.show(item)
        self._show_controls()

    def _on_selected(self, item: BatchItem) -> None:
        is_file = isinstance(item.source, FileSource)
        self._series.show(item.source.path if is_file and item.source.path.is_dir() else None)
        if not is_file and (volume := slicer.mrmlScene.GetNodeByID(item.source)) is not None:
            self.volume_chosen.emit(volume)

    def _on_series(self, folder: Path) -> None:
        """What failed for want of a choice can be tried again."""
        for item in self._batch.items:
            if isinstance(item.source, FileSource) and item.source.path == folder and item.state == "failed":
                item.wait()
                self._table.show(item)
        self._show_controls()

    def _on_start(self, checked: bool = False) -> None:
        if self.busy:
            self._batch.stop()
        elif self._may_replace(self._chosen()) and self._make_result_folder():
            for item in self._chosen():
                item.wait()
                # Until there is its result, also if the batch is stopped before.
                self._choices[item.source] = True
            # To segment anew what has a result is said each time.
            self.ui.batchRedoCheckBox.blockSignals(True)
            self.ui.batchRedoCheckBox.checked = False
            self.ui.batchRedoCheckBox.blockSignals(False)
            self.about_to_start.emit()
            self._batch.run()
        self._show_controls()

    def _may_replace(self, items: list[BatchItem]) -> bool:
        """Ask before files are replaced; in the scene nothing ever is."""
        replaced = [item for item in items if isinstance(item.source, FileSource) and item.source.output.exists()]
        if not replaced:
            return True
        question = _(
            "Results in this folder that will be replaced, with any correction that was made in them: {count}.\n\n"
            "Replace them?"
        )
        return slicer.util.confirmYesNoDisplay(question.format(count=len(replaced)))

    def _on_retry(self, checked: bool = False) -> None:
        if self._make_result_folder():
            self.about_to_start.emit()
            self._batch.retry_failed()
        self._show_controls()

    def _make_result_folder(self) -> bool:
        try:
            if not self.reads_scene:
                make_result_folder(Path(self.ui.batchOutputPathLineEdit.currentPath))
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            return False
        return True

    def _on_save(self, checked: bool = False) -> None:
        folder = None if self.reads_scene else Path(self.ui.batchOutputPathLineEdit.currentPath)
        kinds = {".csv": _("Table"), ".json": "JSON"}
        path = file_to_save(self.widget, _("Save summary"), "HipICMSC-summary", kinds, folder)
        if path is None:
            return
        try:
            write_summary(path, self._batch.items)
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
        else:
            self.ui.batchStatusLabel.text = _("The summary is in {name}.").format(name=path.name)

    # What happens by itself.

    def _on_scene_changed(self, caller, event) -> None:
        if self.reads_scene:
            self._listing.start()

    def _on_scene_start_close(self, caller, event) -> None:
        if self.reads_scene:
            self._batch.stop()

    def _on_scene_end_close(self, caller, event) -> None:
        self._scene_was_closed = True
        if self.reads_scene:
            self._choices.clear()
            self._listing.start()

    def _start(self, item: BatchItem, on_progress: OnProgress, on_end: OnEnd) -> None:
        if isinstance(item.source, FileSource):
            path = item.source.path
            self._start_file(path, item.source.output, self._series.of(path), on_progress, on_end)
        elif (volume := slicer.mrmlScene.GetNodeByID(item.source)) is None:
            raise HipError("input_gone", _("{name} was deleted before its turn came.").format(name=item.name))
        else:
            self._start_node(volume, on_progress, on_end)

    def _on_item_changed(self, item: BatchItem) -> None:
        if self._closed:
            return
        if item.kind == "several_series":
            item.sentence = _("This folder holds several series; choose one below the list and segment it again.")
        if item.state == "done":
            self._choices.pop(item.source, None)
        self._table.show(item)
        self.ui.batchProgressBar.value = round(100 * self._batch.share)
        self._show_controls()
        if self.busy != self._was_busy:
            self._was_busy = self.busy
            self._table.set_tickable(not self.busy)
            self.changed.emit()
            if not self.busy:
                self._listing.start()

    # What the user sees.

    def _show_controls(self) -> None:
        self.ui.batchFolderFrame.visible = not self.reads_scene
        self.ui.batchStatusLabel.text = self._status()
        running = _("Several MRIs are being segmented; wait for them or cancel them.") if self.busy else ""
        for name in _CHOICES:
            self._enable(name, running)
        self._enable("batchStartButton", self._reason_not_to_start())
        self._enable("batchRetryButton", self._reason_not_to_retry())
        self._enable("batchSaveButton", self._reason_not_to_save())
        start, chosen = self.ui.batchStartButton, len(self._chosen())
        if self.busy:
            start.text = _("Cancel")
            if start.enabled:
                start.toolTip = _("Stop what is being segmented; what is done stays, what waits is not begun.")
        elif 0 < chosen < len(self._batch.items):
            start.text = _("Segment {chosen} of {all}").format(chosen=chosen, all=len(self._batch.items))
        else:
            start.text = _("Segment all")

    def _enable(self, name: str, reason: str) -> None:
        widget = getattr(self.ui, name)
        widget.enabled, widget.toolTip = not reason, reason or self._usual_tips[name]

    def _reason_not_to_start(self) -> str:
        if self.busy:
            return _("It is being cancelled.") if self._batch.stopping else ""
        if self._unavailable or self._problem:
            return self._unavailable or self._problem
        return "" if self._chosen() else _("Tick at least one MRI in the list.")

    def _reason_not_to_retry(self) -> str:
        if self.busy:
            return _("Wait until the others are done.")
        if self._look.under_way:
            return self._problem
        return self._unavailable or ("" if "failed" in self._batch.summary else _("Nothing has failed."))

    def _reason_not_to_save(self) -> str:
        if self.busy:
            return _("Wait until the others are done.")
        if self._look.under_way:
            return self._problem
        return "" if self._has_outcomes() else _("Nothing has been segmented yet.")

    def _has_outcomes(self) -> bool:
        return any(state in self._batch.summary for state in _ENDED)

    def _status(self) -> str:
        if self._batch.stopping:
            return _("Cancelling …")
        if self.busy:
            number, count = self._batch.place
            return _("Segmenting MRI {number} of {count} …").format(number=number, count=count)
        if self._problem:
            return self._problem
        if not self._has_outcomes():
            return _("MRIs in the list: {count}.").format(count=len(self._batch.items))
        faulty = sum(item.has_fault for item in self._batch.items)
        lines = [self.counts]
        if faulty:
            lines.append(_("To be checked, for bones are missing or implausible: {count}.").format(count=faulty))
        return " ".join([*lines, _("For research use only; not a medical device.")])


#: Widgets that wait while a batch runs, and buttons that have reasons of their own.
_CHOICES = (
    "batchSceneRadioButton",
    "batchFolderRadioButton",
    "batchInputPathLineEdit",
    "batchOutputPathLineEdit",
    "batchRereadButton",
    "batchRedoCheckBox",
    "batchSeriesFrame",
)
_BUTTONS = ("batchStartButton", "batchRetryButton", "batchSaveButton")


def _items_of_scene() -> list[BatchItem]:
    """One for each volume that may be an MRI; what has a result in the scene is skipped. Its source is the node's ID:
    the node itself would keep its voxels in memory when it is deleted."""
    items = []
    for node in image_volumes():
        items.append(BatchItem(node.GetName(), node.GetID()))
        if (result := result_of(node)) is not None:
            items[-1].skip(_("There is a result already."))
            items[-1].doubt = doubt_of(result)
    return items
