"""Runs the tests of both modules in a real Slicer, one after the other, and exits with 1 if one failed.

In the repository's folder (with xvfb-run where there is no screen):

    Slicer --no-splash --testing --additional-module-paths HipICMSC HipICMSCTraining \
        --python-script Testing/run_in_slicer.py

Slicer's Python needs torch and what HipICMSC-requirements.txt lists; nobody needs to click.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import os
import sys
import time
import traceback
import unittest
from collections.abc import Iterator

MODULES = ("HipICMSC", "HipICMSCTraining")
#: Name for pip: name of its module.
PACKAGES = {
    "torch": "torch",
    "scikit-image": "skimage",
    "safetensors": "safetensors",
    "nibabel": "nibabel",
    "pynrrd": "nrrd",
    "pydicom": "pydicom",
    "highdicom": "highdicom",
}
#: A test that has no end after this time hangs, most likely in a dialog that waits for an answer.
TEST_SECONDS = 900
#: Whatever does not even let Qt's clock tick, or Slicer exit, is ended after this time more.
STUCK_SECONDS = 120
#: Slicer reads what is printed through a pipe, which must be empty before the process is ended.
PIPE_SECONDS = 1
STDERR = 2


def main() -> None:
    """Run everything, print it and let Slicer exit, whatever happens."""
    import slicer

    tests = TestRun()
    try:
        reasons = reasons_against()
        for reason in reasons:
            tests.fail(f"The tests cannot run: {reason}")
        if not reasons:
            for module in MODULES:
                tests.run(getattr(importlib.import_module(module), f"{module}Test"))
    except BaseException:
        tests.fail(traceback.format_exc())
    finally:
        tests.close()
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=STDERR)
        slicer.util.exit(0 if tests.succeeded else 1)


def reasons_against() -> list[str]:
    """Sentences that say what is missing."""
    import slicer

    reasons = []
    if slicer.app.commandOptions().noMainWindow:
        reasons.append("they drive the panels in Slicer's main window; start Slicer without --no-main-window.")
    for module in MODULES:
        if not hasattr(slicer.modules, module.lower()):
            reasons.append(f"Slicer has no module {module}; name its folder after --additional-module-paths.")
    for package, module in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            reasons.append(f"Slicer's Python lacks {package}; run PythonSlicer -m pip install {package}.")
    return reasons


class TestRun:
    """Runs tests and prints what comes of each; the last line counts them."""

    __test__ = False  # for pytest, which meets this class in our test of it

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    @property
    def succeeded(self) -> bool:
        """Whether there were tests and all of them passed."""
        return self.passed > 0 and self.failed == 0

    def run(self, test_class: type[unittest.TestCase]) -> None:
        """Run each test method by itself: set-up, test, tear-down."""
        for method in unittest.TestLoader().getTestCaseNames(test_class):
            test = test_class(method)
            # Slicer does not show messages for less than 0.4 s.
            test.messageDelay = 100
            name = f"{test_class.__name__}.{method}"
            _say(f"{name} …")
            started = time.monotonic()
            with self._limited(name):
                trouble, skipped = _outcome(test)
            took = f"({time.monotonic() - started:.1f} s)"
            if trouble:
                self.fail(f"{trouble}{name} FAILED {took}")
            elif skipped:
                self.skipped += 1
                _say(f"{name} skipped {took}: {skipped}")
            else:
                self.passed += 1
                _say(f"{name} passed {took}")

    def fail(self, text: str) -> None:
        """Count a failure and print what is known about it."""
        self.failed += 1
        _say(text)

    def close(self) -> None:
        _say(f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else ""))

    @contextlib.contextmanager
    def _limited(self, name: str) -> Iterator[None]:
        """End the process if a test has no end. Qt's clock also ticks while a dialog is open."""
        import qt

        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(1000 * TEST_SECONDS)
        timer.connect("timeout()", lambda: self._end_process(name))
        timer.start()
        faulthandler.dump_traceback_later(TEST_SECONDS + STUCK_SECONDS, exit=True, file=STDERR)
        try:
            yield
        finally:
            timer.stop()
            faulthandler.cancel_dump_traceback_later()

    def _end_process(self, name: str) -> None:
        stack = "".join(traceback.format_stack())
        self.fail(f"{stack}{name} FAILED: no end after {TEST_SECONDS} s; does a dialog wait for an answer?")
        self.close()
        time.sleep(PIPE_SECONDS)
        os._exit(1)


def _outcome(test: unittest.TestCase) -> tuple[str, str]:
    """What went wrong in a test, as text, and why it could not be tried; empty if nothing did and it was."""
    result = unittest.TestResult()
    with _unheard_exceptions() as unheard:
        test.run(result)
    texts = [text for _, text in (*result.errors, *result.failures)]
    if result.expectedFailures or result.unexpectedSuccesses:
        texts.append("A test that does not simply pass counts as failed here.\n")
    return "".join(texts + unheard), " ".join(reason for _, reason in result.skipped)


@contextlib.contextmanager
def _unheard_exceptions() -> Iterator[list[str]]:
    """Collects the tracebacks of exceptions in our functions that Qt or VTK called, which they only print."""
    texts: list[str] = []
    before = sys.excepthook

    def hear(kind, error, trace) -> None:
        if any("HipICMSC" in frame.filename for frame in traceback.extract_tb(trace)):
            texts.append("".join(traceback.format_exception(kind, error, trace)))
        else:
            before(kind, error, trace)

    sys.excepthook = hear
    try:
        yield texts
    finally:
        sys.excepthook = before


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
