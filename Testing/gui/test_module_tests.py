"""The tests that each module carries for Slicer itself (see run_in_slicer) pass on the bench, too."""

from __future__ import annotations

import importlib
import os
import sys

import pytest
import run_in_slicer

#: They segment and train again and again; test_hipicmsc_panel, test_runs_panel and test_finish_panel do so by clicks.
SLOW = ("HipICMSC", "HipICMSCTraining")


@pytest.fixture
def python_slicer(tmp_path, monkeypatch) -> None:
    """Slicer's Python, by the name under which Slicer looks for it: ours."""
    path = tmp_path / "PythonSlicer"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(path.parent), os.environ["PATH"]]))


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in run_in_slicer.MODULES]
)
def test_the_tests_of_a_module_pass(python_slicer, module_manager, module, capsys):
    import slicer_stand_ins

    slicer_stand_ins.load_module(module)
    tests = run_in_slicer.TestRun()
    tests.run(getattr(importlib.import_module(module), f"{module}Test"))
    printed = capsys.readouterr().out
    print(printed, file=sys.stderr)
    assert tests.succeeded, printed
