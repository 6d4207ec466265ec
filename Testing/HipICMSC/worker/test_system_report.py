"""The report for whoever helps: it must be useful, and it must be safe to post in public."""

from __future__ import annotations

import getpass
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.worker.environment import Environment, Package, problems
from HipICMSCLib.worker.system_report import report_text

ENVIRONMENT = Environment(
    python="3.12.10",
    system="Linux-6.8-x86_64",
    machine="x86_64",
    packages=(
        Package("torch", "2.6.0+cpu", True),
        Package("numpy", "2.0.0", True),
        Package("SimpleITK", None, True),
        Package("scikit-image", None, False),
        Package("safetensors", "0.5.0", False),
    ),
    torch_build="cpu",
    nvidia_driver="550.54.15",
    gpus=("NVIDIA H100",),
)
PASSED = {
    "versions": {"HipICMSC": VERSION, "torch": "2.6.0+cpu"},
    "devices": ["cuda", "cpu"],
    "device": "NVIDIA H100",
    "precision": "bf16",
    "model": {"name": "hip-t1-mri", "sha256": "ab12"},
    "seconds_per_slice": 0.012,
    "fallbacks": ["Memory ran out, so 4 slices are computed at once."],
    "image": "/home/jane/Doe^Jane.nrrd",
}
TRACEBACK = f"""Traceback (most recent call last):
  File "{Path.home()}/Doe Jane/HipICMSCLib/worker/__main__.py", line 123, in answer
    image = read("/data/Doe^Jane 19700101/hip.nrrd")
  File "C:\\Users\\{getpass.getuser()}\\Doe Jane\\HipICMSCLib\\engine.py", line 45, in segment
    raise RuntimeError(path)
RuntimeError: /data/Doe^Jane 19700101/hip.nrrd cannot be read by {getpass.getuser()}
Exit code -9.
"""


def text(result=None, last_error_kind=None, environment=ENVIRONMENT) -> str:
    found = problems(ENVIRONMENT, "scikit-image>=0.22\nsafetensors>=0.4.3\n")
    return report_text(environment, found, result, last_error_kind, "5.13.0 (revision 34567)", "Slicer's own")


def test_it_says_what_a_developer_asks_for_first():
    report = text(PASSED, "out_of_memory")
    for part in (
        f"HipICMSC {VERSION}",
        "Slicer 5.13.0 (revision 34567)",
        "Python: 3.12.10, Slicer's own",
        "torch 2.6.0+cpu",
        "scikit-image not installed",
        "safetensors 0.5.0, no module",
        "SimpleITK no record",
        "NVIDIA: NVIDIA H100, driver 550.54.15",
        "missing (scikit-image), broken (safetensors), cpu_torch (torch)",
        "Self-test: passed",
        "0.012 s a slice",
        "hip-t1-mri, SHA-256 ab12",
        "Memory ran out",
        "Last error: out_of_memory",
    ):
        assert part in report


def test_of_an_error_it_tells_the_kind_and_the_place():
    report = text(HipError("unexpected", "The volume Doe could not be read.", TRACEBACK))
    for part in (
        "failed, unexpected",
        "__main__.py, line 123, answer",
        "engine.py, line 45",
        "RuntimeError",
        "code -9",
    ):
        assert part in report


def test_it_holds_nothing_of_the_patient_and_of_the_user():
    reports = [text(), text(PASSED), text(HipError("unexpected", "The volume Doe is empty.", TRACEBACK), "no_hip")]
    for report in reports:
        for secret in ("Doe", "Jane", "1970", ".nrrd", str(Path.home()), "/data", "/home", "C:", "Users", "\\"):
            assert secret not in report
        assert f"by {getpass.getuser()}" not in report


def test_without_anything_known_it_still_says_so():
    report = text(environment=None)
    assert "not examined" in report and "Self-test: not run" in report and "Last error: none" in report
