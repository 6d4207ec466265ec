"""Installs what is missing into Slicer's Python, and keeps the user's choice of another one. Never without asking."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.worker.environment import TORCH_VERSIONS, Problem, title_of

_INTERPRETER_SETTING = "HipICMSC/PythonInterpreter"
#: For pip.
_PATIENCE = {"PIP_RETRIES": "1", "PIP_TIMEOUT": "15"}
#: Where a proxy is set, as pip reads it.
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def python_interpreter() -> str | None:
    """The interpreter that the user chose to segment with; None is Slicer's own."""
    import qt

    return qt.QSettings().value(_INTERPRETER_SETTING, "") or None


def set_python_interpreter(path: str | None) -> None:
    """Keep the choice of an interpreter, also for the next start of Slicer; None is Slicer's own."""
    import qt

    if path is None:
        qt.QSettings().remove(_INTERPRETER_SETTING)
    else:
        qt.QSettings().setValue(_INTERPRETER_SETTING, path)


def install(problems: tuple[Problem, ...], requirements: Path) -> str:
    """Solve as many problems of Slicer's own Python as an installation can; Slicer asks the user first.

    Args:
        requirements: file that lists what is needed besides torch.

    Returns:
        What was done, in a sentence; also if the user declined.

    Raises:
        HipError: ``no_pytorch_extension``, ``torch_in_use`` or ``install_failed``.
    """
    installable = [problem for problem in problems if problem.can_install]
    others = [problem for problem in installable if problem.subject != "torch"]
    torch = next((problem for problem in installable if problem.subject == "torch"), None)
    installed = []
    loaded = ""
    with _soon_given_up():
        if others and _install_others(others, requirements):
            installed += [title_of(problem.subject) for problem in others]
        if torch is not None and _install_torch(torch):
            installed.append(title_of(torch.subject))
            # Its installer imports it.
            loaded = _("This loaded PyTorch into Slicer; restart Slicer when it suits you to free the memory it takes.")
    if not installed:
        return _("Nothing was installed, as you wished.")
    return f"{_('Installed: {names}.').format(names=', '.join(installed))} {loaded}".strip()


def _install_others(problems: list[Problem], requirements: Path) -> bool:
    """Whether the user agreed."""
    names = ", ".join(title_of(problem.subject) for problem in problems)
    with _one_sentence_for_failures(names):
        broken = [problem for problem in problems if problem.kind == "broken"]
        if broken and not _remove(broken):
            return False
        try:
            from slicer import packaging
        except ImportError:  # before Slicer 5.12
            question = _("{names} will be downloaded and installed into Slicer's Python.").format(names=names)
            if not slicer.util.confirmOkCancelDisplay(question):
                return False
            slicer.util.pip_install([problem.requirement for problem in problems])
            return True
        wanted = packaging.load_requirements(str(requirements))
        try:
            packaging.pip_ensure(wanted, requester="HipICMSC")
        except RuntimeError as error:
            if "declined" not in str(error).lower():
                raise
            return False
    return True


def _remove(broken: list[Problem]) -> bool:
    """pip takes a half installation for a whole one, so its rest goes first. Whether the user agreed."""
    names = ", ".join(title_of(problem.subject) for problem in broken)
    question = _("What is left of {names} will be removed first, then {names} will be installed again.")
    if not slicer.util.confirmOkCancelDisplay(question.format(names=names)):
        return False
    slicer.util.pip_uninstall([problem.subject for problem in broken])
    return True


def _install_torch(problem: Problem) -> bool:
    """Whether the user agreed."""
    try:
        import PyTorchUtils
    except ImportError as error:
        raise HipError(
            "no_pytorch_extension",
            _(
                "PyTorch is installed by Slicer's extension PyTorch; "
                "install that from the Extensions Manager, restart Slicer and try again."
            ),
            str(error),
        ) from error
    with _one_sentence_for_failures("PyTorch"):
        logic = PyTorchUtils.PyTorchUtilsLogic()
        known = inspect.signature(logic.installTorch).parameters
        ask = "askConfirmation" in known
        if problem.kind != "missing" or not ask:
            # Asked once for both, so that nobody agrees to the one and is left without PyTorch by the other.
            if not slicer.util.confirmOkCancelDisplay(_question_about_torch(problem)):
                return False
            ask = False
        if problem.kind != "missing":
            _refuse_if_in_use()
            logic.uninstallTorch()
        wanted = {"askConfirmation": ask, "torchVersionRequirement": TORCH_VERSIONS}
        return logic.installTorch(**{name: value for name, value in wanted.items() if name in known}) is not None


def _question_about_torch(problem: Problem) -> str:
    if problem.kind == "missing":
        return _("PyTorch will be downloaded (up to several GB) and installed into Slicer's Python.")
    return _(
        "{reason} PyTorch will be removed from Slicer's Python, downloaded (up to several GB) and installed again. "
        "This needs a network connection."
    ).format(reason=problem.sentence)


def _refuse_if_in_use() -> None:
    if "torch" in sys.modules:
        raise HipError(
            "torch_in_use",
            _("Another module has loaded PyTorch, so it cannot be replaced now; restart Slicer and do this first."),
        )


@contextlib.contextmanager
def _soon_given_up() -> Iterator[None]:
    """Where nothing answers, pip waits for a quarter of a minute six times over; twice is enough. What the user has set
    stays."""
    added = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _way_into_the_network() -> str:
    """What is set for whoever downloads, without any password; nobody is asked."""
    proxy = next(filter(None, map(os.environ.get, _PROXIES)), "")
    way = (
        _("downloads go through the proxy {proxy}").format(proxy=_host(proxy))
        if proxy
        else _("no proxy is set (HTTPS_PROXY), which some hospitals need")
    )
    index = os.environ.get("PIP_INDEX_URL")
    return _("{way}, and packages are asked for at {index}").format(way=way, index=_host(index)) if index else way


def _host(address: str) -> str:
    """With its port, without name and password, which come before it."""
    return address.rpartition("://")[2].partition("/")[0].rpartition("@")[2] or "?"


@contextlib.contextmanager
def _one_sentence_for_failures(names: str) -> Iterator[None]:
    """What others' installers raise is not ours to know; it becomes a HipError with all of it as detail."""
    try:
        yield
    except HipError:
        raise
    except subprocess.CalledProcessError as error:
        raise HipError(
            "install_failed",
            _(
                "{names} could not be installed, perhaps because this computer has no network connection: {way}. "
                "Try again when it has one, or choose a Python that has them; Slicer's error log says more."
            ).format(names=names, way=_way_into_the_network()),
            f"{error}\n{error.output or ''}".strip(),
        ) from error
    except Exception as error:
        raise HipError(
            "install_failed",
            _("{names} could not be installed completely; restart Slicer and try again.").format(names=names),
            traceback.format_exc(),
        ) from error
