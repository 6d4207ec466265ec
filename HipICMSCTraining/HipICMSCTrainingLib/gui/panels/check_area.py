"""The button "Check data" with its bar, and the list of what is wrong: what can be told at once, then what a check
found, which reads every volume and is done by a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.list_height import fit_height
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset_problems import Problem
from HipICMSCTrainingLib.gui.panels.check_report import CheckReport, fingerprint, read_report, write_report
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.running.activity import Activity
from HipICMSCTrainingLib.gui.running.command import Command

#: That are seen at once, and how many lines most of them need.
_MOST_PROBLEMS, _LINES = 3, 4


class CheckArea:
    """Works on the widgets of the section "Data".

    Attributes:
        changed: signal without values: a check has ended.
        problem_chosen: signal of the name of the case that a problem is about.
    """

    def __init__(self, ui, activity: Activity, in_words: Callable[[Problem], str]) -> None:
        """
        Args:
            in_words: what is shown of a problem.
        """
        self.changed, self.problem_chosen = Signal(), Signal()
        self._ui, self._activity, self._in_words = ui, activity, in_words
        self._command: Command | None = None
        self._report: CheckReport | None = None
        self._listed: list[Problem] = []
        self._is_listing = False
        ui.dataProblemsList.connect("itemSelectionChanged()", self._on_problem)

    @property
    def is_running(self) -> bool:
        return self._command is not None

    def blocking_sentence(self) -> str:
        """The first stop of the last check, until the data are checked again; empty for none."""
        if self._report is None or not self._report.stops:
            return ""
        found = self._in_words(self._report.stops[0])
        if self._report.is_current:
            return found
        return _("The last check of the data found: {found} If that is done, check the data again.").format(found=found)

    def read(self, file: DatasetFile | None, arguments: Sequence[str]) -> None:
        """Look at the report that is kept beside a data set.

        Args:
            arguments: of a check that would be made now.
        """
        self._report = read_report(file.path, file.cases, arguments) if file else None

    def show(self, file: DatasetFile | None, stops: Sequence[Problem]) -> None:
        """Show what is known.

        Args:
            stops: what can be told without a check.
        """
        self._ui.dataCheckProgressBar.visible = self.is_running
        text = self._activity.sentence if self.is_running else self._state(file)
        self._ui.dataCheckLabel.text, self._ui.dataCheckLabel.visible = text, bool(text)
        self._list(stops)

    def start(self, file: DatasetFile, method: str, arguments: Sequence[str]) -> None:
        """Check, for this method; a check that runs is given up.

        Args:
            arguments: as :func:`arguments_of_check` gives them.
        """
        if self._command is not None:
            self._command.cancel()
            return
        path, before, reports = file.path, fingerprint(file.path, file.cases), []

        def on_end(error: HipError | None) -> None:
            self._command = None
            self._activity.end()
            try:
                if reports:
                    write_report(path, before, arguments, reports[0])
                elif error is not None and error.kind != "cancelled":
                    raise error
            except HipError as reason:
                slicer.util.errorDisplay(reason.sentence, detailedText=reason.detail)
            self.changed.emit()

        def on_line(line: dict[str, Any]) -> None:
            if "report" in line:
                reports.append(line["report"])
            else:
                share = line.get("progress", 0)
                self._ui.dataCheckProgressBar.value = round(100 * share)
                self._say(_("Checking the data: {name} …").format(name=line.get("case", "")))

        self._ui.dataCheckProgressBar.value = 0
        self._command = Command(
            ["check", "--dataset", str(path), "--method", method, *arguments, "--progress"], on_line, on_end
        )
        self._say(_("The check of the data is starting …"))

    def cancel(self) -> None:
        """Another data set is shown."""
        if self._command is not None:
            self._command.cancel()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        if self._command is not None:
            self._command.close()
            self._command = None

    def _say(self, sentence: str) -> None:
        self._ui.dataCheckLabel.text = sentence
        self._activity.say(sentence)

    def _state(self, file: DatasetFile | None) -> str:
        if self._report is None:
            return _("The volumes have not been checked yet.") if file and file.cases else ""
        cautions = len(self._report.problems) - len(self._report.stops)
        found = _("Last check: {stops} to be mended before a training can start, {cautions} to keep in mind.").format(
            stops=len(self._report.stops), cautions=cautions
        )
        if not self._report.stops:
            found = _("Last check: a training can start; cautions: {count}.").format(count=cautions)
        if not self._report.problems:
            found = _("Last check: nothing was found.")
        if not self._report.is_current:
            return f"{found} {_('The data have changed since; this is out of date.')}"
        if not self._report.is_for_these_settings:
            return f"{found} {_('With other settings than now; check the data again.')}"
        return found

    def _list(self, stops: Sequence[Problem]) -> None:
        known = {stop.sentence for stop in stops}
        of_check = self._report.problems if self._report else ()
        self._listed = [*(stop for stop in stops if stop.kind != "no_cases"),
                        *(problem for problem in of_check if problem.sentence not in known)]  # fmt: skip
        texts = [self._line(problem) for problem in self._listed]
        problems_list = self._ui.dataProblemsList
        problems_list.visible = bool(texts)
        if texts != [problems_list.item(row).text() for row in range(problems_list.count)]:
            self._is_listing = True
            problems_list.clear()
            problems_list.addItems(texts)
            fit_height(problems_list, len(texts), _MOST_PROBLEMS, lines=_LINES)
            self._is_listing = False

    def _line(self, problem: Problem) -> str:
        level = _("Stop") if problem.level == "stop" else _("Caution")
        return f"{level}: {self._in_words(problem)}"

    def _on_problem(self) -> None:
        items = self._ui.dataProblemsList.selectedItems()
        if items and not self._is_listing:
            self.problem_chosen.emit(self._listed[self._ui.dataProblemsList.row(items[0])].case)
