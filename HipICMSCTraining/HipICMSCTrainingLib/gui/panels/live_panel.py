"""The section "3. Watch": how a run goes, from what its folder says. It changes nothing there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.gui.panels.contrast import show_boxes
from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.panels.setting_titles import with_titles
from HipICMSCTrainingLib.gui.scene.plots import Plots, show_chart
from HipICMSCTrainingLib.gui.scene.preview_view import PreviewView
from HipICMSCTrainingLib.run.alarm_watch import AlarmWatch
from HipICMSCTrainingLib.run.curves import CHARTS
from HipICMSCTrainingLib.run.folder import RunFolder, runs_below
from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.settings.choices import Method

REFRESH_MILLISECONDS = 1000
_LOG_LINES = 200
#: That are seen at once, to be compared.
_MOST_RUNS = 5


class LivePanel:
    """Reads the run's folder again and again between :meth:`enter` and :meth:`exit`, each time only what is new.

    Attributes:
        widget: the section.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Live.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._preview = PreviewView(self.ui)
        self._plots = Plots()
        self._timer = RepeatingTimer(REFRESH_MILLISECONDS, self.refresh)
        #: How the views were arranged, and are with the curves; None while none are shown.
        self._layout_before: int | None = None
        self._layout_with_curves: int | None = None
        self._others: list[RunFolder] = []
        self._methods: Mapping[str, Method] = {}
        self._usual_tip = self.ui.liveCurvesButton.toolTip
        self.ui.liveChartComboBox.addItems([_("Losses"), _("Label-free scores"), _("Learning rates")])
        self.ui.liveChartComboBox.connect("currentIndexChanged(int)", self._on_chart_chosen)
        self.ui.liveCurvesButton.connect("toggled(bool)", self._on_curves_toggled)
        show_boxes(self.ui.liveRunsList)
        self.ui.liveRunsList.connect("itemChanged(QListWidgetItem*)", self._on_run_ticked)
        self.ui.liveLogCollapsibleButton.connect("contentsCollapsed(bool)", self._on_log_toggled)
        self.attach(None)

    def enter(self) -> None:
        """The module is shown."""
        self._timer.start()
        self.refresh()

    def exit(self) -> None:
        """Another module is shown; nothing is read until the next :meth:`enter`."""
        self._timer.stop()

    def know_methods(self, methods: Mapping[str, Method]) -> None:
        """All methods by name, as `hipicmsc describe` lists them; before, it is not said what the run's one does."""
        self._methods = methods
        self.refresh()

    def attach(self, run: RunFolder | None) -> None:
        """Watch this run, or none."""
        self._run = run
        self._watch = None if run is None else AlarmWatch(run)
        self._log_seen: object = None
        self._preview.attach(run)
        self._list_other_runs()
        if self.ui.liveCurvesButton.checked:
            self._show_curves()
        self.refresh()

    def refresh(self) -> None:
        """Show what the folder says now."""
        self._enable_curves()
        if self._run is None:
            self._say(_("Choose or start a run above to watch it here."), 0.0)
            self._show_alarms([])
            self.ui.liveMethodLabel.visible = False
            return
        try:
            status, method = self._run.status(), RunMethod.of(self._run)
            self._say(_in_words(status, method), status.share)
            self._show_method(method)
            alarms = [f"{alarm.sentence} {alarm.advice}" for alarm in self._watch.look(status)]
            self._show_alarms([with_titles(text, method.settings) for text in alarms])
            self._preview.refresh(status, method)
            self._list_other_runs()
            self._update_curves()
            self._read_log()
        except HipError as error:
            self._say(error.sentence, 0.0)
            self._show_alarms([])

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._timer.stop()
        self._hide_curves()
        self._preview.close()

    # State and alarms.

    def _say(self, sentence: str, share: float) -> None:
        self.ui.liveStateLabel.text = sentence
        self.ui.liveProgressBar.value = round(100 * share)

    def _show_method(self, method: RunMethod) -> None:
        """What it is and what it does when."""
        about = self._methods.get(method.name)
        self.ui.liveMethodLabel.visible = about is not None
        self.ui.liveMethodLabel.text = "" if about is None else f"{about.title}. {about.help}"

    def _show_alarms(self, texts: list[str]) -> None:
        self.ui.liveAlarmsLabel.visible = bool(texts)
        self.ui.liveAlarmsLabel.text = "\n\n".join(_("Caution: {text}").format(text=text) for text in texts)

    # Curves.

    def _enable_curves(self) -> None:
        reason = "" if self._run is not None else _("Choose or start a run first.")
        for widget in (self.ui.liveCurvesButton, self.ui.liveChartComboBox):
            widget.enabled = not reason
        self.ui.liveCurvesButton.toolTip = reason or self._usual_tip
        shown = self.ui.liveCurvesButton.checked
        self.ui.liveRunsLabel.visible = self.ui.liveRunsList.visible = bool(shown and self._others)

    def _on_curves_toggled(self, checked: bool) -> None:
        if checked:
            self._show_curves()
        else:
            self._hide_curves()
        self._enable_curves()

    def _on_chart_chosen(self, index: int) -> None:
        if self._plots.whole:
            show_chart(self._plots.chart(CHARTS[index]))

    def _on_run_ticked(self, item) -> None:
        self._fill_curves()

    def _show_curves(self) -> None:
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None and self._layout_before is None:
            self._layout_before = layout.GetViewArrangement()
        self._fill_curves()
        if self._plots.whole:
            show_chart(self._plots.chart(CHARTS[self.ui.liveChartComboBox.currentIndex]))
        if layout is not None:
            self._layout_with_curves = layout.GetViewArrangement()

    def _fill_curves(self) -> None:
        if self._run is None:
            self._plots.close()
            return
        ticked = [
            run for row, run in enumerate(self._others) if self.ui.liveRunsList.item(row).checkState() == qt.Qt.Checked
        ]
        try:
            self._plots.show([self._run, *ticked])
        except HipError as error:
            self._say(error.sentence, 0.0)

    def _update_curves(self) -> None:
        if not self.ui.liveCurvesButton.checked:
            return
        if self._plots.whole:
            self._plots.update()
        else:
            # Somebody closed the scene.
            self._layout_before = None
            self.ui.liveCurvesButton.checked = False

    def _hide_curves(self) -> None:
        """The views are as they were before, unless the user has arranged them otherwise since."""
        self._plots.close()
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if None not in (layout, self._layout_before) and layout.GetViewArrangement() == self._layout_with_curves:
            layout.SetViewArrangement(self._layout_before)
        self._layout_before = None

    def _list_other_runs(self) -> None:
        """The runs beside this one, to be compared; what is ticked stays so."""
        try:
            runs = [] if self._run is None else runs_below(self._run.path.parent)
        except HipError:  # the section of the runs says it
            runs = []
        others = [run for run in runs if run.path != self._run.path]
        if [run.path for run in others] == [run.path for run in self._others]:
            return
        ticked = {
            run.path
            for row, run in enumerate(self._others)
            if self.ui.liveRunsList.item(row).checkState() == qt.Qt.Checked
        }
        self._others = others
        runs_list = self.ui.liveRunsList
        runs_list.blockSignals(True)
        runs_list.clear()
        for run in self._others:
            item = qt.QListWidgetItem(run.path.name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if run.path in ticked else qt.Qt.Unchecked)
            runs_list.addItem(item)
        fit_height(runs_list, len(self._others), _MOST_RUNS)
        runs_list.blockSignals(False)

    # Log.

    def _on_log_toggled(self, collapsed: bool) -> None:
        self.refresh()

    def _read_log(self) -> None:
        if self.ui.liveLogCollapsibleButton.collapsed:
            return
        seen = (self._run.log, _state_of(self._run.log))
        if seen != self._log_seen:
            self._log_seen = seen
            self.ui.liveLogText.plainText = "\n".join(self._run.tail_of_log(_LOG_LINES))
            self.ui.liveLogText.moveCursor(qt.QTextCursor.End)


def _in_words(status: Status, method: RunMethod) -> str:
    state = {
        "running": _("Running"),
        "paused": _("Paused"),
        "stalled": _("Stalled"),
        "lost": _("Lost"),
        "finished": _("Finished"),
        "failed": _("Failed"),
    }[status.state]
    parts = [_("{state}, step {step} of {total}").format(state=state, step=status.step, total=status.total_steps)]
    if status.state == "running":
        own = method.phase_at(status.share) if status.total_steps else ""
        phase = _("{stage} ({phase})").format(stage=status.phase, phase=own) if own else status.phase
        parts = [_("{state}, {phase}").format(state=state, phase=phase)]
        if status.total_steps:
            parts.append(_("step {step} of {total}").format(step=status.step, total=status.total_steps))
    if status.seconds_left is not None:
        parts.append(_("about {time} left").format(time=duration(status.seconds_left)))
    return f"{', '.join(parts)}. {status.sentence}".strip()


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns
