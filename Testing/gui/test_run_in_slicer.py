"""What Testing/run_in_slicer.py tells of tests that pass, fail, break, hang or cannot run, and how it exits."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import slicer_stand_ins

SCRIPT = Path(__file__).resolve().parents[1] / "run_in_slicer.py"
TESTS = """
import unittest


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.ready = True

    def tearDown(self):
        print("torn down", self.id().split(".")[-1])

    def runTest(self):
        raise AssertionError("Slicer's button calls this; the methods are run one by one here")
"""
PASSES = """
    def test_passes(self):
        self.assertTrue(self.ready)
"""
FAILS = """
    def test_fails(self):
        self.assertEqual(1 + 1, 3)
"""
BREAKS = """
    def test_breaks(self):
        raise ZeroDivisionError("by nothing")
"""
CANNOT_BE_TRIED = """
    def test_cannot_be_tried(self):
        self.skipTest("There is no network here.")
"""
FAILS_IN_A_SLOT = """
    def test_fails_in_a_slot(self):
        import qt
        import slicer

        def slot():
            raise KeyError("nobody hears me")

        timer = qt.QTimer()
        timer.connect("timeout()", slot)
        timer.start(0)
        slicer.app.processEvents()
        timer.stop()
"""


@pytest.fixture
def script(bench):
    spec = importlib.util.spec_from_file_location("run_in_slicer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def slicer(bench, monkeypatch):
    """The bench's, with both modules present, that keeps what it was asked to exit with."""
    import slicer

    codes = []
    options = SimpleNamespace(noMainWindow=False, runPythonAndExit=True)
    monkeypatch.setattr(slicer.app, "exit", codes.append, raising=False)
    monkeypatch.setattr(slicer.app, "commandOptions", lambda: options)
    for module in ("hipicmsc", "hipicmsctraining"):
        monkeypatch.setattr(slicer.modules, module, None, raising=False)
    return SimpleNamespace(codes=codes, options=options, modules=slicer.modules)


