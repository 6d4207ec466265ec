"""The collapsible section "Set-up": what is missing, one button to install it, another interpreter, a self-test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.scrolling import bring_into_view
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.setup.environment_reading import EnvironmentReading
from HipICMSCLib.gui.setup.installation import install, python_interpreter, set_python_interpreter
from HipICMSCLib.worker.environment import Environment, Problem, in_words, problems
from HipICMSCLib.worker.system_report import report_text

_POLL_MILLISECONDS = 200
_TYPING_MILLISECONDS = 800

OnReport = Callable[[dict[str, Any]], None]
OnError = Callable[[HipError], None]


class SetUpPanel:
    """Looks at the interpreter that segments when it is made; nothing else happens unless the user asks for it.

    Attributes:
        widget: the section.
        problems: what is known to be wrong; empty as long as nothing is known.
        last_error_kind: for the report; whoever shows the user an error may set it.
        checked: signal, ``problems`` is known anew.
        about_to_install: signal, whatever runs in the interpreter should end, for files in use cannot be replaced.
        changed: signal, the interpreter that segments is another one or has other packages.
    """

    def __init__(self, resource_path: Callable[[str], str], self_test: Callable[[OnReport, OnError], None]) -> None:
        """
        Args:
            self_test: starts a self-test and returns; later it calls one of the two functions, once.
        """
        self._requirements = Path(resource_path("HipICMSC-requirements.txt"))
        self._run_self_test = self_test
        self.checked, self.about_to_install, self.changed = Signal(), Signal(), Signal()
        self.problems: tuple[Problem, ...] = ()
        self.last_error_kind: str | None = None
        self._environment: Environment | None = None
        self._self_test_result: dict[str, Any] | HipError | None = None
        self._installing = self._testing = self._closed = False
        self._reading: EnvironmentReading | None = None
        self._reading_of: str | None = None
        #: The interpreter and what it had when it was last read; None before the first time.
        self._known: tuple[str | None, Environment | None] | None = None
        self._timer = RepeatingTimer(_POLL_MILLISECONDS, self._poll)
        self._typing = RepeatingTimer(_TYPING_MILLISECONDS, self._on_interpreter_edited)

        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-SetUp.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.ui.setUpInterpreterEdit.currentPath = python_interpreter() or ""
        self.ui.setUpInterpreterEdit.connect("currentPathChanged(QString)", self._on_interpreter_typed)
        self.ui.setUpInterpreterEdit.connect("validInputChanged(bool)", self._on_interpreter_typed)
        self.ui.setUpOwnPythonButton.connect("clicked(bool)", self._on_own_python)
        self.ui.setUpInstallButton.connect("clicked(bool)", self._on_install)
        self.ui.setUpCheckButton.connect("clicked(bool)", self._on_check)
        self.ui.setUpSelfTestButton.connect("clicked(bool)", self._on_self_test)
        self.ui.setUpReportButton.connect("clicked(bool)", self._on_report)
        self._read(python_interpreter())

    def blocking_sentence(self) -> str:
        """Why nothing can be segmented, or "" if it can, as far as is known."""
        worst = next((problem for problem in self.problems if problem.blocking), None)
        return worst.sentence if worst else ""

    def mend(self) -> None:
        """Open the section and, where something can be installed from here, begin with that."""
        self.widget.collapsed = False
        bring_into_view(self.widget)
        if self.ui.setUpInstallButton.enabled:
            self._on_install()

    def look_closer(self) -> None:
        """Something could not be loaded: try each package, and say which one it was."""
        if self._reading is None and not (self._installing or self._closed):
            self._read(python_interpreter(), load=True)

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._closed = True
        self._typing.stop()
        self._give_up_reading()

    # What the interpreter has.

    def _read(self, python: str | None, load: bool = False) -> None:
        """Find out what an interpreter has; it becomes the one that segments if it can be read.

        Args:
            load: also try to load each package.
        """
        self._give_up_reading()
        self._reading_of = python
        try:
            self._reading = EnvironmentReading(python, load)
        except HipError as error:
            self._not_read(error)
        else:
            self._timer.start()
        self._show()

    def _give_up_reading(self) -> None:
        self._timer.stop()
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _poll(self) -> None:
        try:
            environment = self._reading.poll()
        except HipError as error:
            self._forget_reading()
            self._not_read(error)
        else:
            if environment is None:
                return
            self._forget_reading()
            self._take(environment)
        self._show()

    def _forget_reading(self) -> None:
        self._timer.stop()
        self._reading = None

    def _take(self, environment: Environment) -> None:
        found = problems(environment, self._requirements.read_text(encoding="utf-8"))
        too_old = next((problem for problem in found if problem.kind == "python_too_old"), None)
        if too_old is not None and self._reading_of != python_interpreter():
            self._refuse(HipError(too_old.kind, too_old.sentence))
            return
        set_python_interpreter(self._reading_of)
        self._say_about_interpreter(_("In use: {interpreter}.").format(interpreter=_in_use()))
        self._know(environment, found)

    def _not_read(self, error: HipError) -> None:
        if self._reading_of != python_interpreter():
            self._refuse(error)
        else:
            self._know(None, (Problem(error.kind, "Python", error.sentence, can_install=False),))

    def _refuse(self, error: HipError) -> None:
        """The interpreter that was used before stays in use."""
        self.last_error_kind = error.kind
        kept = _("{reason} Still in use: {interpreter}.")
        self._say_about_interpreter(kept.format(reason=error.sentence, interpreter=_in_use()), error.detail)
        if self._known is None:
            self._read(python_interpreter())

    def _know(self, environment: Environment | None, found: tuple[Problem, ...]) -> None:
        before, self._known = self._known, (self._reading_of, environment)
        self._environment, self.problems = environment, found
        if self.blocking_sentence():
            self.widget.collapsed = False
        self._show()
        self.checked.emit()
        if before is not None and before != self._known:
            self._self_test_result = None
            self.changed.emit()

    # What the user does.

    def _on_interpreter_typed(self) -> None:
        """Each letter is a change; what is typed halfway must not be started."""
        self._typing.start()

    def _on_interpreter_edited(self) -> None:
        self._typing.stop()
        path = self.ui.setUpInterpreterEdit.currentPath.strip()
        if path and not Path(path).is_file():
            self._give_up_reading()
            self._refuse(HipError("not_an_interpreter", _("Choose the file of a Python interpreter.")))
            self._show()
            return
        if not path:
            # Slicer's own needs no trial.
            set_python_interpreter(None)
        self._read(path or None)

    def _on_own_python(self, checked: bool = False) -> None:
        self.ui.setUpInterpreterEdit.currentPath = ""
        # An empty path is no path to the widget, so it says nothing.
        self._on_interpreter_edited()

    def _on_check(self, checked: bool = False) -> None:
        self._read(python_interpreter())

    def _on_install(self, checked: bool = False) -> None:
        self._installing = True
        self._say(_("Installing; this can take some minutes …"))
        self._show()
        self.about_to_install.emit()
        slicer.app.processEvents()
        try:
            self._say(install(self.problems, self._requirements))
        except HipError as error:
            self._say_error(error)
        finally:
            self._installing = False
            self._read(None)

    def _on_self_test(self, checked: bool = False) -> None:
        self._testing = True
        self._say(_("The self-test starts the segmentation process and lets it compute …"))
        self._show()
        try:
            self._run_self_test(self._on_self_test_passed, self._on_self_test_failed)
        except HipError as error:
            self._on_self_test_failed(error)

    def _on_self_test_passed(self, result: dict[str, Any]) -> None:
        passed = _("The self-test passed: {model} needs {seconds:.2g} s a slice on {device} ({precision}).").format(
            model=result["model"]["name"],
            seconds=result["seconds_per_slice"],
            device=result["device"],
            precision=result["precision"],
        )
        self._end_self_test(result, lambda: self._say(" ".join([passed, *result["fallbacks"]])))

    def _on_self_test_failed(self, error: HipError) -> None:
        self._end_self_test(error, lambda: self._say_error(error))

    def _end_self_test(self, result: dict[str, Any] | HipError, say: Callable[[], None]) -> None:
        self._testing, self._self_test_result = False, result
        if not self._closed:
            say()
            self._show()

    def _on_report(self, checked: bool = False) -> None:
        text = report_text(
            self._environment,
            self.problems,
            self._self_test_result,
            self.last_error_kind,
            f"{slicer.app.applicationVersion} (revision {slicer.app.revision})",
            "the user's" if python_interpreter() else "Slicer's own",
        )
        qt.QApplication.clipboard().setText(text)
        self._say(_("The report was copied; it holds no patient data. Paste it into an e-mail or an issue."))

    # What the user sees.

    def _show(self) -> None:
        """Every button says what it does or, in its tool tip, why it does nothing."""
        self.ui.setUpStateLabel.text = self._state()
        busy = ""
        if self._installing:
            busy = _("An installation is running.")
        elif self._reading is not None:
            busy = _("The Python interpreter is being looked at.")
        elif self._testing:
            busy = _("The self-test is running.")
        self._enable(
            self.ui.setUpInstallButton,
            busy or self._reason_against_install(),
            _("Ask for and install into Slicer's Python what is missing; this needs a network connection."),
        )
        self._enable(self.ui.setUpCheckButton, busy, _("Look again at what the Python interpreter has."))
        self._enable(
            self.ui.setUpSelfTestButton,
            busy or self.blocking_sentence(),
            _("Start the segmentation process and let it compute something small; no volume is needed."),
        )
        other = python_interpreter() or self.ui.setUpInterpreterEdit.currentPath
        self._enable(
            self.ui.setUpOwnPythonButton,
            busy or ("" if other else _("Slicer's own Python is in use already.")),
            _("Segment with the Python that comes with Slicer again."),
        )
        self.ui.setUpInterpreterEdit.enabled = not (self._installing or self._testing)

    def _state(self) -> str:
        if self._environment is not None:
            lines = in_words(self._environment, self.problems)
        elif self.problems:
            lines = [_("Stop: {problem}").format(problem=problem.sentence) for problem in self.problems]
        else:
            lines = [_("The Python interpreter is being looked at …")]
        # Here it can be copied.
        return "\n".join(filter(None, [*lines, self._what_to_type()]))

    def _reason_against_install(self) -> str:
        if not any(problem.can_install for problem in self.problems):
            return _("Nothing that could be installed from here is missing.")
        return self._what_to_type()

    def _what_to_type(self) -> str:
        """Where the interpreter is the user's own, so is the installation."""
        wanted = " ".join(f'"{problem.requirement}"' for problem in self.problems if problem.requirement)
        if not python_interpreter() or not wanted:
            return ""
        return _(
            "From here only Slicer's own Python is installed into. "
            'For yours, type in a terminal: "{python}" -m pip install {packages}'
        ).format(python=_in_use(), packages=wanted)

    @staticmethod
    def _enable(button, reason_against: str, does: str) -> None:
        button.enabled, button.toolTip = not reason_against, reason_against or does

    def _say(self, sentence: str, detail: str = "") -> None:
        self.ui.setUpResultLabel.text, self.ui.setUpResultLabel.toolTip = sentence, detail

    def _say_error(self, error: HipError) -> None:
        self.last_error_kind = error.kind
        self._say(error.sentence, error.detail)

    def _say_about_interpreter(self, sentence: str, detail: str = "") -> None:
        self.ui.setUpInterpreterLabel.text, self.ui.setUpInterpreterLabel.toolTip = sentence, detail


def _in_use() -> str:
    chosen = python_interpreter()
    # With slashes, which Windows takes, too: unlike at a backslash a line may break there.
    return Path(chosen).as_posix() if chosen else _("Slicer's own Python")
