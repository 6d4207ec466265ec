"""The section "4. Finish": which weights of a run, what their card says, and out into a file or into HipICMSC; and how
they do on labelled MRIs, where the dataset has some."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.gui.panels.contrast import readable_red
from HipICMSCLib.gui.panels.file_to_save import file_to_save
from HipICMSCLib.gui.panels.list_height import fit_lines
from HipICMSCLib.models.chosen import ENDING, add_model, check_name
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.gui.panels.card_area import CardArea
from HipICMSCTrainingLib.gui.panels.comparison_of_run import ComparisonOfRun
from HipICMSCTrainingLib.gui.panels.measured_words import compared_as_html, measured_as_html
from HipICMSCTrainingLib.gui.panels.score_words import scores_in_words
from HipICMSCTrainingLib.gui.panels.scored_weights import WEIGHTS, ScoredWeights
from HipICMSCTrainingLib.gui.running.command import Command
from HipICMSCTrainingLib.run.alarm_watch import AlarmWatch
from HipICMSCTrainingLib.run.alarms import Alarm
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.settings.choices import Method

#: How many lines the measured numbers have room for.
_MEASURED_LINES = 12
_CONTROLS = ("finishExportButton", "finishUseButton", "finishCancelButton", "finishMeasureButton")


class FinishPanel:
    """Exports in a process of its own, because that needs torch; what is written here about the model is kept in the
    run's folder.

    Attributes:
        widget: the section.
    """

    def __init__(self, resource_path: Callable[[str], str], use_model: Callable[[str], None]) -> None:
        """
        Args:
            use_model: chooses a model in HipICMSC by its name, as find_model takes it.
        """
        self._use_model = use_model
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Finish.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._usual_tips = {name: getattr(self.ui, name).toolTip for name in _CONTROLS}
        self._methods: Mapping[str, Method] = {}
        self._command: Command | None = None
        self._run: RunFolder | None = None
        #: What goes wrong in the run's training, which its model has learned.
        self._alarms: tuple[Alarm, ...] = ()
        self._card = CardArea(self.ui, self._say_error)
        fit_lines(self.ui.finishMeasuredText, _MEASURED_LINES)
        self.ui.finishWeightsComboBox.addItems(list(WEIGHTS))
        self.ui.finishWeightsComboBox.connect("currentIndexChanged(int)", self._on_changed)
        self.ui.finishNameEdit.connect("textChanged(QString)", self._on_changed)
        self.ui.finishExportButton.connect("clicked(bool)", self._on_export)
        self.ui.finishUseButton.connect("clicked(bool)", self._on_use)
        self.ui.finishCancelButton.connect("clicked(bool)", self._on_cancel)
        self.ui.finishMeasureButton.connect("clicked(bool)", self._on_measure)
        self.attach(None)

    def know_methods(self, methods: Mapping[str, Method]) -> None:
        """All methods by name, as `hipicmsc describe` lists them; before, the best way to segment is taken."""
        self._methods = methods
        self._list_routes()
        self.refresh()

    def attach(self, run: RunFolder | None) -> None:
        """Offer the weights of this run, or of none."""
        if run is not None and self._run is not None and run.path == self._run.path:
            self.refresh()
            return
        self._card.keep()
        self._run, self._scored, self._alarms = run, ScoredWeights(run), ()
        self._against_measuring = _reason_against_measuring(run)
        self._watch = None if run is None else AlarmWatch(run)
        self._say("")
        self.ui.finishMeasuredText.visible = False
        self.ui.finishNameEdit.text = "" if run is None else run.path.name
        self._card.attach(run)
        self._list_routes()
        self.refresh()

    def refresh(self) -> None:
        """Show what the folder says now, and keep there what was written here."""
        self._card.keep()
        try:
            self._scored.read()
            self._alarms = () if self._watch is None else self._watch.look(self._run.status())
        except HipError as error:
            self._say_error(error)
        for index, weights in enumerate(WEIGHTS):
            self.ui.finishWeightsComboBox.setItemText(index, self._scored.in_words(weights))
        self._show()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; an export that is under way is given up."""
        self._card.keep()
        if self._command is not None:
            self._command.close()
            self._command = None

    # What there is.

    def _weights(self) -> str:
        return WEIGHTS[max(0, self.ui.finishWeightsComboBox.currentIndex)]

    def _list_routes(self) -> None:
        about = self._about_method()
        routes = [] if about is None else about.routes
        box = self.ui.finishRouteComboBox
        box.clear()
        box.addItems(list(routes))
        box.visible = self.ui.finishRouteLabel.visible = len(routes) > 1

    def _about_method(self) -> Method | None:
        """The run's method, as far as it is known."""
        try:
            return None if self._run is None else self._methods.get(str(self._run.description().get("method")))
        except HipError as error:
            self._say_error(error)
            return None

    def _route_arguments(self) -> list[str]:
        index = self.ui.finishRouteComboBox.currentIndex
        return ["--route", self.ui.finishRouteComboBox.currentText] if index > 0 else []

    # What the user does.

    def _on_changed(self, value) -> None:
        self._show()

    def _on_export(self, checked: bool = False) -> None:
        path = file_to_save(self.widget, _("Export model"), self._name(), {ENDING: _("Model package")})
        if path is None:
            return
        try:
            check_name(path)
            check_writable(path)
        except HipError as error:
            self._say_error(error)
            return

        def end() -> None:
            done = _("The model is in {path}.")
            self._say(done.format(path=path))

        self._export(self._run, path, end)

    def _on_use(self, checked: bool = False) -> None:
        # Another run may be chosen by the time that the export is done.
        run = self._run
        if self._alarms and not slicer.util.confirmYesNoDisplay(
            "\n\n".join([*self._cautions(), _("Use this model in HipICMSC all the same?")])
        ):
            return
        folder = tempfile.TemporaryDirectory(prefix="HipICMSC-")
        path = Path(folder.name) / f"{self._name()}{ENDING}"

        def use() -> None:
            name = add_model(path).stem
            self._use_model(name)
            done = _("{name} is among your models and chosen in HipICMSC.")
            self._say(done.format(name=name))
            if slicer.util.confirmYesNoDisplay(_("{name} is chosen in HipICMSC. Open it now?").format(name=name)):
                slicer.util.selectModule("HipICMSC")

        def end() -> None:
            of_run = ComparisonOfRun.of(run)
            if of_run is None:
                use()
            elif of_run.held_out:
                self._compare(run, of_run.old, of_run.arguments(path, run.comparison_file), use, folder.cleanup)
            elif of_run.taught > 1 and slicer.util.confirmYesNoDisplay(_offer_of_leave_one_out(run, of_run)):
                arguments = of_run.leave_one_out(run, run.comparison_file)
                self._compare(run, of_run.old, arguments, use, folder.cleanup)
            else:
                self._ask(_("The training saw all corrected MRIs, so the new model was compared on none."), use)

        self._export(run, path, end, folder.cleanup)

    def _compare(
        self,
        run: RunFolder,
        old: str,
        arguments: list[str],
        use: Callable[[], None],
        clean_up: Callable[[], None],
    ) -> None:
        """Show the new model beside the one that it started from, and let the user decide."""
        page, verdicts = run.comparison_file, []

        def on_line(line: dict[str, Any]) -> None:
            if "compared" in line:
                compared = line["compared"]
                self._show_measured(compared_as_html(compared, readable_red(self.ui.finishMeasuredText)))
                is_worse = any(bone["is_worse"] for bone in compared["bones"])
                verdicts.append(compared["verdict"])
                pictures = _("The largest changes as pictures: {page}").format(page=page)
                self._say(f"{compared['verdict']} {pictures}", is_bad=is_worse)
            elif "case" in line:
                share = f"{100 * line.get('progress', 0):.0f} %"
                self._say(_("Comparing on {case}: {share} …").format(case=line["case"], share=share))

        def end(error: HipError | None) -> None:
            not_compared = _("Old and new model could not be compared: {reason}")
            self._ask(verdicts[0] if verdicts else not_compared.format(reason=error.sentence if error else ""), use)

        self._say(_("Comparing with {old} …").format(old=old))
        self._run_command(arguments, on_line, end, clean_up)

    def _ask(self, sentence: str, use: Callable[[], None]) -> None:
        """Whether the new model shall be used, after what is known of it."""
        if slicer.util.confirmYesNoDisplay(f"{sentence}\n\n{_('Use the new model in HipICMSC?')}"):
            use()
        elif not self.ui.finishStateLabel.text.startswith(sentence):
            self._say(sentence)

    def _on_cancel(self, checked: bool = False) -> None:
        self._command.cancel()

    def _export(
        self,
        run: RunFolder,
        path: Path,
        when_done: Callable[[], None],
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._card.keep()
        about = [] if self._card.is_empty else ["--about", str(run.about_file)]
        self._say(_("Exporting …"))
        arguments = ["export", "--output", str(path), "--overwrite", *about]
        self._start(run, arguments, lambda line: None, when_done, clean_up)

    def _on_measure(self, checked: bool = False) -> None:
        self._say(_("Measuring …"))
        self.ui.finishMeasuredText.visible = False
        # Another run or other weights may be chosen by the time it is done.
        measured = f"{self._run.path.name}, {self.ui.finishWeightsComboBox.currentText}"
        self._start(self._run, ["measure", "--progress"], lambda line: self._on_measured(measured, line), lambda: None)

    def _on_measured(self, measured: str, line: dict[str, Any]) -> None:
        if "measured" in line:
            self._show_measured(measured_as_html(measured, line["measured"]))
            self._say(_("Measured."))
        elif "case" in line:
            self._say(_("Measuring on {case} …").format(case=line["case"]))

    def _start(
        self,
        run: RunFolder,
        arguments: list[str],
        on_line: Callable[[dict[str, Any]], None],
        when_done: Callable[[], None],
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a command on a run with the weights and route that are chosen now."""
        arguments += [str(run.path), "--weights", self._weights(), *self._route_arguments()]

        def end(error: HipError | None) -> None:
            if error is not None:
                raise error
            when_done()

        self._run_command(arguments, on_line, end, clean_up)

    def _run_command(
        self,
        arguments: list[str],
        on_line: Callable[[dict[str, Any]], None],
        when_ended: Callable[[HipError | None], None],
        clean_up: Callable[[], None],
    ) -> None:
        """Run a command; ``clean_up`` comes last, unless another command was started meanwhile."""

        def end(error: HipError | None) -> None:
            self._command = None
            try:
                if error is not None and error.kind == "cancelled":
                    raise error
                when_ended(error)
            except HipError as reason:
                self._say_error(reason)
            finally:
                if self._command is None:
                    clean_up()
            self._show()

        self._command = Command(arguments, on_line, end)
        self._show()

    # What the user sees.

    def _show(self) -> None:
        running = _("An export or a measurement is under way.") if self._command is not None else ""
        against = self._reason_against_export()
        scored = self._scored.scores_of(self._weights())
        about = (
            scores_in_words(scored["step"], scored["scores"])
            if scored
            else against or _("These weights have no scores yet.")
        )
        self.ui.finishScoresLabel.text = "\n".join([*self._cautions(), about])
        reason = running or against
        self._enable("finishExportButton", reason)
        self._enable("finishUseButton", reason or self._reason_against_name())
        self._enable("finishCancelButton", "" if running else _("Nothing is under way."))
        self._enable("finishMeasureButton", reason or self._against_measuring)

    def _cautions(self) -> list[str]:
        return [_("Caution: {text}").format(text=alarm.sentence) for alarm in self._alarms]

    def _enable(self, name: str, reason: str) -> None:
        widget = getattr(self.ui, name)
        widget.enabled, widget.toolTip = not reason, reason or self._usual_tips[name]

    def _reason_against_export(self) -> str:
        if self._run is None:
            return _("Choose a run first.")
        try:
            status = self._run.status()
            if not self._run.checkpoints.last_file.is_file():
                return _("There is no checkpoint yet; the first one comes with the end of the first epoch.")
            stage_1 = self._run.stage_1_steps(status.total_steps)
            if self._run.checkpoints.selection() is None and (stage_1 is None or status.step <= stage_1):
                about = self._about_method()
                needs = _("The run is in stage 1; a model needs an epoch of stage 2.")
                return needs if about is None else f"{needs} {about.help}"
            if self._weights() == "selected" and self._run.checkpoints.selection() is None:
                return _("No weights were scored yet; the first scores come with the end of an epoch of stage 2.")
        except HipError as error:
            return error.sentence
        return ""

    def _reason_against_name(self) -> str:
        name = self._name()
        if not name:
            return _("Give the model a name.")
        if name.startswith(".") or any(sign in name for sign in '/\\:*?"<>|'):
            return _('A name cannot begin with a dot, nor contain any of / \\ : * ? " < > |')
        return ""

    def _name(self) -> str:
        return self.ui.finishNameEdit.text.strip()

    def _say(self, sentence: str, detail: str = "", is_bad: bool = False) -> None:
        label = self.ui.finishStateLabel
        label.text, label.toolTip = sentence, detail
        label.styleSheet = f"color: {readable_red(label)}" if is_bad else ""
        label.visible = bool(sentence)

    def _show_measured(self, html: str) -> None:
        self.ui.finishMeasuredText.html = html
        self.ui.finishMeasuredText.visible = True

    def _say_error(self, error: HipError) -> None:
        self._say(error.sentence, error.detail)


def _offer_of_leave_one_out(run: RunFolder, of_run: ComparisonOfRun) -> str:
    """What it is and how long it takes, as the run itself has shown."""
    status = run.status()
    takes = ""
    if status.seconds_per_step:
        takes = _("That takes about {time}. ").format(
            time=duration(status.seconds_per_step * status.total_steps * of_run.taught)
        )
    return _(
        "The training saw all corrected MRIs, so none is left to compare on. Leave-one-out trains {count} further "
        "models, each without one patient, and measures them there. {takes}Cancelled, it goes on the next time.\n\n"
        "Do that now?"
    ).format(count=of_run.taught, takes=takes)


def _reason_against_measuring(run: RunFolder | None) -> str:
    """Whether a run's dataset, which never changes, has labelled MRIs."""
    if run is None:
        return _("Choose a run first.")
    try:
        dataset = from_json(Dataset, run.description().get("dataset"))
    except HipError as error:
        return error.sentence
    if dataset.measured():
        return ""
    return _("The dataset of this run has no labelled MRI; add some with the role test to another run's data.")
