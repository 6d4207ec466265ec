"""What a developer needs to help a user, and nothing of a patient: no file, no folder, no name of a volume.

So nothing is copied into it as it came: a text may hold a path, and a path a name. Only what is known to be free of
them is picked out.
"""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.worker.environment import Environment, Problem

#: The end of a traceback says where it happened.
_PLACES = 8


def report_text(
    environment: Environment | None,
    problems: tuple[Problem, ...],
    self_test_result: dict[str, Any] | HipError | None,
    last_error_kind: str | None,
    slicer_version: str,
    python_owner: str,
) -> str:
    """The report as plain text.

    Args:
        environment: None if it was not or could not be read.
        self_test_result: what the worker reported, or why it could not; None if it was not run.
        last_error_kind: kind of the last HipError that the user saw.
        python_owner: whose interpreter it is, "Slicer's own" or "the user's".
    """
    lines = ["HipICMSC report; it holds no patient data.", f"HipICMSC {VERSION} in Slicer {slicer_version}"]
    lines.append(f"Python: {environment.python if environment else 'not examined'}, {python_owner}")
    lines += _environment_lines(environment) if environment else []
    lines.append(f"Problems: {', '.join(f'{p.kind} ({p.subject})' for p in problems) or 'none'}")
    lines += _self_test_lines(self_test_result)
    lines.append(f"Last error: {last_error_kind or 'none'}")
    return "\n".join(lines) + "\n"


def _environment_lines(environment: Environment) -> list[str]:
    states = []
    for package in environment.packages:
        state = (
            "not installed" if package.version is None and not package.has_module else package.version or "no record"
        )
        states.append(f"{package.name} {state}{', no module' if package.version and not package.has_module else ''}")
    return [
        f"System: {environment.system}, {environment.machine}",
        f"Packages: {'; '.join(states)}",
        f"Build of torch: {environment.torch_build or 'none'}",
        f"NVIDIA: {', '.join(environment.gpus) or 'no card'}, driver {environment.nvidia_driver or 'none'}",
    ]


def _self_test_lines(result: dict[str, Any] | HipError | None) -> list[str]:
    if result is None:
        return ["Self-test: not run"]
    if isinstance(result, HipError):
        return [f"Self-test: failed, {result.kind}", *_gist(result.detail)]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        "Self-test: passed",
        f"  model {result['model']['name']}, SHA-256 {result['model']['sha256']}",
        f"  on {result['device']} in {result['precision']}, {result['seconds_per_slice']} s a slice",
        f"  devices {', '.join(result['devices'])}; {versions}",
        *(f"  {sentence}" for sentence in result["fallbacks"]),
    ]


def _gist(detail: str) -> list[str]:
    """Of a traceback or of a process's last words: where in which file, which kind of error, which exit code."""
    places = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', detail)
    lines = [f"  {PureWindowsPath(file).name}, line {line}, {function}" for file, line, function in places[-_PLACES:]]
    lines += [f"  {name}" for name in re.findall(r"^([A-Za-z_.]*(?:Error|Exception|Exit))\b", detail, re.MULTILINE)]
    return lines + [f"  {code}" for code in re.findall(r"^Exit code -?\d+", detail, re.MULTILINE)]