@pytest.fixture
def run(script, slicer, tmp_path, monkeypatch, capsys):
    """Runs a test class of the given methods in place of both modules'; returns what was printed and the exit code."""

    def run_methods(*methods: str) -> tuple[str, int]:
        (tmp_path / "HipICMSCFake.py").write_text(TESTS + "".join(methods) + "\n\nHipICMSCFakeTest = FakeTest\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(script, "MODULES", ("HipICMSCFake",))
        monkeypatch.setattr(slicer.modules, "hipicmscfake", None, raising=False)
        sys.modules.pop("HipICMSCFake", None)
        slicer.codes.clear()
        script.main()
        assert len(slicer.codes) == 1
        # Slicer's own code for a script in testing mode must not overwrite this one.
        assert slicer.options.runPythonAndExit is False
        return capsys.readouterr().out, slicer.codes[0]

    yield run_methods
    script.faulthandler.cancel_dump_traceback_later()


def test_all_passed(run):
    printed, code = run(PASSES)
    assert re.search(r"^FakeTest\.test_passes passed \(\d+\.\d s\)$", printed, re.MULTILINE)
    assert "torn down test_passes" in printed
    assert printed.splitlines()[-1] == "1 passed, 0 failed"
    assert code == 0


def test_each_test_is_run_whatever_becomes_of_the_others(run):
    printed, code = run(PASSES, FAILS, BREAKS)
    assert re.search(r"AssertionError: 2 != 3\nFakeTest\.test_fails FAILED \(\d+\.\d s\)", printed)
    assert re.search(r"ZeroDivisionError: by nothing\nFakeTest\.test_breaks FAILED \(\d+\.\d s\)", printed)
    assert 'test_breaks\n    raise ZeroDivisionError("by nothing")' in printed, "the traceback shows the place"
    assert printed.count("torn down") == 3
    assert printed.splitlines()[-1] == "1 passed, 2 failed"
    assert code == 1


def test_what_could_not_be_tried_is_said_and_neither_passed_nor_failed(run):
    printed, code = run(PASSES, CANNOT_BE_TRIED)
    assert re.search(
        r"^FakeTest\.test_cannot_be_tried skipped \(\d+\.\d s\): There is no network here\.$", printed, re.MULTILINE
    )
    assert printed.splitlines()[-1] == "1 passed, 0 failed, 1 skipped"
    assert code == 0
    assert run(CANNOT_BE_TRIED)[1] == 1, "a run in which nothing passed is no success"


def test_an_exception_in_a_slot_fails_the_test(run):
    """Qt only prints it, so that the test itself would pass."""
    printed, code = run(FAILS_IN_A_SLOT, PASSES)
    assert re.search(r"KeyError: 'nobody hears me'\nFakeTest\.test_fails_in_a_slot FAILED", printed)
    assert printed.splitlines()[-1] == "1 passed, 1 failed"
    assert code == 1


def test_no_test_at_all_is_no_success(run):
    printed, code = run()
    assert printed.splitlines()[-1] == "0 passed, 0 failed"
    assert code == 1


def test_a_module_that_cannot_be_read_fails(run):
    printed, code = run("\nthis is no Python\n")
    assert "SyntaxError" in printed
    assert printed.splitlines()[-1] == "0 passed, 1 failed"
    assert code == 1


def test_what_is_missing_is_named(run, script, slicer, monkeypatch):
    monkeypatch.setattr(script, "PACKAGES", {"torch": "torch", "scikit-image": "no_such_module_of_anybody"})
    slicer.options.noMainWindow = True
    printed, code = run(PASSES)
    assert "Slicer's Python lacks scikit-image" in printed and "lacks torch" not in printed
    assert "without --no-main-window" in printed
    assert "test_passes" not in printed
    assert printed.splitlines()[-1] == "0 passed, 2 failed"
    assert code == 1


def test_a_module_that_was_not_given_to_slicer_is_named(script, slicer, monkeypatch, capsys):
    monkeypatch.delattr(slicer.modules, "hipicmsctraining")
    script.main()
    script.faulthandler.cancel_dump_traceback_later()
    printed = capsys.readouterr().out
    assert "Slicer has no module HipICMSCTraining; name its folder after --additional-module-paths." in printed
    assert slicer.codes == [1]


HANGS = """
import sys, unittest
sys.path[:0] = {folders!r}
import pythonqt, slicer, slicer_stand_ins
from PySide6 import QtCore, QtWidgets
application = QtWidgets.QApplication([])
from trame_slicer.core import SlicerApp
app = SlicerApp()
slicer_stand_ins.install(app)
pythonqt.install()
import run_in_slicer
run_in_slicer.TEST_SECONDS, run_in_slicer.STUCK_SECONDS = 1, {stuck}

class FakeTest(unittest.TestCase):
    def test_asks(self):
        {hang}

tests = run_in_slicer.TestRun()
tests.run(FakeTest)
"""


@pytest.mark.parametrize(
    ("hang", "stuck", "closing"),
    [
        # A dialog that waits for an answer: Qt's clock ticks on.
        ("QtWidgets.QDialog().exec()", 60, True),
        # Our own code in an endless loop: only the interpreter's watch is left.
        ("exec('while True: pass')", 1, False),
    ],
)
def test_a_test_without_end_is_ended(hang, stuck, closing):
    folders = [str(SCRIPT.parent), str(SCRIPT.parent / "gui")]
    run = subprocess.run(
        [sys.executable, "-c", HANGS.format(folders=folders, hang=hang, stuck=stuck)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert "test_asks" in run.stdout
    if closing:
        assert "does a dialog wait for an answer?" in run.stdout
        assert run.stdout.splitlines()[-1] == "0 passed, 1 failed"
    else:
        assert "in test_asks" in run.stderr


def test_the_test_classes_of_both_modules_are_found(bench, script):
    """Those that run in Slicer are unit tests with methods of their own."""
    for name in script.MODULES:
        tests = getattr(slicer_stand_ins.load_module(name), f"{name}Test")
        assert script.unittest.TestLoader().getTestCaseNames(tests)
